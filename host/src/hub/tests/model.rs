//! The hub against a model, over random schedules: what a scheduler, a kernel and a client could do to it, one step at a
//! time. Every step of the hub itself is made under one lock or inside one shard, so the order of steps is all there is.

use super::reader::{Decoder, Seen, join, planned};
use super::{ALL, Replica, change, removal};
use crate::hub::core::{Core, Ended};
use crate::hub::handle::Framing;
use crate::hub::inbox::{Arrival, Inbox, Renewal};
use crate::hub::slots::{Key, Slots};
use crate::hub::{Change, Close, Hub, HubLimits, Patterns, Position};
use crate::model::{Grant, GrantEnd};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

const SHARDS: usize = 2;
const GRANTS: usize = 3;

#[derive(Debug, Clone)]
enum Act {
    Connect {
        shard: usize,
        grant: usize,
        patterns: usize,
    },
    Subscribe {
        client: usize,
        with_position: bool,
    },
    Publish {
        node: u8,
        is_removal: bool,
        pad: usize,
    },
    /// The connection takes so many bytes; none: it blocks.
    Write {
        client: usize,
        bytes: usize,
    },
    Answer {
        client: usize,
    },
    /// The reader ends the conversation.
    Misuse {
        client: usize,
    },
    /// The connection breaks.
    Kill {
        client: usize,
    },
    /// Something late about a client that may be gone.
    Late {
        client: usize,
    },
    Revoke {
        grant: usize,
    },
    /// Another set of rights: nodes, processes, both or neither.
    Rights {
        grant: usize,
        bits: u8,
    },
    /// The client stands on another grant.
    Renew {
        client: usize,
        grant: usize,
    },
    Sync {
        shard: usize,
    },
    Wait {
        ms: u64,
    },
    Drain,
}

fn acts(length: usize) -> impl Strategy<Value = Vec<Act>> {
    let client = 0..12_usize;
    let act = prop_oneof![
        3 => (0..SHARDS, 0..GRANTS, 0..3_usize).prop_map(|(shard, grant, patterns)| Act::Connect { shard, grant, patterns }),
        3 => (client.clone(), any::<bool>()).prop_map(|(client, with_position)| Act::Subscribe { client, with_position }),
        8 => (0..10_u8, any::<bool>(), prop_oneof![6 => 0..300_usize, 1 => Just(9_000)]).prop_map(|(node, is_removal, pad)| Act::Publish { node, is_removal, pad }),
        16 => (client.clone(), prop_oneof![Just(0), 1..40_usize, Just(usize::MAX)]).prop_map(|(client, bytes)| Act::Write { client, bytes }),
        2 => client.clone().prop_map(|client| Act::Answer { client }),
        1 => client.clone().prop_map(|client| Act::Misuse { client }),
        1 => client.clone().prop_map(|client| Act::Kill { client }),
        1 => client.clone().prop_map(|client| Act::Late { client }),
        1 => (0..GRANTS).prop_map(|grant| Act::Revoke { grant }),
        5 => (0..GRANTS, 0..4_u8).prop_map(|(grant, bits)| Act::Rights { grant, bits }),
        2 => (client.clone(), 0..GRANTS).prop_map(|(client, grant)| Act::Renew { client, grant }),
        6 => (0..SHARDS).prop_map(|shard| Act::Sync { shard }),
        3 => (0..40_000_u64).prop_map(|ms| Act::Wait { ms }),
    ];
    let acts = proptest::collection::vec(act, 0..length);
    (acts, any::<bool>()).prop_map(|(mut acts, is_drained)| {
        if is_drained {
            acts.insert(acts.len() * 3 / 4, Act::Drain);
        }
        acts
    })
}

