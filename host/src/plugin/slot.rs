use crate::plugin::generation::{Generation, GenerationState};
use crate::plugin::{GenerationRecord, PluginClass, PluginCounters, PluginFailure};
use crate::resilience::{Admit, CallOutcome, Quarantine, Reach, Standing};
use arc_swap::ArcSwap;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Failures that are remembered of a plugin.
const FAILURES_KEPT: usize = 20;

/// Which generations of one plugin serve. Replaced whole.
#[derive(Clone)]
pub(super) struct Routing {
    pub active: Arc<Generation>,
    /// A generation on trial, and its share of the calls in thousandths.
    pub canary: Option<(Arc<Generation>, u32)>,
    /// The one before, still linked: going back to it loads nothing.
    pub previous: Option<Arc<Generation>>,
}

/// The place of one plugin: which generation a call goes to, and what becomes of the plugin when calls fail.
pub(super) struct Slot {
    pub name: Arc<str>,
    pub class: PluginClass,
    /// What all generations did together.
    pub totals: Arc<PluginCounters>,
    routing: ArcSwap<Routing>,
    turn: AtomicU64,
    quarantine: Mutex<Quarantine>,
    /// True while the quarantine has nothing to note of a success.
    is_clear: AtomicBool,
    failures: Mutex<VecDeque<FailureNote>>,
    given_up: Mutex<Vec<GivenUp>>,
    record: Mutex<GenerationRecord>,
    is_verifying: AtomicBool,
    swaps: [AtomicU64; SwapResult::ALL.len()],
    /// Tells the platform's keeper that something of this slot wants looking at.
    wake: Arc<Notify>,
}

/// A failure of a plugin, as its page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureNote {
    /// When.
    pub at: SystemTime,
    /// Which generation.
    pub generation: u64,
    /// The failure's stable code.
    pub code: &'static str,
    /// What happened, in words.
    pub message: String,
}

/// A generation that spent its budget and was taken out of service on the spot.
#[derive(Clone)]
pub(super) struct GivenUp {
    pub generation: Arc<Generation>,
    pub reason: String,
}

/// How an attempt to swap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwapResult {
    /// Another generation serves.
    Activated,
    /// The same component serves already.
    Unchanged,
    /// It serves a share of the calls for now.
    Canary,
    /// It was not taken into service; nothing changed.
    Failed,
    /// Somebody went back to the generation before.
    RolledBack,
    /// A new generation failed too often and was given up.
    GivenUp,
}

impl SwapResult {
    /// Every result.
    pub const ALL: [Self; 6] =
        [Self::Activated, Self::Unchanged, Self::Canary, Self::Failed, Self::RolledBack, Self::GivenUp];

    /// The word used on the wire and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::Unchanged => "unchanged",
            Self::Canary => "canary",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::GivenUp => "given-up",
        }
    }
}

/// Whose call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    /// Whom a failure is held against.
    pub key: u64,
    /// What decides between the active generation and a canary; without it, calls take turns.
    pub steady: Option<u64>,
    who: Who,
}

/// How well it is known whose call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// One of those who call.
    Somebody,
    /// Those who have not said who they are, who count as one.
    Strangers,
    /// The host itself, for any of those who call.
    Anybody,
}

impl Caller {
    /// The caller of this name.
    pub(super) fn named(what: &str, name: &impl Hash) -> Self {
        Self { key: number(&(what, name)), steady: None, who: Who::Somebody }
    }

    /// All those who have not said who they are.
    pub(super) fn strangers(what: &str) -> Self {
        Self { who: Who::Strangers, ..Self::named(what, &()) }
    }

    /// The host, which does not say whom it calls for.
    pub(super) fn anybody(what: &str) -> Self {
        Self { who: Who::Anybody, ..Self::named(what, &()) }
    }

    /// Who was served well if this call was.
    fn served(self) -> Option<u64> {
        match self.who {
            Who::Somebody => Some(self.key),
            Who::Strangers | Who::Anybody => None,
        }
    }

    /// Who may be the only one whom this call's failure concerns.
    fn culprit(self) -> Option<u64> {
        match self.who {
            Who::Somebody | Who::Strangers => Some(self.key),
            Who::Anybody => None,
        }
    }

