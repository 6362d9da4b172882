//! How many things are done under one deadline, each inside its own: some at a time, in steps if that is wanted.
//!
//! Pure of HTTP and of nodes: what is done for one target, and how its health is seen, is handed in.

use futures_util::{Stream, StreamExt, stream};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Between two looks at the health of what a step did.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// How far a batch may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BatchLimits {
    /// So many at once.
    pub(super) at_once: usize,
    /// Each is given up after this.
    pub(super) item: Duration,
    /// All of them together.
    pub(super) batch: Duration,
    /// In steps, if wanted.
    pub(super) rolling: Option<Rolling>,
}

/// A batch in steps, the next of which begins when the one before is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rolling {
    /// Targets in one step.
    pub(super) size: usize,
    /// What a step did has to be well for so long without a break.
    pub(super) healthy: Duration,
    /// Between two steps.
    pub(super) pause: Duration,
    /// With more failures than this no further step begins.
    pub(super) failures_max: usize,
}

/// Why something was not waited for, or not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The batch's time is over.
    BatchOver,
    /// Too many before it failed.
    TooManyFailures,
    /// The host is going down.
    Stopping,
}

/// How one item ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended<R> {
    /// There is an answer.
    Answered(R),
    /// It was done, and was not well afterwards.
    Unhealthy(R),
    /// No answer within the item's own time.
    TimedOut,
    /// It was under way when this ended, and may go on.
    Left(Why),
    /// It was never begun.
    NotBegun(Why),
}

/// What is done for each target.
pub(super) trait Work {
    /// What it is done for.
    type Target: Clone;
    /// What comes of it.
    type Answer: Clone;
    /// What tells one healthy run from another.
    type Run: PartialEq;

    /// Does it, inside that time. Dropped when the time is over.
    fn give(&self, target: Self::Target, limit: Duration) -> impl Future<Output = Self::Answer>;

    /// True for an answer that counts against the batch.
    fn is_failure(&self, answer: &Self::Answer) -> bool;

    /// The run that the target is healthy in, if it is.
    fn health(&self, target: &Self::Target) -> Option<Self::Run>;
}

/// Does the work for every target and tells of each exactly once. Ends within `limits.batch` of its first poll, when
/// `stop` is cancelled, and when nobody listens any more.
///
/// # Cancel safety
/// Dropping it drops what is under way.
pub(super) async fn run<W: Work>(
    work: &W,
    targets: Vec<W::Target>,
    limits: &BatchLimits,
    ended: &mpsc::Sender<(W::Target, Ended<W::Answer>)>,
    stop: &CancellationToken,
) {
    let over = Instant::now() + limits.batch;
    let size = limits.rolling.as_ref().map_or(targets.len(), |rolling| rolling.size).max(1);
    let (mut failures, mut steps) = (0, targets.chunks(size).peekable());
    while let Some(step) = steps.next() {
        let too_many = limits.rolling.as_ref().is_some_and(|rolling| failures > rolling.failures_max);
        if too_many {
            tell_all(step, Why::TooManyFailures, ended).await;
            continue;
        }
        let mut answers = Box::pin(answers(work, step, limits, over, stop));
        let mut good = Vec::new();
        while let Some((target, end)) = answers.next().await {
            let is_failure = match &end {
                Ended::Answered(answer) | Ended::Unhealthy(answer) => work.is_failure(answer),
                Ended::TimedOut | Ended::Left(_) => true,
                Ended::NotBegun(_) => false,
            };
            failures += usize::from(is_failure);
            if let (Ended::Answered(answer), true) = (&end, limits.rolling.is_some() && !is_failure) {
                good.push((target, answer.clone()));
            } else {
                tell(ended, target, end).await;
            }
        }
        if let Some(rolling) = &limits.rolling {
            failures += watch(work, good, rolling, over, ended, stop).await;
            if steps.peek().is_some() {
                wait(rolling.pause, over, stop).await;
            }
        }
    }
}