/// A client as its far end knows it.
struct Peer {
    shard: usize,
    key: Key,
    grant: usize,
    patterns: &'static [&'static str],
    has_asked: bool,
    decoder: Decoder,
    replica: Replica,
    closed: Option<u16>,
    is_there: bool,
}

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) cores: Vec<(Core, Inbox)>,
    grants: Vec<Grant>,
    /// The head when the end of a grant had been applied by every shard.
    settled: Vec<Option<u64>>,
    waiting: Vec<(usize, oneshot::Receiver<()>)>,
    peers: Vec<Peer>,
    truth: BTreeMap<String, u64>,
    connected: u64,
}

impl World {
    pub(super) fn new(events_max: usize) -> Self {
        let removals_max = events_max % 4;
        let limits = HubLimits {
            events_max,
            clients_max: 10,
            resyncs_max: 6,
            removals_max,
            topics_spare: 0,
            ..HubLimits::default()
        };
        let hub = Hub::new(limits);
        let shard = |_| (Core::new(hub.shared().clone()), Inbox::new(hub.shared().acks.enter()));
        Self {
            cores: (0..SHARDS).map(shard).collect(),
            hub,
            // Each its own: a clone would be the same one.
            grants: (0..GRANTS).map(|_| Grant::default()).collect(),
            settled: vec![None; GRANTS],
            waiting: Vec::new(),
            peers: Vec::new(),
            truth: BTreeMap::new(),
            connected: 0,
        }
    }

    fn head(&self) -> u64 {
        self.hub.figures().events
    }

    fn act(&mut self, act: Act, now: Instant) {
        match act {
            Act::Connect { shard, grant, patterns } => self.connect(shard, grant, patterns, now),
            Act::Subscribe { client, with_position } => self.subscribe(client, with_position, now),
            Act::Publish { node, is_removal, pad } => self.publish(node, is_removal, pad),
            Act::Write { client, bytes } => self.write(client, bytes, now),
            Act::Answer { client } => {
                if let Some((core, key)) = self.at(client) {
                    // A pong, as the library would write it.
                    core.control(key, &[0x8a, 0]);
                }
            }
            Act::Misuse { client } => {
                if let Some((core, key)) = self.at(client) {
                    core.end(key, Close::Misuse, "misuse", now);
                }
            }
            Act::Kill { client } => self.kill(client),
            Act::Late { client } => self.late(client, now),
            Act::Revoke { grant } => self.revoke(grant),
            Act::Rights { grant, bits } => self.change_rights(grant, bits),
            Act::Renew { client, grant } => self.renew(client, grant, now),
            Act::Sync { shard } => self.sync(shard, now),
            Act::Drain => {
                for shard in 0..SHARDS {
                    self.cores[shard].0.drain(now);
                }
            }
            Act::Wait { .. } => self.tick(now),
        }
        self.check();
    }

    /// Registered is who is there, and nobody else; every counter agrees.
    fn check(&self) {
        let there = self.peers.iter().filter(|peer| peer.is_there).count();
        assert_eq!(self.cores.iter().map(|(core, _)| core.len()).sum::<usize>(), there);
        assert_eq!(self.cores.iter().map(|(_, inbox)| inbox.taken()).sum::<usize>(), there);
        assert_eq!(self.hub.figures().clients, there);
        let ended: u64 = self.hub.figures().disconnects.iter().map(|(_, count)| count).sum();
        assert!(ended <= self.connected, "nobody ends twice");
    }

    /// The shard and key of the `client`th that ever was, if there is one.
    fn at(&mut self, client: usize) -> Option<(&mut Core, Key)> {
        let peer = self.peers.get(self.peers.len().checked_sub(client + 1)?)?;
        Some((&mut self.cores[peer.shard].0, peer.key))
    }

    fn index(&self, client: usize) -> Option<usize> {
        let index = self.peers.len().checked_sub(client + 1)?;
        self.peers[index].is_there.then_some(index)
    }

