//! The file of cases, `vectors.json`: an array of objects. Unknown members are refused, so that a slip of the pen does
//! not become a test that tests nothing.

use crate::author::AuthorError;
use crate::plugin::PluginClass;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const FILE_BYTES_MAX: u64 = 16 << 20;
const CASES_MAX: usize = 10_000;

/// One call, what the outside answers to it, and what has to come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub name: String,
    /// The function, as in the contract: `observe`, `run`, `validate`, `authenticate` and the like.
    pub call: String,
    #[serde(default)]
    input: Value,
    /// Requests in their order, each with its answer.
    #[serde(default)]
    pub http: Vec<Step>,
    /// Accounts with their passwords.
    #[serde(default)]
    pub accounts: BTreeMap<String, String>,
    /// API keys that the host issued.
    #[serde(default)]
    pub api_keys: Vec<Key>,
    /// What the operator set for the plugin.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Values that the operator granted.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// Origins that the operator granted.
    #[serde(default)]
    pub allow_http: Vec<String>,
    /// The result, as far as the case is about it.
    #[serde(default, deserialize_with = "given")]
    pub expect: Option<Value>,
    /// The code of the fault that has to come instead of a result.
    pub fault: Option<String>,
    /// The fuel that it used when that was recorded.
    pub fuel: Option<u64>,
}

/// A request that has to come, and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub expect: Expected,
    pub answer: Answer,
}

/// A request; what is left out is not compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    pub method: String,
    /// Path and query at the node, or the whole address elsewhere.
    #[serde(alias = "url")]
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A text as it stands, or JSON of which the members given are compared.
    pub body: Option<Value>,
}

