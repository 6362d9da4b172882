//! Peers on real sockets that count what reaches them, and an adapter that asks them in plain text.

use crate::config::{Endpoint, NodeConfig, PoolConfig};
use crate::model::{
    Ability, AdapterFault, AdapterInfo, FaultKind, GroupOperation, LogChannel, LogRange, LogSlice, MemberOutcome,
    NodeId, Observation, Operation, Process, ProcessAct, ProcessId, ProcessState,
};
use crate::plugin::{
    Adapter, AdapterError, BoxFuture, Exchange, ExchangeFailure, ExchangeRequest, HintsRead, StreamRequest,
};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How a peer treats requests from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers after so long.
    Answers(Duration),
    /// Reads and never answers.
    Hangs,
    /// Reads orders and closes the connection; answers everything else.
    DropsOrders {
        /// Whether the order is carried out.
        obeys: bool,
    },
    /// Answers that it will not.
    Faults,
    /// Has the adapter panic.
    Panics,
}

/// What came in and what is there now.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicUsize,
    pub(super) orders: AtomicUsize,
    pub(super) hints: AtomicUsize,
    pub(super) sockets: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    /// Hint streams stay open.
    pub(super) holds_hints: AtomicBool,
    /// Each answer tells of a process with a number of its own: that of its request.
    pub(super) is_numbered: AtomicBool,
    /// Every request there was, in the order in which they came.
    pub(super) log: Mutex<Vec<Seen>>,
}

/// One request as the peer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) began: Instant,
    /// When it was over, in whatever way.
    pub(super) ended: Option<Instant>,
    /// Whether it was answered before the other side had enough.
    pub(super) is_answered: bool,
}

pub(super) struct Peer {
    pub(super) counts: Arc<Counts>,
    mood: Arc<Mutex<Mood>>,
    is_running: Arc<Mutex<bool>>,
    port: u16,
}

/// Requests in flight over many peers.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    pub(super) now: AtomicUsize,
    pub(super) peak: AtomicUsize,
}

struct Socket {
    counts: Arc<Counts>,
    gauge: Arc<Gauge>,
}

/// One more in flight, until it is dropped.
struct InFlight<'a> {
    socket: &'a Socket,
    number: usize,
    is_answered: bool,
}

impl<'a> InFlight<'a> {
    fn begin(socket: &'a Socket) -> Self {
        socket.counts.in_flight.fetch_add(1, SeqCst);
        let now = socket.gauge.now.fetch_add(1, SeqCst) + 1;
        socket.gauge.peak.fetch_max(now, SeqCst);
        let mut log = socket.counts.log.lock().expect("not poisoned");
        log.push(Seen { began: Instant::now(), ended: None, is_answered: false });
        Self { socket, number: log.len() - 1, is_answered: false }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.socket.counts.in_flight.fetch_sub(1, SeqCst);
        self.socket.gauge.now.fetch_sub(1, SeqCst);
        let mut log = self.socket.counts.log.lock().expect("not poisoned");
        (log[self.number].ended, log[self.number].is_answered) = (Some(Instant::now()), self.is_answered);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.counts.sockets.fetch_sub(1, SeqCst);
    }
}

impl Peer {
    pub(super) async fn start(mood: Mood, gauge: &Arc<Gauge>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = Self {
            counts: Arc::default(),
            mood: Arc::new(Mutex::new(mood)),
            is_running: Arc::new(Mutex::new(true)),
            port: listener.local_addr().expect("bound").port(),
        };
        let (counts, mood, running) = (Arc::clone(&peer.counts), Arc::clone(&peer.mood), Arc::clone(&peer.is_running));
        let gauge = Arc::clone(gauge);
        TaskTracker::new().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.sockets.fetch_add(1, SeqCst);
                let socket = Socket { counts: Arc::clone(&counts), gauge: Arc::clone(&gauge) };
                let (mood, running) = (Arc::clone(&mood), Arc::clone(&running));
                TaskTracker::new().spawn(async move { serve(stream, &socket, &mood, &running).await });
            }
        });
        peer
    }

    pub(super) fn mood(&self, mood: Mood) {
        *self.mood.lock().expect("not poisoned") = mood;
    }

    pub(super) fn node(&self, name: &str) -> NodeConfig {
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: self.port };
        let name = NodeId::parse(name).expect("a name");
        NodeConfig { name, environment: None, adapter: "plain".into(), endpoint, login: None, is_enabled: true }
    }
}

async fn serve(mut stream: TcpStream, socket: &Socket, mood: &Mutex<Mood>, running: &Mutex<bool>) {
    while let Some(path) = head(&mut stream).await {
        let mut in_flight = InFlight::begin(socket);
        socket.counts.requests.fetch_add(1, SeqCst);
        let now = *mood.lock().expect("not poisoned");
        let is_order = path.starts_with("/run/");
        socket.counts.orders.fetch_add(usize::from(is_order), SeqCst);
        if path == "/hints" {
            socket.counts.hints.fetch_add(1, SeqCst);
        }
        let obeys = !matches!(now, Mood::Hangs | Mood::Faults | Mood::DropsOrders { obeys: false });
        if is_order && obeys {
            *running.lock().expect("not poisoned") = path.contains("/start/");
        }
        match now {
            Mood::Answers(delay) => {
                // Who does not wait for the answer is not answered.
                let left = tokio::time::timeout(delay, stream.read_u8()).await.is_ok();
                if left {
                    return;
                }
            }
            Mood::Hangs => {
                // Until the other side has had enough.
                drop(stream.read_u8().await);
                return;
            }
            Mood::DropsOrders { .. } if is_order => return,
            Mood::DropsOrders { .. } | Mood::Faults | Mood::Panics => {}
        }
        if path == "/hints" && socket.counts.holds_hints.load(SeqCst) {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await);
            drop(stream.read_u8().await);
            return;
        }
        let body = match now {
            Mood::Faults => "fault".to_owned(),
            Mood::Panics => "panic".to_owned(),
            Mood::Answers(_) | Mood::Hangs | Mood::DropsOrders { .. } => {
                let number = if socket.counts.is_numbered.load(SeqCst) { in_flight.number } else { 7 };
                format!("{} {number}", running.lock().expect("not poisoned"))
            }
        };
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        in_flight.is_answered = stream.write_all(reply.as_bytes()).await.is_ok();
        if !in_flight.is_answered {
            return;
        }
    }
}

