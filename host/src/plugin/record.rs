use crate::plugin::BoxFuture;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Refused digests that are remembered of one plugin; beyond it the oldest is forgotten.
pub const REFUSED_MAX: usize = 16;

/// What is durably known of one plugin's generations. Digests are SHA-256 in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenerationRecord {
    /// The number of the generation that was made last.
    pub generation: u64,
    /// The component that serves.
    pub active: String,
    /// The one before it, which can be rolled back to.
    pub previous: Option<String>,
    /// Components that were rolled back and are not loaded again by themselves, oldest first.
    pub refused: Vec<String>,
}

impl GenerationRecord {
    /// True if this component was rolled back before.
    #[must_use]
    pub fn is_refused(&self, digest: &str) -> bool {
        self.refused.iter().any(|refused| refused == digest)
    }

    /// The record once `digest` serves as generation `generation`. Whoever asks for a refused one again means it.
    pub(super) fn activated(&self, digest: &str, generation: u64) -> Self {
        let previous = Some(self.active.clone()).filter(|active| !active.is_empty() && active != digest);
        Self {
            generation,
            active: digest.to_owned(),
            previous: previous.or_else(|| self.previous.clone().filter(|previous| previous != digest)),
            refused: self.refused.iter().filter(|refused| *refused != digest).cloned().collect(),
        }
    }

    /// The record while `digest` serves a share of the calls as generation `generation`.
    pub(super) fn canary(&self, digest: &str, generation: u64) -> Self {
        let refused = self.refused.iter().filter(|refused| *refused != digest).cloned().collect();
        Self { generation, refused, ..self.clone() }
    }

    /// The record once `bad` was given up and `active` serves.
    pub(super) fn reverted(&self, bad: &str, active: &str) -> Self {
        let mut refused: Vec<String> = self.refused.iter().filter(|refused| *refused != bad).cloned().collect();
        if bad != active {
            refused.push(bad.to_owned());
        }
        let beyond = refused.len().saturating_sub(REFUSED_MAX);
        refused.drain(..beyond);
        let previous = self.previous.clone().filter(|previous| previous != active && previous != bad);
        Self { generation: self.generation, active: active.to_owned(), previous, refused }
    }
}

/// Who asked for a swap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Author {
    /// An account's name; empty when the host acts by itself.
    pub who: String,
    /// The request's id; empty when there was none.
    pub request_id: String,
    /// From where, if it came over the network.
    pub address: Option<IpAddr>,
}

impl Author {
    /// The host itself, moved by something such as `SIGHUP`.
    #[must_use]
    pub fn host(by: &str) -> Self {
        Self { request_id: by.to_owned(), ..Self::default() }
    }
}

/// What the audit is told of a swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapEntry {
    /// `plugin.install`, `plugin.rollback` or `plugin.configure`.
    pub what: &'static str,
    /// The plugin.
    pub plugin: String,
    /// Who asked for it.
    pub author: Author,
    /// True if it was done, false if it failed.
    pub is_done: bool,
    /// Why, or what of it: a digest, an error, a word.
    pub reason: String,
}

/// Where generations are remembered. Implemented by `app` with the store.
pub trait GenerationLog: Send + Sync + 'static {
    /// What is known of every plugin, by its name.
    ///
    /// # Errors
    /// A text when it cannot be read.
    fn read(&self) -> Result<BTreeMap<String, GenerationRecord>, String>;

    /// Writes a plugin's record and the audit's entry together, durably: both or neither.
    ///
    /// # Errors
    /// A text; then the swap must not be done.
    fn commit(&self, record: GenerationRecord, entry: SwapEntry) -> BoxFuture<'_, Result<(), String>>;

    /// Writes an entry alone.
    ///
    /// # Errors
    /// A text.
    fn note(&self, entry: SwapEntry) -> BoxFuture<'_, Result<(), String>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_remembered_until_somebody_asks_for_it_again() {
        let first = GenerationRecord::default().activated("a", 1);
        assert_eq!((first.active.as_str(), &first.previous), ("a", &None));
        let second = first.activated("b", 2);
        assert_eq!(second.previous.as_deref(), Some("a"));
        let back = second.reverted("b", "a");
        assert_eq!((back.active.as_str(), &back.previous, back.is_refused("b")), ("a", &None, true));
        let again = back.activated("b", 3);
        assert_eq!((again.previous.as_deref(), again.is_refused("b")), (Some("a"), false));
        assert_eq!(again.activated("b", 4).previous.as_deref(), Some("a"), "the same component again");
    }

    #[test]
    fn a_canary_that_is_given_up_changes_nothing_else_and_few_are_remembered() {
        let mut record = GenerationRecord::default().activated("a", 1).activated("b", 2);
        for n in 0..REFUSED_MAX + 3 {
            record = record.reverted(&format!("c{n}"), "b");
        }
        assert_eq!((record.active.as_str(), record.previous.as_deref()), ("b", Some("a")));
        assert_eq!(record.refused.len(), REFUSED_MAX);
        assert!(!record.is_refused("c2") && record.is_refused("c3"));
    }
}
