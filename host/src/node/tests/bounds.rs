//! What calls may take, and what they leave behind: measured at peers on real sockets.

use super::peer::{Gauge, Mood, Peer, Plain, brisk};
use super::{command, patience};
use crate::config::{NodeConfig, PoolConfig};
use crate::model::{
    Event, GroupCommand, LogChannel, LogRange, Operation, Outcome, ProcessAct, ProcessId, ProcessState, Signal,
};
use crate::node::{NodeError, NodeHandle, Patience, Pool, PoolParts, PoolPlaces};
use crate::plugin::{Adapter, PluginSet};
use crate::task::{TaskGroup, TaskKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const AT_ONCE: Mood = Mood::Answers(Duration::ZERO);

pub(super) struct Rig {
    pub(super) pool: Pool,
    pub(super) tracker: TaskTracker,
    stop: CancellationToken,
    _plugins: watch::Sender<Arc<PluginSet>>,
    _events: mpsc::Receiver<Event>,
}

impl Rig {
    pub(super) fn start(nodes: Vec<NodeConfig>, config: PoolConfig, calls_max: usize, has_hints: bool) -> Self {
        let adapters: BTreeMap<String, Arc<dyn Adapter>> =
            BTreeMap::from([("plain".to_owned(), Plain::new(has_hints) as Arc<dyn Adapter>)]);
        let (plugins, seen) = watch::channel(Arc::new(PluginSet { adapters, ..PluginSet::default() }));
        let (events, told) = mpsc::channel(100_000);
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let parts = PoolParts { nodes, config, calls_max, plugins: seen, events, seed: 7, stop: stop.clone() };
        let pool = Pool::start(parts, &TaskGroup::on(TaskKind::Owner, &tracker));
        Self { pool, tracker, stop, _plugins: plugins, _events: told }
    }

    pub(super) async fn one(mood: Mood, config: PoolConfig, has_hints: bool) -> (Self, Peer, NodeHandle) {
        let peer = Peer::start(mood, &Arc::default()).await;
        let rig = Self::start(vec![peer.node("n")], config, 8, has_hints);
        let node = rig.pool.node("n").expect("configured");
        (rig, peer, node)
    }

    /// Stops and counts what is left: no task and no place is, and this takes no time, whatever was under way.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        timeout(ms(500), self.tracker.wait()).await.expect("owners are left behind");
        assert_eq!(self.pool.taken(), PoolPlaces::default(), "places are left behind");
    }
}

pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(ms(2)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Peers of every kind, twelve of them; more calls are wanted at any time than any of the limits allows.
async fn peers(gauge: &Arc<Gauge>) -> Vec<Peer> {
    let mut peers = Vec::new();
    for n in 0..12_u64 {
        let mood = match n % 6 {
            0 => Mood::Hangs,
            1 => Mood::Faults,
            2 => Mood::DropsOrders { obeys: true },
            3 if n == 3 => Mood::Panics,
            _ => Mood::Answers(ms(n)),
        };
        peers.push(Peer::start(mood, gauge).await);
    }
    peers
}

/// As the peers see it: at no limit are there more requests in flight than it allows, of polls, orders, reads and the
/// opening of hint streams together, and every peer is served.
#[tokio::test]
async fn p05_calls_in_flight_stay_within_every_limit_and_nobody_starves() {
    for limit in 1..=6 {
        let gauge = Arc::new(Gauge::default());
        let peers = peers(&gauge).await;
        let nodes = peers.iter().enumerate().map(|(n, peer)| peer.node(&format!("n{n}"))).collect();
        let rig = Rig::start(nodes, brisk(), limit, false);
        let asks = async {
            for n in (0..12).cycle().take(60) {
                let node = rig.pool.node(&format!("n{n}")).expect("configured");
                let (range, p) = (LogRange::Tail { bytes_max: 1 }, ProcessId::reported("g", "p"));
                TaskTracker::new().spawn(async move { node.read_log(p, LogChannel::Stdout, range, patience()).await });
                sleep(ms(5)).await;
            }
        };
        asks.await;
        let counts = |peer: &Peer| peer.counts.requests.load(SeqCst);
        until("every peer is asked again and again", || {
            peers.iter().enumerate().all(|(n, peer)| counts(peer) >= if n % 6 == 0 || n == 3 { 1 } else { 5 })
        })
        .await;
        let peak = gauge.peak.load(SeqCst);
        assert!(peak <= limit, "{peak} at once, {limit} allowed");
        assert!(peak == limit.saturating_sub(1).max(1) || limit > 4, "the limit {limit} is never used: {peak}");
        rig.end().await;
    }
}

/// Every way in which a call can end gives its place back: answer, fault, silence, a broken connection, a reader that
/// leaves, and a panic.
#[tokio::test]
async fn p21_places_come_back_after_error_cancel_and_panic() {
    for mood in [AT_ONCE, Mood::Faults, Mood::Hangs, Mood::DropsOrders { obeys: false }, Mood::Panics] {
        let (rig, peer, node) = Rig::one(mood, brisk(), false).await;
        until("the first request", || peer.counts.requests.load(SeqCst) > 0).await;
        let read = node.read_log(
            ProcessId::reported("g", "p"),
            LogChannel::Stdout,
            LogRange::Tail { bytes_max: 1 },
            patience(),
        );
        drop(timeout(ms(30), read).await);
        drop(timeout(ms(700), node.command(command(Operation::Stop, ms(100)), patience())).await);
        rig.end().await;
        until("no socket is open", || peer.counts.sockets.load(SeqCst) == 0).await;
    }
}

/// The breaker of one node, seen from the node: silent once the threshold is reached, hints included; one trial after
/// the cooldown; faults are answers; its neighbour notices nothing.
#[tokio::test]
async fn p14_an_open_breaker_means_no_traffic_then_one_trial_and_no_other_node_is_touched() {
    let gauge = Arc::default();
    let (peer, other) = (Peer::start(Mood::Hangs, &gauge).await, Peer::start(AT_ONCE, &gauge).await);
    let rig = Rig::start(vec![peer.node("n"), other.node("other")], brisk(), 8, true);
    let node = rig.pool.node("n").expect("configured");
    let requests = || peer.counts.requests.load(SeqCst);
    let order = || node.command(command(Operation::Stop, ms(0)), patience());
    until("the third failure", || requests() == 3).await;
    until("the breaker is open", || peer.counts.in_flight.load(SeqCst) == 0).await;
    let opened = Instant::now();
    let refused = order().await;
    let Err(NodeError::BreakerOpen { retry_after, .. }) = refused else { panic!("{refused:?}") };
    assert!(retry_after <= ms(400), "{retry_after:?}");
    while opened.elapsed() < ms(280) {
        assert_eq!(requests(), 3, "traffic while open");
        assert!(matches!(order().await, Err(NodeError::BreakerOpen { .. })));
        sleep(ms(5)).await;
    }
    // Half-open: one request, though orders, hints and polls all want to.
    until("the trial", || requests() == 4).await;
    assert!(opened.elapsed() >= ms(300), "the cooldown less its jitter: {:?}", opened.elapsed());
    until("the trial has failed", || peer.counts.in_flight.load(SeqCst) == 0).await;
    assert_eq!(requests(), 4, "one trial");
    assert_eq!(peer.counts.hints.load(SeqCst), 0);
    peer.mood(AT_ONCE);
    until("it is back", || node.status().state.is_live()).await;
    // Faults are no failures of the node, however many.
    peer.mood(Mood::Faults);
    for _ in 0..10 {
        assert!(matches!(order().await, Err(NodeError::Answered { .. })));
    }
    let neighbour = rig.pool.node("other").expect("configured");
    let (p, before) = (ProcessId::reported("g", "p"), other.counts.requests.load(SeqCst));
    let answer = neighbour.read_log(p, LogChannel::Stdout, LogRange::Tail { bytes_max: 1 }, patience()).await;
    assert!(!matches!(answer, Err(NodeError::BreakerOpen { .. })), "{answer:?}");
    assert!(other.counts.requests.load(SeqCst) > before, "it was asked");
    rig.end().await;
}

/// A success between failures begins the count anew, whatever the operation was.
#[tokio::test]
async fn p14_only_failures_in_a_row_open_the_breaker() {
    let config = PoolConfig { poll_interval: Duration::from_secs(3_600), ..brisk() };
    let (rig, peer, node) = Rig::one(AT_ONCE, config, false).await;
    until("it is seen", || node.status().state.is_live()).await;
    let read = || {
        node.read_log(ProcessId::reported("g", "p"), LogChannel::Stdout, LogRange::Tail { bytes_max: 1 }, patience())
    };
    for mood in [Mood::Hangs, Mood::Hangs, AT_ONCE, Mood::Hangs, Mood::Hangs, AT_ONCE] {
        peer.mood(mood);
        let is_good = read().await.is_ok();
        assert_eq!(is_good, mood == AT_ONCE);
    }
    peer.mood(Mood::Hangs);
    for _ in 0..3 {
        assert!(matches!(read().await, Err(NodeError::Answered { .. })));
    }
    assert!(matches!(read().await, Err(NodeError::BreakerOpen { .. })));
    rig.end().await;
}

/// After timeouts everything is as before: places, sockets, and what is believed of the node.
#[tokio::test]
async fn p15_a_timeout_leaves_nothing_behind_and_a_late_answer_changes_nothing() {
    let config = PoolConfig { breaker_failures_max: 100, ..brisk() };
    let (rig, peer, node) = Rig::one(AT_ONCE, config, false).await;
    until("it is seen", || node.status().state.is_live()).await;
    let baseline = (rig.tracker.len(), peer.counts.sockets.load(SeqCst));
    let seen = Arc::clone(&node.status().processes);
    for _ in 0..3 {
        // The answer comes after the call has ended, and tells of a stop that nobody gave.
        peer.mood(Mood::Answers(ms(300)));
        let failed = node.command(command(Operation::Stop, ms(100)), patience()).await;
        assert!(failed.is_err(), "{failed:?}");
        sleep(ms(350)).await;
        assert!(Arc::ptr_eq(&seen, &node.status().processes), "a late answer was believed");
        peer.mood(AT_ONCE);
        until("it is live again", || node.status().state.is_live()).await;
    }
    until("one socket, as before", || peer.counts.sockets.load(SeqCst) == baseline.1).await;
    until("no call is under way", || rig.pool.calls_under_way() == 0).await;
    assert_eq!(rig.tracker.len(), baseline.0);
    rig.end().await;
}

/// The connection breaks after the order was read: it is not sent again, and the process tells what became of it, or
/// nobody does.
#[tokio::test]
async fn an_order_without_an_answer_is_not_repeated_and_the_process_says_what_became_of_it() {
    for obeys in [true, false] {
        let (rig, peer, node) = Rig::one(AT_ONCE, brisk(), false).await;
        until("it is seen", || node.status().state.is_live()).await;
        peer.mood(Mood::DropsOrders { obeys });
        let answer = node.command(command(Operation::Stop, ms(600)), patience()).await;
        match obeys {
            true => {
                let report = answer.expect("the process says so");
                assert_eq!((report.outcome, report.state), (Outcome::Done, ProcessState::Stopped));
            }
            false => assert!(matches!(answer, Err(NodeError::OutcomeUnknown { .. })), "{answer:?}"),
        }
        assert_eq!(peer.counts.orders.load(SeqCst), 1, "sent once");
        rig.end().await;
    }
}

/// The same for a whole group; and for a signal, of which no state tells whether it arrived.
#[tokio::test]
async fn an_order_to_a_group_or_a_signal_without_an_answer_is_not_repeated() {
    for obeys in [true, false] {
        let (rig, peer, node) = Rig::one(AT_ONCE, brisk(), false).await;
        until("it is seen", || node.status().state.is_live()).await;
        peer.mood(Mood::DropsOrders { obeys });
        let command = GroupCommand { group: "g".into(), operation: Operation::Stop, wait: ms(600) };
        let answer = node.command_group(command, patience()).await;
        match obeys {
            true => assert_eq!(answer.expect("the process says so").outcome, Outcome::Done),
            false => assert!(matches!(answer, Err(NodeError::Lost { .. })), "{answer:?}"),
        }
        assert_eq!(peer.counts.orders.load(SeqCst), 1, "sent once");
        let hup = ProcessAct::Signal(Signal::parse("HUP").expect("known"));
        let answer = node.act(ProcessId::reported("g", "p"), hup, patience()).await;
        assert!(matches!(answer, Err(NodeError::Lost { .. })), "{answer:?}");
        assert_eq!(peer.counts.orders.load(SeqCst), 2, "sent once");
        rig.end().await;
    }
}

/// One who leaves takes a read along, its connection with it. An order behind it that nobody waits for, or whose time is
/// over, is not sent.
#[tokio::test]
async fn who_leaves_takes_a_read_along_and_an_order_that_was_not_sent() {
    let long = Duration::from_secs(3_600);
    let config = PoolConfig { log_timeout: Duration::from_secs(10), poll_interval: long, ..brisk() };
    let (rig, peer, node) = Rig::one(AT_ONCE, config, false).await;
    until("it is seen", || node.status().state.is_live()).await;
    peer.mood(Mood::Hangs);
    let before = peer.counts.requests.load(SeqCst);
    let in_flight = || peer.counts.in_flight.load(SeqCst);
    let asked = node.clone();
    let read = TaskTracker::new().spawn(timeout(ms(200), async move {
        let p = ProcessId::reported("g", "p");
        asked.read_log(p, LogChannel::Stdout, LogRange::Tail { bytes_max: 1 }, patience()).await
    }));
    until("the read is under way", || in_flight() == 1).await;
    let left = timeout(ms(20), node.command(command(Operation::Stop, ms(0)), patience())).await;
    assert!(left.is_err(), "it waits behind the read: {left:?}");
    let hurried = Patience::until(Instant::now() + ms(20));
    let late = node.command(command(Operation::Stop, ms(0)), hurried).await;
    assert!(matches!(late, Err(NodeError::NotBegun { .. })), "{late:?}");
    assert!(read.await.expect("ran").is_err(), "the reader left");
    until("its socket is closed", || peer.counts.sockets.load(SeqCst) == 0).await;
    assert_eq!((in_flight(), peer.counts.requests.load(SeqCst) - before), (0, 1), "nothing but the read was sent");
    // Nobody was to blame: the node is asked like before.
    peer.mood(AT_ONCE);
    let report = node.command(command(Operation::Stop, ms(500)), patience()).await.expect("done");
    assert_eq!(report.outcome, Outcome::Done);
    rig.end().await;
}
