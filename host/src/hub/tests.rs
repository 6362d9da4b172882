mod heritage;
mod lines;
mod model;
pub(in crate::hub) mod reader;
mod times;

use crate::hub::{Change, Close, Hub, HubLimits, Patterns, Position, Publication};
use proptest::prelude::*;
use reader::{Delivery, Reader, client};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const ALL: &[&str] = &["*/*/state"];

fn small(events_max: usize) -> Hub {
    Hub::new(HubLimits { events_max, ..HubLimits::default() })
}

fn change(node: &str, value: u64) -> Publication {
    let topic = format!("node/{node}/state");
    let members = format!(r#""node":"{node}","value":{value}"#);
    let item = format!(r#"{{"topic":"{topic}",{members}}}"#);
    let change = Change::Put { key: topic.clone(), item };
    Publication { topic, kind: "changed", at: "2026-01-01T00:00:00.000Z".to_owned(), members, change }
}

fn removal(node: &str) -> Publication {
    let topic = format!("node/{node}/state");
    let change = Change::Remove { key: topic.clone() };
    let members = format!(r#""node":"{node}""#);
    Publication { topic, kind: "removed", at: "2026-01-01T00:00:00.000Z".to_owned(), members, change }
}

/// The position of somebody who saw the states of nodes, of these patterns.
fn seen(hub: &Hub, patterns: &[&str], offset: u64) -> Position {
    let patterns = Patterns::parse(patterns).expect("legal");
    let tag = crate::hub::filter::FilterKey { patterns, reach: crate::hub::Reach::new(&["node"]) }.tag();
    Position { epoch: format!("{}-{tag}", hub.epoch()), offset }
}

fn at(hub: &Hub, offset: u64) -> Position {
    seen(hub, ALL, offset)
}

/// The frames of one delivery.
async fn frames(reader: &mut Reader) -> Vec<Value> {
    match timeout(Duration::from_mins(2), reader.next()).await.expect("something is due") {
        Delivery::Frames(frames) => frames,
        Delivery::End(code) => panic!("the end: {code:?}"),
    }
}

/// What a client knows, built from frames alone. Checks the promises of the feed as it goes.
#[derive(Debug, Default)]
struct Replica {
    state: BTreeMap<String, u64>,
    counts: BTreeMap<String, u64>,
    offset: u64,
    in_snapshot: bool,
    has_welcome: bool,
    events: u64,
    resyncs: u64,
    /// Of those, how many with what changed alone.
    changes: u64,
    /// What is being read holds what changed, not everything.
    has_changes: bool,
    /// Items of snapshots.
    items: u64,
    bookmarks: u64,
    regrants: u64,
    /// Of its positions, and from the last frame of a snapshot on.
    epoch: String,
    epoch_next: Option<String>,
    /// The topic that told of each node.
    topics: BTreeMap<String, String>,
    /// What may no longer be seen, with the number of regrants there had been.
    lost: BTreeMap<String, u64>,
}

impl Replica {
    fn take(&mut self, frame: &Value) {
        let offset = frame["o"].as_u64().unwrap_or_default();
        assert!(frame["t"] == "revoked" || frame["o"].is_u64(), "every other frame has an offset: {frame}");
        assert_eq!(frame["t"] == "welcome", !self.has_welcome, "the first frame alone is a welcome: {frame}");
        match frame["t"].as_str().expect("every frame has a type") {
            "welcome" => {
                self.has_welcome = true;
                self.in_snapshot = frame["mode"] != "replay";
                self.has_changes = frame["mode"] == "changes";
                self.offset = offset;
                self.epoch = frame["epoch"].as_str().expect("an epoch").to_owned();
            }
            "resync" => self.resync(frame, offset),
            "snap" => self.snap(frame, offset),
            "ev" => self.event(frame, offset),
            "revoked" => self.revoked(frame),
            "bm" => {
                assert!(offset >= self.offset && !self.in_snapshot);
                self.bookmarks += 1;
                self.offset = offset;
            }
            other => panic!("unknown frame {other}"),
        }
    }

    fn resync(&mut self, frame: &Value, offset: u64) {
        let from = frame["from"].as_u64().expect("a place");
        if frame["why"] == "rights" {
            // Also in the middle of a snapshot, and where nothing else happened.
            assert!(from <= offset);
            self.regrants += 1;
            self.epoch_next = frame["epoch"].as_str().map(str::to_owned);
        } else {
            assert!(from < offset && !self.in_snapshot);
            self.resyncs += 1;
        }
        self.in_snapshot = true;
        self.has_changes = frame["mode"] == "changes";
        self.changes += u64::from(self.has_changes);
        self.offset = offset;
    }

    fn snap(&mut self, frame: &Value, offset: u64) {
        assert!(self.in_snapshot && offset == self.offset, "{frame}");
        if frame["i"] == 0 {
            self.counts.clear();
        }
        if frame["i"] == 0 && !self.has_changes {
            self.state.clear();
        }
        for item in frame["items"].as_array().expect("items") {
            self.items += 1;
            if item["kind"] == "removed" {
                assert!(self.has_changes, "what is gone is in no whole snapshot");
                self.state.remove(item["node"].as_str().expect("a node"));
            } else {
                self.put(item);
            }
        }
        self.in_snapshot = frame["last"] != true;
        if let Some(epoch) = self.epoch_next.take_if(|_| frame["last"] == true) {
            self.epoch = epoch;
        }
    }

    fn event(&mut self, frame: &Value, offset: u64) {
        assert!(!self.in_snapshot, "no event inside a snapshot");
        assert!(offset > self.offset, "offsets rise strictly: {frame} behind {}", self.offset);
        let topic = frame["topic"].as_str().expect("a topic").to_owned();
        let count = frame["s"].as_u64().expect("a count");
        if let Some(earlier) = self.counts.insert(topic, count) {
            assert!(count == earlier + 1 || count == 1, "no event of a topic is missing: {count} behind {earlier}");
        }
        if frame["kind"] == "removed" {
            self.state.remove(frame["node"].as_str().expect("a node"));
        } else {
            self.put(frame);
        }
        self.events += 1;
        self.offset = offset;
    }

    fn revoked(&mut self, frame: &Value) {
        for class in frame["topics"].as_array().expect("topics") {
            let class = class.as_str().expect("a text").to_owned();
            let kept: Vec<String> = self
                .topics
                .iter()
                .filter(|(_, topic)| !topic.starts_with(&class))
                .map(|(node, _)| node.clone())
                .collect();
            self.state.retain(|node, _| kept.contains(node));
            self.lost.insert(class, self.regrants);
        }
        self.epoch = frame["epoch"].as_str().expect("an epoch").to_owned();
    }

    fn put(&mut self, item: &Value) {
        let node = item["node"].as_str().expect("a node").to_owned();
        let topic = item["topic"].as_str().expect("a topic");
        let was_lost = self.lost.iter().find(|(class, _)| topic.starts_with(class.as_str()));
        assert!(was_lost.is_none_or(|(_, at)| *at < self.regrants), "nothing of what may no longer be seen: {item}");
        self.topics.insert(node.clone(), topic.to_owned());
        self.state.insert(node, item["value"].as_u64().expect("a value"));
    }

    async fn take_next(&mut self, reader: &mut Reader) {
        for frame in frames(reader).await {
            self.take(&frame);
        }
    }

    async fn catch_up(&mut self, reader: &mut Reader, head: u64) {
        while !self.has_welcome || self.in_snapshot || self.offset < head {
            self.take_next(reader).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_comes_first_and_then_what_follows_it() {
    let hub = small(100);
    hub.publish(change("a", 1));
    hub.publish(change("b", 2));
    hub.publish(removal("a"));
    let mut reader = client(&hub, ALL, None);
    hub.publish(change("c", 3));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(frames(&mut reader).await);
    }
    let texts: Vec<String> = seen.iter().map(Value::to_string).collect();
    let expected: Vec<Value> = [
        format!(r#"{{"t":"welcome","epoch":"{}","o":3,"mode":"snapshot"}}"#, at(&hub, 0).epoch),
        r#"{"t":"snap","o":3,"i":0,"last":true,"items":[{"topic":"node/b/state","node":"b","value":2}]}"#.to_owned(),
        r#"{"t":"ev","o":4,"s":1,"topic":"node/c/state","at":"2026-01-01T00:00:00.000Z","kind":"changed","node":"c","value":3}"#
            .to_owned(),
    ]
    .iter()
    .map(|text| serde_json::from_str(text).unwrap())
    .collect();
    assert_eq!(texts, expected.iter().map(Value::to_string).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_empty_state_is_a_snapshot_too() {
    let mut reader = client(&small(100), ALL, None);
    assert_eq!(frames(&mut reader).await[0]["mode"], "snapshot");
    let snapshot = frames(&mut reader).await;
    assert_eq!(snapshot[0].to_string(), r#"{"i":0,"items":[],"last":true,"o":0,"t":"snap"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_large_state_comes_in_pieces() {
    let hub = small(10);
    for node in 0..1000 {
        hub.publish(change(&format!("n{node}"), node));
    }
    let mut reader = client(&hub, ALL, None);
    let mut replica = Replica::default();
    replica.catch_up(&mut reader, 1000).await;
    assert_eq!(replica.state.len(), 1000);
    assert!(hub.figures().deliveries > 3, "several frames");
}

#[tokio::test(start_paused = true)]
async fn a_client_sees_only_what_it_asked_for() {
    let hub = small(100);
    hub.publish(change("web-1", 1));
    hub.publish(change("db-1", 1));
    let mut reader = client(&hub, &["node/web-*/state"], None);
    hub.publish(change("db-1", 2));
    hub.publish(change("web-2", 2));
    let mut replica = Replica::default();
    replica.catch_up(&mut reader, 4).await;
    assert_eq!(replica.state, BTreeMap::from([("web-1".to_owned(), 1), ("web-2".to_owned(), 2)]));
    assert_eq!(replica.events, 1);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_client_gets_bookmarks_that_move_its_position() {
    let hub = small(4);
    let mut reader = client(&hub, &["node/web/state"], None);
    let mut replica = Replica::default();
    replica.catch_up(&mut reader, 0).await;
    for value in 0..10 {
        hub.publish(change("db", value));
        // It looks at each, so it never falls behind although it is sent none.
        assert!(timeout(Duration::from_secs(1), reader.next()).await.is_err());
    }
    let before = Instant::now();
    replica.take_next(&mut reader).await;
    assert!(before.elapsed() <= Duration::from_secs(25));
    assert_eq!((replica.bookmarks, replica.offset), (1, 10));
    replica.take_next(&mut reader).await;
    assert_eq!((replica.bookmarks, before.elapsed() >= Duration::from_secs(25)), (2, true));
    let mut again = client(&hub, &["node/web/state"], Some(&seen(&hub, &["node/web/state"], replica.offset)));
    assert_eq!(frames(&mut again).await[0]["mode"], "replay", "the position is still good");
}

#[tokio::test(start_paused = true)]
async fn a_position_is_resumed_exactly_or_answered_with_a_snapshot() {
    let hub = small(4);
    for value in 1..=10 {
        hub.publish(change("a", value));
    }
    // The ring holds 7 to 10, so 6 is the oldest position behind which nothing is missing.
    for offset in (0..=12).chain([u64::MAX]) {
        let mut reader = client(&hub, ALL, Some(&at(&hub, offset)));
        let welcome = frames(&mut reader).await.remove(0);
        let is_kept = (6..=10).contains(&offset);
        let mode = if is_kept {
            "replay"
        } else if offset < 6 {
            "changes"
        } else {
            "snapshot"
        };
        assert_eq!(welcome["mode"], mode, "since {offset}");
        assert_eq!(welcome["o"], if is_kept { offset } else { 10 }, "since {offset}");
        if is_kept && offset < 10 {
            let offsets: Vec<u64> =
                frames(&mut reader).await.iter().map(|frame| frame["o"].as_u64().unwrap()).collect();
            assert_eq!(offsets, (offset + 1..=10).collect::<Vec<_>>());
        }
    }
    let other = Position { epoch: "other".to_owned(), offset: 8 };
    assert_eq!(frames(&mut client(&hub, ALL, Some(&other))).await[0]["mode"], "snapshot");
    let figures = hub.figures();
    assert_eq!(figures.resumed, 5);
    assert_eq!((figures.resume_changes, figures.resume_too_old), (6, 0));
    assert_eq!((figures.resume_ahead, figures.resume_other_epoch), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_out_of_the_ring_starts_over_and_is_told() {
    let hub = small(8);
    let mut reader = client(&hub, ALL, None);
    let mut replica = Replica::default();
    replica.catch_up(&mut reader, 0).await;
    for value in 0..100 {
        hub.publish(change("a", value));
    }
    replica.catch_up(&mut reader, 100).await;
    assert_eq!((replica.resyncs, replica.events), (1, 0));
    assert_eq!(replica.state, BTreeMap::from([("a".to_owned(), 99)]));
    hub.publish(removal("a"));
    replica.catch_up(&mut reader, 101).await;
    assert_eq!((replica.resyncs, replica.events), (1, 1));
    assert!(replica.state.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_falls_out_of_the_ring_is_given_what_changed_and_no_more() {
    let hub = Hub::new(HubLimits { events_max: 4, removals_max: 2, ..HubLimits::default() });
    for node in 0..100 {
        hub.publish(change(&format!("n{node}"), node));
    }
    let mut reader = client(&hub, ALL, None);
    let mut replica = Replica::default();
    replica.catch_up(&mut reader, 100).await;
    let before = replica.items;
    for value in 0..10 {
        hub.publish(change("n1", value));
        hub.publish(change("n2", value));
    }
    hub.publish(removal("n2"));
    hub.publish(removal("n3"));
    hub.publish(removal("nobody"));
    for value in 0..10 {
        hub.publish(change("n4", value));
    }
    replica.catch_up(&mut reader, 133).await;
    assert_eq!((replica.resyncs, replica.changes, replica.items - before), (1, 1, 4), "two changed and two are gone");
    assert_eq!(replica.state.len(), 98);
    // A third removal, and the first is forgotten: what it was can only be told by telling everything.
    hub.publish(removal("n5"));
    for value in 0..10 {
        hub.publish(change("n4", value));
    }
    replica.catch_up(&mut reader, 144).await;
    assert_eq!((replica.resyncs, replica.changes), (2, 2), "it knew of the one that is forgotten");
    hub.publish(removal("n6"));
    hub.publish(removal("n7"));
    hub.publish(removal("n8"));
    hub.publish(change("n4", 1));
    hub.publish(change("n4", 2));
    replica.catch_up(&mut reader, 149).await;
    assert_eq!((replica.resyncs, replica.changes, replica.state.len()), (3, 2, 94));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_starts_over_again_and_again_is_put_out() {
    let hub = small(2);
    let mut reader = client(&hub, ALL, None);
    let mut replica = Replica::default();
    for round in 1..=3 {
        for value in 0..10 {
            hub.publish(change("a", value));
        }
        replica.catch_up(&mut reader, round * 10).await;
    }
    // The first round was behind the snapshot of the beginning: three resyncs in all.
    assert_eq!(replica.resyncs, 3);
    for value in 0..10 {
        hub.publish(change("a", value));
    }
    assert_eq!(reader.next().await, Delivery::End(Close::ResyncTooOften.code()));
}

#[tokio::test(start_paused = true)]
async fn an_old_resync_is_forgiven() {
    let hub = small(2);
    let mut reader = client(&hub, ALL, None);
    let mut replica = Replica::default();
    for round in 1..=10 {
        for value in 0..10 {
            hub.publish(change("a", value));
        }
        replica.catch_up(&mut reader, round * 10).await;
        tokio::time::advance(Duration::from_mins(2)).await;
    }
    assert_eq!(replica.resyncs, 10);
}

#[tokio::test(start_paused = true)]
async fn the_ring_is_bounded_by_events_and_by_bytes() {
    let hub = Hub::new(HubLimits { events_max: 50, bytes_max: 10_000, ..HubLimits::default() });
    for value in 0..200 {
        hub.publish(change("a", value));
        assert!(hub.figures().ring_events <= 50 && hub.figures().ring_bytes <= 10_000);
    }
    let mut large = change("a", 1);
    large.members = format!(r#""node":"a","value":1,"pad":"{}""#, "x".repeat(1_000_000));
    let mut reader = client(&hub, ALL, Some(&at(&hub, 200)));
    hub.publish(large);
    assert_eq!(hub.figures().ring_events, 1);
    hub.publish(change("a", 2));
    assert!(hub.figures().ring_bytes < 10_000);
    let mut replica = Replica::default();
    replica.catch_up(&mut reader, 202).await;
    assert_eq!(replica.resyncs, 1, "the large one pushed out what was behind the cursor");
}

#[tokio::test(start_paused = true)]
async fn slots_are_bounded_and_come_back() {
    let hub = Hub::new(HubLimits { clients_max: 2, ..HubLimits::default() });
    let first = hub.reserve().unwrap();
    let second = client(&hub, ALL, None);
    assert!(hub.reserve().is_none());
    assert_eq!(hub.figures().clients, 2);
    drop(first);
    assert!(hub.reserve().is_some());
    drop(second);
    assert_eq!(hub.figures().clients, 0);
}

#[tokio::test(start_paused = true)]
async fn clients_that_come_at_once_share_one_snapshot() {
    let hub = small(100);
    for node in 0..100 {
        hub.publish(change(&format!("n{node}"), 1));
    }
    let readers: Vec<_> = (0..50).map(|_| client(&hub, ALL, None)).collect();
    assert_eq!(hub.figures().snapshots, 1);
    let other = client(&hub, &["node/n1/state"], None);
    assert_eq!(hub.figures().snapshots, 2);
    drop((readers, other));
    hub.publish(change("n1", 2));
    drop(client(&hub, ALL, None));
    assert_eq!(hub.figures().snapshots, 3, "another offset is another snapshot");
}

#[tokio::test(start_paused = true)]
async fn snapshots_under_way_are_bounded() {
    let hub = Hub::new(HubLimits { snapshot_bytes_max: 2_000, ..HubLimits::default() });
    let mut stalled = Vec::new();
    for value in 0..1_000 {
        hub.publish(change(&format!("n{value}"), value));
        stalled.push(client(&hub, ALL, None));
        assert!(hub.figures().snapshot_bytes < 10_000);
    }
    assert_eq!(stalled.last_mut().unwrap().next().await, Delivery::End(Close::Full.code()));
    drop(stalled);
    let mut replica = Replica::default();
    replica.catch_up(&mut client(&hub, ALL, None), 1_000).await;
    assert_eq!(replica.state.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn to_drop_the_wait_loses_nothing() {
    let hub = small(100);
    let mut reader = client(&hub, ALL, None);
    let mut replica = Replica::default();
    replica.catch_up(&mut reader, 0).await;
    for value in 0..50 {
        hub.publish(change("a", value));
        for _ in 0..3 {
            // Which one is polled first is left to chance; a wait that was begun is dropped again and again.
            tokio::select! {
                delivery = reader.next() => match delivery {
                    Delivery::Frames(frames) => frames.iter().for_each(|frame| replica.take(frame)),
                    Delivery::End(close) => panic!("{close:?}"),
                },
                () = tokio::task::yield_now() => {}
            }
        }
    }
    replica.catch_up(&mut reader, 50).await;
    assert_eq!(replica.events, 50);
}

#[tokio::test]
async fn a_name_that_is_no_plain_word_still_makes_one_document() {
    let hub = small(10);
    let mut odd = change("a", 1);
    odd.topic = "node/\"}\u{1}/state".to_owned();
    hub.publish(odd);
    let mut reader = client(&hub, ALL, Some(&at(&hub, 0)));
    frames(&mut reader).await;
    assert_eq!(frames(&mut reader).await[0]["topic"], "node/\"}\u{1}/state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_see_every_event_in_order_while_one_publishes() {
    const EVENTS: u64 = 5_000;
    let hub = small(65_536);
    let mut clients = JoinSet::new();
    for index in 0..40 {
        let hub = hub.clone();
        clients.spawn(async move {
            let mut reader = client(&hub, if index % 2 == 0 { ALL } else { &["node/n*/state"] }, None);
            let mut replica = Replica::default();
            replica.catch_up(&mut reader, EVENTS).await;
            replica
        });
    }
    let publisher = hub.clone();
    clients.spawn(async move {
        for value in 0..EVENTS {
            publisher.publish(change(&format!("n{}", value % 7), value));
            if value % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        Replica::default()
    });
    let expected: BTreeMap<String, u64> =
        (EVENTS - 7..EVENTS).map(|value| (format!("n{}", value % 7), value)).collect();
    let mut complete = 0;
    while let Some(replica) = clients.join_next().await {
        let replica = replica.expect("no panic");
        if replica.has_welcome {
            complete += 1;
            assert_eq!((replica.resyncs, &replica.state), (0, &expected));
        }
    }
    assert_eq!(complete, 40);
    assert_eq!(hub.figures().clients, 0);
}

#[derive(Debug, Clone)]
enum Act {
    Publish { node: u8, is_removal: bool },
    Read { client: usize },
    Reconnect { client: usize, with_position: bool },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..5_u8, any::<bool>()).prop_map(|(node, is_removal)| Act::Publish { node, is_removal }),
        4 => (0..3_usize).prop_map(|client| Act::Read { client }),
        1 => (0..3_usize, any::<bool>()).prop_map(|(client, with_position)| Act::Reconnect { client, with_position }),
    ];
    proptest::collection::vec(act, 0..120)
}

proptest! {
    /// Whatever the order of publishing, reading and coming back: each client ends with exactly the state that the
    /// events made of its topics, and no promise is broken on the way.
    #[test]
    fn every_client_ends_with_the_true_state(acts in acts(), events_max in 1..12_usize, removals_max in 0..6_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let hub = Hub::new(HubLimits { events_max, removals_max, resyncs_max: usize::MAX, ..HubLimits::default() });
            let patterns: [&[&str]; 3] = [ALL, &["node/n1/state", "node/n2/*"], &["node/none/state"]];
            let mut readers: Vec<_> = patterns.iter().map(|patterns| client(&hub, patterns, None)).collect();
            let mut replicas: Vec<Replica> = patterns.iter().map(|_| Replica::default()).collect();
            let mut truth: BTreeMap<String, u64> = BTreeMap::new();
            let mut head = 0;
            for act in acts {
                match act {
                    Act::Publish { node, is_removal } => {
                        let node = format!("n{node}");
                        head += 1;
                        let publication = if is_removal { removal(&node) } else { change(&node, head) };
                        assert_eq!(hub.publish(publication), head);
                        if is_removal { truth.remove(&node) } else { truth.insert(node, head) };
                    }
                    Act::Read { client } => replicas[client].take_next(&mut readers[client]).await,
                    Act::Reconnect { client: index, with_position } => {
                        let old = &mut replicas[index];
                        if with_position && old.has_welcome && !old.in_snapshot {
                            // What it knows stays; the replay has to fit behind it.
                            let since = seen(&hub, patterns[index], old.offset);
                            readers[index] = client(&hub, patterns[index], Some(&since));
                            old.has_welcome = false;
                        } else {
                            readers[index] = client(&hub, patterns[index], None);
                            *old = Replica::default();
                        }
                    }
                }
            }
            for ((patterns, reader), replica) in patterns.iter().zip(&mut readers).zip(&mut replicas) {
                replica.catch_up(reader, head).await;
                let patterns = Patterns::parse(patterns).unwrap();
                let wanted = truth.iter().filter(|(node, _)| patterns.matches(&format!("node/{node}/state")));
                let expected: BTreeMap<String, u64> = wanted.map(|(node, value)| (node.clone(), *value)).collect();
                assert_eq!(replica.state, expected);
            }
        });
    }
}

proptest! {
    /// Whoever was at any place in the log, and missed any part of what followed: what they knew, with what they are given,
    /// is what all events together made; and they are given no more than changed.
    #[test]
    fn p02_the_state_after_a_resync_is_what_all_events_made(
        events in proptest::collection::vec((0..6_u8, any::<bool>()), 1..80),
        removals_max in 0..8_usize,
        narrow in any::<bool>(),
    ) {
        let hub = Hub::new(HubLimits { events_max: 1, removals_max, ..HubLimits::default() });
        let patterns: &[&str] = if narrow { &["node/n1/*", "node/n2/*"] } else { ALL };
        let parsed = Patterns::parse(patterns).unwrap();
        let mut filters = crate::hub::filter::Filters::default();
        let reach = crate::hub::Reach::new(&["node"]);
        let id = filters.enter(crate::hub::filter::FilterKey { patterns: parsed.clone(), reach });
        let filter = filters.get_mut(id).unwrap();
        // The state after each offset, as somebody who saw it all knows it.
        let mut states: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new()];
        let mut removals = Vec::new();
        for (node, is_removal) in &events {
            let (node, head) = (format!("n{node}"), states.len() as u64);
            let mut state = states.last().unwrap().clone();
            if *is_removal {
                hub.publish(removal(&node));
                if state.remove(&node).is_some() {
                    removals.push(head);
                }
            } else {
                hub.publish(change(&node, head));
                state.insert(node, head);
            }
            states.push(state);
        }
        let is_wanted = |node: &str| parsed.matches(&format!("node/{node}/state"));
        let head = states.len() - 1;
        for cursor in 0..=head {
            let missed: std::collections::BTreeSet<String> =
                events[cursor..].iter().map(|(node, _)| format!("n{node}")).filter(|node| is_wanted(node)).collect();
            let Some(items) = hub.shared().log().changes(cursor as u64, filter, |_| true) else {
                let behind = removals.iter().filter(|at| **at > cursor as u64).count();
                prop_assert!(behind > removals_max, "all that was removed since {} could have been known", cursor);
                continue;
            };
            prop_assert!(items.len() <= missed.len(), "{} items for {} that changed", items.len(), missed.len());
            let mut replica = Replica { has_welcome: true, in_snapshot: true, has_changes: true, ..Replica::default() };
            replica.state = states[cursor].clone();
            replica.offset = head as u64;
            let items: Vec<Value> = items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
            replica.take(&serde_json::json!({"t": "snap", "o": head, "i": 0, "last": true, "items": items}));
            let of = |state: &BTreeMap<String, u64>| -> BTreeMap<String, u64> {
                state.iter().filter(|(node, _)| is_wanted(node)).map(|(node, value)| (node.clone(), *value)).collect()
            };
            prop_assert_eq!(of(&replica.state), of(&states[head]), "from {}", cursor);
        }
    }
}

/// However many names come and go, what is remembered of them is bounded by what is there.
#[tokio::test(start_paused = true)]
async fn topics_of_which_nothing_is_left_are_forgotten() {
    let hub = Hub::new(HubLimits { events_max: 10, removals_max: 5, topics_spare: 20, ..HubLimits::default() });
    hub.publish(change("stays", 0));
    let (mut reader, mut replica) = (client(&hub, ALL, None), Replica::default());
    for round in 0..1_000 {
        hub.publish(change(&format!("n{round}"), round));
        hub.publish(removal(&format!("n{round}")));
        replica.catch_up(&mut reader, hub.figures().events).await;
    }
    assert!(hub.shared().log().names_from(0).len() < 60, "{}", hub.shared().log().names_from(0).len());
    hub.publish(change("stays", 7));
    hub.publish(change("n0", 8));
    replica.catch_up(&mut reader, hub.figures().events).await;
    assert_eq!((replica.counts["node/stays/state"], replica.counts["node/n0/state"]), (2, 1));
    assert_eq!((replica.resyncs, replica.state.len()), (0, 2));
}

/// A topic of which nothing but old events is left keeps them, whatever numbers the others get.
#[tokio::test(start_paused = true)]
async fn events_keep_their_topics_when_those_are_numbered_anew() {
    let hub = Hub::new(HubLimits { events_max: 100, removals_max: 0, topics_spare: 0, ..HubLimits::default() });
    hub.publish(change("n0", 1));
    hub.publish(removal("n0"));
    for node in 1..10 {
        hub.publish(change(&format!("n{node}"), 1));
    }
    for (node, events) in [("n0", 2), ("n1", 1), ("n9", 1)] {
        let topic = format!("node/{node}/state");
        let mut reader = client(&hub, &[&topic], Some(&seen(&hub, &[&topic], 0)));
        assert_eq!(frames(&mut reader).await[0]["mode"], "replay");
        let told = frames(&mut reader).await;
        assert!(told.len() == events && told.iter().all(|event| event["topic"] == topic), "{told:?}");
    }
}