/// The path of the next request, which has no body.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(text).ok()?;
    text.split(' ').nth(1).map(str::to_owned)
}

/// Asks in plain text. With hints, which never say anything.
pub(super) struct Plain {
    info: Arc<AdapterInfo>,
    pub(super) has_hints: bool,
}

impl Plain {
    pub(super) fn new(has_hints: bool) -> Arc<Self> {
        let operations = vec![Operation::Start, Operation::Stop];
        let log_channels = vec!["stdout".to_owned()];
        Arc::new(Self {
            info: Arc::new(AdapterInfo {
                kind: "plain".into(),
                operations,
                abilities: BTreeSet::from([Ability::Signal, Ability::GroupStart, Ability::GroupStop]),
                log_channels,
                wakes_at_bytes: false,
            }),
            has_hints,
        })
    }
}

fn fault(kind: FaultKind, code: &str) -> AdapterError {
    AdapterFault { kind, code: code.to_owned(), message: "as scripted".to_owned() }.into()
}

async fn ask(link: Arc<dyn Exchange>, deadline: Instant, path: String) -> Result<Vec<Process>, AdapterError> {
    let request = ExchangeRequest { method: "GET".into(), path, headers: vec![], body: vec![] };
    let reply = link.send(request, deadline).await.map_err(|failure| match failure {
        ExchangeFailure::TimedOut => fault(FaultKind::Timeout, "node.timed_out"),
        ExchangeFailure::Unreachable(_)
        | ExchangeFailure::TooLarge { .. }
        | ExchangeFailure::Protocol(_)
        | ExchangeFailure::Refused(_) => fault(FaultKind::Node, "node.unreachable"),
    })?;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let (word, number) = text.split_once(' ').unwrap_or((&text, ""));
    let state = match word {
        "true" => ProcessState::Running,
        "false" => ProcessState::Stopped,
        "panic" => panic!("as scripted"),
        _ => return Err(fault(FaultKind::Caller, "process.bad_name")),
    };
    Ok(vec![Process { pid: number.parse().ok(), ..super::process("p", state) }])
}

impl Adapter for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn info(&self) -> &Arc<AdapterInfo> {
        &self.info
    }

    fn observe(&self, link: Arc<dyn Exchange>, deadline: Instant) -> BoxFuture<'_, Result<Observation, AdapterError>> {
        Box::pin(async move {
            let processes = ask(link, deadline, "/observe".into()).await?;
            Ok(Observation { version: String::new(), identification: String::new(), processes, skipped: 0 })
        })
    }

    fn observe_some(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        _: Vec<ProcessId>,
    ) -> BoxFuture<'_, Result<Vec<Process>, AdapterError>> {
        Box::pin(ask(link, deadline, "/some".into()))
    }

    fn run(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: Operation,
        _: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        Box::pin(async move { ask(link, deadline, format!("/run/{operation}/p")).await.map(|_| true) })
    }

    fn act(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        _: ProcessAct,
        _: ProcessId,
    ) -> BoxFuture<'_, Result<bool, AdapterError>> {
        Box::pin(async move { ask(link, deadline, "/run/start/p".into()).await.map(|_| true) })
    }

    fn run_group(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        operation: GroupOperation,
        _: String,
    ) -> BoxFuture<'_, Result<Vec<MemberOutcome>, AdapterError>> {
        let word = if operation == GroupOperation::Start { "start" } else { "stop" };
        Box::pin(async move { ask(link, deadline, format!("/run/{word}/p")).await.map(|_| vec![]) })
    }

    fn read_log(
        &self,
        link: Arc<dyn Exchange>,
        deadline: Instant,
        _: ProcessId,
        _: LogChannel,
        _: LogRange,
    ) -> BoxFuture<'_, Result<LogSlice, AdapterError>> {
        Box::pin(async move {
            ask(link, deadline, "/log".into()).await?;
            Ok(LogSlice { start: 0, bytes: b"log".to_vec(), size: 3, has_gap: false })
        })
    }

    fn hint_request(&self, _: Instant) -> BoxFuture<'_, Result<Option<StreamRequest>, AdapterError>> {
        let request = self.has_hints.then(|| StreamRequest { path: "/hints".into(), headers: vec![] });
        Box::pin(async { Ok(request) })
    }

    fn read_hints(&self, _: Instant, _: Vec<u8>, _: Vec<u8>) -> BoxFuture<'_, Result<HintsRead, AdapterError>> {
        Box::pin(async { Ok(HintsRead::default()) })
    }
}

/// Everything short, so that a test of real time takes little of it.
pub(super) fn brisk() -> PoolConfig {
    PoolConfig {
        poll_interval: Duration::from_millis(20),
        nudge_interval: Duration::ZERO,
        connect_timeout: Duration::from_millis(500),
        call_timeout: Duration::from_millis(200),
        order_timeout: Duration::from_millis(200),
        log_timeout: Duration::from_millis(200),
        breaker_cooldown: Duration::from_millis(400),
        breaker_failures_max: 3,
        commands_max: 8,
        ..super::settings()
    }
}
