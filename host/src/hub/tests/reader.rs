use crate::hub::batch::Lanes;
use crate::hub::core::{Core, PIECES_MAX};
use crate::hub::handle::Framing;
use crate::hub::inbox::Join;
use crate::hub::slots::{Key, Slots};
use crate::hub::{Access, Hub, Patterns, Position, Slot};
use crate::model::Grant;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::IoSlice;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a shard that has one client alone has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Frames of one kind.
    Frames(Vec<Value>),
    /// A close frame.
    End(Option<u16>),
}

/// What came over a connection, one frame each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Text(Value),
    Close(u16),
    Control,
}

/// Takes a WebSocket's bytes apart, however they are cut.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Decoder {
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.bytes.extend_from_slice(bytes);
        let mut seen = Vec::new();
        while let Some((first, payload)) = self.frame() {
            assert!(!self.is_closed, "nothing comes behind a close frame");
            seen.push(match first {
                0x81 => Seen::Text(serde_json::from_slice(&payload).expect("one document")),
                0x88 => {
                    self.is_closed = true;
                    Seen::Close(u16::from_be_bytes([payload[0], payload[1]]))
                }
                0x89 | 0x8a => Seen::Control,
                other => panic!("a frame that begins with {other:#x}"),
            });
        }
        seen
    }

    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&first, &length) = (self.bytes.first()?, self.bytes.get(1)?);
        assert!(length < 128, "a server's frames are not masked");
        let (header, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(self.bytes.get(2..10)?.try_into().unwrap()) as usize),
            short => (2, usize::from(short)),
        };
        let payload = self.bytes.get(header..header + length)?.to_vec();
        self.bytes.drain(..header + length);
        Some((first, payload))
    }
}

/// The bytes of the next write to a client.
pub(super) fn planned(core: &mut Core, key: Key, now: Instant) -> Vec<u8> {
    plan_of(core, key, Lanes::All, now)
}

/// The same, of some lanes.
pub(super) fn plan_of(core: &mut Core, key: Key, lanes: Lanes, now: Instant) -> Vec<u8> {
    core.plan(key, lanes, now);
    let mut slices = [IoSlice::new(&[]); PIECES_MAX];
    let count = core.slices(key, &mut slices);
    slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
}

pub(super) fn join(slot: Slot, framing: Framing, grant: Grant, reach: &[&str]) -> Join {
    let words = ["feed", "node", "proc", "log"].into_iter();
    if !grant.allows("feed") {
        grant.change(words.filter(|word| *word == "feed" || reach.contains(word)).collect());
    }
    Join { slot, framing, grant, access: ACCESS, pending: std::sync::Arc::default() }
}

/// A class of topics is seen by whoever has a right of the same name.
pub(in crate::hub) const ACCESS: Access =
    Access { needs: "feed", classes: &[("node", "node"), ("proc", "proc"), ("log", "log")] };

/// A shard with one client that takes everything at once.
#[derive(Debug)]
pub(super) struct Reader {
    core: Core,
    key: Key,
    head: watch::Receiver<u64>,
    decoder: Decoder,
    due: VecDeque<Seen>,
}

pub(super) fn client(hub: &Hub, patterns: &[&str], since: Option<&Position>) -> Reader {
    let mut core = Core::new(hub.shared().clone());
    let key = Slots::default().take();
    let (slot, now) = (hub.reserve().expect("a slot"), Instant::now());
    core.join(key, join(slot, Framing::WebSocket, Grant::default(), &["node"]), now);
    core.subscribe(key, (Patterns::parse(patterns).expect("legal"), since.cloned()), now);
    core.sync(now, |_, _| {});
    let head = hub.shared().head.subscribe();
    Reader { core, key, head, decoder: Decoder::default(), due: VecDeque::new() }
}

impl Reader {
    /// Waits for the next frames of one kind.
    pub(super) async fn next(&mut self) -> Delivery {
        loop {
            self.head.borrow_and_update();
            let now = Instant::now();
            self.core.sync(now, |_, _| {});
            self.core.tick(now, |_| {}, |_| {});
            while self.core.is_ready(self.key) {
                let bytes = planned(&mut self.core, self.key, now);
                self.core.commit(self.key, bytes.len(), now);
                self.due.extend(self.decoder.take(&bytes).into_iter().filter(|seen| *seen != Seen::Control));
            }
            if let Some(delivery) = self.delivery() {
                return delivery;
            }
            let due = self.core.due().expect("a timer");
            tokio::select! {
                _ = self.head.changed() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    fn delivery(&mut self) -> Option<Delivery> {
        let mut frames: Vec<Value> = Vec::new();
        while let Some(seen) = self.due.pop_front() {
            match seen {
                Seen::Text(frame) if frames.first().is_none_or(|first| first["t"] == frame["t"]) => frames.push(frame),
                Seen::Close(code) if frames.is_empty() => return Some(Delivery::End(Some(code))),
                later @ (Seen::Text(_) | Seen::Close(_) | Seen::Control) => {
                    self.due.push_front(later);
                    break;
                }
            }
        }
        (!frames.is_empty()).then_some(Delivery::Frames(frames))
    }
}
