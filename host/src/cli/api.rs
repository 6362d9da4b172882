//! The server's routes as typed calls.

use super::age::Clock;
use super::download::Download;
use super::error::CliError;
use super::http::{Call, Http, Reply};
use super::server::ServerUrl;
use crate::api::wire::account::PasswordRequest;
use crate::api::wire::audit::{AuditPageView, AuditVerdictView};
use crate::api::wire::bulk::{BulkPlan, BulkRequest};
use crate::api::wire::config::{ConfigAppliedView, ConfigGenerationList, ManagedNodeRequest};
use crate::api::wire::order::NodeLogView;
use crate::api::wire::storage::CompactionView;
use crate::api::wire::{
    ApiKeyCreated, ApiKeyList, ApiKeyRequest, CommandRequest, CommandResult, LogView, LoginRequest, LoginResult,
    NodeList, PluginList, PrincipalView, Problem, SetupRequest, SwapView,
};
use crate::model::{LogChannel, Operation};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use jiff::Timestamp;
use percent_encoding::NON_ALPHANUMERIC;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// What any call but an order may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What an order may take beyond the time it is to wait.
const ORDER_MARGIN: Duration = Duration::from_secs(15);
/// What a compaction may take: the server answers sooner.
const COMPACTION_TIMEOUT: Duration = Duration::from_secs(90);
/// What a swap of a plugin may take: others may be under way, and compiling takes its time.
const SWAP_TIMEOUT: Duration = Duration::from_secs(120);
const JSON: &str = "application/json";
/// How long the server waits with an order when nothing is said.
const ORDER_WAIT_DEFAULT: Duration = Duration::from_secs(15);

/// A client of one server's API.
pub(crate) struct Api {
    http: Http,
}

/// Which part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogPart {
    /// The last bytes.
    Tail(u32),
    /// The last lines, a last one without its end among them.
    Lines(u32),
    /// What follows an offset.
    From(u64),
}

/// Which log of which process.
#[derive(Debug, Clone)]
pub(crate) struct LogAddress {
    pub(crate) node: String,
    pub(crate) process: String,
    pub(crate) channel: LogChannel,
}

/// A piece of a log, as bytes.
#[derive(Debug)]
pub(crate) struct LogBytes {
    pub(crate) start: u64,
    pub(crate) next: u64,
    pub(crate) size: u64,
    pub(crate) has_gap: bool,
    /// More lines were asked for than stand in what may be read at once.
    pub(crate) is_short: bool,
    pub(crate) bytes: Bytes,
}

/// The first look for lines, and the largest piece of a log that a server reads.
const LINES_BYTES: u32 = 16 << 10;
const TAIL_BYTES_MAX: u32 = 1 << 20;

impl Api {
    pub(crate) const fn new(http: Http) -> Self {
        Self { http }
    }

    pub(crate) const fn server(&self) -> &ServerUrl {
        self.http.server()
    }

    pub(crate) async fn close(&self) {
        self.http.close().await;
    }

    /// All nodes with their processes, and the server's clock.
    pub(crate) async fn nodes(&self) -> Result<(NodeList, Clock), CliError> {
        let reply = self.get(&["nodes"], "include=processes", "application/json").await?;
        let date = reply.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let clock = Clock::from_date(date, Timestamp::now());
        Ok((self.document(&reply)?, clock))
    }

    pub(crate) async fn me(&self) -> Result<PrincipalView, CliError> {
        self.document(&self.get(&["me"], "", "application/json").await?)
    }

    pub(crate) async fn login(&self, request: &LoginRequest) -> Result<LoginResult, CliError> {
        self.document(&self.post(&["login"], Some(request), CALL_TIMEOUT).await?)
    }

    pub(crate) async fn setup(&self, request: &SetupRequest) -> Result<LoginResult, CliError> {
        self.document(&self.post(&["setup"], Some(request), CALL_TIMEOUT).await?)
    }

    pub(crate) async fn logout(&self) -> Result<(), CliError> {
        self.post(&["logout"], None::<&()>, CALL_TIMEOUT).await.map(drop)
    }

    pub(crate) async fn change_own_password(&self, request: &PasswordRequest) -> Result<(), CliError> {
        self.post(&["me", "password"], Some(request), CALL_TIMEOUT).await.map(drop)
    }

    pub(crate) async fn create_key(&self, request: &ApiKeyRequest) -> Result<ApiKeyCreated, CliError> {
        self.document(&self.post(&["api-keys"], Some(request), CALL_TIMEOUT).await?)
    }

    pub(crate) async fn keys(&self) -> Result<ApiKeyList, CliError> {
        self.document(&self.get(&["api-keys"], "", "application/json").await?)
    }

