//! A supervisor in memory, behind an adapter in memory.

use crate::config::{Endpoint, NodeConfig, PoolConfig};
use crate::model::{
    Ability, AdapterFault, AdapterInfo, ConfigChanges, FaultKind, GroupOperation, LogChannel, LogRange, LogSlice,
    MemberOutcome, NodeId, NodeOperation, Observation, Operation, Process, ProcessAct, ProcessId, ProcessState,
};
use crate::plugin::{Adapter, AdapterError, BoxFuture, Exchange, HintsRead, StreamRequest};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A supervisor in memory: stopping takes a while, starting is at once.
pub(super) struct Script {
    info: Arc<AdapterInfo>,
    state: Mutex<Scripted>,
}

pub(super) struct Scripted {
    pub(super) processes: BTreeMap<ProcessId, Process>,
    pub(super) extra: Vec<Process>,
    pub(super) is_silent: bool,
    /// Nothing but orders goes without an answer.
    pub(super) drops_orders: bool,
    /// How long each answer takes. What it tells is as it was when it was asked.
    pub(super) delay: Duration,
    /// Calls under way, ever begun, and at most at once.
    pub(super) under_way: usize,
    pub(super) begun: usize,
    pub(super) stop_takes: Duration,
    stopping: BTreeMap<ProcessId, Instant>,
    sent: Vec<(Operation, ProcessState)>,
    /// Orders beyond those to single processes, in words.
    told: Vec<String>,
    /// Which calls find nobody there, over and over; none if it is empty.
    pub(super) absent: Vec<bool>,
    /// What its files say.
    pub(super) files: ConfigChanges,
    runs: u64,
}

impl Script {
    pub(super) fn new(processes: Vec<Process>, operations: &[Operation], abilities: &[Ability]) -> Arc<Self> {
        let info = AdapterInfo {
            kind: "script".into(),
            operations: operations.to_vec(),
            abilities: abilities.iter().copied().collect(),
            log_channels: vec![],
            wakes_at_bytes: false,
        };
        Arc::new(Self {
            info: Arc::new(info),
            state: Mutex::new(Scripted {
                processes: processes.into_iter().map(|p| (p.id.clone(), p)).collect(),
                extra: vec![],
                is_silent: false,
                drops_orders: false,
                delay: Duration::ZERO,
                under_way: 0,
                begun: 0,
                stop_takes: Duration::from_secs(3),
                stopping: BTreeMap::new(),
                sent: vec![],
                told: vec![],
                absent: vec![],
                files: ConfigChanges::default(),
                runs: 100,
            }),
        })
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Scripted)) {
        change(&mut self.state.lock().expect("not poisoned"));
    }

    pub(super) fn sent(&self) -> Vec<(Operation, ProcessState)> {
        self.state.lock().expect("not poisoned").sent.clone()
    }

    pub(super) fn told(&self) -> Vec<String> {
        self.state.lock().expect("not poisoned").told.clone()
    }

    pub(super) fn is_silent(&self) -> bool {
        self.state.lock().expect("not poisoned").is_silent
    }

    async fn answer<T>(&self, deadline: Instant, what: impl FnOnce(&mut Scripted) -> T) -> Result<T, AdapterError> {
        let _under_way = UnderWay::begin(self);
        if self.is_silent() {
            return self.time_out(deadline).await;
        }
        let (delay, answer) = {
            let mut state = self.state.lock().expect("not poisoned");
            let at = state.begun % state.absent.len().max(1);
            if state.absent.get(at) == Some(&true) {
                let (code, message) = ("node.unreachable".into(), "nobody is there".into());
                return Err(AdapterFault { kind: FaultKind::Node, code, message }.into());
            }
            state.settle();
            (state.delay, what(&mut state))
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        Ok(answer)
    }

    async fn time_out<T>(&self, deadline: Instant) -> Result<T, AdapterError> {
        sleep_until(deadline - crate::node::pool::ADAPTER_SLACK).await;
        let (kind, code) = (FaultKind::Timeout, "node.timed_out".to_owned());
        Err(AdapterFault { kind, code, message: "no answer in time".into() }.into())
    }
}

