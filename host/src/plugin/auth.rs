use crate::model::{
    AdapterFault, Credential, FaultKind, Identity, IdentitySource, PeerFacts, Redirection, Role, Secret, StrategyInfo,
    Verdict,
};
use crate::plugin::bindings::auth::AuthStrategyPre;
use crate::plugin::bindings::auth::omnivisor::auth::types as wit;
use crate::plugin::bindings::redirect::RedirectLoginPre;
use crate::plugin::bindings::redirect::exports::omnivisor::auth::redirect;
use crate::plugin::call::{Callee, Given};
use crate::plugin::ending::Refused;
use crate::plugin::fault::{accepted, nonsense};
use crate::plugin::state::CallState;
use crate::plugin::text::{clean, code};
use crate::plugin::{BoxFuture, JudgeError, LoadError, Returned, Services, Strategy};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use wasmtime::component::InstancePre;

/// A linked strategy, with the interface that only some have.
pub(super) struct Linked {
    strategy: AuthStrategyPre<CallState>,
    /// Why it does not redirect, where it does not.
    redirect: Result<RedirectLoginPre<CallState>, String>,
}

impl Linked {
    /// # Errors
    /// It does not fit the world `auth-strategy`.
    pub(super) fn new(linked: InstancePre<CallState>) -> wasmtime::Result<Self> {
        let redirect = RedirectLoginPre::new(linked.clone()).map_err(|error| clean(&format!("{error:#}"), 512));
        Ok(Self { strategy: AuthStrategyPre::new(linked)?, redirect })
    }

    fn redirect(&self) -> wasmtime::Result<&RedirectLoginPre<CallState>> {
        self.redirect.as_ref().map_err(|reason| wasmtime::Error::msg(reason.clone()))
    }
}

/// Bytes of an address to send a browser to, and of what is kept meanwhile.
const URL_BYTES_MAX: usize = 8_192;
const KEEP_BYTES_MAX: usize = 4 * 1_024;
/// Bytes that an account's name may have.
const NAME_BYTES_MAX: usize = 255;
/// The kinds of credential that this version of the host knows.
const KINDS: [&str; 4] = ["password", "bearer", "headers", REDIRECT];
const REDIRECT: &str = "redirect";
/// Headers that a strategy may ask to see.
const HEADERS_MAX: usize = 8;
/// Actions that a credential may be limited to.
const SCOPES_MAX: usize = 64;

/// An auth strategy that is a component.
pub(super) struct AuthStrategy {
    callee: Callee<Linked>,
    info: Arc<StrategyInfo>,
    services: Services,
}

impl AuthStrategy {
    /// Asks a linked component what it is.
    pub(super) async fn describe(callee: Callee<Linked>, services: Services) -> Result<Self, LoadError> {
        let said = callee
            .call(
                Given::to_describe(),
                |linked, store| {
                    Box::pin(async move {
                        let plugin = linked.strategy.instantiate_async(&mut *store).await?;
                        plugin.omnivisor_auth_strategy().call_describe(store).await
                    })
                },
                |said| said.map_err(accepted),
            )
            .await;
        let plugin = || callee.name.to_string();
        let info = said.map_err(|ending| LoadError::describe(plugin(), ending))?;
        let redirects = callee.linked.redirect.as_ref().map(drop).map_err(String::as_str);
        let info = checked(info, redirects).map_err(|reason| LoadError::Description { plugin: plugin(), reason })?;
        Ok(Self { callee, info: Arc::new(info), services })
    }
}

impl AuthStrategy {
    fn given(&self, facts: &PeerFacts) -> Given {
        Given {
            accounts: Some(Arc::clone(&self.services.accounts)),
            request_id: Some(facts.request_id.clone()),
            ..Given::default()
        }
    }

    /// Refuses without a call what the strategy does not do.
    fn check_redirects(&self) -> Result<(), JudgeError> {
        if self.info.credentials.iter().any(|kind| kind == REDIRECT) {
            return Ok(());
        }
        Err(JudgeError::Fault(AdapterFault {
            kind: FaultKind::Unsupported,
            code: "auth.no_redirect".to_owned(),
            message: format!("strategy `{}` does not send anybody elsewhere", self.callee.name),
        }))
    }
}

impl Strategy for AuthStrategy {
    fn name(&self) -> &str {
        &self.callee.name
    }

    fn info(&self) -> &Arc<StrategyInfo> {
        &self.info
    }

