//! How a session begins: by a password, by the setup token, or at another server and back.

use crate::auth::AuthRefusal;
use crate::auth::attempts::Attempt;
use crate::auth::chain::{self, Ruling};
use crate::auth::facade::{Inner, Login};
use crate::auth::flows::{Lost, Words};
use crate::auth::session::Standing;
use crate::auth::setup::create_first_administrator;
use crate::model::{Credential, PeerFacts, Principal, Rights, Role, Secret};
use crate::plugin::{JudgeError, PluginFailure, Returned, Strategy};
use crate::store::{AuditOutcome, AuditRecord};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// Where somebody is sent to log in.
#[derive(Debug, Clone)]
pub struct Departure {
    /// The address, `http:` or `https:`.
    pub url: String,
    /// What the browser has to bring back in a cookie.
    pub cookie: Secret,
    /// True when users reach this server by `https:`, so that the cookie may travel by that alone.
    pub is_secure: bool,
}

impl Inner {
    pub(super) async fn login(
        &self,
        credential: Credential,
        facts: PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        let claimed = match &credential {
            Credential::Password { username, .. } => username,
            Credential::Bearer { .. } | Credential::Headers { .. } => "",
        };
        self.begin_attempt("session.login", claimed, &facts, now).await?;
        let result = self.judge(&credential, claimed, &facts, now).await;
        self.end_attempt(claimed, &facts, &result);
        result
    }

    pub(super) async fn depart(&self, name: &str, facts: PeerFacts) -> Result<Departure, AuthRefusal> {
        let strategy = self.redirecting(name)?;
        let redirect_uri = self.redirect_uri(name)?;
        let address = facts.address;
        self.flows.check_room(address, Instant::now())?;
        let words = Words::new()?;
        let said = {
            let _slot = self.requests.enter().await.ok_or(AuthRefusal::BUSY)?;
            strategy.begin(redirect_uri.clone(), words.state.reveal().to_owned(), facts).await
        };
        let redirection = said.map_err(|source| failed(name.to_owned(), source))?;
        self.flows.begin(name, &words, redirection.keep, address, Instant::now())?;
        let is_secure = redirect_uri.starts_with("https:");
        Ok(Departure { url: redirection.url, cookie: words.cookie, is_secure })
    }

    pub(super) async fn arrive(
        &self,
        name: &str,
        parameters: Vec<(String, String)>,
        cookie: Option<Secret>,
        facts: PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        const NO_ACCOUNT: &str = "";
        let strategy = self.redirecting(name)?;
        let redirect_uri = self.redirect_uri(name)?;
        let state = parameters.iter().find(|(key, _)| key == "state").map_or("", |(_, value)| value);
        let cookie = cookie.as_ref().map(Secret::reveal);
        let keep = match self.flows.take(name, state, cookie, Instant::now()) {
            Ok(keep) => keep,
            Err(Lost::Unknown) => return Err(AuthRefusal::FlowLost),
            Err(Lost::OtherBrowser) => {
                let record = entry("session.login", "", AuditOutcome::Refused, "other_browser", &facts, now);
                self.store.append_audit(AuditRecord { target: name.to_owned(), ..record }).await?;
                return Err(AuthRefusal::FlowLost);
            }
        };
        self.begin_attempt("session.login", NO_ACCOUNT, &facts, now).await?;
        let returned = Returned { redirect_uri, parameters, keep, facts: facts.clone() };
        let result = match self.logins.enter().await {
            None => Err(AuthRefusal::BUSY),
            Some(slot) => {
                let said = strategy.complete(returned).await;
                drop(slot);
                let ruling = chain::ruling(name, said).unwrap_or_else(chain::nobody);
                self.settle(ruling, (NO_ACCOUNT, None), &facts, now).await
            }
        };
        self.end_attempt(NO_ACCOUNT, &facts, &result);
        result
    }

    /// The strategy of this name, if it sends people elsewhere.
    fn redirecting(&self, name: &str) -> Result<Arc<dyn Strategy>, AuthRefusal> {
        let set = Arc::clone(&self.plugins.borrow());
        let redirects = |strategy: &&Arc<dyn Strategy>| {
            strategy.name() == name && strategy.info().credentials.iter().any(|kind| kind == "redirect")
        };
        let found = set.strategies.iter().find(redirects).map(Arc::clone);
        found.ok_or_else(|| AuthRefusal::NoSuchLogin { strategy: name.to_owned() })
    }

    fn redirect_uri(&self, strategy: &str) -> Result<String, AuthRefusal> {
        let server = Arc::clone(&self.server.borrow());
        let url = server.external_url.as_ref().ok_or(AuthRefusal::NoExternalUrl)?;
        Ok(format!("{url}{}/api/v1/login/{strategy}/callback", server.base_path))
    }

    async fn judge(
        &self,
        credential: &Credential,
        claimed: &str,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        let before = self.store.account(claimed)?.map(|account| account.epoch);
        let ruling = {
            let _slot = self.logins.enter().await.ok_or(AuthRefusal::BUSY)?;
            let set = Arc::clone(&self.plugins.borrow());
            chain::judge(&set, credential, facts).await
        };
        self.settle(ruling, (claimed, before), facts, now).await
    }

