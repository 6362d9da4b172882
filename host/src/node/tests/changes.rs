//! A pool whose nodes come, change and go, against a sequential model of it.

use super::script::{Script, node, process, settings};
use crate::config::{Endpoint, NodeConfig, NodeLogin};
use crate::model::{
    Command, Event, EventBody, NodeId, NodeState, ObservedProcess, Operation, Outcome, Process, ProcessId,
    ProcessState, Secret,
};
use crate::node::{NodeError, Pool, PoolChange, PoolParts};
use crate::plugin::{Adapter, PluginSet};
use crate::task::{TaskGroup, TaskKind};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SUPERVISORS: usize = 3;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A node of the model: which supervisor it is, in which environment, with which password, and whether it is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    supervisor: usize,
    environment: u8,
    password: u8,
    is_enabled: bool,
}

type Wishes = BTreeMap<usize, Wish>;

#[derive(Debug, Clone)]
enum Step {
    /// One change of the pool.
    Apply(Wishes),
    /// Two that are asked for at once.
    ApplyBoth(Wishes, Wishes),
    /// Something happens to a process: another run, another state, gone, or new.
    Mutate {
        supervisor: usize,
        process: u8,
        what: u8,
    },
    /// From now on its answers take so long.
    Delay {
        supervisor: usize,
        ms: u64,
    },
    /// An order is given and nobody waits for it to settle.
    Order {
        name: usize,
        process: u8,
    },
    Wait(u64),
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let wish = (0..SUPERVISORS, 0..2_u8, 0..2_u8, prop::bool::weighted(0.75));
    let wish = wish.prop_map(|(supervisor, environment, password, is_enabled)| Wish {
        supervisor,
        environment,
        password,
        is_enabled,
    });
    proptest::collection::btree_map(0..NAMES.len(), wish, 0..4)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => wishes().prop_map(Step::Apply),
        1 => (wishes(), wishes()).prop_map(|(a, b)| Step::ApplyBoth(a, b)),
        4 => (0..SUPERVISORS, 0..3_u8, 0..4_u8)
            .prop_map(|(supervisor, process, what)| Step::Mutate { supervisor, process, what }),
        1 => (0..SUPERVISORS, 0..900_u64).prop_map(|(supervisor, ms)| Step::Delay { supervisor, ms }),
        1 => (0..NAMES.len(), 0..3_u8).prop_map(|(name, process)| Step::Order { name, process }),
        4 => (0..1_500_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..25)
}

fn config(name: usize, wish: Wish) -> NodeConfig {
    NodeConfig {
        environment: Some(format!("e{}", wish.environment)),
        login: Some(NodeLogin { username: "ann".into(), password: Secret::new(format!("pw{}", wish.password)) }),
        is_enabled: wish.is_enabled,
        ..node(NAMES[name], &format!("s{}", wish.supervisor))
    }
}

fn configs(wishes: &Wishes) -> Vec<NodeConfig> {
    wishes.iter().map(|(&name, &wish)| config(name, wish)).collect()
}

/// What a change does, by the model.
fn predicted(old: &Wishes, new: &Wishes) -> PoolChange {
    let id = |name: &usize| NodeId::parse(NAMES[*name]).expect("a name");
    PoolChange {
        added: new.keys().filter(|name| !old.contains_key(name)).map(id).collect(),
        changed: new
            .iter()
            .filter(|(name, wish)| old.get(name).is_some_and(|o| o != *wish))
            .map(|(n, _)| id(n))
            .collect(),
        removed: old.keys().filter(|name| !new.contains_key(name)).map(id).collect(),
    }
}

/// What a reader of the feed makes of it, with every complaint that it has.
#[derive(Default)]
struct Reader {
    nodes: BTreeMap<NodeId, BTreeMap<ProcessId, Process>>,
}

impl Reader {
    /// `had` says whether some supervisor ever had a process that looked so.
    fn read(&mut self, event: Event, had: impl Fn(&Process) -> bool) -> Result<(), TestCaseError> {
        match event.body {
            EventBody::Node(_) => {
                self.nodes.entry(event.node).or_default();
            }
            EventBody::Process { before, after } => {
                let node = self.nodes.entry(event.node).or_default();
                let after = after.process;
                prop_assert!(had(&after), "nobody ever looked so: {after:?}");
                let known = node.insert(after.id.clone(), after.clone());
                prop_assert_eq!(known.as_ref(), before.as_ref().map(|b| &b.process), "told from another state");
                prop_assert_ne!(known, Some(after), "told twice");
            }
            EventBody::ProcessRemoved(id) => {
                let gone = self.nodes.get_mut(&event.node).and_then(|node| node.remove(&id));
                prop_assert!(gone.is_some(), "{}: {id} was not there", event.node);
            }
            EventBody::NodeRemoved => {
                // A node of the first configuration that never answered leaves without having been told of.
                let left = self.nodes.remove(&event.node).map_or(0, |node| node.len());
                prop_assert_eq!(left, 0, "a node leaves after its processes");
            }
        }
        Ok(())
    }
}