    pub(crate) async fn revoke_key(&self, id: &str) -> Result<(), CliError> {
        let target = self.target(&["api-keys", id], "");
        let call = Call {
            method: Method::DELETE,
            target,
            accept: "application/json",
            body: None,
            media_type: JSON,
            condition: None,
        };
        self.succeed(self.http.exchange(&call, CALL_TIMEOUT).await?).map(drop)
    }

    /// Sends an order and waits for what became of it. Without `wait` the server's own default counts; `reason` asks to
    /// override what a validator keeps for later.
    pub(crate) async fn order(
        &self,
        operation: Operation,
        node: &str,
        process: &str,
        wait: Option<Duration>,
        reason: Option<&str>,
    ) -> Result<CommandResult, CliError> {
        let wait_ms = wait.and_then(|wait| u64::try_from(wait.as_millis()).ok());
        let request = CommandRequest { wait_ms, r#override: reason.map(str::to_owned) };
        let request = (request != CommandRequest::default()).then_some(request);
        let limit = wait.unwrap_or(ORDER_WAIT_DEFAULT).saturating_add(ORDER_MARGIN);
        let segments = ["nodes", node, "processes", process, operation.as_str()];
        self.document(&self.post(&segments, request.as_ref(), limit).await?)
    }

    /// What orders to many processes would be sent.
    pub(crate) async fn plan(&self, request: &BulkRequest) -> Result<BulkPlan, CliError> {
        self.document(&self.post(&["bulk"], Some(request), CALL_TIMEOUT).await?)
    }

    /// Has orders sent to many processes; the answer is JSON lines. Dropping it ends the batch.
    pub(crate) async fn batch(&self, request: &BulkRequest) -> Result<Download, CliError> {
        let body = serde_json::to_vec(request).map_err(|error| CliError::Terminal(error.into()))?;
        let (target, body) = (self.target(&["bulk"], ""), Some(Bytes::from(body)));
        let call = Call {
            method: Method::POST,
            target,
            accept: "application/x-ndjson",
            body,
            media_type: JSON,
            condition: None,
        };
        self.http.download(&call, CALL_TIMEOUT).await
    }

    /// Has something done to a node, and waits for what became of it. `wait` is what was asked to be waited for.
    pub(crate) async fn tell<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        request: &impl Serialize,
        wait: Option<Duration>,
    ) -> Result<T, CliError> {
        let limit = wait.unwrap_or(ORDER_WAIT_DEFAULT).saturating_add(ORDER_MARGIN);
        self.document(&self.post(segments, Some(request), limit).await?)
    }

    /// The end of a supervisor's own log.
    pub(crate) async fn node_log(&self, node: &str, bytes: u32) -> Result<NodeLogView, CliError> {
        self.document(&self.get(&["nodes", node, "log"], &format!("tail={bytes}"), JSON).await?)
    }

    /// A piece of a log as it stands in the file.
    pub(crate) async fn log_bytes(&self, log: &LogAddress, part: LogPart) -> Result<LogBytes, CliError> {
        let LogPart::Lines(lines) = part else { return self.piece(log, part).await };
        let mut look = LINES_BYTES;
        loop {
            let mut piece = self.piece(log, LogPart::Tail(look)).await?;
            let is_all = piece.start == 0 || look >= TAIL_BYTES_MAX;
            match last_lines(&piece.bytes, lines) {
                Some(cut) => {
                    drop(piece.bytes.split_to(cut));
                    piece.start += cut as u64;
                    return Ok(piece);
                }
                None if is_all => {
                    piece.is_short = piece.start > 0;
                    return Ok(piece);
                }
                None => look = look.saturating_mul(8).min(TAIL_BYTES_MAX),
            }
        }
    }

