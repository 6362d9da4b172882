//! What ends a connection that outlives the request that opened it.

use crate::auth::AuthRefusal;
use crate::auth::facade::Auth;
use crate::auth::recognise::{Offer, Recognised, Source};
use crate::model::{Credential, PeerFacts};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often a credential is judged again while a connection that it opened goes on.
const RECHECK_INTERVAL: Duration = Duration::from_secs(30);
/// So many times in a row it may not have been judged, for want of whoever judges. Then the connection ends.
const UNJUDGED_MAX: u32 = 3;

/// Tells when whoever opened a connection may no longer have it. Keep it as long as the connection.
#[derive(Debug)]
pub struct Watch {
    /// Cancelled then.
    pub ended: CancellationToken,
    /// Ends the watching task.
    _gone: Option<DropGuard>,
}

impl Auth {
    /// Watches whoever opened a connection. A session tells by itself when it ends; any other credential is judged again
    /// every 30 seconds, and at its end.
    #[must_use]
    pub fn watch(&self, who: &Recognised, facts: &PeerFacts, now: SystemTime) -> Watch {
        let offer = match &who.source {
            Source::Session(session) => return Watch { ended: session.ended.clone(), _gone: None },
            Source::Credential(Credential::Bearer { token }) => {
                Offer { bearer: Some(token.clone()), headers: Vec::new() }
            }
            Source::Credential(Credential::Headers { headers }) => Offer { bearer: None, headers: headers.clone() },
            // Nothing recognises a request by it; a connection without a way to judge it again does not begin.
            Source::Credential(Credential::Password { .. }) => Offer { bearer: None, headers: Vec::new() },
        };
        let (ended, gone) = (CancellationToken::new(), CancellationToken::new());
        let task =
            Recheck { auth: self.clone(), who: who.clone(), offer, facts: facts.clone(), began: (now, Instant::now()) };
        let (told, stop) = (ended.clone(), gone.clone());
        self.tracker().spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task.until_refused() => told.cancel(),
            }
        });
        Watch { ended, _gone: Some(gone.drop_guard()) }
    }
}

struct Recheck {
    auth: Auth,
    who: Recognised,
    offer: Offer,
    facts: PeerFacts,
    began: (SystemTime, Instant),
}

impl Recheck {
    async fn until_refused(&self) {
        let mut unjudged = 0;
        loop {
            let left = self.who.expires.map(|expires| expires.duration_since(self.now()).unwrap_or_default());
            tokio::time::sleep(left.map_or(RECHECK_INTERVAL, |left| left.min(RECHECK_INTERVAL))).await;
            if self.who.expires.is_some_and(|expires| expires <= self.now()) {
                return;
            }
            match self.auth.recognise(self.offer.clone(), &self.facts, self.now()).await {
                // Somebody who may more or less than before opens another connection.
                Ok(who) if who.principal == self.who.principal => unjudged = 0,
                Ok(_) => return,
                Err(refusal) => {
                    unjudged += 1;
                    if !is_passing(&refusal) || unjudged >= UNJUDGED_MAX {
                        return;
                    }
                }
            }
        }
    }

    fn now(&self) -> SystemTime {
        let (at, instant) = self.began;
        at + instant.elapsed()
    }
}

/// Whether a refusal says nothing about the credential itself.
const fn is_passing(refusal: &AuthRefusal) -> bool {
    match refusal {
        AuthRefusal::Busy { .. }
        | AuthRefusal::TooManyAttempts { .. }
        | AuthRefusal::Plugin { .. }
        | AuthRefusal::Store(_)
        | AuthRefusal::Internal { .. } => true,
        AuthRefusal::Required
        | AuthRefusal::Failed
        | AuthRefusal::Forbidden { .. }
        | AuthRefusal::SetupDone
        | AuthRefusal::Account(_)
        | AuthRefusal::NoSuchLogin { .. }
        | AuthRefusal::NoExternalUrl
        | AuthRefusal::FlowsFull { .. }
        | AuthRefusal::FlowLost
        | AuthRefusal::NoSession
        | AuthRefusal::NoAccount
        | AuthRefusal::KeyWish(_)
        | AuthRefusal::NoSuchKey { .. } => false,
    }
}
