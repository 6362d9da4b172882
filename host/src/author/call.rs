//! One case's call, through the same seams that the server uses, and its result as JSON.

use crate::author::check::describes;
use crate::author::script::Script;
use crate::author::vectors::{self, Call, Channel, Credential as Offered};
use crate::model::{
    AdapterFault, Credential, Field, Identity, IdentitySource, LogChannel, LogRange, LogSlice, NodeId, Observation,
    Operation, OperationRequest, PeerFacts, Process, ProcessId, Requester, Role, Secret, Target, Verdict, Violation,
    is_mutating,
};
use crate::plugin::{
    Adapter, AdapterError, JudgeError, LoadedPlugins, PluginClass, PluginFailure, Returned, Strategy, StreamRequest,
};
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// Its result.
    Result(Value),
    /// A fault that the plugin reported, or a failure of the plugin itself.
    Fault { code: String, message: String },
    /// The call cannot be made so; the case is wrong.
    Impossible(String),
}

/// The plugin under test.
pub(super) struct Subject<'a> {
    pub class: PluginClass,
    pub loaded: &'a LoadedPlugins,
    pub script: &'a Arc<Script>,
    /// How long an adapter's call may take.
    pub time: Duration,
}

impl Subject<'_> {
    /// Makes the call.
    ///
    /// # Cancel safety
    /// Dropping the future drops the plugin's instance.
    pub(super) async fn perform(&self, call: Call) -> Ended {
        let missing = || Ended::Impossible("the plugin was not loaded".to_owned());
        let set = &self.loaded.set;
        match call {
            Call::Describe => Ended::Result(describes(self.class, self.loaded)),
            Call::Observe
            | Call::ObserveSome(_)
            | Call::Run(_)
            | Call::ReadLog(_)
            | Call::HintRequest
            | Call::ReadHints(_) => match set.adapters.values().next() {
                Some(adapter) => self.adapt(adapter.as_ref(), call).await,
                None => missing(),
            },
            Call::Validate(request) => match (set.validators.first(), operation(request)) {
                (Some(validator), Ok(request)) => judged(validator.validate(Arc::new(request)).await, violations),
                (Some(_), Err(reason)) => Ended::Impossible(reason),
                (None, _) => missing(),
            },
            Call::Authenticate(_) | Call::Begin(_) | Call::Complete(_) => match set.strategies.first() {
                Some(strategy) => decide(strategy.as_ref(), call).await,
                None => missing(),
            },
        }
    }

    async fn adapt(&self, adapter: &dyn Adapter, call: Call) -> Ended {
        let (link, until) = (Arc::clone(self.script) as _, Instant::now() + self.time);
        match call {
            Call::Observe => adapted(adapter.observe(link, until).await, observation),
            Call::ObserveSome(asked) => {
                let ids = asked.ids.iter().map(|id| ProcessId::reported(&id.group, &id.name)).collect();
                adapted(adapter.observe_some(link, until, ids).await, |found| json!({ "processes": processes(found) }))
            }
            Call::Run(order) => {
                let known = [Operation::Start, Operation::Stop, Operation::Restart];
                let Some(operation) = known.into_iter().find(|known| known.as_str() == order.operation) else {
                    return Ended::Impossible(format!("no adapter is ever asked to {:?}", order.operation));
                };
                let id = ProcessId::reported(&order.group, &order.name);
                adapted(
                    adapter.run(link, until, operation, id).await,
                    |is_accepted| json!({ "outcome": if is_accepted { "accepted" } else { "unchanged" } }),
                )
            }
            Call::ReadLog(log) => {
                let range = match (log.tail, log.from) {
                    (Some(bytes_max), None) => LogRange::Tail { bytes_max },
                    (None, Some((offset, bytes_max))) => LogRange::From { offset, bytes_max },
                    (Some(_), Some(_)) | (None, None) => {
                        return Ended::Impossible("either `tail` or `from` was expected".to_owned());
                    }
                };
                let channel = match log.channel {
                    Channel::Stdout => LogChannel::Stdout,
                    Channel::Stderr => LogChannel::Stderr,
                };
                let id = ProcessId::reported(&log.group, &log.name);
                adapted(adapter.read_log(link, until, id, channel, range).await, slice)
            }
            Call::HintRequest => adapted(adapter.hint_request(until).await, |request| match request {
                Some(StreamRequest { path, headers }) => json!({ "path": path, "headers": headers }),
                None => Value::Null,
            }),
            Call::ReadHints(vectors::Piece { rest, piece }) => {
                let read = adapter.read_hints(until, rest.into_bytes(), piece.into_bytes()).await;
                adapted(read, |hints| {
                    let rest = String::from_utf8_lossy(&hints.rest).into_owned();
                    json!({ "names": hints.names, "everything": hints.everything, "rest": rest })
                })
            }
            Call::Describe | Call::Validate(_) | Call::Authenticate(_) | Call::Begin(_) | Call::Complete(_) => {
                Ended::Impossible("an adapter has no such call".to_owned())
            }
        }
    }
}