    async fn piece(&self, log: &LogAddress, part: LogPart) -> Result<LogBytes, CliError> {
        let reply = self.log(log, part, "application/octet-stream").await?;
        let number = |name: &'static str| {
            let text = reply.headers.get(name).and_then(|value| value.to_str().ok());
            text.and_then(|text| text.parse().ok()).ok_or_else(|| self.odd(format!("the header {name} is missing")))
        };
        let (start, next, size) = (number("x-log-start")?, number("x-log-next")?, number("x-log-size")?);
        Ok(LogBytes { start, next, size, has_gap: says_gap(&reply.headers), is_short: false, bytes: reply.body })
    }

    /// A piece of a log as a JSON document.
    pub(crate) async fn log_view(&self, log: &LogAddress, part: LogPart) -> Result<LogView, CliError> {
        if !matches!(part, LogPart::Lines(_)) {
            return self.document(&self.log(log, part, "application/json").await?);
        }
        let LogBytes { start, next, size, has_gap, bytes, .. } = self.log_bytes(log, part).await?;
        let (node, process, channel) = (log.node.clone(), log.process.clone(), log.channel.as_str().to_owned());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(LogView { node, process, channel, start, next, size, has_gap, text })
    }

    async fn log(&self, log: &LogAddress, part: LogPart, accept: &'static str) -> Result<Reply, CliError> {
        let segments = ["nodes", &log.node, "processes", &log.process, "logs", log.channel.as_str()];
        let query = match part {
            LogPart::Tail(bytes) | LogPart::Lines(bytes) => format!("tail={bytes}"),
            LogPart::From(offset) => format!("offset={offset}&bytes=65536"),
        };
        self.get(&segments, &query, accept).await
    }

    /// A page of the audit.
    pub(crate) async fn audit(&self, query: &[(&str, String)]) -> Result<AuditPageView, CliError> {
        self.document(&self.get(&["audit"], &written(query), JSON).await?)
    }

    /// Has the server go through its audit.
    pub(crate) async fn verify_audit(&self, query: &[(&str, String)]) -> Result<AuditVerdictView, CliError> {
        self.document(&self.get(&["audit", "verify"], &written(query), JSON).await?)
    }

    /// An answer that may be longer than fits into memory.
    pub(crate) async fn download(&self, segments: &[&str], query: &[(&str, String)]) -> Result<Download, CliError> {
        let target = self.target(segments, &written(query));
        let call = Call { method: Method::GET, target, accept: "*/*", body: None, media_type: JSON, condition: None };
        self.http.download(&call, SWAP_TIMEOUT).await
    }

    /// Has the server compact its database.
    pub(crate) async fn compact(&self) -> Result<CompactionView, CliError> {
        self.document(&self.post(&["storage", "compact"], None::<&()>, COMPACTION_TIMEOUT).await?)
    }

    /// Has the server read its configuration again.
    pub(crate) async fn reload_config(&self) -> Result<ConfigAppliedView, CliError> {
        self.document(&self.post(&["config", "reload"], None::<&()>, SWAP_TIMEOUT).await?)
    }

    /// Has the server go back to an earlier configuration.
    pub(crate) async fn roll_config_back(&self, generation: u64) -> Result<ConfigAppliedView, CliError> {
        let segments = ["config", "rollback", &generation.to_string()];
        self.document(&self.post(&segments, None::<&()>, SWAP_TIMEOUT).await?)
    }

    /// The last configurations.
    pub(crate) async fn config_generations(&self) -> Result<ConfigGenerationList, CliError> {
        self.document(&self.get(&["config", "generations"], "", JSON).await?)
    }

    /// Adds a node that the API owns.
    pub(crate) async fn add_node(&self, request: &ManagedNodeRequest) -> Result<ConfigAppliedView, CliError> {
        self.document(&self.post(&["nodes"], Some(request), SWAP_TIMEOUT).await?)
    }

    /// Replaces a node that the API owns.
    pub(crate) async fn replace_node(
        &self,
        name: &str,
        request: &ManagedNodeRequest,
    ) -> Result<ConfigAppliedView, CliError> {
        let body = serde_json::to_vec(request).map_err(|error| CliError::Terminal(error.into()))?;
        self.document(&self.change_node(Method::PUT, name, Some(Bytes::from(body))).await?)
    }

    /// Removes a node that the API owns.
    pub(crate) async fn remove_node(&self, name: &str) -> Result<ConfigAppliedView, CliError> {
        self.document(&self.change_node(Method::DELETE, name, None).await?)
    }

    async fn change_node(&self, method: Method, name: &str, body: Option<Bytes>) -> Result<Reply, CliError> {
        let call = Call {
            method,
            target: self.target(&["nodes", name], ""),
            accept: JSON,
            body,
            media_type: JSON,
            condition: None,
        };
        self.succeed(self.http.exchange(&call, SWAP_TIMEOUT).await?)
    }

    /// All plugins.
    pub(crate) async fn plugins(&self) -> Result<PluginList, CliError> {
        self.document(&self.get(&["plugins"], "", JSON).await?)
    }

    /// Swaps a plugin for this component.
    pub(crate) async fn install_plugin(&self, name: &str, component: Vec<u8>) -> Result<SwapView, CliError> {
        let call = Call {
            method: Method::PUT,
            target: self.target(&["plugins", name], ""),
            accept: JSON,
            body: Some(Bytes::from(component)),
            media_type: "application/wasm",
            condition: None,
        };
        self.document(&self.succeed(self.http.exchange(&call, SWAP_TIMEOUT).await?)?)
    }

    /// Goes back to the generation before.
    pub(crate) async fn roll_plugin_back(&self, name: &str) -> Result<SwapView, CliError> {
        self.document(&self.post(&["plugins", name, "rollback"], None::<&()>, SWAP_TIMEOUT).await?)
    }

    /// A document and the tag of its revision.
    pub(crate) async fn find<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<(T, Option<String>), CliError> {
        let reply = self.get(segments, "", JSON).await?;
        let tag = reply.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        Ok((self.document(&reply)?, tag))
    }

    /// A document.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, CliError> {
        self.document(&self.get(segments, &written(query), JSON).await?)
    }

    /// Changes something that has this tag, if it has one.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&impl Serialize>,
        tag: Option<String>,
    ) -> Result<T, CliError> {
        self.document(&self.changed(method, segments, body, tag).await?)
    }

    /// Removes something that has this tag, if it has one.
    pub(crate) async fn remove(&self, segments: &[&str], tag: Option<String>) -> Result<(), CliError> {
        self.changed(Method::DELETE, segments, None::<&()>, tag).await.map(drop)
    }

    async fn changed(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&impl Serialize>,
        condition: Option<String>,
    ) -> Result<Reply, CliError> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| CliError::Terminal(error.into()))?;
        let (target, body) = (self.target(segments, ""), body.map(Bytes::from));
        let call = Call { method, target, accept: JSON, body, media_type: JSON, condition };
        self.succeed(self.http.exchange(&call, CALL_TIMEOUT).await?)
    }

    async fn get(&self, segments: &[&str], query: &str, accept: &'static str) -> Result<Reply, CliError> {
        let target = self.target(segments, query);
        let call = Call { method: Method::GET, target, accept, body: None, media_type: JSON, condition: None };
        self.succeed(self.http.exchange(&call, CALL_TIMEOUT).await?)
    }

    async fn post(&self, segments: &[&str], body: Option<&impl Serialize>, limit: Duration) -> Result<Reply, CliError> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| CliError::Terminal(error.into()))?;
        let call = Call {
            method: Method::POST,
            target: self.target(segments, ""),
            accept: JSON,
            body: body.map(Bytes::from),
            media_type: JSON,
            condition: None,
        };
        self.succeed(self.http.exchange(&call, limit).await?)
    }

    fn target(&self, segments: &[&str], query: &str) -> String {
        let whole: Vec<&str> = ["api", "v1"].iter().chain(segments).copied().collect();
        self.server().target(&whole, query)
    }

    fn succeed(&self, reply: Reply) -> Result<Reply, CliError> {
        if reply.status.is_success() {
            return Ok(reply);
        }
        Err(refusal(self.server(), reply.status, &reply.headers, &reply.body))
    }

    fn document<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, CliError> {
        serde_json::from_slice(&reply.body).map_err(|error| self.odd(error.to_string()))
    }

    fn odd(&self, what: String) -> CliError {
        CliError::NotOmnivisor { server: self.server().to_string(), what }
    }
}