    fn authenticate(&self, credential: Credential, facts: PeerFacts) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        let given = self.given(&facts);
        let facts = told(facts);
        let credential = match credential {
            Credential::Password { username, password } => {
                wit::Credential::Password((username, password.reveal().to_owned()))
            }
            Credential::Bearer { token } => wit::Credential::Bearer(token.reveal().to_owned()),
            Credential::Headers { headers } => wit::Credential::Headers(headers),
        };
        let call = self.callee.call(
            given,
            move |linked, store| {
                Box::pin(async move {
                    let plugin = linked.strategy.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_auth_strategy().call_authenticate(store, &credential, &facts).await
                })
            },
            |said| said.map_err(accepted).map(verdict),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn begin(
        &self,
        redirect_uri: String,
        state: String,
        facts: PeerFacts,
    ) -> BoxFuture<'_, Result<Redirection, JudgeError>> {
        let given = self.given(&facts);
        let request = redirect::BeginRequest { redirect_uri, state, facts: told(facts) };
        let call = self.callee.call(
            given,
            move |linked, store| {
                Box::pin(async move {
                    let plugin = linked.redirect()?.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_auth_redirect().call_begin(store, &request).await
                })
            },
            |said| redirection(said.map_err(accepted)?),
        );
        Box::pin(async move {
            self.check_redirects()?;
            Ok(call.await?)
        })
    }

    fn complete(&self, returned: Returned) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        let Returned { redirect_uri, parameters, keep, facts } = returned;
        let given = self.given(&facts);
        let keep = keep.reveal().to_owned();
        let request = redirect::ReturnRequest { redirect_uri, parameters, keep, facts: told(facts) };
        let call = self.callee.call(
            given,
            move |linked, store| {
                Box::pin(async move {
                    let plugin = linked.redirect()?.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_auth_redirect().call_complete(store, &request).await
                })
            },
            |said| said.map_err(accepted).map(verdict),
        );
        Box::pin(async move {
            self.check_redirects()?;
            Ok(call.await?)
        })
    }
}

fn told(facts: PeerFacts) -> wit::RequestFacts {
    let PeerFacts { address: _, peer, request_id } = facts;
    wit::RequestFacts { peer_address: peer.to_string(), request_id, extra: Vec::new() }
}

/// Where to send a browser: an address that it can go to and that fits into a header.
fn redirection(said: redirect::Redirection) -> Result<Redirection, Refused> {
    let redirect::Redirection { url, keep } = said;
    for (what, bytes, max) in [("address", url.len(), URL_BYTES_MAX), ("keep", keep.len(), KEEP_BYTES_MAX)] {
        if bytes > max {
            return Err(Refused::TooMuch(format!("{bytes} bytes of a redirection's {what}, at most {max}")));
        }
    }
    let is_web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    let has_host = url.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    if !is_web || !has_host || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(nonsense("it sends the browser to what is no http or https address".to_owned()));
    }
    Ok(Redirection { url, keep: Secret::new(keep) })
}

fn checked(info: wit::StrategyInfo, redirects: Result<(), &str>) -> Result<StrategyInfo, String> {
    if !info.credentials.iter().any(|kind| KINDS.contains(&kind.as_str())) {
        return Err(format!("it looks at no credential that this version knows; those are {}", KINDS.join(", ")));
    }
    if let Err(reason) = redirects
        && info.credentials.iter().any(|kind| kind == REDIRECT)
    {
        return Err(format!(
            "it lists `{REDIRECT}` and does not export `omnivisor:auth/redirect@0.1.0` ({reason}); build it for the world \
             `redirect-login` as well, or leave the word out"
        ));
    }
    let is_fit = |name: &String| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !matches!(name.as_str(), "authorization" | "cookie" | "proxy-authorization")
    };
    if info.request_headers.len() > HEADERS_MAX || !info.request_headers.iter().all(is_fit) {
        return Err(format!(
            "it may ask for {HEADERS_MAX} request headers in lower case, and not for authorization or cookie"
        ));
    }
    Ok(StrategyInfo { credentials: info.credentials, request_headers: info.request_headers })
}

/// A verdict in our words. Anything but a clear yes to a proper name is no yes.
fn verdict(verdict: wit::Verdict) -> Verdict {
    match verdict {
        wit::Verdict::Granted(said) => {
            identity(said).map_or_else(|| Verdict::Denied { code: "bad_identity".to_owned() }, Verdict::Granted)
        }
        wit::Verdict::Denied(reason) => Verdict::Denied { code: code(&reason, "unnamed") },
        wit::Verdict::NotMine => Verdict::NotMine,
        wit::Verdict::Other(_) => Verdict::Denied { code: "unknown_verdict".to_owned() },
    }
}

