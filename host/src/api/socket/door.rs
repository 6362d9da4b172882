use crate::api::socket::FeedRefusal;
use crate::api::socket::allowance::Allowance;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Handshakes that one core answers in a second. After a rest as many come at once.
const HANDSHAKES_PER_CORE: u64 = 500;
/// Who comes too fast is told to come back after 1 s and up to so many more, each another number, so that those who came
/// together do not come back together.
const JITTER_SECONDS: u64 = 4;

/// Who comes in: how many of one principal and from one address are there, and how fast they come. Everything here is
/// decided before the upgrade.
#[derive(Debug)]
pub struct Door {
    handshakes: Mutex<Allowance>,
    inside: Mutex<Inside>,
    refused: [AtomicU64; FeedRefusal::WHY.len()],
    refused_refreshes: AtomicU64,
}

/// Entries without a connection are not kept, so both are bounded by the feed's clients.
#[derive(Debug, Default)]
struct Inside {
    by_principal: HashMap<String, usize>,
    by_address: HashMap<IpAddr, usize>,
}

/// Who wants to come in, and how many of them may be there.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The principal's name.
    pub principal: String,
    /// Where it comes from.
    pub address: IpAddr,
    /// Connections of one principal.
    pub per_principal_max: usize,
    /// Connections from one address.
    pub per_address_max: usize,
}

/// A connection's place among those of its principal and its address. Given back when it is dropped.
#[derive(Debug)]
pub struct Pass {
    door: Arc<Door>,
    principal: String,
    address: IpAddr,
}

impl Door {
    /// A door for a machine of so many cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self::with_rate(HANDSHAKES_PER_CORE.saturating_mul(cores.max(1) as u64))
    }

    /// A door that so many may come through in a second.
    fn with_rate(per_second: u64) -> Self {
        Self {
            handshakes: Mutex::new(Allowance::new(per_second, per_second)),
            inside: Mutex::default(),
            refused: Default::default(),
            refused_refreshes: AtomicU64::new(0),
        }
    }

    /// Counts one handshake.
    ///
    /// # Errors
    /// [`FeedRefusal::TooFast`] when there were too many in the last second.
    pub fn knock(&self) -> Result<(), FeedRefusal> {
        if self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).take(1) {
            return Ok(());
        }
        // The standard library seeds this from the system, each time another way.
        let jitter = RandomState::new().hash_one(0_u8) % (JITTER_SECONDS + 1);
        Err(FeedRefusal::TooFast { retry_after: Duration::from_secs(1 + jitter) })
    }

    /// Takes a place. Who is in when a limit shrinks stays in.
    ///
    /// # Errors
    /// [`FeedRefusal::PrincipalFull`] and [`FeedRefusal::AddressFull`]; nothing is taken then.
    pub fn enter(self: &Arc<Self>, guest: &Guest) -> Result<Pass, FeedRefusal> {
        let Guest { principal, per_principal_max, per_address_max, .. } = guest;
        let address = network(guest.address);
        let mut inside = self.inside();
        if inside.by_principal.get(principal).is_some_and(|count| count >= per_principal_max) {
            return Err(FeedRefusal::PrincipalFull { limit: *per_principal_max });
        }
        if inside.by_address.get(&address).is_some_and(|count| count >= per_address_max) {
            return Err(FeedRefusal::AddressFull { limit: *per_address_max });
        }
        *inside.by_principal.entry(principal.clone()).or_default() += 1;
        *inside.by_address.entry(address).or_default() += 1;
        Ok(Pass { door: Arc::clone(self), principal: principal.clone(), address })
    }

    /// Notes that somebody was refused.
    pub fn refused(&self, refusal: &FeedRefusal) {
        let at = FeedRefusal::WHY.iter().position(|why| *why == refusal.why());
        if let Some(counter) = at.and_then(|at| self.refused.get(at)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// How many were refused, by the word for why.
    #[must_use]
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        FeedRefusal::WHY.into_iter().zip(&self.refused).map(|(why, count)| (why, count.load(Relaxed))).collect()
    }

    /// Notes that a client brought a credential which was refused.
    pub fn refused_refresh(&self) {
        self.refused_refreshes.fetch_add(1, Relaxed);
    }

    /// How many were.
    #[must_use]
    pub fn refresh_refusals(&self) -> u64 {
        self.refused_refreshes.load(Relaxed)
    }

    /// Principals and addresses that have connections.
    #[cfg(test)]
    pub(super) fn known(&self) -> (usize, usize) {
        let inside = self.inside();
        (inside.by_principal.len(), inside.by_address.len())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        leave(&mut inside.by_principal, &self.principal);
        leave(&mut inside.by_address, &self.address);
    }
}