struct Rig {
    pool: Pool,
    scripts: Vec<Arc<Script>>,
    events: mpsc::Receiver<Event>,
    tracker: TaskTracker,
    stop: CancellationToken,
    _plugins: watch::Sender<Arc<PluginSet>>,
    reader: Reader,
    history: BTreeSet<(String, String, Option<u32>)>,
    revisions: BTreeMap<NodeId, u64>,
    wishes: Wishes,
    runs: u32,
}

fn look(process: &Process) -> (String, String, Option<u32>) {
    (process.id.to_string(), process.native_state.clone(), process.pid)
}

impl Rig {
    fn start(wishes: Wishes) -> Self {
        let script = |n| {
            let processes =
                (0..3).map(|p| Process { pid: Some(n * 10 + p), ..process(&p.to_string(), ProcessState::Running) });
            Script::new(processes.collect(), &[Operation::Start, Operation::Stop], &[])
        };
        let scripts: Vec<Arc<Script>> = (0..SUPERVISORS as u32).map(script).collect();
        let adapters: BTreeMap<String, Arc<dyn Adapter>> =
            scripts.iter().enumerate().map(|(n, s)| (format!("s{n}"), Arc::clone(s) as Arc<dyn Adapter>)).collect();
        let (plugins, seen) = watch::channel(Arc::new(PluginSet { adapters, ..PluginSet::default() }));
        let (sender, events) = mpsc::channel(100_000);
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let parts = PoolParts {
            nodes: configs(&wishes),
            config: settings(),
            calls_max: 3,
            plugins: seen,
            events: sender,
            seed: 7,
            stop: stop.clone(),
        };
        let pool = Pool::start(parts, &TaskGroup::on(TaskKind::Owner, &tracker));
        let mut rig = Self {
            pool,
            scripts,
            events,
            tracker,
            stop,
            _plugins: plugins,
            reader: Reader::default(),
            history: BTreeSet::new(),
            revisions: BTreeMap::new(),
            wishes,
            runs: 1_000,
        };
        rig.remember();
        rig
    }

    /// Notes how every process looks now; called after whatever may have changed one.
    fn remember(&mut self) {
        for script in &self.scripts {
            script.change(|state| self.history.extend(state.processes.values().map(look)));
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Apply(new) => {
                let change = self.pool.apply(configs(&new)).await;
                prop_assert_eq!(change, predicted(&self.wishes, &new));
                self.wishes = new;
            }
            Step::ApplyBoth(one, two) => self.apply_both(one, two).await?,
            Step::Mutate { supervisor, process, what } => self.mutate(supervisor, process, what),
            Step::Delay { supervisor, ms } => {
                self.scripts[supervisor].change(|state| state.delay = Duration::from_millis(ms));
            }
            Step::Order { name, process } => self.order(name, process).await?,
            Step::Wait(ms) => sleep(Duration::from_millis(ms)).await,
        }
        self.check()
    }

