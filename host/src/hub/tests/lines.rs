//! The lane of logs against a model: who follows what, what they are given of it, and what that does to the lane of states.

use super::reader::{Decoder, Seen, join, plan_of};
use super::{ALL, Replica, change};
use crate::hub::batch::Lanes;
use crate::hub::core::Core;
use crate::hub::follow::LogWish;
use crate::hub::handle::Framing;
use crate::hub::logs::{LOGS_MAX, LogLimits, LogPublication};
use crate::hub::slots::{Key, Slots};
use crate::hub::{Close, Hello, Hub, HubLimits, Patterns, Position};
use crate::model::Grant;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const CLIENTS: usize = 4;
const STREAMS: [&str; 4] = ["log/a/g:p/stdout", "log/a/g:p/stderr", "log/b/g:p/stdout", "log/b/x:y/stdout"];

#[derive(Debug, Clone)]
enum Act {
    State {
        node: u8,
    },
    Lines {
        stream: usize,
        lines: u32,
        pad: usize,
    },
    /// Follows those whose bit is set.
    Follow {
        client: usize,
        streams: u8,
    },
    Write {
        client: usize,
        bytes: usize,
        lanes: Lanes,
    },
    /// Leaves in one of the ways there are, and another one comes, who goes on where that one was or begins anew.
    Return {
        client: usize,
        is_told: bool,
        goes_on: bool,
        streams: u8,
    },
    Wait {
        ms: u64,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let client = 0..CLIENTS;
    let lanes = prop_oneof![Just(Lanes::States), Just(Lanes::All)];
    let act = prop_oneof![
        3 => (0..4_u8).prop_map(|node| Act::State { node }),
        12 => (0..STREAMS.len(), 0..5_u32, prop_oneof![5 => 0..100_usize, 1 => Just(1_500)]).prop_map(|(stream, lines, pad)| Act::Lines { stream, lines, pad }),
        2 => (client.clone(), 0..16_u8).prop_map(|(client, streams)| Act::Follow { client, streams }),
        8 => (client.clone(), prop_oneof![1..60_usize, Just(usize::MAX)], lanes).prop_map(|(client, bytes, lanes)| Act::Write { client, bytes, lanes }),
        1 => (client, any::<bool>(), any::<bool>(), 0..16_u8).prop_map(|(client, is_told, goes_on, streams)| Act::Return { client, is_told, goes_on, streams }),
        1 => (0..9_000_u64).prop_map(|ms| Act::Wait { ms }),
    ];
    proptest::collection::vec(act, 0..300)
}

/// A client as its far end knows it.
struct Peer {
    key: Key,
    decoder: Decoder,
    replica: Replica,
    /// By topic: the line that has to come next, as it was told.
    next: BTreeMap<String, u64>,
    /// What it asked for last.
    asked: BTreeSet<usize>,
    skipped: u64,
    lines: u64,
}

struct World {
    hub: Hub,
    core: Core,
    slots: Slots,
    peers: Vec<Peer>,
    truth: BTreeMap<String, u64>,
}

fn chosen(bits: u8) -> BTreeSet<usize> {
    (0..STREAMS.len()).filter(|at| bits & (1 << at) != 0).collect()
}

fn wish(topic: &str, from: Option<u64>) -> LogWish {
    LogWish { topic: topic.into(), from }
}

fn lines(topic: &str, lines: u32, pad: usize) -> LogPublication {
    LogPublication { topic: topic.into(), lines, members: format!(r#""text":"{}""#, "x".repeat(pad)) }
}

impl World {
    fn new(logs: LogLimits) -> Self {
        // A client that waits between two writes may be late with states; that is another test's.
        let hub = Hub::new(HubLimits { logs, lag_max: Duration::MAX, ..HubLimits::default() });
        let core = Core::new(hub.shared().clone());
        let mut world = Self { hub, core, slots: Slots::default(), peers: Vec::new(), truth: BTreeMap::new() };
        for _ in 0..CLIENTS {
            let peer = world.come(BTreeSet::new(), None, Instant::now());
            world.peers.push(peer);
        }
        world
    }

    /// A client, with what it knew when it was here before.
    fn come(&mut self, asked: BTreeSet<usize>, before: Option<Peer>, now: Instant) -> Peer {
        let key = self.slots.take();
        let slot = self.hub.reserve().expect("a slot");
        self.core.join(key, join(slot, Framing::WebSocket, Grant::default(), &["node", "log"]), now);
        let since = before.as_ref().filter(|peer| peer.replica.has_welcome && !peer.replica.in_snapshot);
        let since = since.map(|peer| Position { epoch: peer.replica.epoch.clone(), offset: peer.replica.offset });
        let from = |at: &usize| before.as_ref().and_then(|peer| peer.next.get(STREAMS[*at]).copied());
        let logs = asked.iter().map(|at| wish(STREAMS[*at], from(at))).collect();
        let replica = match (before.as_ref(), &since) {
            (Some(_), Some(_)) => Replica { has_welcome: false, ..before.unwrap().replica },
            _ => Replica::default(),
        };
        self.core.subscribe(key, Hello { patterns: Patterns::parse(ALL).unwrap(), since, logs }, now);
        let (decoder, next) = (Decoder::default(), BTreeMap::new());
        Peer { key, decoder, replica, next, asked, skipped: 0, lines: 0 }
    }

    fn act(&mut self, act: Act, now: Instant) {
        match act {
            Act::State { node } => {
                let (node, value) = (format!("n{node}"), self.hub.figures().events + 1);
                self.hub.publish(change(&node, value));
                self.truth.insert(node, value);
            }
            Act::Lines { stream, lines: count, pad } => {
                let before = self.hub.figures().log_lines;
                self.hub.publish_log(lines(STREAMS[stream], count, pad));
                assert_eq!(self.hub.figures().log_lines - before, u64::from(count.max(1)));
            }
            Act::Follow { client, streams } => {
                let peer = &mut self.peers[client];
                peer.asked = chosen(streams);
                let wishes = peer.asked.iter().map(|at| wish(STREAMS[*at], None)).collect();
                self.core.follow(peer.key, wishes);
            }
            Act::Write { client, bytes, lanes } => self.write(client, bytes, lanes, now),
            Act::Return { client, is_told, goes_on, streams } => {
                let key = self.peers[client].key;
                if is_told {
                    self.core.end(key, Close::Misuse, "misuse", now);
                    self.peers[client].asked.clear();
                    self.check();
                }
                assert!(self.core.remove(key).is_some() && self.slots.give_back(key));
                let new = self.come(chosen(streams), None, now);
                let old = std::mem::replace(&mut self.peers[client], new);
                if goes_on {
                    // Once more, with what the old one knew.
                    let key = self.peers[client].key;
                    assert!(self.core.remove(key).is_some() && self.slots.give_back(key));
                    self.peers[client] = self.come(chosen(streams), Some(old), now);
                }
            }
            Act::Wait { .. } => {}
        }
        self.check();
    }

    /// What is followed is what those who are there asked for, exactly; and the rings keep their bounds.
    fn check(&self) {
        let expected: BTreeSet<Arc<str>> =
            self.peers.iter().flat_map(|peer| &peer.asked).map(|at| STREAMS[*at].into()).collect();
        assert_eq!(**self.hub.log_demand().borrow(), expected);
        let figures = self.hub.figures();
        assert_eq!((figures.logs_followed, self.core.followers()), (expected.len(), expected.len()));
        let limits = &self.hub.shared().limits.logs;
        assert!(figures.log_ring_events <= limits.events_max.max(1), "{figures:?}");
        assert!(figures.log_ring_bytes <= limits.bytes_max || figures.log_ring_events == 1, "{figures:?}");
    }

    fn write(&mut self, client: usize, bytes: usize, lanes: Lanes, now: Instant) {
        self.core.sync(now, |_, _| {});
        let peer = &mut self.peers[client];
        self.core.unblock(peer.key);
        let plan = plan_of(&mut self.core, peer.key, lanes, now);
        let taken = bytes.min(plan.len());
        self.core.commit(peer.key, taken, now);
        let texts = peer.decoder.take(&plan[..taken]).into_iter();
        let frames: Vec<Value> =
            texts.filter_map(|seen| if let Seen::Text(frame) = seen { Some(frame) } else { None }).collect();
        // The first may have been begun before; of what is new, states come first.
        let is_line = |frame: &Value| frame["t"] == "log";
        let first = frames.iter().skip(1).position(is_line).map_or(frames.len(), |at| at + 1);
        assert!(frames[first..].iter().all(is_line), "lines never go before states");
        assert!(lanes == Lanes::All || frames.iter().skip(1).all(|frame| !is_line(frame)));
        frames.iter().for_each(|frame| peer.take(frame));
    }

    fn quiesce(&mut self) {
        let now = Instant::now();
        for client in 0..CLIENTS {
            let key = self.peers[client].key;
            self.core.sync(now, |_, _| {});
            while self.core.is_ready(key) || self.core.is_log_ready(key) {
                self.write(client, usize::MAX, Lanes::All, now);
            }
            let peer = &self.peers[client];
            assert_eq!(
                (&peer.replica.state, peer.replica.resyncs),
                (&self.truth, 0),
                "no state is missing for the lines"
            );
            for at in &peer.asked {
                let stream = self.hub.shared().logs.follow(&STREAMS[*at].into()).unwrap();
                assert_eq!(peer.next[STREAMS[*at]], stream.stream.head() + 1, "told to the end of {}", STREAMS[*at]);
            }
        }
    }
}

impl Peer {
    /// What a frame tells the client, held against every promise.
    fn take(&mut self, frame: &Value) {
        let number = |name: &str| frame[name].as_u64().expect("a number");
        match frame["t"].as_str().unwrap() {
            "logs" => {
                let followed = frame["log"].as_array().unwrap().iter();
                let place = |log: &Value| (log["topic"].as_str().unwrap().to_owned(), log["n"].as_u64().unwrap());
                let next: BTreeMap<String, u64> = followed.map(place).collect();
                for (topic, n) in &next {
                    assert!(self.next.get(topic).is_none_or(|before| before <= n), "who stays keeps its place");
                }
                self.next = next;
            }
            "log" => {
                let next = self.next.get_mut(frame["topic"].as_str().unwrap()).expect("a log that is followed");
                assert_eq!(number("n"), *next, "{frame}");
                *next += number("lines");
                self.lines += number("lines");
            }
            "skip" => {
                let next = self.next.get_mut(frame["stream"].as_str().unwrap()).expect("a log that is followed");
                assert_eq!((number("from"), number("n")), (*next, number("to") - *next + 1), "{frame}");
                assert!(number("n") > 0);
                self.skipped += number("n");
                *next = number("to") + 1;
            }
            _ => self.replica.take(frame),
        }
    }
}

fn run(acts: Vec<Act>, logs: LogLimits) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(logs);
        for act in acts {
            if let Act::Wait { ms } = act {
                tokio::time::advance(Duration::from_millis(ms)).await;
            }
            world.act(act, Instant::now());
        }
        world.quiesce();
        let told: u64 = world.peers.iter().map(|peer| peer.skipped).sum();
        assert!(world.hub.figures().log_lines_skipped >= told);
        for peer in std::mem::take(&mut world.peers) {
            world.core.remove(peer.key);
        }
        world.check();
        assert!(world.hub.log_demand().borrow().is_empty());
    });
}

