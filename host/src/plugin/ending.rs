//! How a call ended, in our words. The engine tells some things by type and some only by text; a test holds each.

use crate::config::CallLimits;
use crate::model::{AdapterFault, FaultKind};
use crate::plugin::counters::Outcome;
use crate::plugin::state::CallState;
use crate::plugin::text::clean;
use crate::plugin::{AdapterError, JudgeError, PluginFailure};
use std::time::Duration;
use wasmtime::{PoolConcurrencyLimitError, Trap};

/// Bytes of the engine's words in an error.
const WHAT_BYTES_MAX: usize = 256;

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The plugin's word about its node or its input.
    Fault(AdapterFault),
    /// The plugin itself failed.
    Failure(PluginFailure),
}

/// Why a result was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The plugin reported a fault, or said something that makes no sense.
    Fault(AdapterFault),
    /// More of something than its contract allows.
    TooMuch(String),
}

impl Ending {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Fault(_) => Outcome::Fault,
            Self::Failure(failure) => match failure {
                PluginFailure::OutOfFuel { .. } => Outcome::OutOfFuel,
                PluginFailure::TimedOut { .. } => Outcome::TimedOut,
                PluginFailure::OutOfMemory { .. } => Outcome::OutOfMemory,
                PluginFailure::TooMuchData { .. } => Outcome::TooMuchData,
                PluginFailure::OutOfStack { .. } => Outcome::OutOfStack,
                PluginFailure::Trapped { .. } => Outcome::Trapped,
                PluginFailure::Quarantined { .. } => Outcome::Quarantined,
                PluginFailure::Busy { .. } => Outcome::Busy,
            },
        }
    }
}

impl From<Ending> for AdapterError {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Fault(fault) => Self::Fault(fault),
            Ending::Failure(failure) => Self::Plugin(failure),
        }
    }
}

impl From<Ending> for JudgeError {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Fault(fault) => Self::Fault(fault),
            Ending::Failure(failure) => Self::Plugin(failure),
        }
    }
}

/// The call ran until its time was over. One that was waiting for its node then is not the plugin's failure.
pub(super) fn timed_out(plugin: &str, state: &CallState, limit: Duration) -> Ending {
    if state.is_at_node {
        return Ending::Fault(AdapterFault {
            kind: FaultKind::Timeout,
            code: "node.timed_out".to_owned(),
            message: format!("the node did not answer within {limit:?}"),
        });
    }
    Ending::Failure(PluginFailure::TimedOut { plugin: plugin.to_owned(), limit })
}

/// The engine ended the call with an error.
pub(super) fn failed(
    plugin: &str,
    limits: &CallLimits,
    time: Duration,
    state: &CallState,
    error: &wasmtime::Error,
) -> PluginFailure {
    let plugin = plugin.to_owned();
    let text = format!("{:#}", error.root_cause());
    let memory = |plugin| PluginFailure::OutOfMemory { plugin, limit_bytes: limits.memory_bytes };
    if state.limiter.has_refused
        || text.contains("store handle limit exceeded")
        || text.contains("resource limit exceeded")
        || text.contains("resource table has no free keys")
    {
        return memory(plugin);
    }
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return PluginFailure::TooMuchData { plugin, what: format!("{} bytes", limits.hostcall_bytes) };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return PluginFailure::Busy { plugin, limit: limits.calls_max };
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::OutOfFuel) {
        PluginFailure::OutOfFuel { plugin, limit: limits.fuel }
    } else if trap == Some(Trap::Interrupt) {
        PluginFailure::TimedOut { plugin, limit: time }
    } else if trap == Some(Trap::StackOverflow) {
        PluginFailure::OutOfStack { plugin }
    } else if trap == Some(Trap::AllocationTooLarge) {
        memory(plugin)
    } else if let Some(words) = &state.log.last_words {
        PluginFailure::Trapped { plugin, what: format!("panicked: {words}") }
    } else {
        PluginFailure::Trapped { plugin, what: clean(text.trim_start_matches("wasm trap: "), WHAT_BYTES_MAX) }
    }
}
