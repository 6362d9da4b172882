//! Random histories of calls, failures, leaving callers and changing limits, at peers on real sockets.
//!
//! The clock is ours: it goes on by a millisecond whenever everything that the sockets had to say was said. So a case of
//! some seconds takes milliseconds, and each request's beginning and end is known exactly.

use super::bounds::Rig;
use super::live::read;
use super::peer::{Gauge, Mood, Peer, Seen, brisk};
use super::{command, patience};
use crate::config::PoolConfig;
use crate::model::{NodeState, Operation};
use crate::node::{NodeError, NodeHandle};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_util::task::TaskTracker;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Turns of the runtime in which what is on the way over the sockets arrives. Each looks at the sockets once.
const TURNS: usize = 16;
const AT_ONCE: Mood = Mood::Answers(Duration::ZERO);
const PEERS: usize = 5;
const NEVER: Duration = Duration::from_secs(3_600);
/// A call's limit under [`brisk`].
const CALL: Duration = ms(200);
/// Sockets need turns, and a turn may fall into the next millisecond.
const SLACK: Duration = ms(4);

fn on_our_clock<T>(work: impl Future<Output = Result<T, TestCaseError>>) -> Result<T, TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let clock = async {
            loop {
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                advance(ms(1)).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = clock => Err(TestCaseError::fail("the clock stopped")),
        }
    })
}

#[derive(Debug, Clone)]
enum Step {
    Mood(usize, Mood),
    /// Somebody reads a log, and leaves after so long.
    Read(usize, u64),
    Order(usize),
    /// So many calls at once from now on.
    Places(usize),
    /// The node is taken out of the pool, or put in again.
    Toggle(usize),
    Wait(u64),
}

fn moods() -> impl Strategy<Value = Mood> {
    prop_oneof![
        3 => (0..60_u64).prop_map(|delay| Mood::Answers(ms(delay))),
        2 => Just(Mood::Hangs),
        1 => Just(Mood::Faults),
        1 => any::<bool>().prop_map(|obeys| Mood::DropsOrders { obeys }),
    ]
}

/// Asks without waiting for what comes of it.
fn ask(node: NodeHandle, leaves_after: u64) {
    TaskTracker::new().spawn(async move {
        drop(timeout(ms(leaves_after), read(&node)).await);
    });
}

fn order(node: NodeHandle) {
    TaskTracker::new().spawn(async move {
        drop(node.command(command(Operation::Stop, ms(50)), patience()).await);
    });
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), TestCaseError> {
    for _ in 0..10_000 {
        if is_so() {
            return Ok(());
        }
        sleep(ms(1)).await;
    }
    Err(TestCaseError::fail(format!("never: {what}")))
}

/// Calls at once, of so many adapters' calls: the rest is for reading hints.
const fn share(calls_max: usize) -> usize {
    let hint_reads = if calls_max >= 16 { calls_max / 8 } else { 1 };
    if calls_max > hint_reads + 1 { calls_max - hint_reads } else { 1 }
}

fn crowd() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..PEERS, prop_oneof![8 => moods(), 1 => Just(Mood::Panics)]).prop_map(|(peer, mood)| Step::Mood(peer, mood)),
        4 => (0..PEERS, 1..300_u64).prop_map(|(peer, leaves)| Step::Read(peer, leaves)),
        2 => (0..PEERS).prop_map(Step::Order),
        2 => (1..8_usize).prop_map(Step::Places),
        1 => (0..PEERS).prop_map(Step::Toggle),
        5 => (0..200_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..30)
}

/// At every millisecond no more requests are in flight than there are places, as the peers count; in the end everybody
/// is served, and then nothing is taken: no place, no socket, no task.
async fn bounded(calls_max: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let gauge = Arc::<Gauge>::default();
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(Peer::start(AT_ONCE, &gauge).await);
    }
    let all: Vec<_> = peers.iter().enumerate().map(|(n, peer)| peer.node(&format!("n{n}"))).collect();
    let rig = Rig::start(all.clone(), brisk(), calls_max, false);
    let mut out = BTreeSet::new();
    // The bound now, and one that counts until what began under it is over.
    let (mut bound, mut before) = (share(calls_max), (0, Instant::now()));
    for step in steps {
        let node = |peer: usize| rig.pool.node(&format!("n{peer}")).ok();
        let mut wait = 1;
        match step {
            Step::Mood(peer, mood) => peers[peer].mood(mood),
            Step::Read(peer, leaves) => drop(node(peer).map(|node| ask(node, leaves))),
            Step::Order(peer) => drop(node(peer).map(order)),
            Step::Places(count) => {
                let still = if Instant::now() < before.1 { before.0 } else { 0 };
                before = (bound.max(still), Instant::now() + CALL + SLACK);
                bound = share(count);
                rig.pool.set(brisk(), count);
            }
            Step::Toggle(peer) => {
                if !out.remove(&peer) {
                    out.insert(peer);
                }
                let nodes = all.iter().enumerate().filter(|(n, _)| !out.contains(n)).map(|(_, node)| node.clone());
                drop(rig.pool.apply(nodes.collect()).await);
            }
            Step::Wait(time) => wait = time,
        }
        for _ in 0..wait {
            sleep(ms(1)).await;
            let allowed = if Instant::now() < before.1 { bound.max(before.0) } else { bound };
            let (now, taken) = (gauge.now.load(SeqCst), rig.pool.calls_under_way());
            prop_assert!(
                now <= allowed && taken <= allowed,
                "{} in flight, {} places taken of {}",
                now,
                taken,
                allowed
            );
        }
    }
    peers.iter().for_each(|peer| peer.mood(AT_ONCE));
    until("everybody is served", || rig.pool.nodes().iter().all(|node| node.status().state.is_live())).await?;
    rig.end().await;
    let sockets = || peers.iter().map(|peer| peer.counts.sockets.load(SeqCst)).sum::<usize>();
    until("no socket is left", || sockets() == 0).await
}