/// An answer, or the lack of one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
pub(super) enum Answer {
    Reply {
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// A text as it stands, or JSON.
        #[serde(default)]
        body: Value,
    },
    Failure {
        failure: Failure,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Failure {
    TimedOut,
    Unreachable,
    TooLarge,
    Protocol,
}

/// An API key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub text: String,
    pub id: String,
    pub account: String,
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A call with its arguments.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "call", content = "input", rename_all = "kebab-case")]
pub(super) enum Call {
    Describe,
    Observe,
    ObserveSome(Ids),
    Run(Order),
    ReadLog(Log),
    HintRequest,
    ReadHints(Piece),
    Validate(Request),
    Authenticate(Login),
    Begin(Begin),
    Complete(Complete),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ids {
    pub ids: Vec<Id>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Id {
    pub group: String,
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub operation: String,
    pub group: String,
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub group: String,
    pub name: String,
    pub channel: Channel,
    /// The last bytes, at most so many.
    pub tail: Option<u32>,
    /// An offset, and at most so many bytes from there on.
    pub from: Option<(u64, u32)>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Channel {
    Stdout,
    Stderr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    #[serde(default)]
    pub rest: String,
    pub piece: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub name: String,
    pub principal: Option<Principal>,
    /// When the host took it, ms since 1970; now if it is not given.
    pub at_ms: Option<u64>,
    #[serde(default)]
    pub targets: Vec<Target>,
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// Who asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Principal {
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    #[serde(default)]
    pub strategy: String,
    #[serde(default)]
    pub permissions: Vec<String>,
}

/// What the request is about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub node: String,
    pub environment: Option<String>,
    /// As `group:name`.
    pub process: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub pointer: String,
    pub value: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub credential: Credential,
    pub peer_address: Option<std::net::IpAddr>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) enum Credential {
    Password { username: String, password: String },
    Bearer(String),
    Headers(Vec<(String, String)>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    pub redirect_uri: String,
    pub state: String,
    pub peer_address: Option<std::net::IpAddr>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Complete {
    pub redirect_uri: String,
    pub parameters: Vec<(String, String)>,
    pub keep: String,
    pub peer_address: Option<std::net::IpAddr>,
}

/// A member that is there, null included.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Case {
    /// The call with its arguments, checked.
    pub(super) fn call(&self) -> Result<Call, String> {
        let mut tagged = Map::from_iter([("call".to_owned(), Value::String(self.call.clone()))]);
        if !self.input.is_null() {
            tagged.insert("input".to_owned(), self.input.clone());
        }
        serde_json::from_value(Value::Object(tagged)).map_err(|error| format!("its call: {error}"))
    }

    fn check(&self, class: PluginClass) -> Result<(), String> {
        let fits = match self.call()? {
            Call::Describe => class != PluginClass::Validate,
            Call::Observe
            | Call::ObserveSome(_)
            | Call::Run(_)
            | Call::ReadLog(_)
            | Call::HintRequest
            | Call::ReadHints(_) => class == PluginClass::Adapter,
            Call::Validate(_) => class == PluginClass::Validate,
            Call::Authenticate(_) | Call::Begin(_) | Call::Complete(_) => class == PluginClass::Auth,
        };
        if !fits {
            return Err(format!("a plugin of the world `{}` has no `{}` to be tested so", class.world(), self.call));
        }
        match (&self.expect, &self.fault) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            (None, None) => Err("it expects nothing; say `expect` or `fault`".to_owned()),
            (Some(_), Some(_)) => Err("it expects a result and a fault; one of them was expected".to_owned()),
        }
    }
}

/// The text of the file and the cases in it.
pub(super) fn read(path: &Path, class: PluginClass) -> Result<(String, Vec<Case>), AuthorError> {
    let bytes = fs::metadata(path).map_err(AuthorError::read(path))?.len();
    let refused = |reason: String| AuthorError::Vectors { path: path.to_owned(), reason };
    if bytes > FILE_BYTES_MAX {
        return Err(refused(format!("it has {bytes} bytes, at most {FILE_BYTES_MAX} were expected")));
    }
    let text = fs::read_to_string(path).map_err(AuthorError::read(path))?;
    let cases = parse(&text, class).map_err(refused)?;
    Ok((text, cases))
}

fn parse(text: &str, class: PluginClass) -> Result<Vec<Case>, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let cases: Vec<Case> = serde_path_to_error::deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    if cases.is_empty() || cases.len() > CASES_MAX {
        return Err(format!("it holds {} cases, 1 to {CASES_MAX} were expected", cases.len()));
    }
    let mut names = BTreeSet::new();
    for case in &cases {
        if !names.insert(case.name.as_str()) {
            return Err(format!("two cases are called {:?}", case.name));
        }
        case.check(class).map_err(|reason| format!("case {:?}: {reason}", case.name))?;
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(class: PluginClass, text: &str) -> String {
        parse(text, class).expect_err("wrong")
    }

    #[test]
    fn a_case_has_a_call_with_arguments_and_one_expectation() {
        let text = r#"[
            { "name": "a", "call": "observe", "http": [
                { "expect": { "method": "GET", "path": "/" }, "answer": { "status": 200, "body": [] } },
                { "expect": { "method": "GET", "path": "/" }, "answer": { "failure": "timed-out" } } ], "expect": {} },
            { "name": "b", "call": "hint-request", "expect": null },
            { "name": "c", "call": "read-log", "fault": "log.not_found",
              "input": { "group": "g", "name": "n", "channel": "stdout", "from": [5, 10] } } ]"#;
        let cases = parse(text, PluginClass::Adapter).expect("proper");
        assert_eq!(cases.len(), 3);
        assert_eq!(cases.get(1).and_then(|case| case.expect.clone()), Some(Value::Null));
        let other = refused(PluginClass::Auth, text);
        assert!(other.contains("case \"a\": a plugin of the world `auth-strategy` has no `observe`"), "{other}");
    }

    #[test]
    fn what_would_test_nothing_is_refused() {
        for (text, reason) in [
            ("[]", "0 cases"),
            ("{}", "invalid type"),
            (r#"[{ "name": "a", "call": "observe" }]"#, "it expects nothing"),
            (r#"[{ "name": "a", "call": "observe", "expect": 1, "fault": "x" }]"#, "one of them"),
            (r#"[{ "name": "a", "call": "observe", "expcet": 1 }]"#, "unknown field `expcet`"),
            (r#"[{ "name": "a", "call": "sing", "expect": 1 }]"#, "unknown variant `sing`"),
            (r#"[{ "name": "a", "call": "run", "expect": 1 }]"#, "its call: missing field"),
            (r#"[{ "name": "a", "call": "run", "input": { "operation": "start" }, "expect": 1 }]"#, "missing field"),
            (
                r#"[{ "name": "a", "call": "observe", "expect": 1 }, { "name": "a", "call": "observe", "expect": 1 }]"#,
                "two cases",
            ),
        ] {
            let told = refused(PluginClass::Adapter, text);
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}
