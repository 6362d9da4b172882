use crate::model::{
    AdapterFault, Credential, FaultKind, Identity, IdentitySource, PeerFacts, Redirection, Role, StrategyInfo, Verdict,
};
use crate::plugin::bindings::auth::AuthStrategyPre;
use crate::plugin::bindings::auth::omnivisor::auth::types as wit;
use crate::plugin::call::{Callee, Given};
use crate::plugin::fault::accepted;
use crate::plugin::state::CallState;
use crate::plugin::text::code;
use crate::plugin::{BoxFuture, JudgeError, LoadError, Returned, Services, Strategy};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

type Linked = AuthStrategyPre<CallState>;

/// Bytes that an account's name may have.
const NAME_BYTES_MAX: usize = 255;
/// The kinds of credential that this version of the host knows.
const KINDS: [&str; 4] = ["password", "bearer", "headers", "redirect"];
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
                        let plugin = linked.instantiate_async(&mut *store).await?;
                        plugin.omnivisor_auth_strategy().call_describe(store).await
                    })
                },
                |said| said.map_err(accepted),
            )
            .await;
        let plugin = || callee.name.to_string();
        let info = said.map_err(|ending| LoadError::describe(plugin(), ending))?;
        let info = checked(info).map_err(|reason| LoadError::Description { plugin: plugin(), reason })?;
        Ok(Self { callee, info: Arc::new(info), services })
    }
}

impl AuthStrategy {
    fn no_redirect(&self) -> JudgeError {
        JudgeError::Fault(AdapterFault {
            kind: FaultKind::Unsupported,
            code: "auth.no_redirect".to_owned(),
            message: format!("strategy `{}` does not send anybody elsewhere", self.callee.name),
        })
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
        let given = Given {
            accounts: Some(Arc::clone(&self.services.accounts)),
            request_id: Some(facts.request_id.clone()),
            ..Given::default()
        };
        let facts = wit::RequestFacts {
            peer_address: facts.address.to_string(),
            request_id: facts.request_id,
            extra: Vec::new(),
        };
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
                    let plugin = linked.instantiate_async(&mut *store).await?;
                    plugin.omnivisor_auth_strategy().call_authenticate(store, &credential, &facts).await
                })
            },
            |said| said.map_err(accepted).map(verdict),
        );
        Box::pin(async move { Ok(call.await?) })
    }

    fn begin(&self, _: String, _: String, _: PeerFacts) -> BoxFuture<'_, Result<Redirection, JudgeError>> {
        Box::pin(async { Err(self.no_redirect()) })
    }

    fn complete(&self, _: Returned) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        Box::pin(async { Err(self.no_redirect()) })
    }
}

fn checked(info: wit::StrategyInfo) -> Result<StrategyInfo, String> {
    if !info.credentials.iter().any(|kind| KINDS.contains(&kind.as_str())) {
        return Err(format!("it looks at no credential that this version knows; those are {}", KINDS.join(", ")));
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
