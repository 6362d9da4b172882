//! What a validator that judges words alone has let pass, so that the same words are not judged again.

use crate::model::OperationRequest;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Requests that are remembered: as many again from before those are let go when these are so many.
const REMEMBERED: usize = 256;
/// Bytes of the words of one; longer ones are judged each time.
const WORDS_BYTES_MAX: usize = 1_024;

/// The words of one request: its name, and what its caller chose.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Words(Box<[u8]>);

impl Words {
    /// None if they are too many to be remembered.
    pub(super) fn of(request: &OperationRequest) -> Option<Self> {
        let texts = request.fields.iter().flat_map(|field| [&field.pointer, &field.value]);
        let texts = || std::iter::once(&request.name).chain(texts.clone());
        let size: usize = texts().map(|text| size_of::<usize>() + text.len()).sum();
        if size > WORDS_BYTES_MAX {
            return None;
        }
        let mut words = Vec::with_capacity(size);
        for text in texts() {
            // Its length goes first, so that no two requests are told by the same bytes.
            words.extend_from_slice(&text.len().to_le_bytes());
            words.extend_from_slice(text.as_bytes());
        }
        Some(Self(words.into()))
    }
}

/// The words that passed last: at least the last [`REMEMBERED`], at most twice as many.
#[derive(Debug, Default)]
pub(super) struct Passed(Mutex<Ages>);

#[derive(Debug, Default)]
struct Ages {
    young: HashSet<Words>,
    old: HashSet<Words>,
}

impl Passed {
    pub(super) fn has(&self, words: &Words) -> bool {
        let mut ages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ages.young.contains(words) {
            return true;
        }
        let Some(words) = ages.old.take(words) else { return false };
        ages.keep(words);
        true
    }

    pub(super) fn note(&self, words: Words) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(words);
    }
}

impl Ages {
    fn keep(&mut self, words: Words) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Field;
    use std::time::UNIX_EPOCH;

    fn words(name: &str, fields: &[(&str, &str)]) -> Option<Words> {
        let field = |(pointer, value): &(&str, &str)| Field { pointer: (*pointer).into(), value: (*value).into() };
        Words::of(&OperationRequest {
            name: name.to_owned(),
            is_mutating: false,
            requester: None,
            targets: vec![],
            fields: fields.iter().map(field).collect(),
            at: UNIX_EPOCH,
        })
    }

    #[test]
    fn only_the_very_same_words_are_known() {
        let passed = Passed::default();
        let seen = || words("node.list", &[("/query/a", "b"), ("/query/c", "")]).expect("few");
        assert!(!passed.has(&seen()));
        passed.note(seen());
        assert!(passed.has(&seen()));
        for (name, fields) in [
            ("node.lis", vec![("/query/a", "b"), ("/query/c", "")]),
            ("node.list", vec![("/query/a", "b")]),
            ("node.list", vec![("/query/a", ""), ("/query/c", "b")]),
            ("node.list", vec![("/query/c", ""), ("/query/a", "b")]),
            ("node.list", vec![("/query/ab", ""), ("/query/c", "")]),
            ("node.list/query/a", vec![("b", "/query/c")]),
        ] {
            assert!(!passed.has(&words(name, &fields).expect("few")), "{name} {fields:?}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_in_use_stays() {
        let passed = Passed::default();
        let number = |number: usize| words(&number.to_string(), &[]).expect("few");
        passed.note(number(0));
        for at in 1..20 * REMEMBERED {
            passed.note(number(at));
            if at % (REMEMBERED / 2) == 0 {
                assert!(passed.has(&number(0)), "it is asked for now and then");
            }
            assert!(passed.has(&number(at)));
            let ages = passed.0.lock().expect("nobody panicked");
            assert!(ages.young.len() <= REMEMBERED && ages.old.len() <= REMEMBERED);
        }
        assert!(!passed.has(&number(1)), "nobody asked for it");
        let long = "x".repeat(WORDS_BYTES_MAX);
        assert!(words("node.list", &[("/query/a", &long)]).is_none());
    }
}
