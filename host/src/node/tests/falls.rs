//! Owners that panic.

use super::script::{Script, node, process, settings};
use crate::model::{
    AdapterInfo, LogChannel, LogRange, LogSlice, NodeState, Observation, Operation, Process, ProcessId, ProcessState,
};
use crate::node::{Pool, PoolParts};
use crate::plugin::{Adapter, AdapterError, BoxFuture, Exchange, HintsRead, PluginSet, StreamRequest};
use crate::task::{Stage, TaskKind, Tasks};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// The script, which panics while it is told to.
struct Falling {
    script: Arc<Script>,
    falls: AtomicBool,
}

impl Adapter for Falling {
    fn name(&self) -> &str {
        self.script.name()
    }

    fn info(&self) -> &Arc<AdapterInfo> {
        self.script.info()
    }

    fn observe(&self, link: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<Observation, AdapterError>> {
        assert!(!self.falls.load(SeqCst), "on purpose");
        self.script.observe(link, deadline)
    }

    fn observe_some(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        ids: Vec<ProcessId>,
    ) -> BoxFuture<'_, Result<Vec<Process>, AdapterError>> {
        self.script.observe_some(link, deadline, ids)
    }

    fn run(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: Operation,
        id: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        self.script.run(link, deadline, operation, id)
    }

    fn read_log(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        id: ProcessId,
        channel: LogChannel,
        range: LogRange,
    ) -> BoxFuture<'_, Result<LogSlice, AdapterError>> {
        self.script.read_log(link, deadline, id, channel, range)
    }

    fn hint_request(&self, deadline: Instant) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        self.script.hint_request(deadline)
    }

    fn read_hints(
        &self,
        deadline: Instant,
        rest: Vec<u8>,
        piece: Vec<u8>,
    ) -> BoxFuture<'_, Result<HintsRead, AdapterError>> {
        self.script.read_hints(deadline, rest, piece)
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_panics_begins_anew_and_is_counted_and_its_neighbour_goes_on() {
    let falling = Arc::new(Falling {
        script: Script::new(vec![process("a", ProcessState::Running)], &[Operation::Stop], &[]),
        falls: AtomicBool::new(false),
    });
    let steady = Script::new(vec![process("b", ProcessState::Running)], &[Operation::Stop], &[]);
    let adapters: BTreeMap<String, Arc<dyn Adapter>> = BTreeMap::from([
        ("falling".to_owned(), Arc::clone(&falling) as Arc<dyn Adapter>),
        ("steady".to_owned(), steady as Arc<dyn Adapter>),
    ]);
    let (_plugins, seen) = watch::channel(Arc::new(PluginSet { adapters, ..PluginSet::default() }));
    let (events, _kept) = mpsc::channel(1_024);
    let (tasks, stop) = (Tasks::new(), CancellationToken::new());
    let parts = PoolParts {
        nodes: vec![node("f", "falling"), node("s", "steady")],
        config: settings(),
        calls_max: 8,
        plugins: seen,
        events,
        seed: 7,
        stop: stop.clone(),
    };
    let pool = Pool::start(parts, &tasks.group(TaskKind::Owner));
    let until = async |name: &str, wanted: NodeState| {
        let seen = async {
            while pool.node(name).expect("configured").status().state != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), seen).await.unwrap_or_else(|_| panic!("{name} never {wanted:?}"));
    };
    until("f", NodeState::LivePoll).await;
    until("s", NodeState::LivePoll).await;
    let since = pool.node("s").expect("configured").status().since;
    let panics = || tasks.figures().iter().map(|figures| figures.panics).sum::<u64>();
    falling.falls.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    // It falls again each time, once in a second at most.
    assert!((2..=10).contains(&panics()), "{}", panics());
    falling.falls.store(false, SeqCst);
    until("f", NodeState::LivePoll).await;
    let before = panics();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(panics(), before);
    assert_eq!(pool.node("f").expect("configured").status().processes.len(), 1);
    assert_eq!(pool.node("s").expect("configured").status().since, since);
    assert!(tasks.find_broken().is_none(), "the host goes on");
    stop.cancel();
    timeout(Duration::from_secs(5), tasks.ended(Stage::Core)).await.expect("all end");
    assert_eq!(tasks.left().0, 0);
}