proptest! {
    /// Clients of any speed, in both lanes, who change what they follow, leave, and come back where they were; rings that
    /// hold little. Each line is given once or told as skipped, in order, and no state is missing or waits behind a line.
    #[test]
    fn p02_lines_rise_with_exact_skips_and_no_state_is_thinned_by_them(
        acts in acts(),
        stream_bytes_max in 300..3_000_usize,
        bytes_max in 500..6_000_usize,
        events_max in 1..40_usize,
        keep_bytes in 0..500_usize,
    ) {
        run(acts, LogLimits { stream_bytes_max, bytes_max, events_max, keep_bytes, ..LogLimits::default() });
    }

    /// Many who come, change their minds and go: what is asked for upstream is what those who are there follow.
    #[test]
    fn p20_the_demand_for_logs_is_that_of_those_who_are_there(churn in proptest::collection::vec(
        prop_oneof![
            (0..CLIENTS, 0..16_u8).prop_map(|(client, streams)| Act::Follow { client, streams }),
            (0..CLIENTS, any::<bool>(), any::<bool>(), 0..16_u8)
                .prop_map(|(client, is_told, goes_on, streams)| Act::Return { client, is_told, goes_on, streams }),
            (0..STREAMS.len()).prop_map(|stream| Act::Lines { stream, lines: 1, pad: 10 }),
        ], 0..200)) {
        run(churn, LogLimits { bytes_max: 1_000, ..LogLimits::default() });
    }
}

