//! The task that follows one log.

use super::bell::Bell;
use super::reassembler::Reassembler;
use crate::model::{FollowState, LogNews, LogNewsBody, LogSlice, LogTopic, NodeStatus};
use crate::node::{NodeError, NodeHandle, Patience, Pool};
use crate::resilience::Jitter;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// One read, its time in the node's queue included.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// From one read to the next: so many times as long as it took, within these bounds.
const PACE_FACTOR: u32 = 8;
const PACE_MIN: Duration = Duration::from_millis(20);
const PACE_MAX: Duration = Duration::from_millis(250);
/// The same while there is more to read.
const BEHIND_FACTOR: u32 = 3;
/// So long after bytes came a log is read at that pace: its supervisor's stream may be deaf for as long as that.
const BUSY_FOR: Duration = Duration::from_millis(500);
/// Then each read in vain makes the next come twice as late, until it would come later than this.
const QUIET_AFTER: Duration = Duration::from_millis(160);
/// Then a log whose supervisor tells of new bytes is read so often, to heal what was not told, and another so often.
const HEAL_INTERVAL: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The beginning of a line waits so long for its end.
const LINE_TIMEOUT: Duration = Duration::from_millis(250);
/// Waits after failures in a row.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A node that is busy is not told of before so many failures in a row.
const BUSY_FAILURES_MAX: u32 = 3;
const JITTER: f64 = 0.2;
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// See [`Pool::follow`].
pub(in crate::node) struct Follower {
    pool: Pool,
    source: LogTopic,
    news: mpsc::Sender<LogNews>,
    log: Reassembler,
    bell: Bell,
    jitter: Jitter,
    /// What its readers believe.
    told: Option<FollowState>,
    told_at: Instant,
    read_at: Instant,
    /// However loudly the bell rings, no read begins before.
    not_before: Instant,
    /// The pause after which the log was read in vain.
    quiet: Duration,
    /// When bytes came last.
    bytes_at: Option<Instant>,
    flush_at: Option<Instant>,
    failures: u32,
    /// The node, while it is not live.
    absent: Option<watch::Receiver<Arc<NodeStatus>>>,
}

enum Wake {
    Stop,
    Bell,
    Back,
    Timer,
}

impl Follower {
    pub(in crate::node) fn new(pool: Pool, source: LogTopic, news: mpsc::Sender<LogNews>) -> Self {
        let now = Instant::now();
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        Self {
            pool,
            source,
            news,
            log: Reassembler::default(),
            bell: Bell::new(),
            jitter: Jitter::new(hasher.finish()),
            told: None,
            told_at: now,
            read_at: now,
            not_before: now,
            quiet: PACE_MIN,
            bytes_at: None,
            flush_at: None,
            failures: 0,
            absent: None,
        }
    }

    /// Follows until `stop`, the end of the host, or until nobody takes the news any more.
    pub(in crate::node) async fn run(mut self, stop: CancellationToken) {
        loop {
            let wake_at = self.wake_at();
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => Wake::Stop,
                () = back(&mut self.absent) => Wake::Back,
                () = self.bell.ring() => Wake::Bell,
                () = sleep_until(wake_at) => Wake::Timer,
            };
            let goes_on = match wake {
                Wake::Stop => false,
                Wake::Bell => {
                    self.read_at = self.read_at.min(self.not_before);
                    true
                }
                Wake::Back => {
                    self.absent = None;
                    self.failures = 0;
                    self.read_at = Instant::now();
                    true
                }
                Wake::Timer => self.step(&stop).await,
            };
            if !goes_on || self.news.is_closed() {
                return;
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let hang = (!self.bell.is_hung() && self.failures == 0).then_some(self.bell.hang_at);
        [hang, self.flush_at].into_iter().flatten().fold(self.read_at, Instant::min)
    }

    /// Does what is due. False when there is nothing to follow any more.
    async fn step(&mut self, stop: &CancellationToken) -> bool {
        let now = Instant::now();
        if self.flush_at.is_some_and(|at| now >= at) {
            self.flush_at = None;
            let rest = self.log.flush();
            self.tell(rest).await;
        }
        let node = match self.pool.node(self.source.node.as_str()) {
            Ok(node) => node,
            Err(error) if now >= self.read_at => return self.failed(error, None).await,
            Err(_) => return true,
        };
        let is_time = self.failures == 0 || now >= self.read_at;
        if is_time && !self.bell.is_hung() && now >= self.bell.hang_at {
            self.hang_bell(&node, stop).await;
        }
        if now < self.read_at {
            return true;
        }
        match self.read(&node, stop).await {
            Some(Ok((slice, took))) => self.taken(&slice, took).await,
            Some(Err(error)) => return self.failed(error, Some(&node)).await,
            None => return false,
        }
        true
    }

    async fn hang_bell(&mut self, node: &NodeHandle, stop: &CancellationToken) {
        let patience = Patience::until(Instant::now() + READ_TIMEOUT);
        let rope = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            rope = node.rope(self.source.process.clone(), self.source.channel, patience) => rope,
        };
        match rope {
            Ok(rope) => self.bell.hang(rope),
            Err(_) => self.bell.hang_at = Instant::now() + RETRY_MAX, // the read that follows will say why
        }
    }

