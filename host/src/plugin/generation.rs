use crate::plugin::load::{Prepared, Ready};
use crate::resilience::{CallOutcome, Probation, Standing};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Where one generation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationState {
    /// Linked and tried, not yet in service.
    Ready,
    /// In service for a share of the calls.
    Canary,
    /// In service.
    Active,
    /// Out of service, with calls that it still finishes.
    Draining,
    /// Out of service.
    Retired,
    /// In service, and not called for it keeps failing.
    Quarantined,
}

impl GenerationState {
    const ALL: [Self; 6] = [Self::Ready, Self::Canary, Self::Active, Self::Draining, Self::Retired, Self::Quarantined];

    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Canary => "canary",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Retired => "retired",
            Self::Quarantined => "quarantined",
        }
    }
}

/// One component in service under one configuration. Made once, never changed but for its counters and its state.
pub(super) struct Generation {
    /// Rises with each generation of a plugin, over restarts too.
    pub id: u64,
    pub since: SystemTime,
    pub prepared: Prepared,
    state: AtomicU8,
    in_flight: AtomicUsize,
    is_on_trial: AtomicBool,
    trial: Mutex<Option<Probation>>,
    exit: Mutex<Exit>,
}

/// How a generation went out of service.
#[derive(Debug, Clone, Copy, Default)]
struct Exit {
    began: Option<Instant>,
    took: Option<Duration>,
}

impl Generation {
    pub(super) fn new(id: u64, prepared: Prepared, probation: Option<Probation>) -> Self {
        Self {
            id,
            since: SystemTime::now(),
            prepared,
            state: AtomicU8::new(GenerationState::Ready as u8),
            in_flight: AtomicUsize::new(0),
            is_on_trial: AtomicBool::new(probation.is_some()),
            trial: Mutex::new(probation),
            exit: Mutex::default(),
        }
    }

    pub(super) fn ready(&self) -> &Ready {
        &self.prepared.ready
    }

    pub(super) fn digest(&self) -> &str {
        &self.prepared.compiled.digest
    }

    pub(super) fn state(&self) -> GenerationState {
        let state = self.state.load(SeqCst);
        GenerationState::ALL.into_iter().find(|known| *known as u8 == state).unwrap_or(GenerationState::Retired)
    }

    pub(super) fn set_state(&self, state: GenerationState) {
        self.state.store(state as u8, SeqCst);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// Counts a call in. Whoever calls it calls [`Generation::leave`] too.
    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, SeqCst);
    }

    /// Counts a call out; true if it was the last of a generation that is out of service.
    pub(super) fn leave(&self) -> bool {
        self.in_flight.fetch_sub(1, SeqCst) == 1 && self.state() == GenerationState::Draining
    }

    /// Notes how a call ended, and whose it was, as long as there is a probation. `Failed` is answered to the call that
    /// spent the budget and to those after it.
    pub(super) fn try_out(&self, outcome: CallOutcome, caller: Option<u64>, now: Instant) -> Standing {
        if !self.is_on_trial.load(Relaxed) {
            return Standing::Passed;
        }
        self.trial().as_mut().map_or(Standing::Passed, |trial| trial.record(outcome, caller, now))
    }

    /// When the probation ends; none once it has.
    pub(super) fn probation_until(&self) -> Option<Instant> {
        self.is_on_trial.load(Relaxed).then(|| self.trial().as_ref().map(Probation::until)).flatten()
    }

    /// Ends a probation whose time is over; true if the generation kept to its budget.
    pub(super) fn end_probation(&self, now: Instant) -> bool {
        if self.probation_until().is_some_and(|until| until > now) {
            return false;
        }
        self.is_on_trial.store(false, Relaxed);
        self.trial().as_mut().is_none_or(|trial| trial.standing(now) == Standing::Passed)
    }

    /// It is out of service from now on.
    pub(super) fn retire(&self, now: Instant) {
        *self.exit() = Exit { began: Some(now), took: None };
        self.set_state(GenerationState::Draining);
    }

    /// When it went out of service.
    pub(super) fn left(&self) -> Option<Instant> {
        self.exit().began
    }

    /// Its last call is over. A call that gives up the generation after this one may have put it back meanwhile.
    pub(super) fn drained(&self, now: Instant) {
        let mut exit = self.exit();
        let (from, to) = (GenerationState::Draining as u8, GenerationState::Retired as u8);
        if self.state.compare_exchange(from, to, SeqCst, SeqCst).is_ok() {
            exit.took = exit.began.map(|began| now.saturating_duration_since(began));
        }
    }

    /// How long its last calls took to end once it was out of service; none before.
    pub(super) fn drain(&self) -> Option<Duration> {
        self.exit().took
    }

    /// Ends what is still under way at its next tick, unless it serves again.
    pub(super) fn revoke(&self) {
        self.prepared.ties.revoked.store(true, SeqCst);
        // It may have been put back between the look at its state and now: whoever comes second takes it back.
        if self.state() != GenerationState::Draining {
            self.prepared.ties.revoked.store(false, SeqCst);
        }
    }

    /// Back in service.
    pub(super) fn reinstate(&self) {
        self.is_on_trial.store(false, Relaxed);
        self.set_state(GenerationState::Active);
        self.prepared.ties.revoked.store(false, SeqCst);
    }

    fn exit(&self) -> MutexGuard<'_, Exit> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trial(&self) -> MutexGuard<'_, Option<Probation>> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
