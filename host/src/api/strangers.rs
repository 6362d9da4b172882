use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long refusals of one address are only counted after one was written down.
const INTERVAL: Duration = Duration::from_secs(60);
/// Addresses that are remembered. While it is full, further ones are only counted together.
const ADDRESSES_MAX: usize = 4_096;

/// Which refusals of strangers are written down: one in a minute for each address, so that nobody without an account
/// fills the audit.
#[derive(Debug, Default)]
pub struct Strangers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<IpAddr, Seen>,
    /// Of addresses for which there was no room.
    elsewhere: u64,
    /// All that were not written down.
    untold: u64,
}

#[derive(Debug)]
struct Seen {
    told: Instant,
    untold: u64,
}

impl Strangers {
    /// Notes a refusal. If it is to be written down: how many were not, since the last one that was.
    pub(super) fn note(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let mut state = self.lock();
        if let Some(seen) = state.addresses.get_mut(&address) {
            if now.saturating_duration_since(seen.told) < INTERVAL {
                seen.untold += 1;
                state.untold += 1;
                return None;
            }
            seen.told = now;
            return Some(std::mem::take(&mut seen.untold));
        }
        if state.addresses.len() >= ADDRESSES_MAX {
            // Their numbers are told with the next address.
            let mut forgotten = 0;
            state.addresses.retain(|_, seen| {
                let stays = now.saturating_duration_since(seen.told) < INTERVAL;
                forgotten += if stays { 0 } else { seen.untold };
                stays
            });
            state.elsewhere += forgotten;
        }
        if state.addresses.len() >= ADDRESSES_MAX {
            state.elsewhere += 1;
            state.untold += 1;
            return None;
        }
        state.addresses.insert(address, Seen { told: now, untold: 0 });
        Some(std::mem::take(&mut state.elsewhere))
    }

    /// Refusals that were counted and not written down.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.lock().untold
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(n: usize) -> IpAddr {
        Ipv4Addr::from(u32::try_from(n).unwrap()).into()
    }

    #[test]
    fn one_refusal_of_an_address_is_told_in_a_minute_and_the_others_are_counted() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        assert_eq!(strangers.note(address(1), now), Some(0));
        for _ in 0..5 {
            assert_eq!(strangers.note(address(1), now + Duration::from_secs(59)), None);
        }
        assert_eq!(strangers.note(address(2), now), Some(0), "another one");
        assert_eq!(strangers.note(address(1), now + INTERVAL), Some(5));
        assert_eq!(strangers.note(address(1), now + INTERVAL), None);
        assert_eq!(strangers.untold(), 6);
    }

    #[test]
    fn the_memory_is_bounded_and_nothing_is_lost_uncounted() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for n in 0..ADDRESSES_MAX {
            assert_eq!(strangers.note(address(n), now), Some(0));
        }
        for n in 0..10 {
            assert_eq!(strangers.note(address(ADDRESSES_MAX + n), now), None);
        }
        assert_eq!(strangers.lock().addresses.len(), ADDRESSES_MAX);
        assert_eq!(strangers.note(address(0), now), None);
        assert_eq!(strangers.note(address(ADDRESSES_MAX), now + INTERVAL), Some(11));
        assert_eq!((strangers.untold(), strangers.lock().addresses.len()), (11, 1));
    }
}