    fn connect(&mut self, shard: usize, grant: usize, patterns: usize, now: Instant) {
        let there = self.peers.iter().filter(|peer| peer.is_there).count();
        let slot = self.hub.reserve();
        assert_eq!(slot.is_some(), there < 10, "below the limit a connect always succeeds, beyond it never");
        let Some(slot) = slot else { return };
        self.connected += 1;
        let (core, inbox) = &mut self.cores[shard];
        // The slot is taken as a link takes it; the connection itself is this test.
        let (open, _) = oneshot::channel();
        let arrival = Arrival {
            join: join(slot, Framing::WebSocket, self.grants[grant].clone(), &["node", "proc"]),
            wire: Box::new(tokio::io::duplex(1).0),
            open,
        };
        let key = inbox.join(arrival).expect("it serves");
        let crate::hub::inbox::Note::Join(_, arrival) = inbox.take(1).0.remove(0) else { panic!("a join") };
        core.join(key, arrival.join, now);
        let patterns: &'static [&'static str] = [ALL, &["node/n1/state", "node/n2/*"], &["node/none/state"]][patterns];
        self.peers.push(Peer {
            shard,
            key,
            grant,
            patterns,
            has_asked: false,
            decoder: Decoder::default(),
            replica: Replica::default(),
            closed: None,
            is_there: true,
        });
    }

    /// Comes back with what an earlier client of the same patterns knew, or with nothing.
    fn subscribe(&mut self, client: usize, with_position: bool, now: Instant) {
        let Some(index) = self.index(client).filter(|index| !self.peers[*index].has_asked) else { return };
        let patterns = self.peers[index].patterns;
        let earlier = self.peers.iter().position(|peer| {
            with_position
                && !peer.is_there
                && peer.patterns == patterns
                && peer.replica.has_welcome
                && !peer.replica.in_snapshot
        });
        let mut since = None;
        if let Some(earlier) = earlier {
            let replica = std::mem::take(&mut self.peers[earlier].replica);
            since = Some(Position { epoch: replica.epoch.clone(), offset: replica.offset });
            self.peers[index].replica = Replica { has_welcome: false, lost: BTreeMap::new(), ..replica };
        }
        let peer = &mut self.peers[index];
        peer.has_asked = true;
        let (core, key) = (&mut self.cores[peer.shard].0, peer.key);
        core.subscribe(key, (Patterns::parse(patterns).unwrap(), since), now);
    }

    pub(super) fn publish(&mut self, node: u8, is_removal: bool, pad: usize) {
        // Some are of another class.
        let class = if node < 3 { "node/" } else { "proc/" };
        let node = format!("n{node}");
        let value = self.head() + 1;
        let mut publication = if is_removal { removal(&node) } else { change(&node, value) };
        publication.topic = publication.topic.replace("node/", class);
        match &mut publication.change {
            Change::Put { key, item } => {
                *key = key.replace("node/", class);
                *item = item.replace("node/", class);
            }
            Change::Remove { key } => *key = key.replace("node/", class),
        }
        let pad = format!(r#""pad":"{}""#, "x".repeat(pad));
        publication.members = format!("{},{pad}", publication.members);
        if let Change::Put { item, .. } = &mut publication.change {
            // Large ones make a snapshot of several frames.
            *item = format!("{{{pad},{}", &item[1..]);
        }
        assert_eq!(self.hub.publish(publication), value);
        if is_removal {
            self.truth.remove(&node)
        } else {
            self.truth.insert(node, value)
        };
    }

    pub(super) fn write(&mut self, client: usize, bytes: usize, now: Instant) {
        let Some(index) = self.index(client) else { return };
        let peer = &mut self.peers[index];
        let (core, key) = (&mut self.cores[peer.shard].0, peer.key);
        core.unblock(key);
        let plan = planned(core, key, now);
        if plan.is_empty() {
            core.commit(key, 0, now);
            return;
        }
        if bytes == 0 {
            core.block(key, now);
            return;
        }
        let taken = bytes.min(plan.len());
        core.commit(key, taken, now);
        for seen in peer.decoder.take(&plan[..taken]) {
            match seen {
                Seen::Control => {}
                Seen::Close(code) => peer.closed = Some(code),
                Seen::Text(frame) => read(peer, &frame, self.settled[peer.grant]),
            }
        }
    }

    fn kill(&mut self, client: usize) {
        let Some(index) = self.index(client) else { return };
        self.remove(index);
    }

    fn remove(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.is_there = false;
        let (core, inbox) = &mut self.cores[peer.shard];
        assert!(core.remove(peer.key).is_some() && inbox.release(peer.key));
        assert!(core.remove(peer.key).is_none() && !inbox.release(peer.key), "removal is idempotent");
    }

    /// Whatever comes late about a client that has gone touches nobody, its slot's new owner least of all.
    fn late(&mut self, client: usize, now: Instant) {
        let Some(peer) = self.peers.len().checked_sub(client + 1).map(|index| &self.peers[index]) else { return };
        if peer.is_there {
            return;
        }
        let (core, inbox) = &mut self.cores[peer.shard];
        core.unblock(peer.key);
        core.block(peer.key, now);
        core.control(peer.key, &[0x8a, 0]);
        core.subscribe(peer.key, (Patterns::parse(ALL).unwrap(), None), now);
        assert_eq!(core.end(peer.key, Close::Misuse, "late", now), None);
        assert_eq!(planned(core, peer.key, now), b"");
        core.commit(peer.key, 5, now);
        assert!(core.remove(peer.key).is_none() && !inbox.release(peer.key));
    }

    fn revoke(&mut self, grant: usize) {
        if self.grants[grant].end(GrantEnd::Revoked) {
            let (done, applied) = oneshot::channel();
            self.hub.revoke(done);
            self.waiting.push((grant, applied));
        }
    }

    fn change_rights(&mut self, grant: usize, bits: u8) {
        let classes = ["node", "proc"].into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
        if self.grants[grant].change(classes.map(|(_, class)| class).chain(["feed"]).collect()) {
            self.hub.revoke(oneshot::channel().0);
        }
    }

    /// As a link has it done; one that ended meanwhile ends the client.
    fn renew(&mut self, client: usize, grant: usize, now: Instant) {
        let Some(index) = self.index(client) else { return };
        let new = self.grants[grant].clone();
        let peer = &mut self.peers[index];
        if new.ended().is_none() && peer.closed.is_none() {
            peer.grant = grant;
        }
        let (core, key) = (&mut self.cores[peer.shard].0, peer.key);
        if core.renew(key, Renewal { grant: new, ttl: None }, now) == Some(Ended::Cut) {
            self.remove(index);
        }
    }

    pub(super) fn sync(&mut self, shard: usize, now: Instant) {
        let mut cut = Vec::new();
        let (core, inbox) = &mut self.cores[shard];
        core.sync(now, |key, end| {
            if end == Ended::Cut {
                cut.push(key)
            }
        });
        let shared = self.hub.shared();
        shared.acks.applied(inbox.index, core.controls(), &shared.counters, now);
        for key in cut {
            let index = self.peers.iter().position(|peer| peer.shard == shard && peer.key == key).unwrap();
            self.remove(index);
        }
        let head = self.head();
        for (grant, applied) in &mut self.waiting {
            if applied.try_recv().is_ok() {
                self.settled[*grant].get_or_insert(head);
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        for shard in 0..SHARDS {
            let mut over = Vec::new();
            self.cores[shard].0.tick(now, |key| over.push(key), |_| {});
            for key in over {
                let index = self.peers.iter().position(|peer| peer.shard == shard && peer.key == key).unwrap();
                self.remove(index);
            }
        }
    }

    /// Lets everybody read to the end, and compares with the truth.
    fn quiesce(&mut self, now: Instant) {
        for shard in 0..SHARDS {
            self.sync(shard, now);
        }
        let head = self.head();
        for index in 0..self.peers.len() {
            let client = self.peers.len() - 1 - index;
            while self.index(client).is_some_and(|index| self.has_more(index)) {
                self.write(client, usize::MAX, now);
            }
            let peer = &self.peers[index];
            if peer.is_there && peer.has_asked && peer.closed.is_none() {
                assert!(self.settled[peer.grant].is_none(), "a revoked one is told or cut");
                assert!(peer.replica.offset <= head && !peer.replica.in_snapshot);
                let patterns = Patterns::parse(peer.patterns).unwrap();
                let topic = |node: &str| {
                    let class = if node < "n3" { "node" } else { "proc" };
                    self.grants[peer.grant].allows(class).then(|| format!("{class}/{node}/state"))
                };
                let wanted =
                    self.truth.iter().filter(|(node, _)| topic(node).is_some_and(|topic| patterns.matches(&topic)));
                let expected: BTreeMap<String, u64> = wanted.map(|(node, value)| (node.clone(), *value)).collect();
                assert_eq!(peer.replica.state, expected, "client {index}");
            }
        }
    }

    fn has_more(&mut self, index: usize) -> bool {
        let peer = &self.peers[index];
        let core = &mut self.cores[peer.shard].0;
        core.unblock(peer.key);
        core.is_ready(peer.key)
    }

    /// Everybody leaves, each in one of the ways there are.
    fn empty(&mut self, now: Instant) {
        for index in 0..self.peers.len() {
            if self.peers[index].is_there {
                self.remove(index);
            }
        }
        self.tick(now + Duration::from_hours(1));
        self.check();
        let figures = self.hub.figures();
        assert_eq!((figures.clients, figures.blocked), (0, 0));
        assert!(self.cores.iter().all(|(core, _)| core.filters() == 0 && core.len() == 0));
        let ended: u64 = figures.disconnects.iter().map(|(_, count)| count).sum();
        assert_eq!(ended, self.connected, "everybody ended once");
    }
}

/// What a frame tells a client, held against every promise.
fn read(peer: &mut Peer, frame: &Value, settled: Option<u64>) {
    assert_eq!(peer.closed, None);
    if matches!(frame["t"].as_str(), Some("drain" | "expiring" | "refreshed")) {
        return;
    }
    if let (Some(settled), "ev") = (settled, frame["t"].as_str().unwrap()) {
        assert!(frame["o"].as_u64().unwrap() <= settled, "no event from behind a revocation: {frame}");
    }
    peer.replica.take(frame);
}

fn run(acts: Vec<Act>, events_max: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(events_max);
        for act in acts {
            if let Act::Wait { ms } = act {
                tokio::time::advance(Duration::from_millis(ms)).await;
            }
            world.act(act, Instant::now());
        }
        world.quiesce(Instant::now());
        world.empty(Instant::now());
    });
}

