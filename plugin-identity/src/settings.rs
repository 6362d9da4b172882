//! From the JSON that the operator wrote to a strategy's own type, with faults that say what to change.

use plugin_sdk::Fault;
use serde::de::DeserializeOwned;

/// The code of every fault about settings.
pub const INVALID: &str = "settings.invalid";

/// Reads what `plugin_sdk::settings::get` returned.
///
/// # Errors
/// A [`Fault`] that names the key and what is expected there.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let key = if path == "." { "settings".to_owned() } else { path };
        // The place in the text is the place in JSON that the host made, which tells the operator nothing.
        let problem = error.into_inner().to_string();
        let problem = problem.split(" at line ").next().unwrap_or_default();
        Fault::plugin(INVALID, format!("`{key}`: {problem}"))
    })
}

/// A fault about one key: what is wrong with it, and what is expected.
#[must_use]
pub fn invalid(key: &str, problem: &str, expected: &str) -> Fault {
    Fault::plugin(INVALID, format!("`{key}`: {problem}; expected {expected}"))
}

/// Whether a URL may stand in settings: absolute, over HTTP, of visible ASCII, without user, password or fragment.
///
/// # Errors
/// A [`Fault`] that names `key`.
pub fn check_url(key: &str, url: &str) -> Result<(), Fault> {
    const BYTES_MAX: usize = 2048;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_url = !authority.is_empty()
        && !authority.contains('@')
        && url.len() <= BYTES_MAX
        && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if is_url { Ok(()) } else { Err(invalid(key, "it is no usable address", "`https://HOST[:PORT]/PATH`")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        roles: BTreeMap<String, crate::Role>,
        #[expect(dead_code, reason = "only its presence matters")]
        issuer: String,
    }

    fn message(text: &str) -> String {
        parse::<Sample>(text).expect_err("a fault").message
    }

    #[test]
    fn a_fault_names_the_key_and_what_is_expected() {
        assert_eq!(message(r#"{"issuer":7}"#), "`issuer`: invalid type: integer `7`, expected a string");
        assert_eq!(message("{}"), "`settings`: missing field `issuer`");
        assert_eq!(
            message(r#"{"issuer":"a","isuer":"b"}"#),
            "`isuer`: unknown field `isuer`, expected `roles` or `issuer`"
        );
        assert_eq!(
            message(r#"{"issuer":"a","roles":{"x":"root"}}"#),
            "`roles.x`: unknown variant `root`, expected one of `viewer`, `operator`, `admin`"
        );
    }

    #[test]
    fn what_is_right_is_read() {
        let sample: Sample = parse(r#"{"issuer":"a","roles":{"ops":"operator"}}"#).expect("settings");
        assert_eq!(sample.roles["ops"], crate::Role::Operator);
    }

    #[test]
    fn an_address_is_absolute_and_bare() {
        for url in ["https://idp.example", "https://idp.example:8443/a?b=c", "http://127.0.0.1:9/x"] {
            assert!(check_url("issuer", url).is_ok(), "{url}");
        }
        let long = format!("https://idp.example/{}", "a".repeat(2048));
        for url in ["", "idp.example", "https://", "ftp://a", "https://u:p@a/", "https://a/ b", "https://a/#b", &long] {
            let fault = check_url("issuer", url).expect_err(url);
            assert!(fault.message.starts_with("`issuer`: "), "{}", fault.message);
        }
    }
}