/// A call under way, counted for as long as its future lives.
struct UnderWay<'a>(&'a Script);

impl<'a> UnderWay<'a> {
    fn begin(script: &'a Script) -> Self {
        script.change(|state| {
            state.under_way += 1;
            state.begun += 1;
        });
        Self(script)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.under_way -= 1);
    }
}

impl Scripted {
    /// Ends the stops whose time has come.
    fn settle(&mut self) {
        let now = Instant::now();
        let ended: Vec<_> = self.stopping.iter().filter(|(_, at)| now >= **at).map(|(id, _)| id.clone()).collect();
        for id in ended {
            self.stopping.remove(&id);
            if let Some(process) = self.processes.get_mut(&id) {
                process.state = ProcessState::Stopped;
            }
        }
    }

    /// Tells all processes of a group that are not as asked, and says what became of it for each.
    fn run_group(&mut self, operation: GroupOperation, group: &str) -> Vec<MemberOutcome> {
        let is_start = operation == GroupOperation::Start;
        self.told.push(format!("{} {group}", if is_start { "start" } else { "stop" }));
        let is_meant = |p: &&Process| p.id.group() == group && p.state.is_stopped() == is_start;
        let ids: Vec<ProcessId> = self.processes.values().filter(is_meant).map(|p| p.id.clone()).collect();
        let operation = if is_start { Operation::Start } else { Operation::Stop };
        let outcome = |id: ProcessId| MemberOutcome { outcome: Ok(self.run(operation, &id)), id };
        ids.into_iter().map(outcome).collect()
    }

    fn run_node(&mut self, operation: NodeOperation) -> Result<bool, AdapterError> {
        self.told.push(match &operation {
            NodeOperation::AddGroup(group) => format!("add {group}"),
            NodeOperation::RemoveGroup(group) => format!("remove {group}"),
            NodeOperation::Restart => "restart".to_owned(),
            NodeOperation::Shutdown => "shutdown".to_owned(),
        });
        match operation {
            NodeOperation::AddGroup(group) if group == "bad" => {
                let (code, message) = ("group.not_found".to_owned(), "it is not there".to_owned());
                return Err(AdapterFault { kind: FaultKind::Caller, code, message }.into());
            }
            NodeOperation::AddGroup(group) => {
                let id = ProcessId::reported(&group, "p");
                self.processes.insert(id.clone(), Process { id, ..process("p", ProcessState::Running) });
            }
            NodeOperation::RemoveGroup(group) => {
                if self.processes.values().any(|p| p.id.group() == group && !p.state.is_stopped()) {
                    let code = "group.still_running".to_owned();
                    return Err(AdapterFault { kind: FaultKind::Caller, code, message: "it runs".to_owned() }.into());
                }
                self.processes.retain(|id, _| id.group() != group);
            }
            NodeOperation::Restart | NodeOperation::Shutdown => self.is_silent = true,
        }
        Ok(true)
    }

    fn run(&mut self, operation: Operation, id: &ProcessId) -> bool {
        let Some(process) = self.processes.get_mut(id) else { return true };
        self.sent.push((operation, process.state));
        match operation {
            Operation::Start => {
                self.runs += 1;
                process.state = ProcessState::Running;
                process.started_ms = Some(self.runs);
            }
            Operation::Stop => {
                process.state = ProcessState::Stopping;
                self.stopping.insert(id.clone(), Instant::now() + self.stop_takes);
            }
            Operation::Restart => {
                process.pid = process.pid.map(|pid| pid + 1);
                process.state = ProcessState::Running;
            }
            Operation::Monitor | Operation::Unmonitor => {
                let is_watched = operation == Operation::Monitor;
                process.attributes.insert(Process::MONITORED.to_owned(), is_watched.to_string());
            }
        }
        true
    }
}