/// The answers of one step, as they come.
fn answers<'a, W: Work>(
    work: &'a W,
    step: &'a [W::Target],
    limits: &'a BatchLimits,
    over: Instant,
    stop: &'a CancellationToken,
) -> impl Stream<Item = (W::Target, Ended<W::Answer>)> + 'a {
    let one = move |target: W::Target| async move {
        let now = Instant::now();
        if stop.is_cancelled() {
            return (target, Ended::NotBegun(Why::Stopping));
        }
        if now >= over {
            return (target, Ended::NotBegun(Why::BatchOver));
        }
        let limit = limits.item.min(over - now);
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => Ended::Left(Why::Stopping),
            answer = timeout(limit, work.give(target.clone(), limit)) => match answer {
                Ok(answer) => Ended::Answered(answer),
                Err(_) if now + limit >= over => Ended::Left(Why::BatchOver),
                Err(_) => Ended::TimedOut,
            },
        };
        (target, answer)
    };
    stream::iter(step.iter().cloned()).map(one).buffer_unordered(limits.at_once.max(1))
}

/// Waits until what was done has been well for long enough, or has not. Gives the number that was not.
async fn watch<W: Work>(
    work: &W,
    good: Vec<(W::Target, W::Answer)>,
    rolling: &Rolling,
    over: Instant,
    ended: &mpsc::Sender<(W::Target, Ended<W::Answer>)>,
    stop: &CancellationToken,
) -> usize {
    let mut waiting: Vec<_> = good.into_iter().map(|(target, answer)| (work.health(&target), target, answer)).collect();
    let well_at = Instant::now() + rolling.healthy;
    let mut failures = 0;
    loop {
        let (well, unwell): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(run, target, _)| rolling.healthy.is_zero() || (run.is_some() && work.health(target) == *run));
        failures += unwell.len();
        for (_, target, answer) in unwell {
            tell(ended, target, Ended::Unhealthy(answer)).await;
        }
        waiting = well;
        let now = Instant::now();
        if now >= well_at || now >= over || stop.is_cancelled() || waiting.is_empty() {
            break;
        }
        wait(LOOK_PAUSE.min(well_at - now), over, stop).await;
    }
    for (_, target, answer) in waiting {
        tell(ended, target, Ended::Answered(answer)).await;
    }
    failures
}

async fn wait(time: Duration, over: Instant, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = sleep_until(over) => {}
        () = sleep(time) => {}
    }
}

async fn tell_all<T: Clone, R>(targets: &[T], why: Why, ended: &mpsc::Sender<(T, Ended<R>)>) {
    for target in targets {
        tell(ended, target.clone(), Ended::NotBegun(why)).await;
    }
}