/// One client that has greeted, taken all there was, and follows these logs.
fn following(world: &mut World, streams: u8, now: Instant) {
    world.act(Act::Follow { client: 0, streams }, now);
    world.write(0, usize::MAX, Lanes::All, now);
    assert_eq!(world.peers[0].next.len(), chosen(streams).len());
}

#[tokio::test(start_paused = true)]
async fn who_is_five_seconds_behind_is_taken_ahead_and_keeps_the_last_64_kib() {
    let mut world = World::new(LogLimits::default());
    following(&mut world, 1, Instant::now());
    for _ in 0..200 {
        world.hub.publish_log(lines(STREAMS[0], 2, 1_000));
    }
    tokio::time::advance(Duration::from_millis(4_900)).await;
    world.write(0, 1, Lanes::All, Instant::now());
    assert_eq!(world.peers[0].skipped, 0, "it is in time");
    tokio::time::advance(Duration::from_millis(200)).await;
    world.quiesce();
    let peer = &world.peers[0];
    assert_eq!(peer.skipped + peer.lines, 400);
    // The one that was begun, and as many as fit into 64 KiB.
    assert!((2 * 60..=2 * 64).contains(&peer.lines), "{} lines", peer.lines);
}

#[tokio::test(start_paused = true)]
async fn who_is_two_mebibytes_behind_is_taken_ahead() {
    let mut world = World::new(LogLimits::default());
    following(&mut world, 1, Instant::now());
    for _ in 0..1_700 {
        world.hub.publish_log(lines(STREAMS[0], 1, 1_000));
    }
    world.write(0, 1, Lanes::All, Instant::now());
    assert_eq!((world.hub.figures().log_lines_skipped, world.hub.figures().log_ring_events), (0, 1_700));
    for _ in 0..200 {
        world.hub.publish_log(lines(STREAMS[0], 1, 1_000));
    }
    assert!(world.hub.figures().log_ring_bytes <= 2 << 20, "one log holds no more than that");
    world.quiesce();
    let peer = &world.peers[0];
    assert!(peer.skipped > 1_700 && peer.skipped + peer.lines == 1_900, "{} skipped", peer.skipped);
}