proptest! {
    /// Whatever the order of connects, writes of any length, publishing, revoking, closing, killing and waiting: who is
    /// registered is who is there, nobody is removed twice, no slot leaks, and every byte that a client got is what the
    /// feed promises, up to the true state for those who stay.
    #[test]
    fn p01_the_hub_agrees_with_a_model_over_random_schedules(acts in acts(250), events_max in 1..12_usize) {
        run(acts, events_max);
    }

    /// Writes of one to a few bytes, and a ring that holds next to nothing.
    #[test]
    fn p02_order_holds_with_partial_writes_and_eviction(
        sizes in proptest::collection::vec(0..30_usize, 1..400),
        publish_every in 1..20_usize,
        events_max in 1..4_usize,
    ) {
        let mut acts = vec![Act::Connect { shard: 0, grant: 0, patterns: 0 }, Act::Subscribe { client: 0, with_position: false }];
        for (at, bytes) in sizes.into_iter().enumerate() {
            if at % publish_every == 0 {
                acts.push(Act::Publish { node: (at % 3) as u8, is_removal: at % 7 == 0, pad: at % 200 });
                acts.push(Act::Sync { shard: 0 });
            }
            if at % 11 == 0 {
                acts.push(Act::Answer { client: 0 });
            }
            acts.push(Act::Write { client: 0, bytes });
        }
        run(acts, events_max);
    }

    /// A slot has one owner at a time, and who has left it cannot give it back again.
    #[test]
    fn p03_a_slot_is_given_back_once(takes in proptest::collection::vec(any::<Option<prop::sample::Index>>(), 0..200)) {
        let (mut slots, mut taken, mut left) = (Slots::default(), BTreeSet::new(), Vec::new());
        for take in takes {
            match take.filter(|_| !taken.is_empty()) {
                None => {
                    let key = slots.take();
                    prop_assert!(!taken.iter().any(|other: &Key| other.slot == key.slot) && !left.contains(&key));
                    taken.insert(key);
                }
                Some(index) => {
                    let key = *taken.iter().nth(index.index(taken.len())).unwrap();
                    taken.remove(&key);
                    prop_assert!(slots.give_back(key));
                    left.push(key);
                }
            }
            prop_assert_eq!(slots.taken(), taken.len());
            prop_assert!(left.iter().all(|key| !slots.give_back(*key)));
        }
    }
}

