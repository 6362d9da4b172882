//! Followers against a log in memory; where there is a stream, on a real socket that counts.

use crate::config::{Endpoint, NodeConfig, PoolConfig};
use crate::model::{
    Ability, AdapterFault, AdapterInfo, FaultKind, FollowState, GapReason, LogChannel, LogNews, LogNewsBody, LogRange,
    LogSlice, LogTopic, NodeId, Observation, Operation, Process, ProcessId,
};
use crate::node::{Pool, PoolParts};
use crate::plugin::{Adapter, AdapterError, BoxFuture, Exchange, HintsRead, PluginSet, StreamRequest};
use crate::task::{TaskGroup, TaskKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SOON: Duration = Duration::from_secs(20);

/// The logs of all nodes of a pool, by node.
struct Logs {
    info: Arc<AdapterInfo>,
    files: Mutex<BTreeMap<String, File>>,
}

#[derive(Default, Clone)]
struct File {
    bytes: Vec<u8>,
    is_hanging: bool,
    is_failing: bool,
    reads: usize,
}

impl Logs {
    fn new(has_streams: bool) -> Arc<Self> {
        let abilities = if has_streams { BTreeSet::from([Ability::FollowLogs]) } else { BTreeSet::new() };
        let info = AdapterInfo {
            kind: "logs".into(),
            operations: vec![],
            abilities,
            log_channels: vec!["stdout".into()],
            wakes_at_bytes: false,
        };
        Arc::new(Self { info: Arc::new(info), files: Mutex::default() })
    }

    fn change<T>(&self, node: &str, change: impl FnOnce(&mut File) -> T) -> T {
        change(self.files.lock().expect("not poisoned").entry(node.to_owned()).or_default())
    }

    fn write(&self, node: &str, text: &str) {
        self.change(node, |file| file.bytes.extend_from_slice(text.as_bytes()));
    }

    fn reads(&self, node: &str) -> usize {
        self.change(node, |file| file.reads)
    }
}

impl Adapter for Logs {
    fn name(&self) -> &str {
        "logs"
    }

    fn info(&self) -> &Arc<AdapterInfo> {
        &self.info
    }

    fn observe(&self, _: Arc<dyn Exchange>, _: Instant) -> BoxFuture<'_, Result<Observation, AdapterError>> {
        let (version, identification) = (String::new(), String::new());
        Box::pin(async { Ok(Observation { version, identification, processes: vec![], skipped: 0 }) })
    }

    fn observe_some(
        &self,
        _: Arc<dyn Exchange>,
        _: Instant,
        _: Vec<ProcessId>,
    ) -> BoxFuture<'_, Result<Vec<Process>, AdapterError>> {
        Box::pin(async { Ok(vec![]) })
    }

    fn run(
        &self,
        _: Arc<dyn Exchange>,
        _: Instant,
        _: Operation,
        _: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        Box::pin(async { Ok(false) })
    }

    fn read_log(
        &self,
        link: Arc<dyn Exchange>,
        _: Instant,
        _: ProcessId,
        _: LogChannel,
        range: LogRange,
    ) -> BoxFuture<'_, Result<LogSlice, AdapterError>> {
        Box::pin(async move {
            let node = link.node().unwrap_or_default().to_owned();
            let file = self.change(&node, |file| {
                file.reads += 1;
                file.clone()
            });
            if file.is_hanging {
                std::future::pending::<()>().await;
            }
            if file.is_failing {
                let (code, message) = ("process.bad_name".to_owned(), "as scripted".to_owned());
                return Err(AdapterFault { kind: FaultKind::Caller, code, message }.into());
            }
            sleep(Duration::from_millis(1)).await;
            let size = file.bytes.len() as u64;
            let (start, was_cut) = match range {
                LogRange::Tail { bytes_max } => (size.saturating_sub(u64::from(bytes_max)), false),
                LogRange::From { offset, .. } => (if offset > size { 0 } else { offset }, offset > size),
            };
            let bytes = file.bytes[usize::try_from(start).expect("small")..].to_vec();
            Ok(LogSlice { start, bytes, size, has_gap: was_cut })
        })
    }

    fn hint_request(&self, _: Instant) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        Box::pin(async { Ok(None) })
    }

    fn read_hints(&self, _: Instant, _: Vec<u8>, _: Vec<u8>) -> BoxFuture<'_, Result<HintsRead, AdapterError>> {
        Box::pin(async { Ok(HintsRead::default()) })
    }

    fn follow_request(
        &self,
        _: Instant,
        _: ProcessId,
        _: LogChannel,
    ) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        Box::pin(async { Ok(Some(StreamRequest { path: "/tail".into(), headers: vec![] })) })
    }
}

/// A node whose streams ring when they are told to, and are counted.
struct Ringer {
    port: u16,
    open: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
    rope: broadcast::Sender<()>,
}

