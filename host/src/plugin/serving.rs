//! What the rest of the host holds of a plugin: an object that sends each call to the generation that serves then.

use crate::config::{OnFailure, PluginsConfig};
use crate::model::{
    AdapterInfo, ConfigChanges, Credential, GroupOperation, LogChannel, LogRange, LogSlice, MemberOutcome,
    NodeOperation, Observation, Operation, OperationRequest, PeerFacts, Process, ProcessAct, ProcessId, Redirection,
    StrategyInfo, Verdict, Violation,
};
use crate::plugin::load::Ready;
use crate::plugin::slot::{Caller, Pinned, Slot};
use crate::plugin::{
    Adapter, AdapterError, BoxFuture, Exchange, HintsRead, JudgeError, PluginFailure, PluginSet, Returned, Strategy,
    StreamRequest, Validator,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// The set that consumers see, in the order of the slots. Made anew with each swap, for what a plugin says of itself
/// may change then; the calls of an older set go to the same generations.
pub(super) fn set(config: &PluginsConfig, slots: &[Arc<Slot>]) -> PluginSet {
    let mut set = PluginSet { lenient: lenient(config), ..PluginSet::default() };
    for slot in slots {
        let (routing, slot) = (slot.routing(), Arc::clone(slot));
        match routing.active.ready() {
            Ready::Strategy(strategy) => {
                let info = Arc::clone(strategy.info());
                set.strategies.push(Arc::new(ServingStrategy { slot, info }));
            }
            Ready::Validator(_) => set.validators.push(Arc::new(ServingValidator { slot })),
            Ready::Adapter(adapter) => {
                let info = Arc::clone(adapter.info());
                set.adapters.insert(slot.name.to_string(), Arc::new(ServingAdapter { slot, info }));
            }
        }
    }
    set
}

/// The plugins whose failure does not refuse a request.
pub(super) fn lenient(config: &PluginsConfig) -> BTreeSet<String> {
    let lenient = config.grants.iter().filter(|(_, grant)| grant.on_failure == OnFailure::Allow);
    lenient.map(|(name, _)| name.clone()).collect()
}

/// An error that may be a failure of the plugin.
trait Blame: From<PluginFailure> {
    fn failure(&self) -> Option<&PluginFailure>;
}

impl Blame for AdapterError {
    fn failure(&self) -> Option<&PluginFailure> {
        if let Self::Plugin(failure) = self { Some(failure) } else { None }
    }
}

impl Blame for JudgeError {
    fn failure(&self) -> Option<&PluginFailure> {
        if let Self::Plugin(failure) = self { Some(failure) } else { None }
    }
}

/// Runs one call in the generation that serves now, and notes how it ended.
async fn through<T, E: Blame>(
    slot: &Arc<Slot>,
    caller: Caller,
    call: impl for<'a> FnOnce(&'a Ready) -> Option<BoxFuture<'a, Result<T, E>>>,
) -> Result<T, E> {
    run(slot, slot.pin(caller)?, call).await
}

async fn run<T, E: Blame>(
    slot: &Arc<Slot>,
    pinned: Pinned,
    call: impl for<'a> FnOnce(&'a Ready) -> Option<BoxFuture<'a, Result<T, E>>>,
) -> Result<T, E> {
    let generation = Arc::clone(pinned.generation());
    let Some(call) = call(generation.ready()) else {
        tracing::error!(target: "omnivisor::plugin", plugin = &*slot.name, "a plugin of another class is in its place");
        let what = "the host keeps a plugin of another class in its place".to_owned();
        return Err(PluginFailure::Trapped { plugin: slot.name.to_string(), what }.into());
    };
    let result = call.await;
    pinned.settle(result.as_ref().err().and_then(Blame::failure));
    result
}

struct ServingStrategy {
    slot: Arc<Slot>,
    info: Arc<StrategyInfo>,
}

impl ServingStrategy {
    /// An address that keeps failing is refused alone. The same account always meets the same generation.
    fn caller(facts: &PeerFacts) -> Caller {
        Caller::named("address", &facts.address)
    }
}

fn strategy(ready: &Ready) -> Option<&Arc<dyn Strategy>> {
    if let Ready::Strategy(strategy) = ready { Some(strategy) } else { None }
}

impl Strategy for ServingStrategy {
    fn name(&self) -> &str {
        &self.slot.name
    }

    fn info(&self) -> &Arc<StrategyInfo> {
        &self.info
    }

