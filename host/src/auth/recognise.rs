//! Who makes a request: by a session's token, or by a credential that a strategy judges each time.

use crate::auth::attempts::Attempt;
use crate::auth::chain::{self, Ruling};
use crate::auth::facade::Inner;
use crate::auth::login::{entry, failed};
use crate::auth::session::{SessionInfo, Standing};
use crate::auth::tickets::{Page, Stands};
use crate::auth::verdicts::{Basis, Known, TokenKey, Yes};
use crate::auth::{AuthRefusal, token};
use crate::model::{Credential, Identity, IdentitySource, PeerFacts, Principal, Rights, Role, Secret};
use crate::plugin::PluginSet;
use crate::store::{AuditOutcome, AuditRecord, SessionId};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// What the audit calls a request whose credential was refused.
const RECOGNISE: &str = "request.authenticate";
/// Bytes of a bearer token, as the contract says.
const BEARER_BYTES_MAX: usize = 8_192;

/// What a request brings to be recognised by.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What stood behind `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// The headers among [`crate::auth::Auth::request_headers`] that it has, names in lower case. They count only
    /// without a bearer token.
    pub headers: Vec<(String, String)>,
}

/// Who makes a request.
#[derive(Debug, Clone)]
pub struct Recognised {
    /// Who it is.
    pub principal: Principal,
    /// When that ends in any case, if it does.
    pub expires: Option<SystemTime>,
    /// How it was recognised.
    pub source: Source,
}

/// How somebody was recognised.
#[derive(Debug, Clone)]
pub enum Source {
    /// By a session. Keeping it keeps the session in use.
    Session(SessionInfo),
    /// By a credential that was judged for this request.
    Credential(Credential),
}

/// A principal, and when its credential ends.
type Who = (Principal, Option<SystemTime>);

impl Recognised {
    /// The session, if there is one.
    #[must_use]
    pub fn session(&self) -> Option<&SessionInfo> {
        match &self.source {
            Source::Session(session) => Some(session),
            Source::Credential(_) => None,
        }
    }

    /// Who stands behind a session.
    pub(super) fn by(session: SessionInfo) -> Self {
        let (principal, expires) = (session.principal.clone(), Some(session.expires));
        Self { principal, expires, source: Source::Session(session) }
    }

    /// When the credential ends. A session has an end of its own, which says nothing about who holds it.
    pub(super) fn credential_expires(&self) -> Option<SystemTime> {
        self.expires.filter(|_| self.session().is_none())
    }
}

