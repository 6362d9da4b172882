use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Failures that cost nothing yet: of one account from one address, and of one address in all. Many people may stand
/// behind one address.
const FREE_OF_PAIR: u32 = 5;
const FREE_OF_ADDRESS: u32 = 20;
/// The first wait, which doubles with each further failure, and the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Failures are forgotten after so long without another.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// Accounts and addresses that are remembered.
const RECORDS_MAX: usize = 16_384;
const NAME_BYTES_MAX: usize = 255;

/// Slows down guessing, for an account from an address and for an address alone. Never for an account as a whole, or
/// a stranger could lock its owner out.
///
/// An attempt counts as a failure from its beginning, so that many at once gain nothing; success takes that back.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    records: Mutex<HashMap<Key, Record>>,
}

/// What an attempt is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Admitted,
    Refused {
        retry_after: Duration,
        /// True for the first refusal since an attempt was admitted: the one worth a record.
        is_first: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Pair(String, IpAddr),
    /// A token by the beginning of its digest. The same wrong one again is no new guess.
    Token([u8; 16], IpAddr),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    last: Instant,
    is_refusing: bool,
}

impl Key {
    const fn free(&self) -> u32 {
        match self {
            Self::Pair(..) | Self::Token(..) => FREE_OF_PAIR,
            Self::Address(_) => FREE_OF_ADDRESS,
        }
    }
}

impl Record {
    fn wait(&self, key: &Key, now: Instant) -> Duration {
        let Some(beyond) = self.failures.checked_sub(key.free()) else { return Duration::ZERO };
        let wait = WAIT_FIRST.saturating_mul(2_u32.saturating_pow(beyond)).min(WAIT_MAX);
        (self.last + wait).saturating_duration_since(now)
    }
}

impl Attempts {
    /// Whether an attempt may be made now; if so, it counts.
    pub(super) fn begin(&self, account: &str, address: IpAddr, now: Instant) -> Attempt {
        let mut records = self.lock();
        let keys = keys(account, address);
        let attempt = check(&mut records, &keys, now);
        if attempt == Attempt::Admitted {
            keys.into_iter().for_each(|key| count(&mut records, key, now));
        }
        attempt
    }

    /// Whether a token may be judged now. It counts only once it has failed: many clients behind one address may begin
    /// at the same moment, and a token holds too many bits for a few more guesses to matter.
    pub(super) fn check_token(&self, digest: &[u8; 32], address: IpAddr, now: Instant) -> Attempt {
        check(&mut self.lock(), &token_keys(digest, address), now)
    }

    /// A token was wrong. One that was wrong before counts against itself alone, so that a program that goes on using a
    /// revoked one does not shut out all others of its address.
    pub(super) fn token_failed(&self, digest: &[u8; 32], address: IpAddr, now: Instant) {
        let [token, address] = token_keys(digest, address);
        let mut records = self.lock();
        if !records.contains_key(&token) {
            count(&mut records, address, now);
        }
        count(&mut records, token, now);
    }

    /// A token is good now, whatever it was before.
    pub(super) fn token_succeeded(&self, digest: &[u8; 32], address: IpAddr) {
        let [token, _] = token_keys(digest, address);
        self.lock().remove(&token);
    }

    /// The attempt succeeded: the account is forgiven, the address only this attempt, or one good account would pay
    /// for guesses at others.
    pub(super) fn succeeded(&self, account: &str, address: IpAddr) {
        let [pair, address] = keys(account, address);
        let mut records = self.lock();
        records.remove(&pair);
        take_back(&mut records, &address);
    }