/// One client of a core, connected and at the head, with what it has seen so far.
pub(super) fn settled(world: &mut World, now: Instant) {
    world.act(Act::Connect { shard: 0, grant: 0, patterns: 0 }, now);
    world.act(Act::Subscribe { client: 0, with_position: false }, now);
    world.act(Act::Write { client: 0, bytes: usize::MAX }, now);
    assert!(world.peers[0].replica.has_welcome);
}

/// Failure case 4: close in the middle of a frame.
#[tokio::test(start_paused = true)]
async fn a_close_in_the_middle_of_a_frame_comes_behind_it_and_is_the_last() {
    let (mut world, now) = (World::new(100), Instant::now());
    settled(&mut world, now);
    for node in 0..3 {
        world.publish(node, false, 100);
    }
    world.sync(0, now);
    world.write(0, 50, now);
    world.act(Act::Misuse { client: 0 }, now);
    world.act(Act::Answer { client: 0 }, now);
    while world.has_more(0) {
        world.write(0, 1, now);
    }
    let peer = &world.peers[0];
    assert_eq!((peer.closed, peer.replica.events), (Some(4502), 1), "the one that was begun, and no other");
    let (core, key) = world.at(0).unwrap();
    assert!(core.is_told(key));
}

/// Failure case 4b: the frame that is half written leaves the ring.
#[tokio::test(start_paused = true)]
async fn a_frame_that_is_half_written_outlives_the_ring() {
    let (mut world, now) = (World::new(2), Instant::now());
    settled(&mut world, now);
    world.publish(0, false, 200);
    world.sync(0, now);
    world.write(0, 20, now);
    for _ in 0..10 {
        world.publish(1, false, 50);
    }
    world.sync(0, now);
    while world.has_more(0) {
        world.write(0, 7, now);
    }
    let replica = &world.peers[0].replica;
    assert_eq!((replica.events, replica.resyncs), (1, 1), "the rest of it, then a resync");
    assert_eq!(replica.state, BTreeMap::from([("n0".to_owned(), 1), ("n1".to_owned(), 11)]));
}