/// Who no longer listens ends the whole batch elsewhere.
async fn tell<T, R>(ended: &mpsc::Sender<(T, Ended<R>)>, target: T, end: Ended<R>) {
    if let Ok(slot) = ended.reserve().await {
        slot.send((target, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// What a target does: it answers after so long, well or not, or it hangs.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Does {
        Good(u64),
        Bad(u64),
        Hangs,
        /// Answers well and is not well two seconds later.
        Breaks,
    }

    struct Script {
        does: Vec<Does>,
        now: Cell<usize>,
        peak: Cell<usize>,
        begun: RefCell<Vec<usize>>,
        done_at: RefCell<Vec<Option<Instant>>>,
    }

    struct UnderWay<'a>(&'a Cell<usize>);

    impl Drop for UnderWay<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    impl Script {
        fn new(does: Vec<Does>) -> Self {
            let done_at = RefCell::new(vec![None; does.len()]);
            Self { does, now: Cell::new(0), peak: Cell::new(0), begun: RefCell::default(), done_at }
        }
    }

    impl Work for Script {
        type Target = usize;
        type Answer = bool;
        type Run = u8;

        async fn give(&self, target: usize, _: Duration) -> bool {
            self.now.set(self.now.get() + 1);
            self.peak.set(self.peak.get().max(self.now.get()));
            self.begun.borrow_mut().push(target);
            let _under_way = UnderWay(&self.now);
            let is_good = match self.does[target] {
                Does::Good(ms) => {
                    sleep(Duration::from_millis(ms)).await;
                    true
                }
                Does::Bad(ms) => {
                    sleep(Duration::from_millis(ms)).await;
                    false
                }
                Does::Breaks => true,
                Does::Hangs => std::future::pending().await,
            };
            self.done_at.borrow_mut()[target] = Some(Instant::now());
            is_good
        }

        fn is_failure(&self, answer: &bool) -> bool {
            !answer
        }

        fn health(&self, target: &usize) -> Option<u8> {
            let done = self.done_at.borrow()[*target]?;
            (self.does[*target] != Does::Breaks || done.elapsed() < s(2)).then_some(1)
        }
    }

    async fn ends(script: &Script, limits: &BatchLimits, stop: &CancellationToken) -> Vec<(usize, Ended<bool>)> {
        let (told, mut listen) = mpsc::channel(1_000);
        run(script, (0..script.does.len()).collect(), limits, &told, stop).await;
        drop(told);
        let mut ends = Vec::new();
        while let Some(end) = listen.recv().await {
            ends.push(end);
        }
        ends
    }

    fn does() -> impl Strategy<Value = Vec<Does>> {
        let one = prop_oneof![
            (0..9_000_u64).prop_map(Does::Good),
            (0..9_000_u64).prop_map(Does::Bad),
            Just(Does::Hangs),
            Just(Does::Breaks)
        ];
        proptest::collection::vec(one, 0..20)
    }

    fn limits() -> impl Strategy<Value = BatchLimits> {
        let rolling = (1..5_usize, 0..4_u64, 0..3_u64, 0..3_usize).prop_map(|(size, healthy, pause, failures_max)| {
            Rolling { size, healthy: s(healthy), pause: s(pause), failures_max }
        });
        (1..6_usize, 1..8_u64, 1..40_u64, proptest::option::of(rolling)).prop_map(|(at_once, item, batch, rolling)| {
            BatchLimits { at_once, item: s(item), batch: s(batch), rolling }
        })
    }

    fn in_time<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(work)
    }

    proptest! {
        #[test]
        fn p13_each_item_ends_in_its_own_time_and_all_of_them_in_the_batches(does in does(), limits in limits()) {
            let script = Script::new(does);
            let (ends, took) = in_time(async {
                let began = Instant::now();
                let ends = ends(&script, &limits, &CancellationToken::new()).await;
                (ends, began.elapsed())
            });
            prop_assert!(took <= limits.batch, "{took:?}");
            prop_assert!(script.peak.get() <= limits.at_once, "{} at once", script.peak.get());
            prop_assert_eq!(script.now.get(), 0, "something is left behind");
            let told: BTreeSet<usize> = ends.iter().map(|(target, _)| *target).collect();
            prop_assert_eq!((told.len(), ends.len()), (script.does.len(), script.does.len()), "each exactly once");
            let begun: BTreeSet<usize> = script.begun.borrow().iter().copied().collect();
            prop_assert_eq!(begun.len(), script.begun.borrow().len(), "each is begun at most once");
            for (target, end) in &ends {
                let is_right = match (end, script.does[*target]) {
                    (Ended::NotBegun(_), _) => !begun.contains(target),
                    (Ended::Answered(true), Does::Good(ms)) => Duration::from_millis(ms) <= limits.item,
                    (Ended::Answered(true), Does::Breaks) => true,
                    (Ended::Answered(false), Does::Bad(ms)) => Duration::from_millis(ms) <= limits.item,
                    (Ended::Unhealthy(true), Does::Breaks) => limits.rolling.is_some(),
                    (Ended::TimedOut, Does::Good(ms) | Does::Bad(ms)) => Duration::from_millis(ms) >= limits.item,
                    (Ended::TimedOut, Does::Hangs) => true,
                    (Ended::Left(Why::BatchOver), does) => does != Does::Breaks && took == limits.batch,
                    (_, _) => false,
                };
                prop_assert!(is_right, "{target}: {end:?}");
            }
            let failed = |end: &Ended<bool>| !matches!(end, Ended::Answered(true) | Ended::NotBegun(_));
            if let Some(rolling) = &limits.rolling {
                let first = |n: &usize| n / rolling.size;
                let (aborted, failures) = (
                    ends.iter().filter(|(_, end)| *end == Ended::NotBegun(Why::TooManyFailures)).map(|(t, _)| first(t)).min(),
                    |step: usize| ends.iter().filter(|(t, end)| first(t) < step && failed(end)).count(),
                );
                if let Some(step) = aborted {
                    prop_assert!(failures(step) > rolling.failures_max, "given up too early");
                    prop_assert!(failures(step - 1) <= rolling.failures_max, "given up too late");
                }
            } else {
                prop_assert!(ends.iter().all(|(_, end)| *end != Ended::NotBegun(Why::TooManyFailures)));
            }
        }

        #[test]
        fn p13_the_hung_ones_cost_the_others_nothing(hung in 0..8_usize, good in 0..8_usize) {
            let does = std::iter::repeat_n(Does::Hangs, hung).chain(std::iter::repeat_n(Does::Good(100), good)).collect();
            let script = Script::new(does);
            let limits = BatchLimits { at_once: 16, item: s(5), batch: s(60), rolling: None };
            let (ends, took) = in_time(async {
                let began = Instant::now();
                (ends(&script, &limits, &CancellationToken::new()).await, began.elapsed())
            });
            let count = |wanted: &Ended<bool>| ends.iter().filter(|(_, end)| end == wanted).count();
            prop_assert_eq!((count(&Ended::TimedOut), count(&Ended::Answered(true))), (hung, good));
            prop_assert!(took <= s(5));
        }
    }

    #[test]
    fn a_host_that_goes_down_leaves_what_is_under_way_and_begins_nothing_more() {
        let script = Script::new(vec![Does::Hangs, Does::Hangs, Does::Good(1)]);
        let limits = BatchLimits { at_once: 2, item: s(50), batch: s(60), rolling: None };
        let ends = in_time(async {
            let stop = CancellationToken::new();
            let stops = async {
                sleep(s(1)).await;
                stop.cancel();
            };
            tokio::join!(ends(&script, &limits, &stop), stops).0
        });
        let (left, not_begun) = (Ended::Left(Why::Stopping), Ended::NotBegun(Why::Stopping));
        assert_eq!(ends.iter().map(|(_, end)| end.clone()).collect::<Vec<_>>(), [left.clone(), left, not_begun]);
    }

    #[test]
    fn a_step_that_is_not_well_stops_the_next_one() {
        let script = Script::new(vec![Does::Good(1), Does::Breaks, Does::Good(1), Does::Good(1)]);
        let rolling = Some(Rolling { size: 2, healthy: s(5), pause: s(1), failures_max: 0 });
        let limits = BatchLimits { at_once: 8, item: s(5), batch: s(60), rolling };
        let mut ends = in_time(async { ends(&script, &limits, &CancellationToken::new()).await });
        ends.sort_by_key(|(target, _)| *target);
        let aborted = Ended::NotBegun(Why::TooManyFailures);
        let wanted = [Ended::Answered(true), Ended::Unhealthy(true), aborted.clone(), aborted];
        assert_eq!(ends.into_iter().map(|(_, end)| end).collect::<Vec<_>>(), wanted);
        assert_eq!(script.begun.borrow().len(), 2);
    }
}
