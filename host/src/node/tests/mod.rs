//! The owner against a scripted supervisor, with the clock held still.

mod bounds;
mod changes;
mod falls;
mod lane;
mod live;
mod machine;
mod peer;
pub(super) mod script;

use crate::model::{
    Command, CommandReport, Event, EventBody, LogChannel, LogRange, NodeState, Operation, Outcome, Process, ProcessId,
    ProcessState,
};
use crate::node::{NodeError, NodeHandle, Patience, Pool, PoolParts};
use crate::plugin::{Adapter, PluginSet};
use crate::task::{TaskGroup, TaskKind};
use script::{Script, node, process, settings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A pool of one node and its ends.
struct Rig {
    script: Arc<Script>,
    node: NodeHandle,
    events: mpsc::Receiver<Event>,
    tracker: TaskTracker,
    stop: CancellationToken,
    pool: Pool,
    _plugins: watch::Sender<Arc<PluginSet>>,
}

impl Rig {
    /// A supervisor that starts and stops; all else is the owner's own work.
    async fn start(processes: Vec<Process>) -> Self {
        Self::start_with(processes, &[Operation::Start, Operation::Stop]).await
    }

    async fn start_with(processes: Vec<Process>, operations: &[Operation]) -> Self {
        Self::start_script(Script::new(processes, operations, &[])).await
    }

    async fn start_script(script: Arc<Script>) -> Self {
        let adapters: BTreeMap<String, Arc<dyn Adapter>> =
            BTreeMap::from([("script".to_owned(), Arc::clone(&script) as Arc<dyn Adapter>)]);
        let set = PluginSet { adapters, ..PluginSet::default() };
        let (plugins, seen) = watch::channel(Arc::new(set));
        let (sender, events) = mpsc::channel(1_024);
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let config = node("n", "script");
        let parts = PoolParts {
            nodes: vec![config],
            config: settings(),
            calls_max: 8,
            plugins: seen,
            events: sender,
            seed: 7,
            stop: stop.clone(),
        };
        let pool = Pool::start(parts, &TaskGroup::on(TaskKind::Owner, &tracker));
        let node = pool.node("n").expect("configured");
        let rig = Self { script, node, events, tracker, stop, pool, _plugins: plugins };
        rig.state_is(NodeState::LivePoll).await;
        rig
    }

    async fn state_is(&self, wanted: NodeState) -> Duration {
        let began = Instant::now();
        let seen = async {
            while self.node.status().state != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), seen).await.unwrap_or_else(|_| panic!("never {wanted:?}"));
        began.elapsed()
    }

    async fn order(&self, operation: Operation, wait: Duration) -> Result<CommandReport, NodeError> {
        self.node.command(command(operation, wait), patience()).await
    }

    /// Waits until the process runs and nothing is under way, in virtual time.
    async fn sent_is(&self, wanted: &[(Operation, ProcessState)]) {
        let seen = async {
            while self.script.sent() != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), seen).await.unwrap_or_else(|_| panic!("sent {:?}", self.script.sent()));
    }
}

/// A caller that has time.
fn patience() -> Patience {
    Patience::until(Instant::now() + Duration::from_secs(60))
}

fn command(operation: Operation, wait: Duration) -> Command {
    Command { operation, process: ProcessId::reported("g", "p"), wait, request_id: "test".into() }
}

const RESTARTED: [(Operation, ProcessState); 2] =
    [(Operation::Stop, ProcessState::Running), (Operation::Start, ProcessState::Stopped)];

#[tokio::test(start_paused = true)]
async fn a_restart_starts_only_what_it_saw_stopped() {
    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    let report = rig.order(Operation::Restart, Duration::from_secs(15)).await.expect("done");
    assert_eq!((report.outcome, report.state), (Outcome::Done, ProcessState::Running));
    assert!(report.took >= Duration::from_secs(3), "the stop takes that long: {:?}", report.took);
    assert_eq!(rig.script.sent(), RESTARTED);
}