    /// Asks what comes next. `None` when it was told to stop meanwhile.
    async fn read(
        &mut self,
        node: &NodeHandle,
        stop: &CancellationToken,
    ) -> Option<Result<(LogSlice, Duration), NodeError>> {
        let patience = Patience::until(Instant::now() + READ_TIMEOUT);
        let began = Instant::now();
        let LogTopic { process, channel, .. } = self.source.clone();
        let mut read = std::pin::pin!(node.follow_log(process, channel, self.log.question(), patience));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                answer = &mut read => return Some(answer.map(|slice| (slice, began.elapsed()))),
                // Listened to all the time; whether it meant what is being read nobody knows, so it is read again.
                () = self.bell.ring() => self.quiet = PACE_MIN,
            }
        }
    }

    async fn taken(&mut self, slice: &LogSlice, took: Duration) {
        let now = Instant::now();
        self.failures = 0;
        self.absent = None;
        let before = self.log.next();
        let told = self.log.take(slice);
        let has_news = self.log.next() != before || !told.is_empty();
        let pace = (took * PACE_FACTOR).clamp(PACE_MIN, PACE_MAX);
        self.not_before = now + pace;
        if has_news && before.is_some() {
            self.bytes_at = Some(now);
        }
        let is_busy = self.bytes_at.is_some_and(|at| now - at < BUSY_FOR);
        self.quiet = if is_busy || has_news { pace } else { self.quiet * 2 };
        self.read_at = now
            + if self.log.is_behind() {
                self.not_before = now + took * BEHIND_FACTOR;
                took * BEHIND_FACTOR
            } else if self.quiet.max(pace) <= QUIET_AFTER.max(pace) {
                self.quiet.max(pace)
            } else if self.bell.is_hung() {
                self.jitter.shorten(HEAL_INTERVAL, JITTER)
            } else {
                self.jitter.shorten(POLL_INTERVAL.max(pace), JITTER)
            };
        let state = FollowState::Following {
            next: before.or(self.log.next()).unwrap_or_default(),
            is_told: self.bell.is_hung(),
        };
        self.tell_state(state).await;
        self.tell(told).await;
        if !self.log.has_rest() {
            self.flush_at = None;
        } else if has_news || self.flush_at.is_none() {
            self.flush_at = Some(now + LINE_TIMEOUT);
        }
    }

    /// Makes a pause and tells why. False when the host is going down.
    async fn failed(&mut self, error: NodeError, node: Option<&NodeHandle>) -> bool {
        self.failures = self.failures.saturating_add(1);
        let retry = RETRY_FIRST * (1 << self.failures.saturating_sub(1).min(5));
        let mut pause = self.jitter.shorten(retry.min(RETRY_MAX), JITTER);
        let why = match &error {
            NodeError::Gone { .. } => return false,
            NodeError::CallerLeft { .. }
            | NodeError::NotBegun { .. }
            | NodeError::PoolBusy { .. }
            | NodeError::QueueFull { .. }
            | NodeError::Replaced { .. }
            | NodeError::NodeBusy { .. }
            | NodeError::ProcessBusy { .. } => (self.failures >= BUSY_FAILURES_MAX).then(|| error.to_string()),
            NodeError::BreakerOpen { retry_after, .. } => {
                pause = pause.max(*retry_after);
                // Its time differs from refusal to refusal, and the state is the same.
                Some("the node did not answer and is left alone for a while".to_owned())
            }
            NodeError::UnknownNode { .. }
            | NodeError::UnknownProcess { .. }
            | NodeError::UnknownGroup { .. }
            | NodeError::Disabled { .. }
            | NodeError::Lost { .. }
            | NodeError::AmbiguousProcess { .. }
            | NodeError::Unsupported { .. }
            | NodeError::Removed { .. }
            | NodeError::OutcomeUnknown { .. }
            | NodeError::Answered { .. }
            | NodeError::Adapter { .. } => Some(error.to_string()),
        };
        self.read_at = Instant::now() + pause;
        self.not_before = self.read_at;
        self.absent = node.filter(|node| !node.status().state.is_live()).map(NodeHandle::watch);
        if let Some(why) = why {
            self.bell.take_down();
            self.tell_state(FollowState::Waiting { why }).await;
        }
        true
    }

    /// Tells how it goes if that is news. Where it goes on is news only after it did not; that it does not is said again
    /// now and then, for those who came later.
    async fn tell_state(&mut self, state: FollowState) {
        let is_known = match (&self.told, &state) {
            (Some(FollowState::Following { is_told: before, .. }), FollowState::Following { is_told: now, .. }) => {
                before == now
            }
            (before, now) => before.as_ref() == Some(now),
        };
        let is_waiting = matches!(state, FollowState::Waiting { .. });
        if !is_known || is_waiting && self.told_at.elapsed() >= TOLD_AGAIN_AFTER {
            self.told = Some(state.clone());
            self.told_at = Instant::now();
            self.tell([LogNewsBody::Follow(state)]).await;
        }
    }

    async fn tell(&mut self, bodies: impl IntoIterator<Item = LogNewsBody>) {
        let at = SystemTime::now();
        for body in bodies {
            if self.news.send(LogNews { at, body }).await.is_err() {
                return; // nobody reads it any more, which the next turn sees
            }
        }
    }
}

/// Ends when the node is live again.
async fn back(absent: &mut Option<watch::Receiver<Arc<NodeStatus>>>) {
    match absent {
        // The sender goes with its node; then the pause alone counts.
        Some(status) => {
            if status.wait_for(|status| status.state.is_live()).await.is_err() {
                pending().await
            }
        }
        None => pending().await,
    }
}
