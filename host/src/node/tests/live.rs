//! Settings that change while the pool runs: each is seen in what the pool does, at the supervisor or at the caller.

use super::bounds::{Rig, until};
use super::patience;
use super::peer::{Gauge, Mood, Peer, brisk};
use super::script::{process, settings};
use crate::config::PoolConfig;
use crate::model::{LogChannel, LogRange, LogSlice, NodeState, Operation, ProcessId, ProcessState};
use crate::node::{NodeError, NodeHandle};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const NEVER: Duration = Duration::from_secs(3_600);

fn begun(rig: &super::Rig) -> usize {
    let mut begun = 0;
    rig.script.change(|state| begun = state.begun);
    begun
}

pub(super) async fn read(node: &NodeHandle) -> Result<LogSlice, NodeError> {
    let (p, range) = (ProcessId::reported("g", "p"), LogRange::Tail { bytes_max: 1 });
    node.read_log(p, LogChannel::Stdout, range, patience()).await
}

/// Settings under which nothing is asked but what somebody wants.
fn idle() -> PoolConfig {
    PoolConfig { poll_interval: NEVER, nudge_interval: Duration::ZERO, ..brisk() }
}

#[tokio::test(start_paused = true)]
async fn poll_interval_ms_is_the_time_between_observations_from_now_on() {
    let rig = super::Rig::start(vec![process("p", ProcessState::Running)]).await;
    for (interval, least, most) in [(ms(100), 60, 70), (Duration::from_secs(2), 3, 5), (NEVER, 0, 1), (ms(500), 11, 14)]
    {
        rig.pool.set(PoolConfig { poll_interval: interval, ..settings() }, 8);
        // What was due by the old interval may be seen once more.
        sleep(ms(600)).await;
        let before = begun(&rig);
        sleep(ms(6_000)).await;
        let seen = begun(&rig) - before;
        assert!((least..=most).contains(&seen), "{seen} observations in 6 s, each {interval:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_and_order_timeouts_are_those_of_the_next_call() {
    let rig = super::Rig::start(vec![process("p", ProcessState::Running)]).await;
    let timed = async |what: &str, wanted: Duration| {
        let began = Instant::now();
        let failed = rig.order(Operation::Stop, ms(0)).await;
        assert!(matches!(failed, Err(NodeError::Answered { .. })), "{failed:?}");
        assert_eq!(began.elapsed(), wanted, "{what}");
    };
    for (call, order) in [(ms(3_000), ms(700)), (ms(400), ms(9_000))] {
        let config = PoolConfig { poll_interval: NEVER, call_timeout: call, order_timeout: order, ..settings() };
        rig.pool.set(config, 8);
        sleep(ms(3_000)).await;
        rig.script.change(|state| state.drops_orders = true);
        timed("an order", order).await;
        rig.script.change(|state| (state.drops_orders, state.is_silent) = (false, true));
        timed("the look before an order", call).await;
        rig.script.change(|state| state.is_silent = false);
        rig.pool.set(PoolConfig { poll_interval: ms(100), ..settings() }, 8);
        sleep(ms(3_000)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_max_is_how_many_lost_observations_make_a_node_stale() {
    let rig = super::Rig::start(vec![process("p", ProcessState::Running)]).await;
    for failures_max in [4, 1, 3] {
        rig.pool.set(PoolConfig { failures_max, breaker_failures_max: 100, ..settings() }, 8);
        sleep(ms(2_000)).await;
        let before = begun(&rig);
        rig.script.change(|state| state.is_silent = true);
        rig.state_is(NodeState::Stale).await;
        let lost = begun(&rig) - before;
        // The next one may have begun before the state was looked at.
        assert!(lost == failures_max as usize || lost == failures_max as usize + 1, "{lost} of {failures_max}");
        rig.script.change(|state| state.is_silent = false);
        rig.state_is(NodeState::LivePoll).await;
    }
}

#[tokio::test(start_paused = true)]
async fn commands_max_is_how_many_wait() {
    let rig = super::Rig::start(vec![process("p", ProcessState::Running)]).await;
    rig.script.change(|state| state.is_silent = true);
    for commands_max in [5, 1, 9] {
        rig.pool.set(PoolConfig { commands_max, ..settings() }, 8);
        // All are asked for in one go, before the owner can take one out.
        let orders: Vec<_> = (0..20).map(|_| rig.order(Operation::Stop, ms(1_000))).collect();
        let results = futures_util::future::join_all(orders).await;
        let full = |result: &&Result<_, _>| matches!(result, Err(NodeError::QueueFull { limit, .. }) if *limit == commands_max);
        assert_eq!(results.iter().filter(full).count(), 20 - commands_max, "{results:?}");
    }
}

#[tokio::test]
async fn log_timeout_ms_is_that_of_the_next_read() {
    let config = PoolConfig { log_timeout: Duration::from_secs(60), ..idle() };
    let (rig, peer, node) = Rig::one(Mood::Answers(Duration::ZERO), config, false).await;
    until("it is seen", || node.status().state.is_live()).await;
    peer.mood(Mood::Hangs);
    rig.pool.set(PoolConfig { log_timeout: ms(150), ..idle() }, 8);
    let began = Instant::now();
    let failed = timeout(Duration::from_secs(30), read(&node)).await.expect("not by the old limit");
    assert!(matches!(failed, Err(NodeError::Answered { .. })), "{failed:?}");
    assert!(began.elapsed() >= ms(150));
    rig.end().await;
}

#[tokio::test]
async fn nudge_interval_ms_is_the_time_between_nudges() {
    let (rig, peer, node) = Rig::one(Mood::Answers(Duration::ZERO), idle(), true).await;
    peer.counts.holds_hints.store(true, SeqCst);
    until("hints flow", || node.status().state == NodeState::Live && peer.counts.hints.load(SeqCst) > 0).await;
    let before = peer.counts.requests.load(SeqCst);
    sleep(ms(200)).await;
    assert_eq!(peer.counts.requests.load(SeqCst), before, "nudges are off");
    rig.pool.set(PoolConfig { nudge_interval: ms(10), ..idle() }, 8);
    until("it is nudged again and again", || peer.counts.requests.load(SeqCst) >= before + 5).await;
    rig.pool.set(idle(), 8);
    sleep(ms(100)).await;
    let before = peer.counts.requests.load(SeqCst);
    sleep(ms(200)).await;
    assert_eq!(peer.counts.requests.load(SeqCst), before, "nudges are off again");
    rig.end().await;
}

#[tokio::test]
async fn the_breaker_opens_at_the_new_number_and_for_the_new_time() {
    let config = PoolConfig { breaker_failures_max: 50, breaker_cooldown: NEVER, ..idle() };
    let (rig, peer, node) = Rig::one(Mood::Answers(Duration::ZERO), config, false).await;
    until("it is seen", || node.status().state.is_live()).await;
    peer.mood(Mood::Hangs);
    for _ in 0..3 {
        assert!(matches!(read(&node).await, Err(NodeError::Answered { .. })), "three in a row are not fifty");
    }
    // The three that were counted count.
    rig.pool.set(PoolConfig { breaker_failures_max: 4, breaker_cooldown: ms(100), ..idle() }, 8);
    assert!(matches!(read(&node).await, Err(NodeError::Answered { .. })));
    let Err(NodeError::BreakerOpen { retry_after, .. }) = read(&node).await else { panic!("it is open") };
    assert!(retry_after <= ms(100), "{retry_after:?}");
    peer.mood(Mood::Answers(Duration::ZERO));
    until("its trial went well", || node.status().state.is_live()).await;
    rig.end().await;
}

#[tokio::test]
async fn response_bytes_max_is_the_longest_reply_that_is_read() {
    let config = PoolConfig { poll_interval: ms(20), ..idle() };
    let (rig, _peer, node) = Rig::one(Mood::Answers(Duration::ZERO), config.clone(), false).await;
    until("it is seen", || node.status().state.is_live()).await;
    rig.pool.set(PoolConfig { response_bytes_max: 3, ..config.clone() }, 8);
    until("`true` is too long", || !node.status().state.is_live()).await;
    rig.pool.set(config, 8);
    until("it is not", || node.status().state.is_live()).await;
    rig.end().await;
}

/// A queue of connections that nobody accepts from is full after a few; further ones are never answered.
#[tokio::test]
async fn connect_timeout_ms_is_that_of_the_next_connection() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("bound");
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = timeout(ms(300), tokio::net::TcpStream::connect(address)).await {
        waiting.push(stream);
        assert!(waiting.len() < 64, "the queue is never full");
    }
    let peer = Peer::start(Mood::Hangs, &Arc::<Gauge>::default()).await;
    let mut full = peer.node("n");
    full.endpoint = crate::config::Endpoint::Tcp { host: address.ip().to_string(), port: address.port() };
    let long = Duration::from_secs(60);
    let slow = PoolConfig { connect_timeout: long, log_timeout: long, breaker_failures_max: 100, ..idle() };
    let rig = Rig::start(vec![full], slow.clone(), 8, false);
    let node = rig.pool.node("n").expect("configured");
    until("the first look has failed", || node.status().state == NodeState::Unreachable).await;
    assert!(timeout(ms(500), read(&node)).await.is_err(), "a minute for a connection");
    rig.pool.set(PoolConfig { connect_timeout: ms(50), ..slow }, 8);
    let failed = timeout(Duration::from_secs(20), read(&node)).await.expect("not by the old limit");
    assert!(matches!(failed, Err(NodeError::Answered { .. })), "{failed:?}");
    rig.end().await;
}
