//! The outside, scripted: what the node or a granted origin answers, which accounts and keys there are. One script
//! serves a whole run; each case writes it anew.

use crate::author::compare::differences;
use crate::author::vectors::{Answer, Case, Expected, Failure, Key, Step};
use crate::model::Secret;
use crate::plugin::{
    Accounts, ApiKey, ApiKeys, BoxFuture, Exchange, ExchangeFailure, ExchangeRequest, ExchangeResponse, HttpClient,
    PasswordCheck, Services, Toolchain, WebCache, WebRequest,
};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Problems told of one case.
const PROBLEMS_MAX: usize = 20;
/// What a plugin is told whose reply is too large.
const TOO_LARGE: u64 = 4 << 20;

/// What the plugin under test reaches of the outside.
#[derive(Debug, Default)]
pub(super) struct Script {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: VecDeque<Step>,
    accounts: BTreeMap<String, String>,
    keys: Vec<Key>,
    played: Played,
}

/// What a call asked of the outside, and what of it was not in the script.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub problems: Vec<String>,
    pub http_requests: u64,
    pub password_checks: u64,
    pub key_lookups: u64,
}

impl Script {
    pub(super) fn services(self: Arc<Self>, toolchain: Toolchain) -> Services {
        Services {
            accounts: Arc::<Self>::clone(&self),
            api_keys: Some(Arc::<Self>::clone(&self)),
            http: Some(self),
            web_cache: WebCache::default(),
            toolchain,
        }
    }

    /// Makes it the script of a case.
    pub(super) fn begin(&self, case: &Case) {
        *self.state() = State {
            steps: case.http.iter().cloned().collect(),
            accounts: case.accounts.clone(),
            keys: case.api_keys.clone(),
            played: Played::default(),
        };
    }

    /// What was played. Requests that never came are problems too.
    pub(super) fn end(&self) -> Played {
        let mut state = self.state();
        let mut played = std::mem::take(&mut state.played);
        for Step { expect: Expected { method, path, .. }, .. } in state.steps.drain(..) {
            played.tell(format!("the request {method} {path} never came"));
        }
        played
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<ExchangeResponse, ExchangeFailure> {
        let mut state = self.state();
        state.played.http_requests += 1;
        let Some(Step { expect, answer }) = state.steps.pop_front() else {
            state.played.tell(format!("the request {method} {target} is not in the script"));
            return Err(ExchangeFailure::Refused("the script has no further request".to_owned()));
        };
        for difference in compare_request(&expect, method, target, headers, body) {
            state.played.tell(difference);
        }
        drop(state);
        reply(answer)
    }
}

impl Played {
    fn tell(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else if self.problems.len() == PROBLEMS_MAX {
            self.problems.push("and more requests of that sort".to_owned());
        }
    }
}

fn compare_request(
    expect: &Expected,
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Vec<String> {
    let wanted = format!("{} {}", expect.method, expect.path);
    let came = format!("{method} {target}");
    if wanted != came {
        return vec![format!("expected the request {wanted}, and {came} came")];
    }
    let mut problems = Vec::new();
    for (name, value) in &expect.headers {
        let found = headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        if found != Some(value) {
            let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("{found:?}"));
            problems.push(format!("{came}, header {name}: expected {value:?}, found {found}"));
        }
    }
    let text = String::from_utf8_lossy(body);
    match &expect.body {
        None => {}
        Some(expected @ Value::String(_)) => {
            let found = Value::String(text.into_owned());
            problems.extend(differences(expected, &found).iter().map(|what| format!("{came}, body: {what}")));
        }
        Some(expected) => match serde_json::from_str(&text) {
            Ok(found) => {
                problems.extend(differences(expected, &found).iter().map(|what| format!("{came}, body: {what}")));
            }
            Err(error) => problems.push(format!("{came}, body: it is not JSON: {error}")),
        },
    }
    problems
}

fn reply(answer: Answer) -> Result<ExchangeResponse, ExchangeFailure> {
    match answer {
        Answer::Reply { status, headers, body } => {
            let body = match body {
                Value::Null => Vec::new(),
                Value::String(text) => text.into_bytes(),
                json @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    json.to_string().into_bytes()
                }
            };
            Ok(ExchangeResponse { status, headers: headers.into_iter().collect(), body })
        }
        Answer::Failure { failure } => Err(match failure {
            Failure::TimedOut => ExchangeFailure::TimedOut,
            Failure::Unreachable => ExchangeFailure::Unreachable("connection refused".to_owned()),
            Failure::TooLarge => ExchangeFailure::TooLarge { limit: TOO_LARGE },
            Failure::Protocol => ExchangeFailure::Protocol("it does not speak HTTP".to_owned()),
        }),
    }
}