#[tokio::test(start_paused = true)]
async fn a_slow_stop_is_in_progress_and_the_restart_goes_on_without_its_caller() {
    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    let report = rig.order(Operation::Restart, Duration::from_secs(1)).await.expect("taken");
    assert_eq!((report.outcome, report.state), (Outcome::InProgress, ProcessState::Stopping));
    rig.sent_is(&RESTARTED).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_cut_its_restart_in_two() {
    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    drop(timeout(Duration::from_millis(100), rig.order(Operation::Restart, Duration::from_secs(15))).await);
    rig.sent_is(&RESTARTED).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_as_asked_is_left_alone() {
    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    let report = rig.order(Operation::Start, Duration::from_secs(1)).await.expect("answered");
    assert_eq!(report.outcome, Outcome::Unchanged);
    assert_eq!(rig.script.sent(), []);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_process_that_is_not_there_or_not_alone() {
    let rig = Rig::start(vec![process("other", ProcessState::Running)]).await;
    let refused = rig.order(Operation::Stop, Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(NodeError::UnknownProcess { .. })), "{refused:?}");

    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    rig.script.change(|state| state.extra.push(process("p", ProcessState::Stopped)));
    tokio::time::sleep(Duration::from_secs(3)).await; // virtual: two polls pass
    let refused = rig.order(Operation::Stop, Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(NodeError::AmbiguousProcess { .. })), "{refused:?}");
    assert_eq!(rig.script.sent(), []);
}

#[tokio::test(start_paused = true)]
async fn what_the_adapter_does_not_list_is_refused_before_anything_is_sent() {
    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    for operation in [Operation::Monitor, Operation::Unmonitor] {
        let refused = rig.order(operation, Duration::from_secs(1)).await;
        assert!(matches!(refused, Err(NodeError::Unsupported { .. })), "{refused:?}");
    }
    let log = rig.node.read_log(
        ProcessId::reported("g", "p"),
        LogChannel::Stdout,
        LogRange::Tail { bytes_max: 1 },
        patience(),
    );
    assert!(matches!(log.await, Err(NodeError::Unsupported { .. })));
    assert_eq!(rig.script.sent(), []);
    let rig = Rig::start_with(vec![process("p", ProcessState::Running)], &[Operation::Stop]).await;
    let refused = rig.order(Operation::Restart, Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(NodeError::Unsupported { .. })), "half a restart is none: {refused:?}");
    assert_eq!(rig.script.sent(), []);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_restarts_by_itself_is_asked_once_for_just_that() {
    let rig = Rig::start_with(vec![process("p", ProcessState::Running)], &Operation::ALL).await;
    let report = rig.order(Operation::Restart, Duration::from_secs(15)).await.expect("done");
    assert_eq!((report.outcome, report.state), (Outcome::Done, ProcessState::Running));
    assert_eq!(rig.script.sent(), [(Operation::Restart, ProcessState::Running)]);
}

#[tokio::test(start_paused = true)]
async fn watching_is_an_order_like_any_other_and_told_by_the_process() {
    let watched = |value: &str| {
        let mut process = process("p", ProcessState::Unknown);
        process.attributes.insert(Process::MONITORED.to_owned(), value.to_owned());
        process
    };
    let rig = Rig::start_with(vec![watched("true")], &Operation::ALL).await;
    let mut outcomes = Vec::new();
    for operation in [Operation::Monitor, Operation::Unmonitor, Operation::Unmonitor, Operation::Monitor] {
        outcomes.push(rig.order(operation, Duration::from_secs(15)).await.expect("taken").outcome);
    }
    assert_eq!(outcomes, [Outcome::Unchanged, Outcome::Done, Outcome::Unchanged, Outcome::Done]);
    assert_eq!(rig.script.sent().len(), 2);
    assert_eq!(rig.node.status().processes[0].process.is_monitored(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_watches_is_stopped_whatever_is_said_of_it() {
    let mut left_alone = process("p", ProcessState::Unknown);
    left_alone.attributes.insert(Process::MONITORED.to_owned(), "false".to_owned());
    let rig = Rig::start_with(vec![left_alone], &Operation::ALL).await;
    assert_eq!(rig.order(Operation::Stop, Duration::from_secs(15)).await.expect("done").outcome, Outcome::Done);
    assert_eq!(rig.script.sent(), [(Operation::Stop, ProcessState::Unknown)]);
    let rig = Rig::start(vec![process("p", ProcessState::Unknown)]).await;
    assert_eq!(rig.order(Operation::Stop, Duration::from_secs(15)).await.expect("taken").outcome, Outcome::Unchanged);
}

#[tokio::test(start_paused = true)]
async fn a_second_order_for_the_same_process_is_refused_while_the_first_is_under_way() {
    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    let (first, second) = tokio::join!(
        rig.order(Operation::Stop, Duration::from_secs(15)),
        rig.order(Operation::Restart, Duration::from_secs(15))
    );
    assert_eq!(first.expect("done").outcome, Outcome::Done);
    assert!(matches!(second, Err(NodeError::ProcessBusy { .. })), "{second:?}");
    let again = rig.order(Operation::Start, Duration::from_secs(15)).await.expect("free again");
    assert_eq!(again.outcome, Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn silence_is_stale_within_four_seconds_and_healed_within_three() {
    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    for _ in 0..20 {
        rig.script.change(|state| state.is_silent = true);
        let until_stale = rig.state_is(NodeState::Stale).await;
        assert!(until_stale <= Duration::from_secs(4), "{until_stale:?}");
        assert_eq!(rig.node.status().processes.len(), 1, "old data stays visible");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(rig.node.status().state, NodeState::Unreachable);
        rig.script.change(|state| state.is_silent = false);
        let until_live = rig.state_is(NodeState::LivePoll).await;
        assert!(until_live <= Duration::from_secs(3), "{until_live:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    rig.script.change(|state| state.is_silent = true);
    let orders: Vec<_> = (0..8).map(|_| rig.order(Operation::Stop, Duration::from_secs(1))).collect();
    let results = futures_util::future::join_all(orders).await;
    let full = results.iter().filter(|r| matches!(r, Err(NodeError::QueueFull { limit: 2, .. }))).count();
    assert!(full >= 5, "{results:?}");
    assert!(results.iter().all(Result::is_err), "a silent node does nothing: {results:?}");
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_once_and_nothing_else() {
    let mut rig = Rig::start(vec![process("p", ProcessState::Running)]).await;
    rig.script.change(|state| {
        state.processes.get_mut(&ProcessId::reported("g", "p")).expect("known").pid = Some(8);
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.stop.cancel();
    rig.tracker.close();
    timeout(Duration::from_secs(5), rig.tracker.wait()).await.expect("the owner ends");
    let mut told = vec![];
    while let Some(event) = rig.events.recv().await {
        told.push(match event.body {
            EventBody::Node(status) => status.state.as_str().to_owned(),
            EventBody::Process { before, after } => {
                format!("{:?}->{:?}", before.and_then(|b| b.process.pid), after.process.pid)
            }
            EventBody::ProcessRemoved(id) => id.to_string(),
            EventBody::NodeRemoved => "removed".to_owned(),
        });
        if rig.events.is_empty() {
            break;
        }
    }
    assert_eq!(told, ["None->Some(7)", "live-poll", "Some(7)->Some(8)"]);
}

/// Two hundred nodes, half of them dead: every one that lives is refreshed within its interval all the while. The dead
/// hold a place for as long as a call may last, again and again, and there are far fewer places than dead nodes.
#[tokio::test(start_paused = true)]
async fn p05_a_hundred_dead_nodes_keep_no_live_one_from_being_refreshed() {
    let (live, dead) = (Script::new(vec![], &[], &[]), Script::new(vec![], &[], &[]));
    live.change(|state| state.delay = Duration::from_millis(5));
    dead.change(|state| state.is_silent = true);
    let adapters: BTreeMap<String, Arc<dyn Adapter>> =
        BTreeMap::from([("live".to_owned(), live as Arc<dyn Adapter>), ("dead".to_owned(), dead as Arc<dyn Adapter>)]);
    let (_plugins, seen) = watch::channel(Arc::new(PluginSet { adapters, ..PluginSet::default() }));
    let (events, _told) = mpsc::channel(10_000);
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let name =
        |n: usize| if n.is_multiple_of(2) { ("live", format!("live-{n}")) } else { ("dead", format!("dead-{n}")) };
    let nodes = (0..200).map(|n| node(&name(n).1, name(n).0)).collect();
    let parts =
        PoolParts { nodes, config: settings(), calls_max: 16, plugins: seen, events, seed: 7, stop: stop.clone() };
    let pool = Pool::start(parts, &TaskGroup::on(TaskKind::Owner, &tracker));
    // The first round asks the dead as well as anybody: until it is over, nobody knows them.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut seen: BTreeMap<String, (u64, Instant)> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    for _ in 0..1_500 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        for node in pool.nodes().iter().filter(|node| node.id().as_str().starts_with("live")) {
            let status = node.status();
            assert_eq!(status.state, NodeState::LivePoll, "{}", status.id);
            let (revision, at) = seen.entry(status.id.to_string()).or_insert((status.revision, Instant::now()));
            longest = longest.max(at.elapsed());
            if *revision != status.revision {
                (*revision, *at) = (status.revision, Instant::now());
            }
        }
    }
    assert_eq!(seen.len(), 100);
    assert!(longest <= settings().poll_interval + Duration::from_millis(60), "one waited for {longest:?}");
    stop.cancel();
}
