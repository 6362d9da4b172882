//! Auth strategy: the API keys that the host issued.
//!
//! The host keeps only their hashes and compares; this decides which bearers are keys at all.

use plugin_identity::settings;
use plugin_sdk::strategy::{Credential, Identity, IdentitySource, RequestFacts, StrategyInfo, Verdict};
use plugin_sdk::{ApiKeys, AuthStrategy, Fault, HostApiKeys};
use serde::Deserialize;

/// The strategy.
#[derive(Debug)]
pub struct Token;

/// What every key begins with, so that other bearers are left to other strategies.
const PREFIX: &str = "ovk_";
/// Not a key, or one that expired or was revoked: neither the caller nor the audit learns which.
const UNKNOWN_KEY: &str = "unknown_key";

/// There is nothing to set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

impl AuthStrategy for Token {
    fn describe() -> Result<StrategyInfo, Fault> {
        describe(&plugin_sdk::settings::get())
    }

    fn authenticate(credential: Credential, _facts: RequestFacts) -> Result<Verdict, Fault> {
        judge(&mut HostApiKeys, credential)
    }
}

fn describe(settings: &str) -> Result<StrategyInfo, Fault> {
    let Settings {} = settings::parse(settings)?;
    Ok(StrategyInfo { credentials: vec!["bearer".to_owned()], request_headers: Vec::new(), extra: Vec::new() })
}

fn judge(keys: &mut dyn ApiKeys, credential: Credential) -> Result<Verdict, Fault> {
    let text = match credential {
        Credential::Bearer(text) => text,
        Credential::Password(_) | Credential::Headers(_) | Credential::Other(_) => return Ok(Verdict::NotMine),
    };
    if !text.starts_with(PREFIX) {
        return Ok(Verdict::NotMine);
    }
    let found = keys.find(&text).map_err(|why| Fault::plugin("auth.keys_unavailable", why))?;
    let Some(key) = found else { return Ok(Verdict::Denied(UNKNOWN_KEY.to_owned())) };
    Ok(Verdict::Granted(Identity {
        name: key.account,
        source: IdentitySource::Account,
        scopes: key.scopes,
        expires_ms: key.expires_ms,
        extra: vec![("key".to_owned(), key.id)],
    }))
}

plugin_sdk::export_auth_strategy!(Token);

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_sdk::ApiKey;
    use proptest::prelude::*;

    const KEY: &str = "ovk_k1_secret";

    /// Keys of which one is `ada`'s, and what was asked about.
    #[derive(Default)]
    struct Script {
        asked: Vec<String>,
        is_broken: bool,
        expires_ms: Option<u64>,
    }

    impl ApiKeys for Script {
        fn find(&mut self, text: &str) -> Result<Option<ApiKey>, String> {
            self.asked.push(text.to_owned());
            if self.is_broken {
                return Err("the store is closed".to_owned());
            }
            Ok((text == KEY).then(|| ApiKey {
                id: "k1".to_owned(),
                account: "ada".to_owned(),
                scopes: vec!["process.read".to_owned()],
                expires_ms: self.expires_ms,
            }))
        }
    }

    fn bearer(text: &str) -> Credential {
        Credential::Bearer(text.to_owned())
    }

    #[test]
    fn a_key_is_its_account_with_the_keys_limits() {
        for expires_ms in [None, Some(7)] {
            let verdict = judge(&mut Script { expires_ms, ..Script::default() }, bearer(KEY)).expect("a verdict");
            let Verdict::Granted(identity) = verdict else { panic!("{verdict:?}") };
            assert_eq!(identity.name, "ada");
            assert_eq!(identity.source, IdentitySource::Account);
            assert_eq!(identity.scopes, ["process.read"]);
            assert_eq!(identity.expires_ms, expires_ms);
        }
    }

    #[test]
    fn a_key_that_is_not_found_is_refused() {
        for text in ["ovk_", "ovk_k1_secreT", "ovk_k1_secret "] {
            let verdict = judge(&mut Script::default(), bearer(text)).expect("a verdict");
            assert_eq!(verdict, Verdict::Denied("unknown_key".to_owned()), "{text:?}");
        }
    }

    #[test]
    fn other_credentials_are_left_to_others_without_asking() {
        let mut keys = Script::default();
        let pair = || ("ada".to_owned(), KEY.to_owned());
        let others = [
            bearer("eyJhbGciOiJFUzI1NiJ9.e30.AAAA"),
            bearer("OVK_k1_secret"),
            bearer(" ovk_k1_secret"),
            Credential::Password(pair()),
            Credential::Headers(vec![pair()]),
            Credential::Other(KEY.to_owned()),
        ];
        for other in others {
            assert_eq!(judge(&mut keys, other).expect("a verdict"), Verdict::NotMine);
        }
        assert!(keys.asked.is_empty());
    }

    #[test]
    fn a_host_that_cannot_say_is_a_fault_and_never_a_yes() {
        let fault = judge(&mut Script { is_broken: true, ..Script::default() }, bearer(KEY)).expect_err("a fault");
        assert_eq!(fault.code, "auth.keys_unavailable");
    }

    #[test]
    fn there_is_nothing_to_set() {
        assert_eq!(describe("{}").expect("a strategy").credentials, ["bearer"]);
        let fault = describe(r#"{"prefix":"x"}"#).expect_err("a fault");
        assert!(fault.message.contains("unknown field `prefix`"), "{}", fault.message);
    }

    proptest! {
        #[test]
        fn only_the_key_itself_is_granted(text in "(ovk_)?.{0,30}") {
            let verdict = judge(&mut Script::default(), bearer(&text)).expect("a verdict");
            prop_assert_eq!(matches!(verdict, Verdict::Granted(_)), text == KEY);
        }
    }
}
