//! Has every log followed that a client of the feed wants, once however many want it, and carries what is read to the feed.

use crate::api::view;
use crate::hub::{Hub, LogPublication};
use crate::model::{FollowState, LogNews, LogNewsBody, LogTopic, NodeId};
use crate::node::Pool;
use crate::task::TaskGroup;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Logs followed at once.
const FOLLOWED_MAX: usize = 1_024;
/// The same of one node: it answers one question at a time.
const FOLLOWED_OF_NODE_MAX: usize = 32;
/// A log is followed for so long after the last client that wanted it left: whoever reloads a page comes back.
const LINGER: Duration = Duration::from_secs(5);
/// How often the refused are tried again, and told again for those who came later.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(15);
/// How soon a follower that panicked begins anew.
const BEGIN_ANEW_AFTER: Duration = Duration::from_secs(1);
/// News of one log that wait for being passed on. A full channel makes its follower wait.
const NEWS_MAX: usize = 16;

/// Looks after who follows what until `stop`.
pub(super) async fn run(pool: Pool, hub: Hub, tasks: TaskGroup, stop: CancellationToken) {
    let mut demand = hub.log_demand();
    let mut desk = Desk { pool, hub, tasks, stop: stop.clone(), followed: BTreeMap::new(), fallen: Arc::default() };
    loop {
        let wanted = Arc::clone(&demand.borrow_and_update());
        let again_at = desk.look(&wanted, Instant::now());
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = desk.fallen.notified() => tokio::time::sleep(BEGIN_ANEW_AFTER).await,
            changed = demand.changed() => if changed.is_err() { return },
            () = sleep_until(again_at) => {}
        }
    }
}

/// Who follows what.
struct Desk {
    pool: Pool,
    hub: Hub,
    tasks: TaskGroup,
    stop: CancellationToken,
    followed: BTreeMap<Arc<str>, Followed>,
    /// Notified by the panic of a follower.
    fallen: Arc<Notify>,
}

/// One followed log.
struct Followed {
    node: NodeId,
    /// Ends it. Its stream is closed with it.
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Since when nobody wants it.
    unwanted_since: Option<Instant>,
}

impl Desk {
    /// Starts what is wanted, ends what is not, and says when to look again.
    fn look(&mut self, wanted: &BTreeSet<Arc<str>>, now: Instant) -> Instant {
        // One that ended although nobody told it to had panicked.
        self.followed.retain(|_, followed| !followed.task.is_finished());
        let mut again_at = now + REFUSED_AGAIN_AFTER;
        for (topic, followed) in &mut self.followed {
            if wanted.contains(topic) {
                followed.unwanted_since = None;
                continue;
            }
            let since = *followed.unwanted_since.get_or_insert(now);
            if now >= since + LINGER {
                followed.stop.cancel();
            } else {
                again_at = again_at.min(since + LINGER);
            }
        }
        self.followed.retain(|_, followed| !followed.stop.is_cancelled());
        for topic in wanted {
            if !self.followed.contains_key(topic) {
                self.begin(topic);
            }
        }
        again_at
    }

    fn begin(&mut self, topic: &Arc<str>) {
        let Ok(log) = topic.parse::<LogTopic>() else {
            tracing::error!(%topic, "this is wanted and is no log");
            return;
        };
        if let Some(why) = self.refusal(&log.node) {
            let refused = LogNewsBody::Follow(FollowState::Refused { why });
            publish(&self.hub, topic, &log, &LogNews { at: SystemTime::now(), body: refused });
            return;
        }
        let stop = self.stop.child_token();
        let (node, ended) = (log.node.clone(), stop.clone());
        let follow = follow(self.pool.clone(), self.hub.clone(), Arc::clone(topic), log, ended);
        let witness = Witness(Arc::clone(&self.fallen));
        let task = self.tasks.named(topic, async move {
            let _witness = witness;
            follow.await;
        });
        self.followed.insert(Arc::clone(topic), Followed { node, stop, task, unwanted_since: None });
    }

    /// Why no more logs are followed, of this node or at all. One that nobody wants any more gives way.
    fn refusal(&mut self, node: &NodeId) -> Option<String> {
        let is_of = |followed: &Followed| followed.node == *node;
        if self.followed.values().filter(|followed| is_of(followed)).count() >= FOLLOWED_OF_NODE_MAX
            && !self.give_way(is_of)
        {
            return Some(format!(
                "{FOLLOWED_OF_NODE_MAX} logs of node `{node}` are followed, which is all that are allowed"
            ));
        }
        if self.followed.len() >= FOLLOWED_MAX && !self.give_way(|_| true) {
            return Some(format!("{FOLLOWED_MAX} logs are followed, which is all that are allowed"));
        }
        None
    }

    /// Ends the one that has been unwanted for longest. False if all are wanted.
    fn give_way(&mut self, of: impl Fn(&Followed) -> bool) -> bool {
        let unwanted = self.followed.iter().filter(|(_, followed)| of(followed));
        let oldest = unwanted.filter_map(|(topic, followed)| Some((followed.unwanted_since?, topic))).min();
        let Some(topic) = oldest.map(|(_, topic)| Arc::clone(topic)) else { return false };
        self.followed.remove(&topic).is_some_and(|followed| {
            followed.stop.cancel();
            true
        })
    }
}

/// Follows one log and publishes what comes, in one task: no other log waits for it.
async fn follow(pool: Pool, hub: Hub, topic: Arc<str>, log: LogTopic, stop: CancellationToken) {
    let (sender, mut news) = mpsc::channel::<LogNews>(NEWS_MAX);
    let publishing = async {
        while let Some(news) = news.recv().await {
            publish(&hub, &topic, &log, &news);
        }
    };
    tokio::join!(pool.follow(log.clone(), sender, stop), publishing);
}

