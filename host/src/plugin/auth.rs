use crate::model::{Credential, PeerFacts, Verdict};
use crate::plugin::bindings::auth::AuthStrategyPre;
use crate::plugin::bindings::auth::exports::omnivisor::auth::strategy as wit;
use crate::plugin::call::{Callee, Given};
use crate::plugin::fault::accepted;
use crate::plugin::state::CallState;
use crate::plugin::text::code;
use crate::plugin::{Accounts, BoxFuture, JudgeError, LoadError, Strategy};
use std::sync::Arc;

type Linked = AuthStrategyPre<CallState>;

/// Bytes that an account's name may have.
const NAME_BYTES_MAX: usize = 255;
/// The kind of credential that this version of the host knows.
const PASSWORD: &str = "password";

/// An auth strategy that is a component.
pub(super) struct AuthStrategy {
    callee: Callee<Linked>,
    accounts: Arc<dyn Accounts>,
}

impl AuthStrategy {
    /// Asks a linked component what it is.
    pub(super) async fn describe(callee: Callee<Linked>, accounts: Arc<dyn Accounts>) -> Result<Self, LoadError> {
        let said = callee
            .call(
                Given::default(),
                |linked, store| {
                    Box::pin(async move {
                        let plugin = linked.instantiate_async(&mut *store).await?;
                        plugin.omnivisor_auth_strategy().call_describe(store).await
                    })
                },
                Ok,
            )
            .await;
        let plugin = || callee.name.to_string();
        let info = said.map_err(|ending| LoadError::describe(plugin(), ending))?;
        if !info.credentials.iter().any(|kind| kind == PASSWORD) {
            let reason = format!("it looks at no credential that this version knows; that is `{PASSWORD}`");
            return Err(LoadError::Description { plugin: plugin(), reason });
        }
        Ok(Self { callee, accounts })
    }
}

impl Strategy for AuthStrategy {
    fn name(&self) -> &str {
        &self.callee.name
    }

    fn authenticate(&self, credential: Credential, facts: PeerFacts) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        let given = Given {
            accounts: Some(Arc::clone(&self.accounts)),
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
}

/// A verdict in our words. Anything but a clear yes to a proper name is no yes.
fn verdict(verdict: wit::Verdict) -> Verdict {
    match verdict {
        wit::Verdict::Granted(wit::Identity { name, .. }) => {
            if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control) {
                Verdict::Granted { name }
            } else {
                Verdict::Denied { code: "bad_identity".to_owned() }
            }
        }
        wit::Verdict::Denied(reason) => Verdict::Denied { code: code(&reason, "unnamed") },
        wit::Verdict::NotMine => Verdict::NotMine,
        wit::Verdict::Other(_) => Verdict::Denied { code: "unknown_verdict".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_to_a_proper_name_grants() {
        let granted =
            |name: &str| verdict(wit::Verdict::Granted(wit::Identity { name: name.to_owned(), extra: vec![] }));
        assert_eq!(granted("ann"), Verdict::Granted { name: "ann".to_owned() });
        for bad in ["", "ann\n", &"x".repeat(256)] {
            assert_eq!(granted(bad), Verdict::Denied { code: "bad_identity".to_owned() }, "{bad:?}");
        }
        let denied = |code: &str| Verdict::Denied { code: code.to_owned() };
        assert_eq!(verdict(wit::Verdict::Other("granted".to_owned())), denied("unknown_verdict"));
        assert_eq!(verdict(wit::Verdict::Denied("Bad Password!".to_owned())), denied("bad_password_"));
        assert_eq!(verdict(wit::Verdict::NotMine), Verdict::NotMine);
    }
}
