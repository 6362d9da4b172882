use crate::auth::recognise::{Offer, Recognised, Source};
use crate::auth::watch::offer_of;
use crate::auth::{AuthRefusal, token};
use crate::model::Secret;
use crate::store::SessionId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a ticket is good.
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Tickets that are good and were not used, in all and of one principal. Beyond them a new one is refused, and none is
/// dropped.
const TICKETS_MAX: usize = 4_096;
const TICKETS_OF_PRINCIPAL_MAX: usize = 16;
/// Begins every ticket, so that one that leaked is recognised as ours. No strategy's tokens begin so.
const PREFIX: &str = "ovt_";

/// Which web page asks for a ticket, or brings one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// No page: a program.
    None,
    /// A page of this origin.
    Named(String),
    /// A page of this server, whose browser does not name its origin with this kind of request.
    Own,
    /// A page that has nothing to ask for here.
    Foreign,
}

impl Page {
    /// Whether a ticket that was asked for here may be brought by that page.
    fn may_send(&self, bringing: &Self) -> bool {
        match (self, bringing) {
            (Self::None, Self::None) | (Self::Named(_) | Self::Own, Self::Own) => true,
            (Self::Named(asking), Self::Named(bringing)) => asking == bringing,
            (Self::None | Self::Named(_) | Self::Own | Self::Foreign, _) => false,
        }
    }
}

/// Tickets: each lets one connection in, once, soon, from the page that asked for it. For pages whose scripts cannot set
/// headers and hold no token. Only digests are kept.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    by_digest: Mutex<HashMap<[u8; 32], Ticket>>,
}

#[derive(Debug)]
struct Ticket {
    principal: String,
    credential: Stands,
    page: Page,
    until: Instant,
}

/// What whoever brings a ticket is judged by: what its asker brought, as it is worth then.
#[derive(Debug, Clone)]
pub(super) enum Stands {
    Session(SessionId),
    Credential(Offer),
}

impl Stands {
    fn of(who: &Recognised) -> Result<Self, AuthRefusal> {
        match &who.source {
            Source::Session(session) => Ok(Self::Session(session.session_id)),
            Source::Credential(_) => offer_of(who).map(Self::Credential).ok_or(AuthRefusal::Required),
        }
    }
}

impl Tickets {
    /// A ticket for whoever asks.
    pub(super) fn issue(&self, who: &Recognised, page: Page, now: Instant) -> Result<Secret, AuthRefusal> {
        let ticket = format!("{PREFIX}{}", token::word()?.reveal());
        let (principal, credential) = (who.principal.name.clone(), Stands::of(who)?);
        let mut tickets = self.lock();
        tickets.retain(|_, ticket| ticket.until > now);
        let of_principal = tickets.values().filter(|ticket| ticket.principal == principal).map(|ticket| ticket.until);
        for (limit, is_own, (count, first)) in [
            (TICKETS_OF_PRINCIPAL_MAX, true, counted(of_principal)),
            (TICKETS_MAX, false, counted(tickets.values().map(|ticket| ticket.until))),
        ] {
            if count >= limit {
                let retry_after = first.map_or(TICKET_TTL, |first| first.saturating_duration_since(now));
                return Err(AuthRefusal::TooManyTickets { limit, is_own, retry_after });
            }
        }
        tickets.insert(token::sha256(&ticket), Ticket { principal, credential, page, until: now + TICKET_TTL });
        Ok(Secret::new(ticket))
    }