    /// Two changes at once come out as one after the other, and whoever looks meanwhile sees a whole pool.
    async fn apply_both(&mut self, one: Wishes, two: Wishes) -> Result<(), TestCaseError> {
        let (pool, watched) = (self.pool.clone(), CancellationToken::new());
        let ends = watched.clone();
        let watcher = TaskTracker::new().spawn(async move {
            let mut seen = BTreeSet::new();
            while !ends.is_cancelled() {
                seen.insert(names_of(&pool));
                // Between any two steps of others, and never so busy that the held clock cannot go on.
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                    seen.insert(names_of(&pool));
                }
                sleep(Duration::from_millis(1)).await;
            }
            seen
        });
        let ask = |wishes: &Wishes| {
            let (pool, nodes) = (self.pool.clone(), configs(wishes));
            TaskTracker::new().spawn(async move { pool.apply(nodes).await })
        };
        let (first, second) = (ask(&one), ask(&two));
        let (first, second) = (first.await.expect("made"), second.await.expect("made"));
        watched.cancel();
        let seen = watcher.await.expect("watched");
        let old = &self.wishes;
        let in_order = first == predicted(old, &one) && second == predicted(&one, &two);
        let reversed = second == predicted(old, &two) && first == predicted(&two, &one);
        prop_assert!(in_order || reversed, "no order explains {first:?} and {second:?}");
        let names = |wishes: &Wishes| wishes.keys().map(|&name| NAMES[name].to_owned()).collect::<Vec<_>>();
        let whole = [names(old), names(&one), names(&two)];
        prop_assert!(seen.iter().all(|set| whole.contains(set)), "a half-made pool was seen: {seen:?}");
        self.wishes = if in_order { two } else { one };
        Ok(())
    }

    fn mutate(&mut self, supervisor: usize, name: u8, what: u8) {
        self.runs += 1;
        let (runs, id) = (self.runs, ProcessId::reported("g", &name.to_string()));
        self.scripts[supervisor].change(|state| match what {
            0 => drop(state.processes.remove(&id)),
            1 => {
                let new = Process { pid: Some(runs), ..process(&name.to_string(), ProcessState::Running) };
                state.processes.insert(id, new);
            }
            2 => {
                let new = Process { pid: None, ..process(&name.to_string(), ProcessState::Exited) };
                state.processes.insert(id, new);
            }
            _ => {
                if let Some(known) = state.processes.get_mut(&id) {
                    known.pid = Some(runs);
                }
            }
        });
        self.remember();
    }

    /// An order ends in one of the ways that are told, whatever else goes on.
    async fn order(&mut self, name: usize, process: u8) -> Result<(), TestCaseError> {
        let Ok(handle) = self.pool.node(NAMES[name]) else {
            prop_assert!(!self.wishes.contains_key(&name));
            return Ok(());
        };
        let id = ProcessId::reported("g", &process.to_string());
        let command = Command { process: id, ..super::command(Operation::Stop, Duration::ZERO) };
        let answer = timeout(Duration::from_secs(20), handle.command(command, super::patience())).await;
        let Ok(answer) = answer else { return Err(TestCaseError::fail("an order without an answer")) };
        let is_refused = matches!(answer, Err(NodeError::Disabled { was_sent: false, .. }));
        prop_assert_eq!(is_refused, !self.wishes[&name].is_enabled, "{:?}", answer);
        self.remember();
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        self.remember();
        while let Ok(event) = self.events.try_recv() {
            let history = &self.history;
            // A stop that an order gave goes through states that nobody noted.
            self.reader.read(event, |p| {
                history.contains(&look(p)) || matches!(p.state, ProcessState::Stopping | ProcessState::Stopped)
            })?;
        }
        for (index, name) in NAMES.iter().enumerate() {
            let node = self.pool.node(name);
            prop_assert_eq!(node.is_ok(), self.wishes.contains_key(&index), "{}", name);
            let Ok(handle) = node else { continue };
            let status = handle.status();
            let wish = self.wishes[&index];
            prop_assert_eq!(&status.environment, &Some(format!("e{}", wish.environment)));
            prop_assert_eq!(&status.adapter, &format!("s{}", wish.supervisor));
            prop_assert_eq!(status.state == NodeState::Disabled, !wish.is_enabled, "{}", name);
            let before = self.revisions.insert(status.id.clone(), status.revision).unwrap_or(0);
            prop_assert!(before <= status.revision, "the revision of {name} went from {before} to {}", status.revision);
        }
        Ok(())
    }

    /// When nothing happens any more, everybody agrees: the supervisors, the pool, and who read the feed.
    async fn quiesce(&mut self) -> Result<(), TestCaseError> {
        let begun = self.begun();
        sleep(Duration::from_secs(130)).await;
        self.check()?;
        for (supervisor, (before, after)) in begun.into_iter().zip(self.begun()).enumerate() {
            let is_asked = self.wishes.values().any(|wish| wish.is_enabled && wish.supervisor == supervisor);
            prop_assert_eq!(is_asked, before < after, "{} was asked {} times", supervisor, after - before);
        }
        let mut told = BTreeSet::new();
        for (&index, wish) in &self.wishes {
            let status = self.pool.node(NAMES[index]).expect("there").status();
            if !wish.is_enabled {
                // It shows what was last told of it, whatever happened to it since.
                let shown: BTreeMap<_, _> = status.processes.iter().map(named).collect();
                prop_assert_eq!(self.reader.nodes.get(&status.id), Some(&shown), "{}", &status.id);
                told.insert(status.id.clone());
                continue;
            }
            prop_assert_eq!(status.state, NodeState::LivePoll);
            let shown: BTreeMap<_, _> = status.processes.iter().map(named).collect();
            let mut real = BTreeMap::new();
            self.scripts[wish.supervisor].change(|state| real.clone_from(&state.processes));
            prop_assert_eq!(&shown, &real, "{}", status.id);
            prop_assert_eq!(self.reader.nodes.get(&status.id), Some(&real), "{}", &status.id);
            told.insert(status.id.clone());
        }
        let known: BTreeSet<NodeId> = self.reader.nodes.keys().cloned().collect();
        prop_assert_eq!(known, told, "the feed knows another pool");
        Ok(())
    }

    /// How often each supervisor was asked.
    fn begun(&self) -> Vec<usize> {
        let mut begun = Vec::new();
        self.scripts.iter().for_each(|script| script.change(|state| begun.push(state.begun)));
        begun
    }

    async fn end(mut self) -> Result<(), TestCaseError> {
        self.stop.cancel();
        self.tracker.close();
        prop_assert!(timeout(Duration::from_secs(1), self.tracker.wait()).await.is_ok(), "owners are left behind");
        for script in &self.scripts {
            script.change(|state| assert_eq!(state.under_way, 0, "calls are left behind"));
        }
        while self.events.try_recv().is_ok() {}
        prop_assert!(self.events.is_closed() || self.events.recv().await.is_none(), "somebody still holds the channel");
        Ok(())
    }
}