    /// The attempt was not judged, through no fault of whoever made it.
    pub(super) fn not_judged(&self, account: &str, address: IpAddr) {
        let mut records = self.lock();
        for key in keys(account, address) {
            take_back(&mut records, &key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(records: &mut HashMap<Key, Record>, keys: &[Key; 2], now: Instant) -> Attempt {
    for key in keys {
        let Some(record) = records.get_mut(key) else { continue };
        if now.saturating_duration_since(record.last) >= FORGET_AFTER {
            records.remove(key);
            continue;
        }
        let retry_after = record.wait(key, now);
        if !retry_after.is_zero() {
            let is_first = !std::mem::replace(&mut record.is_refusing, true);
            return Attempt::Refused { retry_after, is_first };
        }
    }
    Attempt::Admitted
}

fn count(records: &mut HashMap<Key, Record>, key: Key, now: Instant) {
    make_room(records, now);
    let record = records.entry(key).or_insert(Record { failures: 0, last: now, is_refusing: false });
    *record = Record { failures: record.failures.saturating_add(1), last: now, is_refusing: false };
}

fn token_keys(digest: &[u8; 32], address: IpAddr) -> [Key; 2] {
    let address = network(address);
    let beginning = digest.first_chunk().copied().unwrap_or_default();
    [Key::Token(beginning, address), Key::Address(address)]
}

fn keys(account: &str, address: IpAddr) -> [Key; 2] {
    let address = network(address);
    let name = account.get(..account.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
    [Key::Pair(name.to_owned(), address), Key::Address(address)]
}

/// What one peer can choose freely counts as one address: an IPv6 host has a whole /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

fn take_back(records: &mut HashMap<Key, Record>, key: &Key) {
    if let Some(record) = records.get_mut(key) {
        record.failures = record.failures.saturating_sub(1);
        if record.failures == 0 {
            records.remove(key);
        }
    }
}

/// Drops what is forgotten, then the oldest quarter, those that wait last: a flood of new names must not wash them out.
fn make_room(records: &mut HashMap<Key, Record>, now: Instant) {
    if records.len() < RECORDS_MAX {
        return;
    }
    records.retain(|_, record| now.saturating_duration_since(record.last) < FORGET_AFTER);
    let mut ages: Vec<_> = records.iter().map(|(key, record)| (record.failures >= key.free(), record.last)).collect();
    ages.sort_unstable();
    if records.len() >= RECORDS_MAX * 3 / 4
        && let Some(&limit) = ages.get(RECORDS_MAX / 4)
    {
        let mut left = RECORDS_MAX / 4;
        records.retain(|key, record| {
            let goes = left > 0 && (record.failures >= key.free(), record.last) <= limit;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn admitted(attempts: &Attempts, account: &str, address: IpAddr, now: Instant) -> bool {
        attempts.begin(account, address, now) == Attempt::Admitted
    }

    #[test]
    fn five_failures_are_free_then_the_wait_doubles_up_to_five_minutes() {
        let (attempts, mut now) = (Attempts::default(), Instant::now());
        for _ in 0..5 {
            assert!(admitted(&attempts, "ann", HERE, now));
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(attempts.begin("ann", HERE, now), Attempt::Refused { retry_after: s(wait), is_first: true });
            assert!(matches!(attempts.begin("ann", HERE, now), Attempt::Refused { is_first: false, .. }));
            now += s(wait);
            assert!(admitted(&attempts, "ann", HERE, now), "after {wait} s");
        }
    }

    #[test]
    fn a_stranger_cannot_lock_an_account_out_from_elsewhere() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        while admitted(&attempts, "ann", HERE, now) {}
        assert!(admitted(&attempts, "ann", THERE, now));
        assert!(admitted(&attempts, "bob", HERE, now), "nor others from the same address, yet");
    }

    #[test]
    fn an_address_that_guesses_at_many_accounts_is_slowed_down_too() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let tries = (0..100).filter(|n| admitted(&attempts, &format!("user{n}"), HERE, now)).count();
        assert_eq!(tries, 20);
        assert!(admitted(&attempts, "ann", THERE, now));
    }

    #[test]
    fn success_forgives_the_account_and_of_the_address_only_itself() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..19 {
            assert!(admitted(&attempts, &format!("user{n}"), HERE, now));
        }
        assert!(admitted(&attempts, "ann", HERE, now));
        attempts.succeeded("ann", HERE);
        assert!(admitted(&attempts, "user19", HERE, now), "ann's own attempt was taken back");
        assert!(!admitted(&attempts, "user20", HERE, now), "the guesses were not");
    }

    #[test]
    fn an_attempt_that_nobody_judged_does_not_count() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..100 {
            assert!(admitted(&attempts, "ann", HERE, now));
            attempts.not_judged("ann", HERE);
        }
        assert_eq!(attempts.lock().len(), 0);
    }

    #[test]
    fn after_a_quiet_quarter_of_an_hour_all_is_forgotten() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..5 {
            assert!(admitted(&attempts, "ann", HERE, now));
        }
        let now = now + FORGET_AFTER;
        for _ in 0..5 {
            assert!(admitted(&attempts, "ann", HERE, now));
        }
    }

    #[test]
    fn guesses_at_tokens_slow_their_address_down_and_one_wrong_token_only_itself() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let digest = |n: u8| [n; 32];
        for _ in 0..100 {
            if attempts.check_token(&digest(0), HERE, now) == Attempt::Admitted {
                attempts.token_failed(&digest(0), HERE, now);
            }
        }
        assert!(matches!(attempts.check_token(&digest(0), HERE, now), Attempt::Refused { is_first: false, .. }));
        assert_eq!(attempts.check_token(&digest(1), HERE, now), Attempt::Admitted, "others go on");
        for n in 1..20 {
            assert_eq!(attempts.check_token(&digest(n), HERE, now), Attempt::Admitted, "{n}");
            attempts.token_failed(&digest(n), HERE, now);
        }
        assert!(matches!(attempts.check_token(&digest(99), HERE, now), Attempt::Refused { is_first: true, .. }));
        assert_eq!(attempts.check_token(&digest(99), THERE, now), Attempt::Admitted);
        attempts.token_succeeded(&digest(0), THERE);
        assert!(matches!(attempts.check_token(&digest(0), HERE, now), Attempt::Refused { .. }));
    }

    #[test]
    fn the_addresses_of_one_ipv6_host_count_as_one() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(parse("2001:db8::1")), network(parse("2001:db8::ffff:1")));
        assert_ne!(network(parse("2001:db8::1")), network(parse("2001:db8:0:1::1")));
        assert_eq!(network(parse("::ffff:10.0.0.1")), HERE);
    }