    /// Takes a ticket, once and for all: it is good for one try, whatever comes of it.
    pub(super) fn take(&self, ticket: &Secret, page: &Page, now: Instant) -> Option<Stands> {
        let ticket = self.lock().remove(&token::sha256(ticket.reveal()))?;
        (ticket.until > now && ticket.page.may_send(page)).then_some(ticket.credential)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Ticket>> {
        self.by_digest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted(ends: impl Iterator<Item = Instant>) -> (usize, Option<Instant>) {
    ends.fold((0, None), |(count, first), end| (count + 1, Some(first.map_or(end, |first: Instant| first.min(end)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Credential, Principal, Rights, Role};
    use proptest::prelude::*;

    fn who(name: &str) -> Recognised {
        let principal = Principal::new(name.to_owned(), "s".to_owned(), false, Rights::of(Role::Viewer), Vec::new());
        let token = Secret::new(format!("ovk_{name}"));
        Recognised { principal, expires: None, source: Source::Credential(Credential::Bearer { token }) }
    }

    fn page(number: u8) -> Page {
        match number {
            0 => Page::None,
            1 => Page::Named("https://a".into()),
            2 => Page::Named("https://b".into()),
            3 => Page::Own,
            _ => Page::Foreign,
        }
    }

    #[test]
    fn a_ticket_is_for_the_page_that_asked_for_it() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let good: Vec<(u8, u8)> = vec![(0, 0), (1, 1), (1, 3), (2, 2), (2, 3), (3, 3)];
        for asking in 0..5 {
            for bringing in 0..5 {
                let ticket = tickets.issue(&who("ann"), page(asking), now).unwrap();
                let taken = tickets.take(&ticket, &page(bringing), now).is_some();
                assert_eq!(taken, good.contains(&(asking, bringing)), "{asking} {bringing}");
                assert!(tickets.take(&ticket, &page(asking), now).is_none(), "spoilt by the first try");
            }
        }
    }

    #[test]
    fn it_is_good_for_thirty_seconds() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let is_good_after = |wait| {
            let ticket = tickets.issue(&who("ann"), Page::None, now).unwrap();
            tickets.take(&ticket, &Page::None, now + wait).is_some()
        };
        assert!(is_good_after(TICKET_TTL - Duration::from_nanos(1)));
        assert!(!is_good_after(TICKET_TTL));
    }

    #[test]
    fn one_principal_fills_its_own_share_and_all_together_the_whole() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let refusal = |name: &str, now| match tickets.issue(&who(name), Page::None, now) {
            Err(AuthRefusal::TooManyTickets { limit, is_own, retry_after }) => Some((limit, is_own, retry_after)),
            Ok(_) => None,
            Err(other) => panic!("{other}"),
        };
        for _ in 0..TICKETS_OF_PRINCIPAL_MAX {
            assert_eq!(refusal("ann", now), None);
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(refusal("ann", later), Some((TICKETS_OF_PRINCIPAL_MAX, true, Duration::from_secs(20))));
        for number in TICKETS_OF_PRINCIPAL_MAX..TICKETS_MAX {
            assert_eq!(refusal(&format!("user{number}"), now), None);
        }
        assert_eq!(refusal("bob", now), Some((TICKETS_MAX, false, TICKET_TTL)));
        assert_eq!(tickets.lock().len(), TICKETS_MAX);
        assert_eq!(refusal("ann", now + TICKET_TTL), None, "those that are over make room");
        assert_eq!(tickets.lock().len(), 1);
    }

    proptest! {
        /// Whatever is asked for and brought in which order: a naive list of what is good agrees.
        #[test]
        fn p08_a_ticket_is_good_once_and_only_where_a_naive_list_says_so(
            steps in proptest::collection::vec((any::<bool>(), 0..4_u8, 0..24_usize, 0..12_u64), 1..60)
        ) {
            let (tickets, mut now) = (Tickets::default(), Instant::now());
            let mut known: Vec<(Secret, Page, Instant, bool)> = Vec::new();
            for (is_asking, place, which, wait) in steps {
                now += Duration::from_secs(wait);
                if is_asking {
                    match tickets.issue(&who("ann"), page(place), now) {
                        Ok(ticket) => known.push((ticket, page(place), now + TICKET_TTL, true)),
                        Err(_) => {
                            let good = known.iter().filter(|(_, _, until, is_unused)| *is_unused && *until > now).count();
                            prop_assert_eq!(good, TICKETS_OF_PRINCIPAL_MAX);
                        }
                    }
                } else if let Some((ticket, asking, until, is_unused)) = known.get_mut(which) {
                    let expected = *is_unused && *until > now && asking.may_send(&page(place));
                    prop_assert_eq!(tickets.take(ticket, &page(place), now).is_some(), expected);
                    *is_unused = false;
                }
            }
        }
    }
}