fn names_of(pool: &Pool) -> Vec<String> {
    pool.nodes().iter().map(|handle| handle.id().to_string()).collect()
}

fn named(observed: &ObservedProcess) -> (ProcessId, Process) {
    (observed.process.id.clone(), observed.process.clone())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

proptest! {
    #[test]
    fn p04_the_pool_agrees_with_a_sequential_model(first in wishes(), steps in steps()) {
        runtime().block_on(async {
            let mut rig = Rig::start(first);
            for step in steps {
                rig.step(step).await?;
            }
            rig.quiesce().await?;
            rig.end().await
        })?;
    }
}

fn three() -> Wishes {
    (0..3).map(|n| (n, Wish { supervisor: n, environment: 0, password: 0, is_enabled: true })).collect()
}

async fn live(rig: &Rig) {
    sleep(Duration::from_millis(500)).await;
    assert!(rig.pool.nodes().iter().all(|node| node.status().state == NodeState::LivePoll));
}

fn stop(wait: Duration) -> Command {
    Command { process: ProcessId::reported("g", "0"), ..super::command(Operation::Stop, wait) }
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_lets_go_at_once_and_answers_everybody() {
    let rig = Rig::start(three());
    live(&rig).await;
    rig.scripts[0].change(|state| state.is_silent = true);
    let node = rig.pool.node("a").expect("there");
    let asked = |process: &str| {
        let (node, process) = (node.clone(), ProcessId::reported("g", process));
        TaskTracker::new().spawn(async move {
            node.command(Command { process, ..stop(Duration::from_secs(15)) }, super::patience()).await
        })
    };
    let (under_way, waiting) = (asked("0"), asked("1"));
    sleep(Duration::from_millis(50)).await;
    let began = tokio::time::Instant::now();
    let mut wishes = three();
    wishes.remove(&0);
    let change = rig.pool.apply(configs(&wishes)).await;
    assert_eq!((change.removed.len(), began.elapsed()), (1, Duration::ZERO));
    let (under_way, waiting) = (under_way.await.expect("ran"), waiting.await.expect("ran"));
    assert!(matches!(under_way, Err(NodeError::Removed { .. })), "{under_way:?}");
    assert!(matches!(waiting, Err(NodeError::Removed { was_sent: false, .. })), "{waiting:?}");
    let late = node.command(stop(Duration::ZERO), super::patience()).await;
    assert!(matches!(late, Err(NodeError::Removed { was_sent: false, .. })), "{late:?}");
    rig.scripts[0].change(|state| assert_eq!(state.under_way, 0));
    rig.end().await.expect("nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_as_it_is_does_not_notice_the_change_of_others() {
    let rig = Rig::start(three());
    live(&rig).await;
    rig.scripts[1].change(|state| state.delay = Duration::from_millis(700));
    let node = rig.pool.node("b").expect("there");
    let order =
        TaskTracker::new().spawn(async move { node.command(stop(Duration::from_secs(15)), super::patience()).await });
    sleep(Duration::from_millis(100)).await;
    let mut begun = 0;
    rig.scripts[1].change(|state| begun = state.begun);
    let wishes = Wishes::from([(1, three()[&1]), (2, Wish { supervisor: 0, ..three()[&2] })]);
    let change = rig.pool.apply(configs(&wishes)).await;
    assert_eq!(change, predicted(&three(), &wishes));
    rig.scripts[1].change(|state| assert_eq!((state.under_way, state.begun), (1, begun), "the same call goes on"));
    assert_eq!(order.await.expect("ran").expect("done").outcome, Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn another_environment_or_password_cuts_no_restart_in_two_and_another_address_gives_it_up() {
    let restart = |rig: &Rig| {
        let node = rig.pool.node("a").expect("there");
        let command = Command { operation: Operation::Restart, ..stop(Duration::from_secs(15)) };
        TaskTracker::new().spawn(async move { node.command(command, super::patience()).await })
    };
    for (wish, is_same_supervisor) in [
        (Wish { supervisor: 0, environment: 1, password: 0, is_enabled: true }, true),
        (Wish { supervisor: 0, environment: 0, password: 1, is_enabled: true }, true),
        (Wish { supervisor: 1, environment: 0, password: 0, is_enabled: true }, false),
    ] {
        let rig = Rig::start(three());
        live(&rig).await;
        let order = restart(&rig);
        sleep(Duration::from_millis(500)).await;
        assert_eq!(rig.scripts[0].sent().len(), 1, "the stop is sent, the start is owed");
        let wishes = Wishes::from([(0, wish)]);
        rig.pool.apply(configs(&wishes)).await;
        let answer = order.await.expect("ran");
        if is_same_supervisor {
            assert_eq!(answer.expect("done").outcome, Outcome::Done, "{wish:?}");
        } else {
            assert!(matches!(answer, Err(NodeError::Replaced { was_sent: true, .. })), "{answer:?}");
        }
        assert_eq!(rig.scripts[0].sent().len(), if is_same_supervisor { 2 } else { 1 });
        assert!(rig.scripts[1].sent().is_empty(), "nobody else is started for it");
    }
}

#[tokio::test(start_paused = true)]
async fn another_address_is_another_node_of_the_same_name() {
    let rig = Rig::start(three());
    live(&rig).await;
    let mut configs = configs(&three());
    configs[0].endpoint = Endpoint::Tcp { host: "localhost".into(), port: 2 };
    rig.scripts[0].change(|state| state.is_silent = true);
    rig.pool.apply(configs).await;
    let status = rig.pool.node("a").expect("there").status();
    assert_eq!((status.state, status.processes.len(), status.observed_at), (NodeState::Connecting, 0, None));
}

/// Disabled: nothing is sent, the order under way ends, old data stays. Enabled again: what changed meanwhile is told
/// once, and nothing else is.
#[tokio::test(start_paused = true)]
async fn a_node_is_left_alone_and_taken_up_again_without_a_phantom_transition() {
    let mut rig = Rig::start(three());
    live(&rig).await;
    rig.check().expect("as it is");
    let node = rig.pool.node("a").expect("there");
    let restart = Command { operation: Operation::Restart, ..stop(Duration::from_secs(15)) };
    let order = TaskTracker::new().spawn(async move { node.command(restart, super::patience()).await });
    sleep(Duration::from_millis(500)).await;
    let mut wishes = three();
    wishes.insert(0, Wish { is_enabled: false, ..three()[&0] });
    rig.step(Step::Apply(wishes)).await.expect("applied");
    let answer = order.await.expect("ran");
    assert!(matches!(answer, Err(NodeError::Disabled { was_sent: true, .. })), "{answer:?}");
    let begun = rig.begun()[0];
    sleep(Duration::from_secs(600)).await;
    rig.step(Step::Order { name: 0, process: 1 }).await.expect("refused");
    let status = rig.pool.node("a").expect("there").status();
    assert_eq!((status.state, status.processes.len(), rig.begun()[0]), (NodeState::Disabled, 3, begun));
    assert!(status.observed_at.is_some(), "its age is told");
    assert_eq!(rig.scripts[0].sent().len(), 1, "the start of the restart is not sent");
    while rig.events.try_recv().is_ok() {}
    rig.step(Step::Mutate { supervisor: 0, process: 2, what: 3 }).await.expect("changed");
    rig.pool.apply(configs(&three())).await;
    sleep(Duration::from_millis(500)).await;
    let mut told = Vec::new();
    while let Ok(event) = rig.events.try_recv() {
        if let EventBody::Process { after, .. } = event.body {
            told.push(after.process.id.to_string());
        }
    }
    assert_eq!(told, ["g:0", "g:2"], "the one that was stopped, and the one that changed");
}