/// Failure case 5: an answer that is due while the connection is blocked.
#[tokio::test(start_paused = true)]
async fn an_answer_goes_out_between_two_frames() {
    let (mut world, now) = (World::new(100), Instant::now());
    settled(&mut world, now);
    for node in 0..5 {
        world.publish(node, false, 100);
    }
    world.sync(0, now);
    world.write(0, 30, now);
    let (core, key) = world.at(0).unwrap();
    core.control(key, &[0x8a, 0]);
    let rest = planned(core, key, now);
    let frames = rest.iter().position(|byte| *byte == 0x8a).unwrap();
    let mut decoder = Decoder::default();
    assert_eq!(decoder.take(&rest[frames..])[0], Seen::Control, "a frame of its own");
    assert!(rest[..frames].ends_with(b"}"), "behind the one that was begun");
    // One byte at a time it is the same.
    while world.has_more(0) {
        world.write(0, 1, now);
    }
    assert_eq!(world.peers[0].replica.events, 5);
}

/// Failure case 22: what comes late for the one who had the slot before.
#[tokio::test(start_paused = true)]
async fn a_reused_slot_is_not_confused_with_its_last_owner() {
    let (mut world, now) = (World::new(100), Instant::now());
    settled(&mut world, now);
    world.kill(0);
    world.act(Act::Connect { shard: 0, grant: 1, patterns: 0 }, now);
    assert_eq!(world.peers[0].key.slot, world.peers[1].key.slot);
    world.act(Act::Late { client: 1 }, now);
    world.act(Act::Subscribe { client: 0, with_position: false }, now);
    world.quiesce(now);
    assert!(world.peers[1].replica.has_welcome && world.peers[1].closed.is_none());
    world.empty(now);
}