    #[test]
    fn a_flood_of_names_stays_bounded_and_does_not_wash_out_who_waits() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        while admitted(&attempts, "ann", HERE, now) {}
        for n in 0..3 * u32::try_from(RECORDS_MAX).unwrap() {
            attempts.begin("x", IpAddr::V4(Ipv4Addr::from_bits(0xc000_0000 + n)), now + s(1) / 2);
            assert!(attempts.lock().len() <= RECORDS_MAX);
        }
        assert!(!admitted(&attempts, "ann", HERE, now + s(1) / 2));
    }

    proptest! {
        #[test]
        fn never_more_is_admitted_than_the_waits_allow(gaps in proptest::collection::vec(0..2_000_u64, 1..300)) {
            let (attempts, start) = (Attempts::default(), Instant::now());
            let (mut t, mut tries) = (0, Vec::new());
            for gap in gaps {
                t += gap;
                if admitted(&attempts, "ann", HERE, start + Duration::from_millis(t)) {
                    tries.push(t);
                }
            }
            for (n, pair) in tries.windows(2).enumerate().skip(4) {
                let wait = 1_000 * 2_u64.pow(u32::try_from(n - 4).unwrap().min(20)).min(300);
                prop_assert!(pair[1] - pair[0] >= wait, "try {} came {} ms after the one before", n + 2, pair[1] - pair[0]);
            }
        }
    }
}