fn identity(said: wit::Identity) -> Option<Identity> {
    let is_named = (1..=NAME_BYTES_MAX).contains(&said.name.len()) && !said.name.chars().any(char::is_control);
    if !is_named || said.scopes.len() > SCOPES_MAX {
        return None;
    }
    let source = match said.source {
        wit::IdentitySource::Account => IdentitySource::Account,
        wit::IdentitySource::External(role) => IdentitySource::External(Role::parse(&role)?),
        wit::IdentitySource::Other(_) => return None,
    };
    let expires = match said.expires_ms {
        None => None,
        Some(ms) => Some(UNIX_EPOCH.checked_add(Duration::from_millis(ms))?),
    };
    Some(Identity { name: said.name, source, scopes: said.scopes, expires })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_web_addresses_alone() {
        let said = |url: &str, keep: &str| redirect::Redirection { url: url.to_owned(), keep: keep.to_owned() };
        for url in ["https://idp.example/auth?a=b", "http://127.0.0.1:9/x"] {
            let Ok(redirection) = redirection(said(url, "k")) else { panic!("{url}") };
            assert_eq!((redirection.url.as_str(), redirection.keep.reveal()), (url, "k"));
        }
        for bad in [
            "",
            "/relative",
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://x/",
            "https://",
            "https:///x",
            "https://x/\r\nset-cookie: a=b",
            "https://x/ y",
            "https://x/\u{e4}",
        ] {
            assert!(matches!(redirection(said(bad, "")), Err(Refused::Fault(_))), "{bad:?}");
        }
        let long = format!("https://x/{}", "y".repeat(URL_BYTES_MAX));
        assert!(matches!(redirection(said(&long, "")), Err(Refused::TooMuch(_))));
        let keep = "k".repeat(KEEP_BYTES_MAX + 1);
        assert!(matches!(redirection(said("https://x/", &keep)), Err(Refused::TooMuch(_))));
        assert!(redirection(said("https://x/", &keep[1..])).is_ok());
    }

    #[test]
    fn who_lists_redirect_has_to_export_it() {
        let info = |kind: &str| wit::StrategyInfo {
            credentials: vec![kind.to_owned()],
            request_headers: vec![],
            extra: vec![],
        };
        let error = checked(info("redirect"), Err("no export")).expect_err("not exported");
        assert!(error.contains("`omnivisor:auth/redirect@0.1.0` (no export)"), "{error}");
        assert!(checked(info("redirect"), Ok(())).is_ok() && checked(info("bearer"), Err("no export")).is_ok());
    }

    #[test]
    fn only_a_clear_yes_to_a_proper_name_grants() {
        let said = |name: &str, source| wit::Identity {
            name: name.to_owned(),
            source,
            scopes: vec![],
            expires_ms: Some(5),
            extra: vec![],
        };
        let granted = |name: &str| verdict(wit::Verdict::Granted(said(name, wit::IdentitySource::Account)));
        let expected = Identity {
            name: "ann".to_owned(),
            source: IdentitySource::Account,
            scopes: vec![],
            expires: Some(UNIX_EPOCH + Duration::from_millis(5)),
        };
        assert_eq!(granted("ann"), Verdict::Granted(expected));
        let external =
            |role: &str| verdict(wit::Verdict::Granted(said("ann", wit::IdentitySource::External(role.to_owned()))));
        assert!(matches!(external("operator"), Verdict::Granted(_)));
        assert_eq!(external("root"), Verdict::Denied { code: "bad_identity".to_owned() });
        for bad in ["", "ann\n", &"x".repeat(256)] {
            assert_eq!(granted(bad), Verdict::Denied { code: "bad_identity".to_owned() }, "{bad:?}");
        }
        let denied = |code: &str| Verdict::Denied { code: code.to_owned() };
        assert_eq!(verdict(wit::Verdict::Other("granted".to_owned())), denied("unknown_verdict"));
        assert_eq!(verdict(wit::Verdict::Denied("Bad Password!".to_owned())), denied("bad_password_"));
        assert_eq!(verdict(wit::Verdict::NotMine), Verdict::NotMine);
    }
}