/// Failure case 28: wherever a client is when its grant ends.
#[tokio::test(start_paused = true)]
async fn a_revocation_finds_its_client_wherever_it_is() {
    let now = Instant::now();
    // Blocked, with bytes in the middle of a frame: cut.
    let mut world = World::new(100);
    settled(&mut world, now);
    world.publish(0, false, 200);
    world.sync(0, now);
    world.write(0, 20, now);
    world.write(0, 0, now);
    world.revoke(0);
    world.publish(1, false, 0);
    (0..SHARDS).for_each(|shard| world.sync(shard, now));
    assert!(!world.peers[0].is_there, "nothing of it is worth keeping");
    // In a snapshot: the snapshot ends there.
    let mut world = World::new(100);
    for node in 0..5 {
        world.publish(node, false, 10_000);
    }
    world.act(Act::Connect { shard: 0, grant: 0, patterns: 0 }, now);
    world.act(Act::Subscribe { client: 0, with_position: false }, now);
    world.write(0, 100, now);
    world.revoke(0);
    (0..SHARDS).for_each(|shard| world.sync(shard, now));
    while world.has_more(0) {
        world.write(0, 1_000, now);
    }
    assert_eq!((world.peers[0].closed, world.peers[0].replica.events), (Some(4501), 0));
    // Before its shard has heard of it, and when it comes back with a position.
    for with_position in [false, true] {
        let mut world = World::new(100);
        settled(&mut world, now);
        world.kill(0);
        world.revoke(0);
        (0..SHARDS).for_each(|shard| world.sync(shard, now));
        world.publish(0, false, 0);
        world.act(Act::Connect { shard: 0, grant: 0, patterns: 0 }, now);
        world.act(Act::Subscribe { client: 0, with_position }, now);
        world.quiesce(now);
        assert_eq!((world.peers[1].closed, world.peers[1].replica.has_welcome), (Some(4501), false));
        world.empty(now);
    }
}

/// A client that takes bytes, and yet falls behind, is given the state as it is.
#[tokio::test(start_paused = true)]
async fn a_client_that_lags_for_half_a_minute_starts_over_and_is_told() {
    let mut world = World::new(10_000);
    settled(&mut world, Instant::now());
    world.publish(0, false, 0);
    world.sync(0, Instant::now());
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(world.cores[0].0.lag(Instant::now()), Duration::from_secs(29));
    world.write(0, usize::MAX, Instant::now());
    assert_eq!((world.peers[0].replica.events, world.peers[0].replica.resyncs), (1, 0));
    world.publish(0, false, 0);
    world.sync(0, Instant::now());
    tokio::time::advance(Duration::from_secs(31)).await;
    world.write(0, usize::MAX, Instant::now());
    assert_eq!((world.peers[0].replica.events, world.peers[0].replica.resyncs), (1, 1));
    assert_eq!(world.hub.figures().skipped, 1);
}

