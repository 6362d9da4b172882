use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Who is connected: so many from each address, and those in the order of coming who have asked for nothing yet. They are
/// the first to go where there is no room.
#[derive(Debug, Clone, Default)]
pub(super) struct Guests(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    by_address: HashMap<IpAddr, usize>,
    /// Who has asked for nothing yet.
    fresh: BTreeMap<u64, Fresh>,
}

#[derive(Debug)]
struct Fresh {
    address: Option<IpAddr>,
    leave: CancellationToken,
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    guests: Guests,
    number: u64,
    address: Option<IpAddr>,
    leave: CancellationToken,
    asked: CancellationToken,
}

impl Guests {
    /// Lets a connection in. One without an address has no bound. Beyond the bound of its address the oldest one from there
    /// that has asked for nothing goes; `None` when there is no such one.
    pub(super) fn enter(&self, address: Option<IpAddr>, max: usize) -> Option<Guest> {
        let address = address.map(household);
        let mut state = self.lock();
        if let Some(address) = address {
            let count = state.by_address.get(&address).copied().unwrap_or(0);
            if count >= max && !state.dismiss(|fresh| fresh.address == Some(address)) {
                return None;
            }
            *state.by_address.entry(address).or_default() += 1;
        }
        let number = state.next;
        state.next += 1;
        let leave = CancellationToken::new();
        state.fresh.insert(number, Fresh { address, leave: leave.clone() });
        drop(state);
        Some(Guest { guests: self.clone(), number, address, leave, asked: CancellationToken::new() })
    }

    /// Sends the oldest away that has asked for nothing yet. False if there is none.
    pub(super) fn dismiss_oldest(&self) -> bool {
        self.lock().dismiss(|_| true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn dismiss(&mut self, is_meant: impl Fn(&Fresh) -> bool) -> bool {
        let found = self.fresh.iter().find(|(_, fresh)| is_meant(fresh)).map(|(number, _)| *number);
        let gone = found.and_then(|number| self.fresh.remove(&number));
        if let Some(fresh) = &gone {
            fresh.leave.cancel();
        }
        gone.is_some()
    }
}

impl Guest {
    /// It has asked for something.
    pub(super) fn settle(&self) {
        if !self.asked.is_cancelled() {
            self.asked.cancel();
            self.guests.lock().fresh.remove(&self.number);
        }
    }

    /// Ends when it has asked for something.
    pub(super) async fn settled(&self) {
        self.asked.cancelled().await;
    }

    /// Ends when it has to make room.
    pub(super) async fn dismissed(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.guests.lock();
        state.fresh.remove(&self.number);
        let Some(address) = self.address else { return };
        if let Some(count) = state.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.by_address.remove(&address);
            }
        }
    }
}

/// Whoever has one address of IPv6 has the 2^64 of its network.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn is_dismissed(guest: &Guest) -> bool {
        guest.dismissed().now_or_never().is_some()
    }

    #[test]
    fn beyond_its_bound_an_address_loses_its_oldest_silent_connection_and_nobody_elses() {
        let guests = Guests::default();
        let other = guests.enter(address("192.0.2.2"), 2).unwrap();
        let first = guests.enter(address("192.0.2.1"), 2).unwrap();
        let second = guests.enter(address("192.0.2.1"), 2).unwrap();
        first.settle();
        let third = guests.enter(address("192.0.2.1"), 2).unwrap();
        assert_eq!([&other, &first, &second, &third].map(is_dismissed), [false, false, true, false]);
        third.settle();
        drop(second);
        assert!(guests.enter(address("192.0.2.1"), 2).is_none(), "both have asked for something");
        drop(first);
        assert!(guests.enter(address("192.0.2.1"), 2).is_some());
    }

    #[test]
    fn for_room_the_oldest_silent_one_goes_wherever_it_is_from() {
        let guests = Guests::default();
        let all: Vec<_> = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|a| guests.enter(address(a), 9).unwrap()).into();
        all[0].settle();
        assert!(guests.dismiss_oldest());
        assert_eq!(all.iter().map(is_dismissed).collect::<Vec<_>>(), [false, true, false]);
        assert!(guests.dismiss_oldest());
        assert!(!guests.dismiss_oldest(), "who has asked for something stays");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_socket_has_none() {
        let guests = Guests::default();
        let one = guests.enter(address("2001:db8::1"), 1).unwrap();
        one.settle();
        assert!(guests.enter(address("2001:db8::2"), 1).is_none());
        assert!(guests.enter(address("2001:db8:0:1::1"), 1).is_some());
        let sockets: Vec<_> = (0..5).map(|_| guests.enter(None, 1).unwrap()).collect();
        drop((one, sockets));
        let state = guests.lock();
        assert!(state.by_address.is_empty() && state.fresh.is_empty(), "{state:?}");
    }
}