fn leave<Q, K>(counts: &mut HashMap<K, usize>, key: &Q)
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    let Some(count) = counts.get_mut(key) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
}

/// What one peer can choose freely counts as one address: an IPv6 host has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guest(principal: &str, address: &str) -> Guest {
        Guest {
            principal: principal.to_owned(),
            address: address.parse().expect("an address"),
            per_principal_max: 2,
            per_address_max: 3,
        }
    }

    fn refusal(door: &Arc<Door>, guest: &Guest) -> &'static str {
        door.enter(guest).map_or_else(|refusal| refusal.why(), |_| "no")
    }

    #[test]
    fn a_principal_and_an_address_have_a_limit_each_and_a_place_given_back_is_free() {
        let door = Arc::new(Door::new(1));
        let ann = guest("ann", "10.0.0.1");
        let first = door.enter(&ann).expect("free");
        let _second = door.enter(&guest("ann", "10.0.0.2")).expect("free");
        assert_eq!(refusal(&door, &ann), "principal");
        let _others = [
            door.enter(&guest("bob", "10.0.0.1")).expect("free"),
            door.enter(&guest("eve", "::ffff:10.0.0.1")).expect("free"),
        ];
        assert_eq!(refusal(&door, &guest("dan", "10.0.0.1")), "address");
        drop(first);
        assert_eq!(refusal(&door, &guest("dan", "10.0.0.1")), "no");
        assert_eq!(refusal(&door, &ann), "no");
    }

    #[test]
    fn the_addresses_of_one_host_are_one() {
        let door = Arc::new(Door::new(1));
        let _inside: Vec<_> =
            (0..3).map(|at| door.enter(&guest(&at.to_string(), &format!("2001:db8::{at}"))).expect("free")).collect();
        assert_eq!(refusal(&door, &guest("x", "2001:db8::ffff:1")), "address");
        assert_eq!(refusal(&door, &guest("x", "2001:db8:0:1::1")), "no");
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_rate_handshakes_are_told_when_to_come_back_and_not_all_at_once() {
        let door = Door::with_rate(100);
        assert_eq!((0..1_000).filter(|_| door.knock().is_ok()).count(), 100);
        let waits: std::collections::BTreeSet<Duration> = (0..200)
            .filter_map(|_| match door.knock() {
                Err(FeedRefusal::TooFast { retry_after }) => Some(retry_after),
                Ok(()) | Err(_) => None,
            })
            .collect();
        assert!(waits.iter().all(|wait| (1..=5).contains(&wait.as_secs())), "{waits:?}");
        assert!(waits.len() > 2, "{waits:?}");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!((0..1_000).filter(|_| door.knock().is_ok()).count(), 10);
    }

    proptest! {
        /// Whatever the order of comings and goings: who is let in is who a plain count lets in, and when all have gone
        /// nothing is remembered of them.
        #[test]
        fn p20_the_door_counts_those_who_are_inside(steps in proptest::collection::vec((0..4_u8, 0..4_u8, any::<bool>()), 0..200)) {
            let door = Arc::new(Door::new(1));
            let mut inside: Vec<(u8, u8, Pass)> = Vec::new();
            for (principal, address, is_coming) in steps {
                if is_coming {
                    let of = |of: fn(&(u8, u8, Pass)) -> u8, wanted| inside.iter().filter(|one| of(one) == wanted).count();
                    let expected = of(|one| one.0, principal) < 2 && of(|one| one.1, address) < 3;
                    let entered = door.enter(&guest(&principal.to_string(), &format!("10.0.0.{address}")));
                    prop_assert_eq!(entered.is_ok(), expected);
                    inside.extend(entered.ok().map(|pass| (principal, address, pass)));
                } else if let Some(at) = inside.iter().position(|one| one.0 == principal) {
                    inside.remove(at);
                }
            }
            inside.clear();
            prop_assert_eq!(door.known(), (0, 0));
        }
    }
}