impl Inner {
    pub(super) async fn recognise(
        &self,
        offer: Offer,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Recognised, AuthRefusal> {
        let Offer { bearer, headers } = offer;
        if let Some(token) = bearer.as_ref().filter(|token| token::is_of_session(token.reveal())) {
            return Ok(Recognised::by(self.session(token.reveal(), now)?));
        }
        let set = Arc::clone(&self.plugins.borrow());
        let credential = bearer.map_or_else(|| Credential::Headers { headers }, |token| Credential::Bearer { token });
        if !chain::is_looked_at(&set, &credential) {
            return Err(AuthRefusal::Required);
        }
        let (principal, expires) = match &credential {
            Credential::Bearer { token } => self.by_bearer(&set, token, &credential, facts, now).await?,
            Credential::Headers { .. } | Credential::Password { .. } => {
                self.by_headers(&set, &credential, facts, now).await?
            }
        };
        Ok(Recognised { principal, expires, source: Source::Credential(credential) })
    }

    async fn by_bearer(
        &self,
        set: &Arc<PluginSet>,
        token: &Secret,
        credential: &Credential,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Who, AuthRefusal> {
        if token.reveal().len() > BEARER_BYTES_MAX {
            return Err(AuthRefusal::Required);
        }
        let key = TokenKey { address: facts.address, digest: token::sha256(token.reveal()) };
        let basis = Basis::new(set, self.keys.epoch());
        let was_good = match self.verdicts.get(&key, &basis, Instant::now()) {
            Known::Good(yes) => match self.principal(&yes.strategy, &yes.identity, now)? {
                Ok(who) => return Ok((who.principal, yes.identity.expires)),
                Err(_) => false,
            },
            Known::Before => true,
            Known::Nothing => false,
        };
        // Who was good before does not guess, and does not suffer from those who do behind the same address.
        if !was_good {
            self.check_token(&key, facts, now).await?;
        }
        let (strategy, reason) = match self.ask(set, credential, facts).await? {
            Ok(yes) => match self.principal(&yes.strategy, &yes.identity, now)? {
                Ok(Standing { principal, .. }) => {
                    let expires = yes.identity.expires;
                    self.attempts.token_succeeded(&key.digest, key.address);
                    self.verdicts.put(key, &basis, yes, Instant::now());
                    return Ok((principal, expires));
                }
                Err(reason) => (yes.strategy, reason.to_owned()),
            },
            Err(refused) => refused,
        };
        self.verdicts.forget(&key);
        self.attempts.token_failed(&key.digest, key.address, Instant::now());
        let record = entry(RECOGNISE, "", AuditOutcome::Refused, &reason, facts, now);
        self.store.append_audit(AuditRecord { target: strategy, ..record }).await?;
        Err(AuthRefusal::Failed)
    }

    /// Headers hold nothing that could be guessed: what makes them good is who sends them. So nothing is counted, or one
    /// refused user would in the end shut out all who come through the same proxy; and a refusal is in the log alone, which
    /// a stranger cannot fill.
    async fn by_headers(
        &self,
        set: &Arc<PluginSet>,
        credential: &Credential,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Who, AuthRefusal> {
        let (strategy, reason) = match self.ask(set, credential, facts).await? {
            Ok(yes) => match self.principal(&yes.strategy, &yes.identity, now)? {
                Ok(who) => return Ok((who.principal, yes.identity.expires)),
                Err(reason) => (yes.strategy, reason.to_owned()),
            },
            Err(refused) => refused,
        };
        if strategy.is_empty() {
            return Err(AuthRefusal::Required);
        }
        tracing::info!(strategy, reason, address = %facts.address, request_id = facts.request_id, "headers refused");
        Err(AuthRefusal::Failed)
    }

    /// Asks the strategies, when it is this request's turn. A no is the strategy and its reason. A failure is not audited:
    /// the log has it with the request, and an audit that a failing plugin could fill would be worth little.
    async fn ask(
        &self,
        set: &PluginSet,
        credential: &Credential,
        facts: &PeerFacts,
    ) -> Result<Result<Yes, (String, String)>, AuthRefusal> {
        let ruling = {
            let _slot = self.requests.enter().await.ok_or(AuthRefusal::BUSY)?;
            chain::judge(set, credential, facts).await
        };
        match ruling {
            Ruling::Granted { strategy, identity } => Ok(Ok(Yes { strategy, identity })),
            Ruling::Denied { strategy, code } => Ok(Err((strategy, code))),
            Ruling::Failed { strategy, source } => Err(failed(strategy, source)),
        }
    }

    async fn check_token(&self, key: &TokenKey, facts: &PeerFacts, now: SystemTime) -> Result<(), AuthRefusal> {
        match self.attempts.check_token(&key.digest, key.address, Instant::now()) {
            Attempt::Admitted => Ok(()),
            Attempt::Refused { retry_after, is_first } => {
                if is_first {
                    let record = entry(RECOGNISE, "", AuditOutcome::Refused, "too_many_attempts", facts, now);
                    self.store.append_audit(record).await?;
                }
                Err(AuthRefusal::TooManyAttempts { retry_after })
            }
        }
    }

    /// Whom an identity stands for here and now, or why it is nobody.
    pub(super) fn principal(
        &self,
        strategy: &str,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Result<Standing, &'static str>, AuthRefusal> {
        if identity.expires.is_some_and(|expires| expires <= now) {
            return Ok(Err("expired"));
        }
        let (name, granted, epoch, is_external) = match identity.source {
            IdentitySource::Account => match self.enabled_account(&identity.name)? {
                Ok((account, granted)) => (account.name, granted, account.epoch, false),
                Err(reason) => return Ok(Err(reason)),
            },
            IdentitySource::External(role) => match self.external_role(strategy, role) {
                Ok(role) => (format!("{strategy}/{}", identity.name), Rights::of(role), 0, true),
                Err(reason) => return Ok(Err(reason)),
            },
        };
        let (strategy, scopes) = (strategy.to_owned(), identity.scopes.clone());
        let principal = Principal::new(name, strategy, is_external, Arc::clone(&granted), scopes);
        Ok(Ok(Standing { principal, granted, epoch }))
    }

    /// The role of somebody known elsewhere: what the strategy says, and no more than the operator granted to it.
    pub(super) fn external_role(&self, strategy: &str, role: Role) -> Result<Role, &'static str> {
        if !self.plugins.borrow().strategies.iter().any(|known| known.name() == strategy) {
            return Err("unknown_strategy");
        }
        let max = self.roles_max.borrow().get(strategy).copied().unwrap_or(Role::Viewer);
        Ok(role.min(max))
    }

    pub(super) fn session(&self, token: &str, now: SystemTime) -> Result<SessionInfo, AuthRefusal> {
        self.session_by_id(token::digest(token).map(SessionId).ok_or(AuthRefusal::Required)?, now)
    }

    /// Who stands behind what a ticket stands on, judged as if it had come with this request.
    pub(super) async fn redeem_ticket(
        &self,
        ticket: &Secret,
        page: &Page,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Recognised, AuthRefusal> {
        match self.tickets.take(ticket, page, Instant::now()).ok_or(AuthRefusal::Required)? {
            Stands::Session(id) => Ok(Recognised::by(self.session_by_id(id, now)?)),
            Stands::Credential(offer) => self.recognise(offer, facts, now).await,
        }
    }

    fn session_by_id(&self, id: SessionId, now: SystemTime) -> Result<SessionInfo, AuthRefusal> {
        let found = self.sessions.find(id, now)?.ok_or(AuthRefusal::Required)?;
        let granted = match found.external {
            None => self.enabled_account(&found.account)?.and_then(|(account, granted)| {
                // Nothing but what began after the last change of its password is a session of an account.
                if account.epoch == found.epoch { Ok(granted) } else { Err("changed_account") }
            }),
            Some(role) => self.external_role(&found.strategy, role).map(Rights::of),
        };
        match granted {
            Ok(granted) => Ok(found.into_info(granted)),
            Err(reason) => {
                self.end_for_good(found.id, &found.account, reason, now);
                Err(AuthRefusal::Required)
            }
        }
    }

    /// Ends a session whose account has gone, here at once and in the store soon: it must not come back with the
    /// account.
    fn end_for_good(&self, id: SessionId, account: &str, reason: &str, now: SystemTime) {
        self.sessions.end_here(id);
        let record = AuditRecord {
            at: now,
            who: account.to_owned(),
            what: "session.end".to_owned(),
            target: id.to_string(),
            outcome: AuditOutcome::Done,
            reason: reason.to_owned(),
            request_id: String::new(),
            address: None,
        };
        let store = self.store.clone();
        self.tracker.spawn(async move {
            if let Err(error) = store.delete_session(id, record).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, session = %id, "a session of a closed account is still in the store");
            }
        });
    }
}