/// Where the last lines begin, if that many begin here: behind the end of the line before them.
fn last_lines(bytes: &[u8], lines: u32) -> Option<usize> {
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let ends = whole.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth((lines as usize).checked_sub(1)?)
}

/// A query as it stands in an address.
fn written(pairs: &[(&str, String)]) -> String {
    let encoded = |(name, value): &(&str, String)| {
        format!("{name}={}", percent_encoding::utf8_percent_encode(value, NON_ALPHANUMERIC))
    };
    pairs.iter().map(encoded).collect::<Vec<_>>().join("&")
}

/// What an answer means that is no success: the problem document in it, if there is one.
pub(crate) fn refusal(server: &ServerUrl, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CliError {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => CliError::Refused { problem: Box::new(problem), retry_after: seconds.map(Duration::from_secs) },
        Err(_) => CliError::NotOmnivisor { server: server.to_string(), what: format!("status {status}") },
    }
}

fn says_gap(headers: &HeaderMap) -> bool {
    headers.get("x-log-gap").is_some_and(|value| value == "true" || value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_last_lines_are_those_of_a_naive_twin(text in "[ab\n]{0,40}", lines in 1_u32..6) {
            let all: Vec<&str> = text.split_inclusive('\n').collect();
            let wanted = all.len().saturating_sub(lines as usize);
            let twin: usize = all.iter().take(wanted).map(|line| line.len()).sum();
            // Of the first line nobody knows whether it begins here.
            prop_assert_eq!(last_lines(text.as_bytes(), lines), (wanted > 0).then_some(twin));
        }
    }
}