/// The position in a drain's frame is one to come back with.
#[tokio::test(start_paused = true)]
async fn a_drain_spreads_its_closes_and_tells_where_to_go_on_from() {
    let (mut world, now) = (World::new(100), Instant::now());
    world.publish(0, false, 0);
    for _ in 0..10 {
        world.act(Act::Connect { shard: 0, grant: 0, patterns: 0 }, now);
    }
    world.act(Act::Subscribe { client: 0, with_position: false }, now);
    world.act(Act::Write { client: 0, bytes: usize::MAX }, now);
    world.act(Act::Drain, now);
    let (core, key) = world.at(0).unwrap();
    let text = String::from_utf8_lossy(&planned(core, key, now)).into_owned();
    let expected = format!(r#"{{"t":"drain","after_ms":1,"resume":"{}:1"}}"#, world.peers[9].replica.epoch);
    assert!(text.ends_with(&expected), "{text}");
    tokio::time::advance(Duration::from_millis(1)).await;
    world.tick(Instant::now());
    let told = disconnects(&world.hub, Close::GoingAway);
    assert!((1..10).contains(&told), "{told} of ten");
    tokio::time::advance(Duration::from_millis(2)).await;
    world.tick(Instant::now());
    assert_eq!(disconnects(&world.hub, Close::GoingAway), 10);
}

fn disconnects(hub: &Hub, close: Close) -> u64 {
    hub.figures().disconnects.iter().find(|(reason, _)| *reason == close).map_or(0, |(_, count)| *count)
}

/// Failure case 29: rights that change on an open connection.
#[tokio::test(start_paused = true)]
async fn what_may_no_longer_be_seen_is_told_before_the_next_event_and_what_is_new_is_given() {
    let (mut world, now) = (World::new(100), Instant::now());
    (0..5).for_each(|node| world.publish(node, false, 0));
    settled(&mut world, now);
    let nodes = |world: &World| world.peers[0].replica.state.keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(nodes(&world), "n0 n1 n2 n3 n4");
    world.publish(3, false, 0);
    world.change_rights(0, 0b01);
    world.publish(0, false, 0);
    world.publish(4, false, 0);
    world.sync(0, now);
    let (core, key) = world.at(0).unwrap();
    let text = String::from_utf8_lossy(&planned(core, key, now)).into_owned();
    let told = text.find(r#"{"t":"revoked","topics":["proc/"],"epoch":"#).expect("it is told");
    assert!(text.find(r#""t":"ev""#).is_some_and(|event| told < event) && !text.contains("proc/n"), "{text}");
    world.write(0, usize::MAX, now);
    assert_eq!((nodes(&world).as_str(), world.peers[0].replica.regrants), ("n0 n1 n2", 0));
    world.change_rights(0, 0b11);
    world.sync(0, now);
    world.write(0, usize::MAX, now);
    assert_eq!((nodes(&world).as_str(), world.peers[0].replica.regrants), ("n0 n1 n2 n3 n4", 1));
    assert_eq!(world.hub.figures().regrants, 2);
    // The same rights under another role are no change, and without the feed itself the connection ends.
    world.change_rights(0, 0b11);
    assert_eq!(world.hub.figures().regrants, 2);
    world.grants[0].change(["node"].into());
    world.hub.revoke(oneshot::channel().0);
    world.sync(0, now);
    world.write(0, usize::MAX, now);
    assert_eq!(world.peers[0].closed, Some(4004));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_once_that_its_time_will_be_over() {
    let (mut world, now) = (World::new(100), Instant::now());
    settled(&mut world, now);
    assert!(world.grants[0].announce_end(60));
    for _ in 0..2 {
        world.hub.revoke(oneshot::channel().0);
        world.sync(0, now);
    }
    let (core, key) = world.at(0).unwrap();
    let text = String::from_utf8_lossy(&planned(core, key, now)).into_owned();
    assert_eq!(text.matches(r#"{"t":"expiring","in":60}"#).count(), 1, "{text}");
    // Who comes in that minute is told behind the welcome.
    world.act(Act::Connect { shard: 0, grant: 0, patterns: 0 }, now);
    world.act(Act::Subscribe { client: 0, with_position: false }, now);
    let (core, key) = world.at(0).unwrap();
    let text = String::from_utf8_lossy(&planned(core, key, now)).into_owned();
    assert!(text.find("welcome").is_some_and(|welcome| text.find("expiring").is_some_and(|at| welcome < at)), "{text}");
}