/// Tells of the panic of whoever holds it.
struct Witness(Arc<Notify>);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.notify_one();
        }
    }
}

/// Writes the frame's members once for all clients.
fn publish(hub: &Hub, topic: &Arc<str>, log: &LogTopic, news: &LogNews) {
    match serde_json::to_string(&view::log_event(log, news)) {
        Ok(text) => {
            let members = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned();
            hub.publish_log(LogPublication { topic: Arc::clone(topic), lines: news.lines(), members });
        }
        Err(error) => tracing::error!(%topic, %error, "news of a log could not be written as JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PoolConfig;
    use crate::hub::HubLimits;
    use crate::node::PoolParts;
    use crate::task::{TaskKind, Tasks};
    use tokio::sync::watch;

    fn topics(node: &str, count: usize) -> BTreeSet<Arc<str>> {
        (0..count).map(|number| Arc::from(format!("log/{node}/g:p{number}/stdout"))).collect()
    }

    /// A desk over no nodes: its followers wait for theirs.
    fn desk() -> (Desk, Tasks) {
        let (tasks, stop) = (Tasks::new(), CancellationToken::new());
        let (_, plugins) = watch::channel(Arc::default());
        let (events, _) = mpsc::channel(1);
        let second = Duration::from_secs(1);
        let config = PoolConfig {
            poll_interval: second,
            nudge_interval: second,
            connect_timeout: second,
            call_timeout: second,
            order_timeout: second,
            log_timeout: second,
            response_bytes_max: 1 << 20,
            failures_max: 2,
            breaker_failures_max: 5,
            breaker_cooldown: second,
            commands_max: 2,
        };
        let parts = PoolParts { nodes: vec![], config, calls_max: 8, plugins, events, seed: 7, stop: stop.clone() };
        let pool = Pool::start(parts, &tasks.group(TaskKind::Owner));
        let hub = Hub::new(HubLimits::default());
        let followers = tasks.group(TaskKind::Follower);
        (Desk { pool, hub, tasks: followers, stop, followed: BTreeMap::new(), fallen: Arc::default() }, tasks)
    }

    async fn followers(tasks: &Tasks) -> usize {
        tokio::time::sleep(Duration::from_millis(50)).await; // virtual: until those that were told to end have ended
        let kind = |figures: &&crate::task::TaskFigures| figures.kind == TaskKind::Follower;
        tasks.figures().iter().find(kind).map_or(0, |figures| figures.running)
    }

    #[tokio::test(start_paused = true)]
    async fn one_follower_a_log_as_long_as_it_is_wanted_and_a_moment_longer() {
        let (mut desk, tasks) = desk();
        let both = topics("n", 2);
        for _ in 0..3 {
            desk.look(&both, Instant::now());
        }
        assert_eq!(followers(&tasks).await, 2);
        let one = topics("n", 1);
        let again_at = desk.look(&one, Instant::now());
        assert_eq!(again_at, Instant::now() + LINGER, "it is looked at again when it may end");
        assert_eq!(followers(&tasks).await, 2, "a reload of a page comes back in time");
        desk.look(&both, Instant::now() + LINGER / 2);
        desk.look(&both, Instant::now() + LINGER);
        desk.look(&one, Instant::now() + LINGER);
        assert_eq!(followers(&tasks).await, 2, "it came back: its time begins anew");
        desk.look(&one, Instant::now() + LINGER * 2);
        assert_eq!(followers(&tasks).await, 1);
        desk.stop.cancel();
        assert_eq!(followers(&tasks).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_of_a_node_a_log_is_refused_aloud_and_the_unwanted_give_way() {
        let (mut desk, tasks) = desk();
        let all = topics("n", FOLLOWED_OF_NODE_MAX);
        desk.look(&all, Instant::now());
        assert_eq!(followers(&tasks).await, FOLLOWED_OF_NODE_MAX);
        let told = desk.hub.figures().log_lines;
        let more: BTreeSet<_> = all.iter().cloned().chain(topics("n", FOLLOWED_OF_NODE_MAX + 1)).collect();
        desk.look(&more, Instant::now());
        assert_eq!(followers(&tasks).await, FOLLOWED_OF_NODE_MAX);
        assert_eq!(desk.hub.figures().log_lines, told + 1, "who asked is told");
        desk.look(&more.iter().cloned().chain(topics("m", 1)).collect(), Instant::now());
        assert_eq!(followers(&tasks).await, FOLLOWED_OF_NODE_MAX + 1, "another node has its own places");
        let others: BTreeSet<_> = more.iter().skip(1).cloned().collect();
        desk.look(&others, Instant::now());
        assert!(others.iter().all(|topic| desk.followed.contains_key(topic)), "what nobody wants gave way at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_fell_is_replaced() {
        let (mut desk, tasks) = desk();
        let one = topics("n", 1);
        desk.look(&one, Instant::now());
        let (fallen, topic) = (Arc::clone(&desk.fallen), one.iter().next().expect("one"));
        let witness = Witness(Arc::clone(&fallen));
        let task = desk.tasks.named(topic, async move {
            let _witness = witness;
            panic!("as scripted")
        });
        desk.followed.get_mut(topic).expect("followed").task = task;
        fallen.notified().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        desk.look(&one, Instant::now());
        assert!(!desk.followed.get(topic).expect("followed again").task.is_finished());
        drop(tasks);
    }
}
