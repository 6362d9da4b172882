//! The log over a restart.

use super::reader::client;
use super::{ALL, Replica, at, change, frames, removal};
use crate::hub::{Hub, HubLimits, LogPublication, Unfit};
use proptest::prelude::*;
use serde_json::Value;
use std::time::{Duration, SystemTime};

const STAMP: &str = "1 db";

fn limits(events_max: usize) -> HubLimits {
    HubLimits { events_max, removals_max: 3, topics_spare: 2, ..HubLimits::default() }
}

fn publish(hub: &Hub, steps: &[(u8, bool)]) {
    for (node, is_removal) in steps {
        let node = format!("n{node}");
        let value = hub.figures().events + 1;
        hub.publish(if *is_removal { removal(&node) } else { change(&node, value) });
    }
}

fn inherited(bytes: &[u8], events_max: usize, wall: SystemTime) -> Result<Hub, Unfit> {
    Hub::inherit(limits(events_max), bytes, STAMP, wall).map(|(hub, _)| hub)
}

/// All that a client which comes with this offset is given, up to the head.
async fn given(hub: &Hub, offset: u64) -> Vec<Value> {
    let mut reader = client(hub, ALL, Some(&at(hub, offset)));
    let (mut replica, mut seen) = (Replica::default(), Vec::new());
    while !replica.has_welcome || replica.in_snapshot || replica.offset < hub.figures().events {
        for frame in frames(&mut reader).await {
            replica.take(&frame);
            seen.push(frame);
        }
    }
    seen
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

proptest! {
    /// Whatever was published before and behind the restart: a client with any position, or with none that is known, is
    /// given the very frames that it would have been given without one.
    #[test]
    fn p02_a_log_that_is_inherited_is_the_one_that_was_left(
        before in proptest::collection::vec((0..4_u8, any::<bool>()), 0..40),
        behind in proptest::collection::vec((0..4_u8, any::<bool>()), 0..10),
        events_max in 1..12_usize,
    ) {
        run(async {
            let (hub, wall) = (Hub::new(limits(events_max)), SystemTime::now());
            publish(&hub, &before);
            let bytes = hub.leave(STAMP, wall);
            let next = inherited(&bytes, events_max, wall).expect("whole");
            assert_eq!(next.epoch(), hub.epoch());
            publish(&hub, &behind);
            publish(&next, &behind);
            for offset in 0..=hub.figures().events + 1 {
                assert_eq!(given(&next, offset).await, given(&hub, offset).await, "from {offset}");
            }
        });
    }

    /// What is not exactly what was written is taken for nothing.
    #[test]
    fn p02_a_log_that_is_changed_or_cut_is_never_taken(
        steps in proptest::collection::vec((0..4_u8, any::<bool>()), 0..10),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        cut in any::<prop::sample::Index>(),
    ) {
        run(async {
            let (hub, wall) = (Hub::new(limits(8)), SystemTime::now());
            publish(&hub, &steps);
            let whole = hub.leave(STAMP, wall);
            let mut changed = whole.clone();
            let place = place.index(changed.len());
            changed[place] ^= 1 << bit;
            assert_eq!(inherited(&changed, 8, wall).err(), Some(Unfit::Broken));
            assert_eq!(inherited(&whole[..cut.index(whole.len())], 8, wall).err(), Some(Unfit::Broken));
            assert_eq!(inherited(&[&whole[..], b"x"].concat(), 8, wall).err(), Some(Unfit::Broken));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn what_grew_too_old_while_nobody_served_is_not_replayed() {
    let (hub, wall) = (Hub::new(limits(100)), SystemTime::now());
    publish(&hub, &[(0, false), (1, false)]);
    tokio::time::advance(Duration::from_mins(10)).await;
    publish(&hub, &[(2, false)]);
    let bytes = hub.leave(STAMP, wall);
    let next = inherited(&bytes, 100, wall + Duration::from_mins(6)).expect("young enough as a whole");
    assert_eq!(next.figures().ring_events, 1, "two of three events are older than 15 minutes");
    assert_eq!(given(&next, 0).await[0]["mode"], "changes");
    assert_eq!(given(&next, 2).await[0]["mode"], "replay");
    assert_eq!(
        inherited(&bytes, 100, wall + Duration::from_mins(15) + Duration::from_millis(1)).err(),
        Some(Unfit::Stale)
    );
    assert_eq!(Hub::inherit(limits(100), &bytes, "2 db", wall).err(), Some(Unfit::Foreign));
}

/// A line's number names one line, also over a restart: those of before are gone, and said to be.
#[tokio::test(start_paused = true)]
async fn lines_are_numbered_on_from_where_the_last_hub_ended() {
    let (hub, wall) = (Hub::new(limits(100)), SystemTime::now());
    let topic: std::sync::Arc<str> = "log/a/g:p/stdout".into();
    let line = |lines| LogPublication { topic: topic.clone(), lines, members: String::new() };
    hub.publish_log(line(7));
    let next = inherited(&hub.leave(STAMP, wall), 100, wall).expect("whole");
    next.publish_log(line(2));
    assert_eq!((next.figures().log_lines, next.figures().log_events), (9, 2));
    let stream = next.shared().logs.follow(&topic).expect("a place").stream.clone();
    assert_eq!(stream.head(), 9);
    let mut read = Vec::new();
    stream.read(8, |frame, to| {
        read.push((String::from_utf8_lossy(frame.json()).contains(r#""n":8,"#), to));
        true
    });
    assert_eq!(read, [(true, 9)]);
}
