use crate::model::Identity;
use crate::plugin::PluginSet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// How long a yes to a bearer token is believed without asking again. Who was revoked elsewhere is let in for so long.
pub(super) const VERDICT_MAX_AGE: Duration = Duration::from_secs(5);
/// Tokens that are remembered. When full, those go first that were judged longest ago.
const VERDICTS_MAX: usize = 4_096;

/// The tokens that a strategy said yes to a moment ago, so that a program does not pay for a plugin's call with each of
/// its requests. A no is never kept.
///
/// Only the strategy's word is kept: the account behind it is looked up each time. Whatever could change that word
/// clears everything: other plugins, and a revoked API key, which moves the epoch on.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    state: Mutex<State>,
}

/// Which token from where: the same token from elsewhere may be judged otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub(super) address: IpAddr,
    pub(super) digest: [u8; 32],
}

/// What a yes was said under.
#[derive(Debug, Clone)]
pub(super) struct Basis {
    /// Weak, so that old plugins are not kept alive by what they once said.
    set: Weak<PluginSet>,
    epoch: u64,
}

/// A yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Yes {
    pub(super) strategy: String,
    pub(super) identity: Identity,
}

#[derive(Debug, Default)]
struct State {
    basis: Option<Basis>,
    entries: HashMap<TokenKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    yes: Yes,
    judged: Instant,
}

/// What is known of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was good a moment ago, and counts as such.
    Good(Yes),
    /// It was good before. It has to be judged, and is no guess.
    Before,
    /// Nothing.
    Nothing,
}

impl Basis {
    pub(super) fn new(set: &Arc<PluginSet>, epoch: u64) -> Self {
        Self { set: Arc::downgrade(set), epoch }
    }

    fn is(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.set.ptr_eq(&other.set)
    }
}

impl Verdicts {
    /// What is known of a token, under what holds now.
    pub(super) fn get(&self, key: &TokenKey, basis: &Basis, now: Instant) -> Known {
        let mut state = self.lock();
        if !state.basis.as_ref().is_some_and(|known| known.is(basis)) {
            *state = State { basis: Some(basis.clone()), entries: HashMap::new() };
        }
        match state.entries.get(key) {
            None => Known::Nothing,
            Some(entry) if now.saturating_duration_since(entry.judged) < VERDICT_MAX_AGE => {
                Known::Good(entry.yes.clone())
            }
            Some(_) => Known::Before,
        }
    }

    /// Remembers a yes, unless something has changed since `basis` was looked up.
    pub(super) fn put(&self, key: TokenKey, basis: &Basis, yes: Yes, now: Instant) {
        let mut state = self.lock();
        if state.basis.as_ref().is_some_and(|known| known.is(basis)) {
            make_room(&mut state.entries);
            state.entries.insert(key, Entry { yes, judged: now });
        }
    }

    /// Forgets a token.
    pub(super) fn forget(&self, key: &TokenKey) {
        self.lock().entries.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(entries: &mut HashMap<TokenKey, Entry>) {
    if entries.len() < VERDICTS_MAX {
        return;
    }
    let mut ages: Vec<_> = entries.iter().map(|(key, entry)| (entry.judged, *key)).collect();
    ages.sort_unstable_by_key(|(judged, _)| *judged);
    for (_, key) in ages.into_iter().take(VERDICTS_MAX / 4) {
        entries.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IdentitySource;
    use std::net::Ipv4Addr;

    fn key(n: usize) -> TokenKey {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        TokenKey { address: Ipv4Addr::LOCALHOST.into(), digest }
    }

    fn yes() -> Yes {
        let identity = Identity { name: "ann".into(), source: IdentitySource::Account, scopes: vec![], expires: None };
        Yes { strategy: "s".into(), identity }
    }

    #[test]
    fn a_yes_is_believed_for_a_moment_and_from_its_address_alone() {
        let (verdicts, set, now) = (Verdicts::default(), Arc::new(PluginSet::default()), Instant::now());
        let basis = Basis::new(&set, 0);
        assert_eq!(verdicts.get(&key(1), &basis, now), Known::Nothing);
        verdicts.put(key(1), &basis, yes(), now);
        let just_before = now + VERDICT_MAX_AGE - Duration::from_millis(1);
        assert_eq!(verdicts.get(&key(1), &basis, just_before), Known::Good(yes()));
        assert_eq!(verdicts.get(&key(1), &basis, now + VERDICT_MAX_AGE), Known::Before);
        let elsewhere = TokenKey { address: Ipv4Addr::new(10, 0, 0, 1).into(), ..key(1) };
        assert_eq!(verdicts.get(&elsewhere, &basis, now), Known::Nothing);
        verdicts.forget(&key(1));
        assert_eq!(verdicts.get(&key(1), &basis, now), Known::Nothing);
    }

    #[test]
    fn other_plugins_and_a_revoked_key_clear_everything_also_what_is_under_way() {
        let (verdicts, now) = (Verdicts::default(), Instant::now());
        let (old, new) = (Arc::new(PluginSet::default()), Arc::new(PluginSet::default()));
        let bases = [Basis::new(&old, 0), Basis::new(&new, 0), Basis::new(&new, 1)];
        for pair in bases.windows(2) {
            verdicts.get(&key(1), &pair[0], now);
            verdicts.put(key(1), &pair[0], yes(), now);
            assert_eq!(verdicts.get(&key(1), &pair[1], now), Known::Nothing);
            verdicts.put(key(1), &pair[0], yes(), now);
            assert_eq!(verdicts.get(&key(1), &pair[1], now), Known::Nothing, "judged under what holds no longer");
        }
    }

    #[test]
    fn the_memory_is_bounded_and_the_newest_stay() {
        let (verdicts, set, now) = (Verdicts::default(), Arc::new(PluginSet::default()), Instant::now());
        let basis = Basis::new(&set, 0);
        verdicts.get(&key(0), &basis, now);
        for n in 0..=VERDICTS_MAX + 10 {
            verdicts.put(key(n), &basis, yes(), now + Duration::from_micros(n as u64));
            assert!(verdicts.lock().entries.len() <= VERDICTS_MAX);
        }
        assert_eq!(verdicts.get(&key(0), &basis, now), Known::Nothing);
        assert_eq!(verdicts.get(&key(VERDICTS_MAX), &basis, now), Known::Good(yes()));
    }
}