    /// The same, always sent to the same generation as others with this text.
    pub(super) fn steadied(self, text: &str) -> Self {
        Self { steady: Some(number(&text)), ..self }
    }
}

fn number(value: &impl Hash) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Slot {
    pub(super) fn new(
        name: &str,
        class: PluginClass,
        active: Arc<Generation>,
        previous: Option<Arc<Generation>>,
        record: GenerationRecord,
        wake: Arc<Notify>,
    ) -> Self {
        let totals = Arc::<PluginCounters>::default();
        for generation in [Some(&active), previous.as_ref()].into_iter().flatten() {
            generation.prepared.ties.counters.join(Arc::clone(&totals));
        }
        if let Some(previous) = &previous {
            previous.set_state(GenerationState::Retired);
        }
        active.set_state(GenerationState::Active);
        Self {
            name: Arc::from(name),
            class,
            totals,
            routing: ArcSwap::from_pointee(Routing { active, canary: None, previous }),
            turn: AtomicU64::new(0),
            quarantine: Mutex::default(),
            is_clear: AtomicBool::new(true),
            failures: Mutex::default(),
            given_up: Mutex::default(),
            record: Mutex::new(record),
            is_verifying: AtomicBool::new(false),
            swaps: Default::default(),
            wake,
        }
    }

    pub(super) fn routing(&self) -> Arc<Routing> {
        self.routing.load_full()
    }

    pub(super) fn record(&self) -> GenerationRecord {
        lock(&self.record).clone()
    }

    pub(super) fn set_record(&self, record: GenerationRecord) {
        *lock(&self.record) = record;
    }

    pub(super) fn reach(&self) -> Reach {
        if self.is_clear.load(Relaxed) { Reach::Nobody } else { lock(&self.quarantine).reach() }
    }

    pub(super) fn failures(&self) -> Vec<FailureNote> {
        lock(&self.failures).iter().cloned().collect()
    }

    pub(super) fn is_verifying(&self) -> bool {
        self.is_verifying.load(Relaxed)
    }

    pub(super) fn set_verifying(&self, is_verifying: bool) {
        self.is_verifying.store(is_verifying, Relaxed);
    }

    pub(super) fn count(&self, result: SwapResult) {
        if let Some(counter) = self.swaps.get(result as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn swaps(&self) -> [(SwapResult, u64); SwapResult::ALL.len()] {
        let mut counted = SwapResult::ALL.map(|result| (result, 0));
        for ((_, count), counter) in counted.iter_mut().zip(&self.swaps) {
            *count = counter.load(Relaxed);
        }
        counted
    }

    /// What was given up since this was asked last.
    pub(super) fn take_given_up(&self) -> Vec<GivenUp> {
        std::mem::take(&mut *lock(&self.given_up))
    }

    /// Hands back what could not be dealt with.
    pub(super) fn give_up_again(&self, given_up: GivenUp) {
        lock(&self.given_up).push(given_up);
    }

    /// Takes a place in the generation that this call goes to. Every call of a plugin begins here.
    ///
    /// # Errors
    /// [`PluginFailure::Quarantined`].
    pub(super) fn pin(self: &Arc<Self>, caller: Caller) -> Result<Pinned, PluginFailure> {
        loop {
            let routing = self.routing.load();
            let (generation, is_canary) = self.choose(&routing, caller);
            generation.enter();
            let pinned = Pinned { slot: Arc::clone(self), generation, caller };
            // Either we see that the routing was replaced, or who replaced it sees that we are in.
            fence(SeqCst);
            if !Arc::ptr_eq(&routing, &self.routing.load()) {
                continue;
            }
            if !is_canary {
                self.admit(caller)?;
            }
            return Ok(pinned);
        }
    }

    fn choose(&self, routing: &Routing, caller: Caller) -> (Arc<Generation>, bool) {
        if let Some((canary, permille)) = &routing.canary {
            // A step that has no factor in common with 1,000 spreads the share evenly over the calls.
            let turn = || self.turn.fetch_add(1, Relaxed).wrapping_mul(617);
            if caller.steady.unwrap_or_else(turn) % 1_000 < u64::from(*permille) {
                return (Arc::clone(canary), true);
            }
        }
        (Arc::clone(&routing.active), false)
    }

    fn admit(&self, caller: Caller) -> Result<(), PluginFailure> {
        if self.is_clear.load(Relaxed) {
            return Ok(());
        }
        let (admitted, reach) = {
            let mut quarantine = lock(&self.quarantine);
            (quarantine.admit(caller.key, Instant::now()), quarantine.reach())
        };
        let Admit::Refuse { retry_after } = admitted else { return Ok(()) };
        let last = lock(&self.failures).back().map(|failure| failure.message.clone()).unwrap_or_default();
        let reason = match reach {
            Reach::OneCaller => format!("calls of this one caller kept failing; {last}"),
            Reach::Nobody | Reach::Everybody => format!("it kept failing; {last}"),
        };
        Err(PluginFailure::Quarantined { plugin: self.name.to_string(), retry_after, reason })
    }

    fn succeeded(&self, generation: &Arc<Generation>, caller: Caller, now: Instant) {
        // With this one there were calls enough to look at the share of failures.
        if generation.try_out(CallOutcome::Success, caller.served(), now) == Standing::Failed
            && self.give_up(generation, "more than 1 % of its calls failed", now)
        {
            return;
        }
        if !self.is_clear.load(Relaxed) && self.is_active(generation) {
            self.note(CallOutcome::Success, caller, now);
        }
    }

    fn failed(&self, generation: &Arc<Generation>, caller: Caller, failure: &PluginFailure, now: Instant) {
        let (at, message) = (SystemTime::now(), failure.to_string());
        {
            let mut failures = lock(&self.failures);
            if failures.len() == FAILURES_KEPT {
                failures.pop_front();
            }
            let code = failure.code();
            failures.push_back(FailureNote { at, generation: generation.id, code, message: message.clone() });
        }
        if generation.try_out(CallOutcome::Failure, caller.culprit(), now) == Standing::Failed
            && self.give_up(generation, &message, now)
        {
            return;
        }
        if !self.is_active(generation) {
            return;
        }
        self.note(CallOutcome::Failure, caller, now);
        // Nobody is refused for long on account of a generation that there is a way back from.
        if self.reach() == Reach::Everybody && generation.probation_until().is_some_and(|until| now < until) {
            self.give_up(generation, &message, now);
        }
    }

    fn note(&self, outcome: CallOutcome, caller: Caller, now: Instant) {
        let is_changed = {
            let mut quarantine = lock(&self.quarantine);
            let before = quarantine.reach();
            quarantine.record(outcome, caller.key, now);
            self.is_clear.store(quarantine.is_clear(), Relaxed);
            before != quarantine.reach()
        };
        if is_changed {
            self.wake.notify_one();
        }
    }

    fn is_active(&self, generation: &Arc<Generation>) -> bool {
        Arc::ptr_eq(&self.routing.load().active, generation)
    }

    /// Takes a generation that spent its budget out of service, on the spot and once: of the calls that fail together
    /// one does it. False if there is nothing to go back to.
    fn give_up(&self, generation: &Arc<Generation>, reason: &str, now: Instant) -> bool {
        let changed = self.change(|routing| {
            if routing.canary.as_ref().is_some_and(|(canary, _)| Arc::ptr_eq(canary, generation)) {
                return Some(Routing { canary: None, ..routing.clone() });
            }
            let previous = routing.previous.clone().filter(|_| Arc::ptr_eq(&routing.active, generation))?;
            Some(Routing { active: previous, canary: routing.canary.clone(), previous: None })
        });
        let Some(routing) = changed else { return false };
        if routing.active.state() != GenerationState::Active {
            self.reinstate(&routing.active);
        }
        generation.retire(now);
        lock(&self.given_up).push(GivenUp { generation: Arc::clone(generation), reason: reason.to_owned() });
        self.wake.notify_one();
        true
    }

    /// Goes back to the linked generation before, and answers the one that served until now.
    pub(super) fn roll_back(&self, now: Instant) -> Option<Arc<Generation>> {
        let mut left = None;
        let routing = self.change(|routing| {
            let previous = routing.previous.clone()?;
            left = Some(Arc::clone(&routing.active));
            Some(Routing { active: previous, canary: None, previous: None })
        })?;
        self.reinstate(&routing.active);
        left.inspect(|left| left.retire(now))
    }

    /// Drops a canary, and answers it.
    pub(super) fn drop_canary(&self, now: Instant) -> Option<Arc<Generation>> {
        let mut left = None;
        self.change(|routing| {
            left = Some(Arc::clone(&routing.canary.as_ref()?.0));
            Some(Routing { canary: None, ..routing.clone() })
        })?;
        left.inspect(|left| left.retire(now))
    }

    /// Sends a share of the calls to a new generation.
    pub(super) fn begin_canary(&self, generation: &Arc<Generation>, permille: u32) {
        self.welcome(generation, GenerationState::Canary);
        let canary = Some((Arc::clone(generation), permille));
        self.change(|routing| Some(Routing { canary: canary.clone(), ..routing.clone() }));
    }

    /// Puts a generation into service, and answers the one that served until now.
    pub(super) fn activate(&self, generation: &Arc<Generation>, now: Instant) -> Option<Arc<Generation>> {
        self.welcome(generation, GenerationState::Active);
        let mut left = None;
        self.change(|routing| {
            left = Some(Arc::clone(&routing.active));
            let (active, previous) = (Arc::clone(generation), Some(Arc::clone(&routing.active)));
            Some(Routing { active, canary: None, previous })
        });
        self.forgive();
        left.inspect(|left| left.retire(now))
    }

    /// Puts the same components into service under another configuration, and answers what served until now.
    pub(super) fn reconfigure(
        &self,
        active: &Arc<Generation>,
        previous: Option<Arc<Generation>>,
        now: Instant,
    ) -> Vec<Arc<Generation>> {
        self.welcome(active, GenerationState::Active);
        if let Some(previous) = &previous {
            self.welcome(previous, GenerationState::Retired);
        }
        let mut left = Vec::new();
        self.change(|routing| {
            left = vec![Arc::clone(&routing.active)];
            left.extend(routing.canary.as_ref().map(|(canary, _)| Arc::clone(canary)));
            Some(Routing { active: Arc::clone(active), canary: None, previous: previous.clone() })
        });
        self.forgive();
        left.iter().for_each(|left| left.retire(now));
        left
    }

    fn welcome(&self, generation: &Arc<Generation>, state: GenerationState) {
        generation.prepared.ties.counters.join(Arc::clone(&self.totals));
        generation.set_state(state);
    }

    fn reinstate(&self, generation: &Arc<Generation>) {
        generation.reinstate();
        self.forgive();
    }

    /// Another generation serves: what the one before did is not held against it.
    fn forgive(&self) {
        *lock(&self.quarantine) = Quarantine::default();
        self.is_clear.store(true, Relaxed);
    }

    /// Replaces the routing, unless there is nothing to change. The closure may run more than once.
    fn change(&self, mut change: impl FnMut(&Routing) -> Option<Routing>) -> Option<Arc<Routing>> {
        loop {
            let current = self.routing.load_full();
            let next = Arc::new(change(&current)?);
            let before = self.routing.compare_and_swap(&current, Arc::clone(&next));
            if Arc::ptr_eq(&current, &before) {
                fence(SeqCst);
                return Some(next);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call's place in one generation, which serves the whole call. Dropped without an outcome, it was cancelled, which
/// says nothing.
pub(super) struct Pinned {
    slot: Arc<Slot>,
    generation: Arc<Generation>,
    caller: Caller,
}

impl Pinned {
    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Notes how the call ended: with a failure of the plugin, or without one.
    pub(super) fn settle(self, failure: Option<&PluginFailure>) {
        let now = Instant::now();
        match failure {
            None => self.slot.succeeded(&self.generation, self.caller, now),
            Some(failure) if is_its_own(failure) => {
                self.slot.failed(&self.generation, self.caller, failure, now);
            }
            Some(_) => {}
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.generation.leave() {
            self.slot.wake.notify_one();
        }
    }
}

/// Whether a failure is the plugin's own. A call that was not begun says nothing, nor does one whose caller left it no
/// time.
fn is_its_own(failure: &PluginFailure) -> bool {
    match failure {
        PluginFailure::Busy { .. } | PluginFailure::Quarantined { .. } => false,
        PluginFailure::TimedOut { limit, .. } => !limit.is_zero(),
        PluginFailure::OutOfFuel { .. }
        | PluginFailure::OutOfMemory { .. }
        | PluginFailure::TooMuchData { .. }
        | PluginFailure::OutOfStack { .. }
        | PluginFailure::Trapped { .. } => true,
    }
}