impl Ringer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (open, ever) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (rope, _) = broadcast::channel(16);
        let ringer = Self { port, open: Arc::clone(&open), ever: Arc::clone(&ever), rope: rope.clone() };
        TaskTracker::new().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (open, ever, mut rings) = (Arc::clone(&open), Arc::clone(&ever), rope.subscribe());
                TaskTracker::new().spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.expect("a request"));
                    }
                    assert!(head.starts_with(b"GET /tail HTTP/1.1\r\n"));
                    open.fetch_add(1, SeqCst);
                    ever.fetch_add(1, SeqCst);
                    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    stream.write_all(head).await.expect("sent");
                    loop {
                        tokio::select! {
                            _ = rings.recv() => stream.write_all(b"1\r\nx\r\n").await.expect("sent"),
                            // The other side never says more: this is its end.
                            _ = stream.read_u8() => break,
                        }
                    }
                    open.fetch_sub(1, SeqCst);
                });
            }
        });
        ringer
    }

    async fn open_is(&self, wanted: usize) {
        let seen = async {
            while self.open.load(SeqCst) != wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let open = || self.open.load(SeqCst);
        timeout(SOON, seen).await.unwrap_or_else(|_| panic!("{} streams are open, not {wanted}", open()));
    }
}

/// A pool of such nodes.
struct Rig {
    logs: Arc<Logs>,
    pool: Pool,
    tasks: TaskTracker,
    stop: CancellationToken,
    _plugins: watch::Sender<Arc<PluginSet>>,
}

impl Rig {
    fn start(nodes: &[(&str, u16)], has_streams: bool) -> Self {
        let logs = Logs::new(has_streams);
        let adapters: BTreeMap<String, Arc<dyn Adapter>> =
            BTreeMap::from([("logs".to_owned(), Arc::clone(&logs) as Arc<dyn Adapter>)]);
        let (plugins, seen) = watch::channel(Arc::new(PluginSet { adapters, ..PluginSet::default() }));
        let (events, mut heard) = mpsc::channel(64);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(async move { while heard.recv().await.is_some() {} });
        let parts = PoolParts {
            nodes: nodes.iter().map(|(name, port)| node(name, *port)).collect(),
            config: PoolConfig { commands_max: 2, ..crate::node::tests::script::settings() },
            calls_max: 64,
            plugins: seen,
            events,
            seed: 7,
            stop: stop.clone(),
        };
        let pool = Pool::start(parts, &TaskGroup::on(TaskKind::Owner, &tasks));
        Self { logs, pool, tasks, stop, _plugins: plugins }
    }

    fn follow(&self, node: &str) -> Reader {
        let log = LogTopic {
            node: NodeId::parse(node).expect("a name"),
            process: ProcessId::reported("g", "p"),
            channel: LogChannel::Stdout,
        };
        let (sender, news) = mpsc::channel(4);
        let (pool, stop) = (self.pool.clone(), self.stop.child_token());
        let ended = stop.clone();
        self.tasks.spawn(async move { pool.follow(log, sender, ended).await });
        Reader { news, stop }
    }
}

fn node(name: &str, port: u16) -> NodeConfig {
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port };
    let name = NodeId::parse(name).expect("a name");
    NodeConfig { name, environment: None, adapter: "logs".into(), endpoint, login: None, is_enabled: true }
}

struct Reader {
    news: mpsc::Receiver<LogNews>,
    stop: CancellationToken,
}

impl Reader {
    async fn next(&mut self) -> LogNewsBody {
        timeout(SOON, self.news.recv()).await.expect("news in time").expect("not ended").body
    }

    /// Bytes up to and with this text; nothing but pieces may come.
    async fn read_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            match self.next().await {
                LogNewsBody::Piece(piece) => text.push_str(&String::from_utf8(piece.bytes).expect("text")),
                other @ (LogNewsBody::Gap(_) | LogNewsBody::Follow(_)) => panic!("{other:?} after {text:?}"),
            }
        }
        text
    }

    async fn follows(&mut self, next: u64, is_told: bool) {
        let wanted = FollowState::Following { next, is_told };
        assert_eq!(self.next().await, LogNewsBody::Follow(wanted));
    }
}

#[tokio::test]
async fn a_ring_brings_what_was_added_long_before_the_next_look() {
    let ringer = Ringer::start().await;
    let rig = Rig::start(&[("n", ringer.port)], true);
    rig.logs.write("n", "before\n");
    let mut reader = rig.follow("n");
    reader.follows(7, true).await;
    ringer.open_is(1).await;
    // Until the log is only read again after seconds, or when it is rung for.
    let mut reads = 0;
    while rig.logs.reads("n") != reads {
        reads = rig.logs.reads("n");
        sleep(Duration::from_millis(400)).await;
    }
    rig.logs.write("n", "after\n");
    let began = Instant::now();
    ringer.rope.send(()).expect("heard");
    assert_eq!(reader.read_to("after\n").await, "after\n");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(ringer.ever.load(SeqCst), 1, "one stream for one log");
}

