use crate::hub::Patterns;
use crate::hub::log::TopicId;
use std::sync::Arc;

/// A client's patterns with the answers already given, two bits a topic: patterns are matched once for each topic, not
/// once for each event.
#[derive(Debug)]
pub(super) struct Filter {
    patterns: Arc<Patterns>,
    answered: Vec<u64>,
    wanted: Vec<u64>,
}

impl Filter {
    pub(super) fn new(patterns: Patterns) -> Self {
        Self { patterns: Arc::new(patterns), answered: Vec::new(), wanted: Vec::new() }
    }

    pub(super) fn patterns(&self) -> &Arc<Patterns> {
        &self.patterns
    }

    pub(super) fn wants(&mut self, id: TopicId, topic: &str) -> bool {
        let word = usize::try_from(id.0 / 64).unwrap_or(usize::MAX);
        let bit = 1_u64 << (id.0 % 64);
        if let (Some(answered), Some(wanted)) = (self.answered.get(word), self.wanted.get(word))
            && answered & bit != 0
        {
            return wanted & bit != 0;
        }
        let answer = self.patterns.matches(topic);
        if self.answered.len() <= word {
            self.answered.resize(word + 1, 0);
            self.wanted.resize(word + 1, 0);
        }
        if let (Some(answered), Some(wanted)) = (self.answered.get_mut(word), self.wanted.get_mut(word)) {
            *answered |= bit;
            if answer {
                *wanted |= bit;
            }
        }
        answer
    }
}