impl Adapter for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn info(&self) -> &Arc<AdapterInfo> {
        &self.info
    }

    fn observe(&self, _: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<Observation, AdapterError>> {
        Box::pin(self.answer(deadline, |state| Observation {
            version: "1".into(),
            identification: "script".into(),
            processes: state.processes.values().chain(&state.extra).cloned().collect(),
            skipped: 0,
        }))
    }

    fn observe_some(
        &self,
        _: Arc<dyn Exchange>,
        deadline: Instant,
        ids: Vec<ProcessId>,
    ) -> BoxFuture<'_, Result<Vec<Process>, AdapterError>> {
        Box::pin(
            self.answer(deadline, move |state| ids.iter().filter_map(|id| state.processes.get(id).cloned()).collect()),
        )
    }

    fn run(
        &self,
        _: Arc<dyn Exchange>,
        deadline: Instant,
        operation: Operation,
        id: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        Box::pin(async move {
            if self.state.lock().expect("not poisoned").drops_orders {
                return self.time_out(deadline).await;
            }
            self.answer(deadline, move |state| state.run(operation, &id)).await
        })
    }

    fn act(
        &self,
        _: Arc<dyn Exchange>,
        deadline: Instant,
        act: ProcessAct,
        id: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        Box::pin(self.answer(deadline, move |state| {
            state.told.push(format!("{} {id}", act.as_str()));
            true
        }))
    }

    fn run_group(
        &self,
        _: Arc<dyn Exchange>,
        deadline: Instant,
        operation: GroupOperation,
        group: String,
    ) -> BoxFuture<'_, Result<Vec<MemberOutcome>, AdapterError>> {
        Box::pin(self.answer(deadline, move |state| state.run_group(operation, &group)))
    }

    fn run_node(
        &self,
        _: Arc<dyn Exchange>,
        deadline: Instant,
        operation: NodeOperation,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        Box::pin(async move { self.answer(deadline, move |state| state.run_node(operation)).await? })
    }

    fn reread(&self, _: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<ConfigChanges, AdapterError>> {
        Box::pin(self.answer(deadline, |state| state.files.clone()))
    }

    fn read_log(
        &self,
        _: Arc<dyn Exchange>,
        deadline: Instant,
        _: ProcessId,
        _: LogChannel,
        _: LogRange,
    ) -> BoxFuture<'_, Result<LogSlice, AdapterError>> {
        Box::pin(self.answer(deadline, |_| LogSlice { start: 0, bytes: b"log".to_vec(), size: 3, has_gap: false }))
    }

    fn hint_request(&self, _: Instant) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        Box::pin(async { Ok(None) })
    }

    fn read_hints(&self, _: Instant, _: Vec<u8>, _: Vec<u8>) -> BoxFuture<'_, Result<HintsRead, AdapterError>> {
        Box::pin(async { Ok(HintsRead::default()) })
    }
}

/// A node that this adapter speaks to.
pub(super) fn node(name: &str, adapter: &str) -> NodeConfig {
    NodeConfig {
        name: NodeId::parse(name).expect("a name"),
        environment: None,
        adapter: adapter.into(),
        endpoint: Endpoint::Tcp { host: "localhost".into(), port: 1 },
        login: None,
        is_enabled: true,
    }
}

pub(in crate::node) fn settings() -> PoolConfig {
    PoolConfig {
        poll_interval: Duration::from_secs(1),
        nudge_interval: Duration::from_millis(250),
        connect_timeout: Duration::from_secs(1),
        call_timeout: Duration::from_secs(2),
        order_timeout: Duration::from_secs(2),
        log_timeout: Duration::from_secs(2),
        response_bytes_max: 1 << 20,
        failures_max: 2,
        breaker_failures_max: 5,
        breaker_cooldown: Duration::from_secs(2),
        commands_max: 2,
    }
}

pub(super) fn process(name: &str, state: ProcessState) -> Process {
    Process {
        id: ProcessId::reported("g", name),
        state,
        native_state: state.as_str().to_uppercase(),
        pid: Some(7),
        started_ms: Some(7),
        uptime: None,
        exit_status: None,
        message: String::new(),
        attributes: BTreeMap::new(),
    }
}