#[tokio::test]
async fn who_stops_closes_the_stream_and_a_node_that_goes_takes_it_along() {
    let ringer = Ringer::start().await;
    let rig = Rig::start(&[("n", ringer.port), ("m", ringer.port)], true);
    let (mut stays, mut leaves) = (rig.follow("n"), rig.follow("m"));
    stays.follows(0, true).await;
    leaves.follows(0, true).await;
    ringer.open_is(2).await;
    leaves.stop.cancel();
    ringer.open_is(1).await;
    assert_eq!(timeout(SOON, leaves.news.recv()).await.expect("in time"), None, "it has ended");
    rig.pool.apply(vec![node("m", ringer.port)]).await;
    ringer.open_is(0).await;
    let LogNewsBody::Follow(FollowState::Waiting { why }) = stays.next().await else { panic!("no word about it") };
    assert!(why.contains("`n`"), "{why}");
    rig.pool.apply(vec![node("n", ringer.port)]).await;
    stays.follows(0, true).await;
    ringer.open_is(1).await;
    rig.stop.cancel();
    ringer.open_is(0).await;
    rig.tasks.close();
    timeout(SOON, rig.tasks.wait()).await.expect("nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_log_without_a_stream_is_read_at_intervals_and_a_rotation_is_a_gap() {
    let rig = Rig::start(&[("n", 1)], false);
    rig.logs.write("n", "old\n");
    let mut reader = rig.follow("n");
    reader.follows(4, false).await;
    for round in 0..3 {
        sleep(Duration::from_secs(10)).await;
        let line = format!("line {round}\n");
        rig.logs.write("n", &line);
        let began = Instant::now();
        assert_eq!(reader.read_to("\n").await, line);
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
    }
    rig.logs.change("n", |file| file.bytes = b"new\n".to_vec());
    let LogNewsBody::Gap(gap) = reader.next().await else { panic!("no gap") };
    assert_eq!((gap.why, gap.next), (GapReason::Rotated, 0));
    assert_eq!(reader.read_to("\n").await, "new\n");
}

#[tokio::test(start_paused = true)]
async fn a_line_without_its_end_is_passed_on_after_a_moment_and_only_once() {
    let rig = Rig::start(&[("n", 1)], false);
    let mut reader = rig.follow("n");
    reader.follows(0, false).await;
    rig.logs.write("n", "name: ");
    let LogNewsBody::Piece(piece) = reader.next().await else { panic!("no piece") };
    assert_eq!((piece.bytes.as_slice(), piece.is_continued), (b"name: ".as_slice(), true));
    sleep(Duration::from_secs(5)).await;
    rig.logs.write("n", "me\n");
    assert_eq!(reader.read_to("\n").await, "me\n");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_is_waited_for_and_nothing_of_it_is_lost() {
    let rig = Rig::start(&[("n", 1)], false);
    let mut reader = rig.follow("n");
    reader.follows(0, false).await;
    rig.logs.change("n", |file| file.is_failing = true);
    let LogNewsBody::Follow(FollowState::Waiting { why }) = reader.next().await else { panic!("no word about it") };
    assert!(why.contains("as scripted"), "{why}");
    let (before, began) = (rig.logs.reads("n"), Instant::now());
    sleep(Duration::from_secs(25)).await;
    let tries = rig.logs.reads("n") - before;
    assert!((4..=14).contains(&tries), "{tries} tries in {:?}", began.elapsed());
    rig.logs.write("n", "meanwhile\n");
    rig.logs.change("n", |file| file.is_failing = false);
    reader.follows(0, false).await;
    assert_eq!(reader.read_to("\n").await, "meanwhile\n");
}

/// Trap M-05: logs were polled one after the other, so one slow node held up all.
#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_holds_up_no_other_nodes_log() {
    let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    let nodes: Vec<(&str, u16)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let rig = Rig::start(&nodes, false);
    names.iter().skip(1).for_each(|name| rig.logs.change(name, |file| file.is_hanging = true));
    let hanging: Vec<Reader> = names.iter().skip(1).map(|name| rig.follow(name)).collect();
    let mut reader = rig.follow("n0");
    reader.follows(0, false).await;
    for round in 0..20 {
        sleep(Duration::from_millis(700)).await;
        rig.logs.write("n0", &format!("{round}\n"));
        let began = Instant::now();
        reader.read_to("\n").await;
        assert!(began.elapsed() < Duration::from_millis(300), "line {round} took {:?}", began.elapsed());
    }
    drop(hanging);
}

/// More logs are followed than the queue has places, and an order still finds one.
#[tokio::test(start_paused = true)]
async fn followers_take_turns_and_never_fill_their_nodes_queue() {
    let rig = Rig::start(&[("n", 1)], false);
    let mut readers: Vec<Reader> = (0..16).map(|_| rig.follow("n")).collect();
    for reader in &mut readers {
        reader.follows(0, false).await;
    }
    let handle = rig.pool.node("n").expect("configured");
    for _ in 0..200 {
        let patience = crate::node::Patience::until(Instant::now() + Duration::from_secs(2));
        let range = LogRange::Tail { bytes_max: 1 };
        handle.read_log(ProcessId::reported("g", "p"), LogChannel::Stdout, range, patience).await.expect("a place");
        sleep(Duration::from_millis(7)).await;
    }
}