    fn authenticate(&self, credential: Credential, facts: PeerFacts) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        let caller = Self::caller(&facts);
        let caller = match &credential {
            Credential::Password { username, .. } => caller.steadied(username),
            Credential::Bearer { .. } | Credential::Headers { .. } => caller,
        };
        Box::pin(through(&self.slot, caller, |ready| Some(strategy(ready)?.authenticate(credential, facts))))
    }

    fn begin(
        &self,
        redirect_uri: String,
        state: String,
        facts: PeerFacts,
    ) -> BoxFuture<'_, Result<Redirection, JudgeError>> {
        let caller = Self::caller(&facts);
        Box::pin(through(&self.slot, caller, |ready| Some(strategy(ready)?.begin(redirect_uri, state, facts))))
    }

    fn complete(&self, returned: Returned) -> BoxFuture<'_, Result<Verdict, JudgeError>> {
        let caller = Self::caller(&returned.facts);
        Box::pin(through(&self.slot, caller, |ready| Some(strategy(ready)?.complete(returned))))
    }
}

struct ServingValidator {
    slot: Arc<Slot>,
}

impl Validator for ServingValidator {
    fn name(&self) -> &str {
        &self.slot.name
    }

    fn validate(&self, request: Arc<OperationRequest>) -> BoxFuture<'_, Result<Vec<Violation>, JudgeError>> {
        // Who is not known yet counts as one caller: with names of their own choice, one could pass for many.
        let named = request.requester.as_ref().map(|requester| Caller::named("principal", &requester.name));
        let caller = named.unwrap_or_else(|| Caller::strangers("principal"));
        Box::pin(async move {
            // What a validator does not want to see says nothing about how it does.
            let pinned = self.slot.pin(caller)?;
            if let Ready::Validator(validator) = pinned.generation().ready()
                && !validator.sees(&request.name)
            {
                return Ok(Vec::new());
            }
            let call = run(&self.slot, pinned, |ready| {
                if let Ready::Validator(validator) = ready { Some(validator.validate(request)) } else { None }
            });
            call.await
        })
    }
}

struct ServingAdapter {
    slot: Arc<Slot>,
    info: Arc<AdapterInfo>,
}

fn adapter(ready: &Ready) -> Option<&Arc<dyn Adapter>> {
    if let Ready::Adapter(adapter) = ready { Some(adapter) } else { None }
}

/// A node whose replies the adapter fails on is refused alone. A link that names no node counts as one node.
fn about(link: &Arc<dyn Exchange>) -> Caller {
    Caller::named("node", &link.node())
}

impl Adapter for ServingAdapter {
    fn name(&self) -> &str {
        &self.slot.name
    }

    fn info(&self) -> &Arc<AdapterInfo> {
        &self.info
    }

    fn observe(&self, link: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<Observation, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.observe(link, deadline))))
    }

    fn observe_some(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        ids: Vec<ProcessId>,
    ) -> BoxFuture<'_, Result<Vec<Process>, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.observe_some(link, deadline, ids))))
    }

    fn run(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: Operation,
        id: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.run(link, deadline, operation, id))))
    }

    fn act(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        act: ProcessAct,
        id: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.act(link, deadline, act, id))))
    }

    fn run_group(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: GroupOperation,
        group: String,
    ) -> BoxFuture<'_, Result<Vec<MemberOutcome>, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| {
            Some(adapter(ready)?.run_group(link, deadline, operation, group))
        }))
    }

    fn run_node(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: NodeOperation,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.run_node(link, deadline, operation))))
    }

    fn reread(&self, link: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<ConfigChanges, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.reread(link, deadline))))
    }

    fn follow_request(
        &self,
        deadline: Instant,
        id: ProcessId,
        channel: LogChannel,
    ) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        let caller = Caller::anybody("follow-request");
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.follow_request(deadline, id, channel))))
    }

    fn read_node_log(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        bytes_max: u32,
    ) -> BoxFuture<'_, Result<Vec<u8>, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| {
            Some(adapter(ready)?.read_node_log(link, deadline, bytes_max))
        }))
    }

    fn read_log(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        id: ProcessId,
        channel: LogChannel,
        range: LogRange,
    ) -> BoxFuture<'_, Result<LogSlice, AdapterError>> {
        let caller = about(&link);
        Box::pin(through(&self.slot, caller, move |ready| {
            Some(adapter(ready)?.read_log(link, deadline, id, channel, range))
        }))
    }

    fn hint_request(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        let caller = Caller::anybody("hint-request");
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.hint_request(deadline))))
    }

    fn read_hints(
        &self,
        deadline: Instant,
        rest: Vec<u8>,
        piece: Vec<u8>,
    ) -> BoxFuture<'_, Result<HintsRead, AdapterError>> {
        let caller = Caller::anybody("hints");
        Box::pin(through(&self.slot, caller, move |ready| Some(adapter(ready)?.read_hints(deadline, rest, piece))))
    }
}