/// Trap M-05: one that floods takes nothing from another that does not.
#[tokio::test(start_paused = true)]
async fn a_log_that_floods_takes_neither_turn_nor_memory_of_another() {
    let mut world = World::new(LogLimits::default());
    following(&mut world, 0b11, Instant::now());
    world.hub.publish_log(lines(STREAMS[1], 1, 10));
    for _ in 0..100_000 {
        world.hub.publish_log(lines(STREAMS[0], 1, 1_000));
    }
    let now = Instant::now();
    let before = world.peers[0].next[STREAMS[1]];
    world.write(0, usize::MAX, Lanes::All, now);
    assert_eq!(world.peers[0].next[STREAMS[1]], before + 1, "its line is in the first write");
    assert!(world.peers[0].lines <= 65, "and the write is no longer than any");
    world.quiesce();
    assert!(world.peers[0].skipped > 90_000);
}

#[tokio::test(start_paused = true)]
async fn lines_that_a_client_missed_are_given_again_while_they_are_kept() {
    let mut world = World::new(LogLimits::default());
    following(&mut world, 0b1, Instant::now());
    world.hub.publish_log(lines(STREAMS[0], 3, 10));
    world.act(Act::Return { client: 0, is_told: false, goes_on: true, streams: 0b1 }, Instant::now());
    world.quiesce();
    assert_eq!((world.peers[0].lines, world.peers[0].skipped), (3, 0));
    let next = world.peers[0].next[STREAMS[0]];
    // A number of another hub, or of the future, is nobody's.
    for (epoch, from) in [(world.hub.epoch().to_owned(), next + 1), ("other".to_owned(), next - 1)] {
        let since = Some(Position { epoch, offset: 0 });
        let logs = vec![wish(STREAMS[0], Some(from))];
        let key = world.peers[1].key;
        assert!(world.core.remove(key).is_some() && world.slots.give_back(key));
        world.peers[1] = world.come(BTreeSet::new(), None, Instant::now());
        let key = world.slots.take();
        let slot = world.hub.reserve().unwrap();
        world.core.join(key, join(slot, Framing::WebSocket, Grant::default(), &["node", "log"]), Instant::now());
        world.core.subscribe(key, Hello { patterns: Patterns::parse(ALL).unwrap(), since, logs }, Instant::now());
        let text = String::from_utf8_lossy(&plan_of(&mut world.core, key, Lanes::All, Instant::now())).into_owned();
        assert!(text.contains(&format!(r#"{{"t":"logs","log":[{{"topic":"{}","n":{next}}}]}}"#, STREAMS[0])), "{text}");
        world.core.remove(key);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_is_denied_to_who_may_not_read_it_and_beyond_the_bound() {
    let hub =
        Hub::new(HubLimits { logs: LogLimits { streams_max: 1, ..LogLimits::default() }, ..HubLimits::default() });
    let (mut core, mut slots, now) = (Core::new(hub.shared().clone()), Slots::default(), Instant::now());
    let mut told = |reach: &[&str], wishes: &[&str]| {
        let (key, slot) = (slots.take(), hub.reserve().unwrap());
        core.join(key, join(slot, Framing::WebSocket, Grant::default(), reach), now);
        let logs = wishes.iter().map(|topic| wish(topic, None)).collect();
        core.subscribe(key, Hello { patterns: Patterns::parse(ALL).unwrap(), since: None, logs }, now);
        let bytes = plan_of(&mut core, key, Lanes::All, now);
        core.commit(key, bytes.len(), now);
        let mut frames = Decoder::default().take(&bytes).into_iter();
        frames.find_map(|seen| match seen {
            Seen::Text(frame) if frame["t"] == "logs" => Some(frame.to_string()),
            Seen::Text(_) | Seen::Close(_) | Seen::Control => None,
        })
    };
    let denied = |topic: &str, why: &str| format!(r#""denied":[{{"topic":"{topic}","why":"{why}"}}]"#);
    assert!(told(&["node", "proc"], &STREAMS[..1]).unwrap().contains(&denied(STREAMS[0], "forbidden")));
    assert!(hub.log_demand().borrow().is_empty());
    let both = told(&["log"], &STREAMS[..2]).unwrap();
    assert!(
        both.contains(&denied(STREAMS[1], "full")) && both.contains(&format!(r#""topic":"{}""#, STREAMS[0])),
        "{both}"
    );
    assert!(!told(&["log"], &STREAMS[..1]).unwrap().contains("denied"), "what is followed already costs nothing");
    assert_eq!(told(&["log"], &[]), None);
    assert_eq!(LOGS_MAX, 64);
}