impl Exchange for Script {
    fn send<'a>(
        &'a self,
        request: ExchangeRequest,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<ExchangeResponse, ExchangeFailure>> {
        let ExchangeRequest { method, path, headers, body } = request;
        Box::pin(async move { self.answer(&method, &path, &headers, &body) })
    }
}

impl HttpClient for Script {
    fn send(
        &self,
        request: WebRequest,
        _deadline: Instant,
    ) -> BoxFuture<'_, Result<ExchangeResponse, ExchangeFailure>> {
        let WebRequest { method, url, headers, body, .. } = request;
        Box::pin(async move { self.answer(&method, &url, &headers, &body) })
    }
}

impl Accounts for Script {
    fn check_password(&self, username: String, password: Secret) -> BoxFuture<'_, Result<PasswordCheck, String>> {
        Box::pin(async move {
            let mut state = self.state();
            state.played.password_checks += 1;
            let matches = state.accounts.get(&username).is_some_and(|known| known == password.reveal());
            Ok(if matches { PasswordCheck::Matches } else { PasswordCheck::Differs })
        })
    }
}

impl ApiKeys for Script {
    fn find(&self, text: Secret) -> Result<Option<ApiKey>, String> {
        let mut state = self.state();
        state.played.key_lookups += 1;
        let found = state.keys.iter().find(|key| key.text == text.reveal()).map(|key| ApiKey {
            id: key.id.clone(),
            account: key.account.clone(),
            scopes: key.scopes.clone(),
            expires: None,
        });
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(case: &str) -> Script {
        let script = Script::default();
        script.begin(&serde_json::from_str(case).expect("a case"));
        script
    }

    const CASE: &str = r#"{ "name": "a", "call": "observe", "accounts": { "ann": "right" },
        "api_keys": [{ "text": "k-1", "id": "1", "account": "ann" }],
        "http": [
            { "expect": { "method": "POST", "path": "/a", "headers": { "x": "1" }, "body": { "b": 1 } },
              "answer": { "status": 200, "headers": { "y": "2" }, "body": { "c": [] } } },
            { "expect": { "method": "GET", "url": "https://idp.example/keys" }, "answer": { "failure": "timed-out" } } ] }"#;

    #[test]
    fn the_script_is_played_in_its_order() {
        let script = script(CASE);
        let headers = [("X".to_owned(), "1".to_owned())];
        let reply = script.answer("POST", "/a", &headers, br#"{"b":1,"more":2}"#).expect("an answer");
        assert_eq!((reply.status, reply.body.as_slice()), (200, br#"{"c":[]}"#.as_slice()));
        let failure = script.answer("GET", "https://idp.example/keys", &[], b"");
        assert_eq!(failure, Err(ExchangeFailure::TimedOut));
        let played = script.end();
        assert_eq!((played.problems, played.http_requests), (Vec::new(), 2));
    }

    #[test]
    fn what_is_not_in_the_script_is_told() {
        let script = script(CASE);
        assert!(
            script.answer("POST", "/a", &[], br#"{"b":2}"#).is_ok(),
            "the plugin goes on, to show what else is wrong"
        );
        assert!(script.answer("GET", "/other", &[], b"").is_err());
        assert!(matches!(script.answer("GET", "/third", &[], b""), Err(ExchangeFailure::Refused(_))));
        assert_eq!(
            script.end().problems,
            [
                "POST /a, header x: expected \"1\", found nothing",
                "POST /a, body: /b: expected 1, found 2",
                "expected the request GET https://idp.example/keys, and GET /other came",
                "the request GET /third is not in the script",
            ]
        );
    }

    #[test]
    fn a_request_that_never_came_is_told() {
        assert_eq!(
            script(CASE).end().problems,
            ["the request POST /a never came", "the request GET https://idp.example/keys never came"]
        );
    }

    #[tokio::test]
    async fn accounts_and_keys_are_those_of_the_case() {
        let script = script(CASE);
        let secret = |text: &str| Secret::new(text.to_owned());
        assert_eq!(script.check_password("ann".to_owned(), secret("right")).await, Ok(PasswordCheck::Matches));
        assert_eq!(script.check_password("ann".to_owned(), secret("wrong")).await, Ok(PasswordCheck::Differs));
        let found = script.find(secret("k-1")).expect("an answer").expect("a key");
        assert_eq!((found.account.as_str(), script.find(secret("k-2"))), ("ann", Ok(None)));
        let played = script.end();
        assert_eq!((played.password_checks, played.key_lookups), (2, 2));
    }
}