/// What a breaker may do, worked out from what its node saw: silence for as long as it is open, then one request that
/// decides; and it refuses nobody else. `refused` are the moments at which it refused somebody.
fn check_breaker(
    log: &[Seen],
    failures_max: u32,
    cooldown: Duration,
    refused: &[Instant],
) -> Result<(), TestCaseError> {
    let (mut failures, mut opened, mut last): (u32, Option<Instant>, Option<Seen>) = (0, None, None);
    let mut open: Vec<(Instant, Option<Instant>)> = Vec::new();
    for (index, seen) in log.iter().enumerate() {
        let Some(ended) = seen.ended else { continue };
        prop_assert!(last.is_none_or(|last| last.ended <= Some(seen.began + SLACK)), "{}: two requests at once", index);
        if let Some(at) = opened {
            let least = cooldown.mul_f64(0.8).saturating_sub(SLACK);
            prop_assert!(seen.began >= at + least, "{}: traffic after {:?} of {:?}", index, seen.began - at, cooldown);
        }
        if seen.is_answered {
            (failures, opened) = (0, None);
            if let Some((_, end)) = open.last_mut().filter(|(_, end)| end.is_none()) {
                *end = Some(ended);
            }
        } else {
            failures += 1;
            if opened.is_some() || failures >= failures_max {
                open.push((ended, None));
                opened = Some(ended);
            }
        }
        last = Some(*seen);
    }
    for at in refused {
        let is_open =
            |(from, to): &(Instant, Option<Instant>)| *from <= *at + SLACK && to.is_none_or(|to| *at <= to + SLACK);
        prop_assert!(open.iter().any(is_open), "refused while it was closed, of {} failures", failures_max);
    }
    Ok(())
}

async fn broken(failures_max: u32, cooldown: u64, poll: u64, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let config = PoolConfig {
        breaker_failures_max: failures_max,
        breaker_cooldown: ms(cooldown),
        poll_interval: ms(poll),
        ..brisk()
    };
    let (gauge, refused) = (Arc::default(), Arc::<Mutex<Vec<Instant>>>::default());
    let (peer, other) = (Peer::start(AT_ONCE, &gauge).await, Peer::start(AT_ONCE, &gauge).await);
    let rig = Rig::start(vec![peer.node("n"), other.node("other")], config, 8, false);
    let (node, neighbour) = (rig.pool.node("n").expect("there"), rig.pool.node("other").expect("there"));
    until("the neighbour is seen", || neighbour.status().state.is_live()).await?;
    for step in steps {
        match step {
            // One that is begun anew has another breaker.
            Step::Mood(_, mood) => peer.mood(if mood == Mood::Panics { Mood::Hangs } else { mood }),
            Step::Read(..) => {
                let (node, refused) = (node.clone(), Arc::clone(&refused));
                TaskTracker::new().spawn(async move {
                    if matches!(read(&node).await, Err(NodeError::BreakerOpen { .. })) {
                        refused.lock().expect("whole").push(Instant::now());
                    }
                });
            }
            Step::Order(_) => order(node.clone()),
            Step::Wait(wait) => sleep(ms(wait)).await,
            Step::Places(_) | Step::Toggle(_) => {}
        }
        prop_assert_eq!(neighbour.status().state, NodeState::LivePoll, "it has nothing to do with it");
    }
    sleep(ms(1_000)).await;
    let log = peer.counts.log.lock().expect("whole").clone();
    let refused = refused.lock().expect("whole").clone();
    check_breaker(&log, failures_max, ms(cooldown), &refused)?;
    peer.mood(AT_ONCE);
    until("it is back", || node.status().state.is_live()).await?;
    let log = other.counts.log.lock().expect("whole").clone();
    prop_assert!(log.iter().all(|seen| seen.is_answered || seen.ended.is_none()));
    rig.end().await;
    Ok(())
}

