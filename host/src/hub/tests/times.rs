use super::model::{World, settled};
use std::time::Duration;
use tokio::time::Instant;

/// What the figures say is what was done.
#[tokio::test(start_paused = true)]
async fn p23_times_of_the_feed_are_those_that_passed() {
    let mut world = World::new(10_000);
    settled(&mut world, Instant::now());
    assert_eq!(world.hub.figures().snapshot_times.count(), world.hub.figures().snapshots);
    world.publish(0, false, 0);
    tokio::time::advance(Duration::from_secs(2)).await;
    world.publish(0, false, 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    world.sync(0, Instant::now());
    world.sync(0, Instant::now());
    let lag = world.hub.figures().sequencer_lag;
    assert_eq!((lag.count(), lag.sum), (1, 3_000_000), "the oldest of what came at once");
    assert_eq!(world.cores[0].0.lag(Instant::now()), Duration::from_secs(3));
    world.write(0, usize::MAX, Instant::now());
    assert_eq!(world.cores[0].0.lag(Instant::now()), Duration::ZERO);
    let lag = world.hub.figures().client_lag;
    let counted: Vec<_> = lag.classes.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(50, 1), (5_000_000, 1)]);
}
