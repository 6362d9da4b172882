use crate::auth::attempts::network;
use crate::auth::{AuthRefusal, token};
use crate::model::Secret;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long somebody may take to come back.
pub const FLOW_TTL: Duration = Duration::from_secs(600);
/// Logins under way elsewhere, in all and of one address. Beyond them a new one is refused, and none is dropped.
const FLOWS_MAX: usize = 1_024;
const FLOWS_OF_ADDRESS_MAX: usize = 32;

/// Logins that were sent elsewhere and are not back yet.
///
/// Each has a `state`, which travels through the provider, and a word in a cookie, which stays with the browser that began:
/// whoever has one of them has nothing. Only digests of both are kept.
#[derive(Debug, Default)]
pub(super) struct Flows {
    by_state: Mutex<HashMap<[u8; 32], Flow>>,
}

#[derive(Debug)]
struct Flow {
    strategy: String,
    cookie: [u8; 32],
    keep: Secret,
    address: IpAddr,
    begun: Instant,
}

/// The two words of a login that is about to begin.
pub(super) struct Words {
    pub(super) state: Secret,
    pub(super) cookie: Secret,
}

impl Words {
    pub(super) fn new() -> Result<Self, AuthRefusal> {
        Ok(Self { state: token::word()?, cookie: token::word()? })
    }
}

/// Why somebody who came back is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// No such login is under way: never begun here, taken already, or too late.
    Unknown,
    /// It is, and this is not the browser that began it.
    OtherBrowser,
}

impl Flows {
    /// Whether one more may begin. Asked before the strategy is, so that a full house costs nothing.
    pub(super) fn check_room(&self, address: IpAddr, now: Instant) -> Result<(), AuthRefusal> {
        let mut flows = self.lock();
        check_room(&mut flows, network(address), now)
    }

    /// Keeps a login that was sent elsewhere.
    pub(super) fn begin(
        &self,
        strategy: &str,
        words: &Words,
        keep: Secret,
        address: IpAddr,
        now: Instant,
    ) -> Result<(), AuthRefusal> {
        let mut flows = self.lock();
        let address = network(address);
        check_room(&mut flows, address, now)?;
        let cookie = token::sha256(words.cookie.reveal());
        let flow = Flow { strategy: strategy.to_owned(), cookie, keep, address, begun: now };
        flows.insert(token::sha256(words.state.reveal()), flow);
        Ok(())
    }

    /// Takes a login that is back, once and for all: a `state` is good for one try, whatever comes of it.
    ///
    /// Both words are compared by their digests, so that the time tells nothing about them.
    pub(super) fn take(&self, strategy: &str, state: &str, cookie: Option<&str>, now: Instant) -> Result<Secret, Lost> {
        let flow = self.lock().remove(&token::sha256(state)).ok_or(Lost::Unknown)?;
        if now.saturating_duration_since(flow.begun) >= FLOW_TTL || flow.strategy != strategy {
            return Err(Lost::Unknown);
        }
        let is_same = cookie.is_some_and(|cookie| token::is_same(&token::sha256(cookie), &flow.cookie));
        if is_same { Ok(flow.keep) } else { Err(Lost::OtherBrowser) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Flow>> {
        self.by_state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_room(flows: &mut HashMap<[u8; 32], Flow>, address: IpAddr, now: Instant) -> Result<(), AuthRefusal> {
    flows.retain(|_, flow| now.saturating_duration_since(flow.begun) < FLOW_TTL);
    let of_address = flows.values().filter(|flow| flow.address == address).map(|flow| flow.begun);
    let (count, oldest) = of_address.fold((0, now), |(count, oldest), begun| (count + 1, oldest.min(begun)));
    if count >= FLOWS_OF_ADDRESS_MAX {
        return Err(AuthRefusal::TooManyAttempts { retry_after: (oldest + FLOW_TTL).saturating_duration_since(now) });
    }
    if flows.len() >= FLOWS_MAX {
        return Err(AuthRefusal::FlowsFull { limit: FLOWS_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn begun(flows: &Flows, n: u32, now: Instant) -> Result<Words, AuthRefusal> {
        let words = Words::new()?;
        flows.begin("auth-oidc", &words, Secret::new("kept".into()), address(n), now).map(|()| words)
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_with_both_words_gets_what_was_kept_once() {
        let (flows, now) = (Flows::default(), Instant::now());
        let words = begun(&flows, 1, now).unwrap();
        let take = |state: &str| flows.take("auth-oidc", state, Some(words.cookie.reveal()), now);
        assert_eq!(take(words.cookie.reveal()), Err(Lost::Unknown), "a wrong state takes nothing");
        assert_eq!(take(words.state.reveal()).unwrap().reveal(), "kept");
        assert_eq!(take(words.state.reveal()), Err(Lost::Unknown), "a second time");
    }

    #[tokio::test(start_paused = true)]
    async fn another_browser_another_strategy_and_a_late_return_get_nothing() {
        let (flows, now) = (Flows::default(), Instant::now());
        let cookie_of_another = token::word().unwrap();
        for (strategy, cookie, later, lost) in [
            ("auth-oidc", None, 0, Lost::OtherBrowser),
            ("auth-oidc", Some(cookie_of_another.reveal()), 0, Lost::OtherBrowser),
            ("auth-oidc", Some(""), 0, Lost::OtherBrowser),
            ("auth-other", Some("own"), 0, Lost::Unknown),
            ("auth-oidc", Some("own"), FLOW_TTL.as_secs(), Lost::Unknown),
        ] {
            let words = begun(&flows, 1, now).unwrap();
            let cookie = cookie.map(|cookie| if cookie == "own" { words.cookie.reveal() } else { cookie });
            let at = now + Duration::from_secs(later);
            assert_eq!(flows.take(strategy, words.state.reveal(), cookie, at), Err(lost), "{strategy} {cookie:?}");
            let again = flows.take("auth-oidc", words.state.reveal(), Some(words.cookie.reveal()), now);
            assert_eq!(again, Err(Lost::Unknown), "a state is good for one try");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_house_refuses_the_new_and_keeps_the_old_until_their_time_is_over() {
        let (flows, now) = (Flows::default(), Instant::now());
        let first = begun(&flows, 0, now).unwrap();
        while begun(&flows, 0, now).is_ok() {}
        let error = begun(&flows, 0, now + Duration::from_secs(100)).err().expect("full for this address");
        let wait = Duration::from_secs(500);
        assert!(matches!(error, AuthRefusal::TooManyAttempts { retry_after } if retry_after == wait), "{error:?}");
        let others = (1..).take_while(|n| begun(&flows, *n, now).is_ok()).count();
        assert_eq!(others, FLOWS_MAX - FLOWS_OF_ADDRESS_MAX);
        let error = begun(&flows, 9_999, now).err().expect("full for everybody");
        assert!(matches!(error, AuthRefusal::FlowsFull { limit: FLOWS_MAX }), "{error:?}");
        assert!(flows.take("auth-oidc", first.state.reveal(), Some(first.cookie.reveal()), now).is_ok());
        assert!(begun(&flows, 9_999, now + FLOW_TTL).is_ok(), "all are over by then");
        assert_eq!(flows.lock().len(), 1);
    }
}