async fn decide(strategy: &dyn Strategy, call: Call) -> Ended {
    match call {
        Call::Authenticate(login) => {
            let credential = match login.credential {
                Offered::Password { username, password } => {
                    Credential::Password { username, password: Secret::new(password) }
                }
                Offered::Bearer(token) => Credential::Bearer { token: Secret::new(token) },
                Offered::Headers(headers) => Credential::Headers { headers },
            };
            judged(strategy.authenticate(credential, facts(login.peer_address)).await, verdict)
        }
        Call::Begin(begin) => {
            let begun = strategy.begin(begin.redirect_uri, begin.state, facts(begin.peer_address)).await;
            judged(begun, |to| json!({ "url": to.url, "keep": to.keep.reveal() }))
        }
        Call::Complete(back) => {
            let returned = Returned {
                redirect_uri: back.redirect_uri,
                parameters: back.parameters,
                keep: Secret::new(back.keep),
                facts: facts(back.peer_address),
            };
            judged(strategy.complete(returned).await, verdict)
        }
        Call::Describe
        | Call::Observe
        | Call::ObserveSome(_)
        | Call::Run(_)
        | Call::ReadLog(_)
        | Call::HintRequest
        | Call::ReadHints(_)
        | Call::Validate(_) => Ended::Impossible("a strategy has no such call".to_owned()),
    }
}

fn facts(address: Option<IpAddr>) -> PeerFacts {
    let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
    PeerFacts { address, peer: address, request_id: "test".to_owned() }
}

fn adapted<T>(result: Result<T, AdapterError>, shown: impl FnOnce(T) -> Value) -> Ended {
    match result {
        Ok(value) => Ended::Result(shown(value)),
        Err(AdapterError::Fault(fault)) => Ended::fault(fault),
        Err(AdapterError::Plugin(failure)) => Ended::failure(&failure),
    }
}

fn judged<T>(result: Result<T, JudgeError>, shown: impl FnOnce(T) -> Value) -> Ended {
    match result {
        Ok(value) => Ended::Result(shown(value)),
        Err(JudgeError::Fault(fault)) => Ended::fault(fault),
        Err(JudgeError::Plugin(failure)) => Ended::failure(&failure),
    }
}

impl Ended {
    fn fault(AdapterFault { code, message, .. }: AdapterFault) -> Self {
        Self::Fault { code, message }
    }

    fn failure(failure: &PluginFailure) -> Self {
        Self::Fault { code: failure.code().to_owned(), message: failure.to_string() }
    }
}

fn operation(request: vectors::Request) -> Result<OperationRequest, String> {
    let field = |field: vectors::Field| Field { pointer: field.pointer, value: field.value };
    let requester = |principal: vectors::Principal| {
        let role = Role::parse(&principal.role).ok_or_else(|| format!("`{}` is not a role", principal.role))?;
        let (name, strategy, permissions) = (principal.name, principal.strategy, principal.permissions);
        Ok::<_, String>(Requester { name, role, strategy, permissions })
    };
    let target = |target: vectors::Target| {
        let node = NodeId::parse(&target.node).map_err(|error| error.to_string())?;
        let process = target.process.as_deref().map(ProcessId::parse).transpose().map_err(|error| error.to_string())?;
        Ok::<_, String>(Target { node, environment: target.environment, process })
    };
    Ok(OperationRequest {
        is_mutating: is_mutating(&request.name),
        requester: request.principal.map(requester).transpose()?,
        targets: request.targets.into_iter().map(target).collect::<Result<_, _>>()?,
        fields: request.fields.into_iter().map(field).collect(),
        at: request.at_ms.map_or_else(SystemTime::now, |ms| UNIX_EPOCH + Duration::from_millis(ms)),
        name: request.name,
    })
}

fn violations(violations: Vec<Violation>) -> Value {
    let violation = |violation: Violation| json!({ "pointer": violation.pointer, "code": violation.code, "message": violation.message });
    json!({ "violations": violations.into_iter().map(violation).collect::<Vec<_>>() })
}

fn observation(observation: Observation) -> Value {
    let Observation { version, identification, processes: found, skipped: _ } = observation;
    json!({ "version": version, "identification": identification, "processes": processes(found) })
}

fn processes(processes: Vec<Process>) -> Vec<Value> {
    let process = |process: Process| {
        json!({
            "group": process.id.group(),
            "name": process.id.name(),
            "state": process.state.as_str(),
            "native_state": process.native_state,
            "pid": process.pid,
            "started_ms": process.started_ms,
            "uptime_ms": process.uptime.map(|uptime| u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)),
            "exit_status": process.exit_status,
            "message": process.message,
        })
    };
    processes.into_iter().map(process).collect()
}

fn slice(slice: LogSlice) -> Value {
    let mut shown = Map::new();
    shown.insert("start".to_owned(), slice.start.into());
    shown.insert("size".to_owned(), slice.size.into());
    shown.insert("has_gap".to_owned(), slice.has_gap.into());
    match String::from_utf8(slice.bytes) {
        Ok(text) => shown.insert("text".to_owned(), text.into()),
        Err(error) => {
            let bytes = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
            shown.insert("bytes_base64".to_owned(), bytes.into())
        }
    };
    Value::Object(shown)
}

fn verdict(verdict: Verdict) -> Value {
    match verdict {
        Verdict::Granted(Identity { name, source, scopes, expires }) => {
            let (source, role) = match source {
                IdentitySource::Account => ("account", None),
                IdentitySource::External(role) => ("external", Some(role.as_str())),
            };
            let expires_ms = expires
                .and_then(|expires| expires.duration_since(UNIX_EPOCH).ok())
                .map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            json!({
                "verdict": "granted", "name": name, "source": source, "role": role, "scopes": scopes,
                "expires_ms": expires_ms,
            })
        }
        Verdict::Denied { code } => json!({ "verdict": "denied", "reason": code }),
        Verdict::NotMine => json!({ "verdict": "not-mine" }),
    }
}