    /// Begins a session for whom a strategy said yes to. Success and failure are in the audit before this answers. With the
    /// claimed account goes its epoch from before it was judged: a password that was changed meanwhile is good no more.
    async fn settle(
        &self,
        ruling: Ruling,
        (claimed, before): (&str, Option<u64>),
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        let refused = |strategy: String, reason: &str| AuditRecord {
            target: strategy,
            ..entry("session.login", claimed, AuditOutcome::Refused, reason, facts, now)
        };
        let (record, refusal) = match ruling {
            Ruling::Granted { strategy, identity } => match self.principal(&strategy, &identity, now)? {
                Ok(who) if who.principal.name == claimed && before.is_some_and(|before| before != who.epoch) => {
                    (refused(strategy, "changed_account"), AuthRefusal::Failed)
                }
                Ok(who) => {
                    let record = entry("session.login", &who.principal.name, AuditOutcome::Done, "", facts, now);
                    let record = AuditRecord { target: strategy, ..record };
                    let (token, session) = self.sessions.begin(who, identity.expires, record, now).await?;
                    return Ok(Login { token, session });
                }
                Err(reason) => (refused(strategy, reason), AuthRefusal::Failed),
            },
            Ruling::Denied { strategy, code } => (refused(strategy, &code), AuthRefusal::Failed),
            Ruling::Failed { strategy, source } => {
                let record =
                    AuditRecord { outcome: AuditOutcome::Failed, ..refused(strategy.clone(), code_of(&source)) };
                (record, failed(strategy, source))
            }
        };
        self.store.append_audit(record).await?;
        Err(refusal)
    }

    pub(super) async fn setup(
        &self,
        token: &Secret,
        username: String,
        password: Secret,
        facts: PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        const NO_ACCOUNT: &str = "";
        self.begin_attempt("setup", NO_ACCOUNT, &facts, now).await?;
        let result = self.redeem(token, username, password, &facts, now).await;
        self.end_attempt(NO_ACCOUNT, &facts, &result);
        result
    }

    async fn redeem(
        &self,
        token: &Secret,
        username: String,
        password: Secret,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<Login, AuthRefusal> {
        if !self.setup.check(token)? {
            let record = entry("setup", &username, AuditOutcome::Refused, "bad_token", facts, now);
            self.store.append_audit(record).await?;
            return Err(AuthRefusal::Failed);
        }
        let record = entry("setup", &username, AuditOutcome::Done, "", facts, now);
        let made = create_first_administrator(&self.store, &self.passwords, &username, password, record, now).await;
        if matches!(made, Ok(()) | Err(AuthRefusal::SetupDone)) {
            self.setup.close();
        }
        made?;
        let record = entry("session.login", &username, AuditOutcome::Done, "", facts, now);
        let epoch = self.store.account(&username)?.map_or(0, |account| account.epoch);
        let granted = Rights::of(Role::Admin);
        let principal = Principal::new(username, "setup".to_owned(), false, Arc::clone(&granted), Vec::new());
        let record = AuditRecord { target: principal.strategy.clone(), ..record };
        let who = Standing { principal, granted, epoch };
        let (token, session) = self.sessions.begin(who, None, record, now).await?;
        Ok(Login { token, session })
    }

    pub(super) async fn begin_attempt(
        &self,
        what: &str,
        account: &str,
        facts: &PeerFacts,
        now: SystemTime,
    ) -> Result<(), AuthRefusal> {
        match self.attempts.begin(account, facts.address, Instant::now()) {
            Attempt::Admitted => Ok(()),
            Attempt::Refused { retry_after, is_first } => {
                // The first says it all; a record each would let a stranger fill the disk.
                if is_first {
                    let record = entry(what, account, AuditOutcome::Refused, "too_many_attempts", facts, now);
                    self.store.append_audit(record).await?;
                }
                Err(AuthRefusal::TooManyAttempts { retry_after })
            }
        }
    }

    pub(super) fn end_attempt<T>(&self, account: &str, facts: &PeerFacts, result: &Result<T, AuthRefusal>) {
        match result {
            Ok(_) => self.attempts.succeeded(account, facts.address),
            Err(AuthRefusal::Failed) => {}
            Err(
                AuthRefusal::Required
                | AuthRefusal::Forbidden { .. }
                | AuthRefusal::TooManyAttempts { .. }
                | AuthRefusal::Busy { .. }
                | AuthRefusal::Plugin { .. }
                | AuthRefusal::Store(_)
                | AuthRefusal::SetupDone
                | AuthRefusal::Account(_)
                | AuthRefusal::NoSuchLogin { .. }
                | AuthRefusal::NoExternalUrl
                | AuthRefusal::FlowsFull { .. }
                | AuthRefusal::FlowLost
                | AuthRefusal::TooManyTickets { .. }
                | AuthRefusal::NoSession
                | AuthRefusal::NoAccount
                | AuthRefusal::KeyWish(_)
                | AuthRefusal::NoSuchKey { .. }
                | AuthRefusal::Limited
                | AuthRefusal::Exceeds { .. }
                | AuthRefusal::NoSuchSession
                | AuthRefusal::BuiltIn { .. }
                | AuthRefusal::Internal { .. },
            ) => self.attempts.not_judged(account, facts.address),
        }
    }
}

/// A strategy that failed, as whoever asked is told.
pub(super) fn failed(strategy: String, source: JudgeError) -> AuthRefusal {
    let is_busy = matches!(source, JudgeError::Plugin(PluginFailure::Busy { .. }));
    if is_busy { AuthRefusal::BUSY } else { AuthRefusal::Plugin { strategy, source } }
}

fn code_of(failure: &JudgeError) -> &str {
    match failure {
        JudgeError::Fault(fault) => &fault.code,
        JudgeError::Plugin(failure) => failure.code(),
    }
}

/// A record of the audit about a request.
pub(super) fn entry(
    what: &str,
    who: &str,
    outcome: AuditOutcome,
    reason: &str,
    facts: &PeerFacts,
    now: SystemTime,
) -> AuditRecord {
    AuditRecord {
        at: now,
        who: who.to_owned(),
        what: what.to_owned(),
        target: String::new(),
        outcome,
        reason: reason.to_owned(),
        request_id: facts.request_id.clone(),
        address: Some(facts.address),
    }
}