/// Answers that come in time, at the edge of it, and late; callers that leave. What is shown was answered in time and
/// is never older than what was shown before; in the end all is as at first.
async fn timely(steps: Vec<(Mood, bool, u64, u64)>) -> Result<(), TestCaseError> {
    let config = PoolConfig { breaker_failures_max: 1_000, ..brisk() };
    let (rig, peer, node) = Rig::one(AT_ONCE, config, false).await;
    peer.counts.is_numbered.store(true, SeqCst);
    until("it is seen", || node.status().state.is_live()).await?;
    let baseline = (rig.tracker.len(), peer.counts.sockets.load(SeqCst));
    let mut shown = 0;
    for (mood, is_order, leaves, wait) in steps {
        peer.mood(mood);
        if is_order {
            order(node.clone())
        } else {
            ask(node.clone(), leaves)
        }
        for _ in 0..wait {
            sleep(ms(1)).await;
            let number = node.status().processes.first().and_then(|seen| seen.process.pid).unwrap_or(0) as usize;
            if number == 7 {
                continue; // from before the numbers
            }
            prop_assert!(number >= shown, "{} was shown after {}", number, shown);
            shown = number;
            let seen = peer.counts.log.lock().expect("whole")[number];
            let took = seen.ended.map(|ended| ended - seen.began);
            prop_assert!(seen.is_answered && took.is_some_and(|took| took <= CALL + SLACK), "{:?} was believed", seen);
        }
    }
    peer.mood(AT_ONCE);
    until("it is live", || node.status().state.is_live()).await?;
    until("all is as it was", || {
        rig.tracker.len() == baseline.0
            && peer.counts.sockets.load(SeqCst) <= baseline.1
            && peer.counts.in_flight.load(SeqCst) == 0
            && rig.pool.taken() == crate::node::PoolPlaces::default()
    })
    .await?;
    rig.end().await;
    until("no socket is left", || peer.counts.sockets.load(SeqCst) == 0).await
}

fn late() -> impl Strategy<Value = Vec<(Mood, bool, u64, u64)>> {
    let mood = prop_oneof![
        3 => prop::sample::select(vec![0, 30, 70, 79, 81, 90, 150, 199, 201, 250, 400]).prop_map(|n| Mood::Answers(ms(n))),
        1 => Just(Mood::Hangs),
        1 => moods(),
    ];
    proptest::collection::vec((mood, any::<bool>(), 1..300_u64, 0..400_u64), 0..12)
}

proptest! {
    #[test]
    fn p05_p21_calls_stay_within_every_limit_and_every_place_comes_back(calls_max in 1..8_usize, steps in crowd()) {
        on_our_clock(bounded(calls_max, steps))?;
    }

    #[test]
    fn p14_the_node_sees_what_its_breaker_promises(
        failures_max in 1..5_u32, cooldown in 100..800_u64, poll in 20..500_u64, steps in crowd(),
    ) {
        on_our_clock(broken(failures_max, cooldown, poll, steps))?;
    }

    #[test]
    fn p15_nothing_late_is_believed_and_nothing_is_left(steps in late()) {
        on_our_clock(timely(steps))?;
    }
}

/// `[plugins.adapter_limits] calls_max` while the pool runs: all places are used, and no more.
#[test]
fn calls_max_is_how_many_calls_there_are_at_once() {
    let used = on_our_clock(async {
        let gauge = Arc::<Gauge>::default();
        let mut peers = Vec::new();
        for _ in 0..10 {
            peers.push(Peer::start(Mood::Answers(ms(10)), &gauge).await);
        }
        let nodes = peers.iter().enumerate().map(|(n, peer)| peer.node(&format!("n{n}"))).collect();
        // Observations that cost nothing would be rarer.
        let rig = Rig::start(nodes, PoolConfig { poll_interval: NEVER, ..brisk() }, 4, false);
        let mut used = Vec::new();
        for calls_max in [4, 9, 3, 5] {
            rig.pool.set(PoolConfig { poll_interval: NEVER, ..brisk() }, calls_max);
            sleep(CALL + SLACK).await;
            let mut most = 0;
            for _ in 0..300 {
                rig.pool.nodes().into_iter().for_each(|node| ask(node, 10_000));
                sleep(ms(1)).await;
                most = most.max(gauge.now.load(SeqCst));
            }
            used.push(most);
        }
        rig.end().await;
        Ok(used)
    });
    assert_eq!(used.expect("measured"), [4, 9, 3, 5].map(share));
}
