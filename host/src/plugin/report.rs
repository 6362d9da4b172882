use crate::plugin::generation::{Generation, GenerationState};
use crate::plugin::slot::{FailureNote, Slot, SwapResult};
use crate::plugin::{CountersSnapshot, PluginClass};
use crate::resilience::Reach;
use std::time::{Duration, SystemTime};

/// All that can be told of one plugin at one moment.
#[derive(Debug, Clone)]
pub struct PluginReport {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub class: PluginClass,
    /// The generation that serves.
    pub active: GenerationReport,
    /// One that serves a share of the calls for now, in thousandths.
    pub canary: Option<(GenerationReport, u32)>,
    /// The one before, if it is still linked.
    pub previous: Option<GenerationReport>,
    /// The digest that a roll-back leads to; also known where `previous` is not linked.
    pub previous_digest: Option<String>,
    /// Digests that were rolled back and are not loaded again by themselves.
    pub refused: Vec<String>,
    /// True while another component is being verified.
    pub is_verifying: bool,
    /// Whom it does not serve, because calls kept failing.
    pub quarantine: QuarantineReach,
    /// What all its generations did since the host was started.
    pub totals: CountersSnapshot,
    /// Swaps since then by how they ended.
    pub swaps: [(SwapResult, u64); SwapResult::ALL.len()],
    /// The last failures, oldest first; 20 at most.
    pub failures: Vec<FailureNote>,
}

/// Whom a quarantined plugin does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuarantineReach {
    /// It serves everybody.
    None,
    /// One caller alone, whose calls kept failing.
    Caller,
    /// Nobody is served.
    All,
}

impl QuarantineReach {
    /// The word used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Caller => "caller",
            Self::All => "all",
        }
    }
}

impl From<Reach> for QuarantineReach {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Nobody => Self::None,
            Reach::OneCaller => Self::Caller,
            Reach::Everybody => Self::All,
        }
    }
}

/// All that can be told of one generation.
#[derive(Debug, Clone)]
pub struct GenerationReport {
    /// Its number.
    pub id: u64,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The version that it carries, if it carries one.
    pub version: Option<String>,
    /// Bytes of the component.
    pub size_bytes: u64,
    /// Where it is in its life.
    pub state: GenerationState,
    /// When it was made.
    pub since: SystemTime,
    /// How long compiling took.
    pub compile_time: Duration,
    /// Calls under way.
    pub in_flight: usize,
    /// How long its last calls took to end once it was out of service.
    pub drain: Option<Duration>,
    /// True while it is watched for failures.
    pub is_on_probation: bool,
    /// What it did.
    pub counters: CountersSnapshot,
}

/// Something about a plugin that the feed tells.
#[derive(Debug, Clone)]
pub struct PluginEvent {
    /// When.
    pub at: SystemTime,
    /// What.
    pub kind: PluginEventKind,
    /// Why, in words; empty where that goes without saying.
    pub reason: String,
    /// The plugin now.
    pub report: Box<PluginReport>,
}

/// What may happen to a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginEventKind {
    /// A generation serves.
    Activated,
    /// A generation serves a share of the calls.
    Canary,
    /// The generation before serves again, or a canary was dropped.
    RolledBack,
    /// It is not called, or not for one caller, because calls kept failing.
    Quarantined,
    /// It is called again.
    Released,
    /// It is not configured any more.
    Removed,
}

impl PluginEventKind {
    /// The word used on the feed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::Canary => "canary",
            Self::RolledBack => "rolled-back",
            Self::Quarantined => "quarantined",
            Self::Released => "released",
            Self::Removed => "removed",
        }
    }
}

impl Slot {
    /// All that can be told of the plugin now.
    pub(super) fn report(&self) -> PluginReport {
        let (routing, record, quarantine) = (self.routing(), self.record(), self.reach());
        let mut active = routing.active.report();
        if quarantine == Reach::Everybody {
            active.state = GenerationState::Quarantined;
        }
        PluginReport {
            name: self.name.to_string(),
            class: self.class,
            active,
            canary: routing.canary.as_ref().map(|(canary, permille)| (canary.report(), *permille)),
            previous: routing.previous.as_ref().map(|previous| previous.report()),
            previous_digest: record.previous,
            refused: record.refused,
            is_verifying: self.is_verifying(),
            quarantine: quarantine.into(),
            totals: self.totals.snapshot(),
            swaps: self.swaps(),
            failures: self.failures(),
        }
    }
}

impl Generation {
    fn report(&self) -> GenerationReport {
        let compiled = &self.prepared.compiled;
        GenerationReport {
            id: self.id,
            digest: compiled.digest.to_string(),
            version: self.prepared.granted.manifest.version.as_ref().map(ToString::to_string),
            size_bytes: compiled.size_bytes,
            state: self.state(),
            since: self.since,
            compile_time: compiled.compile_time,
            in_flight: self.in_flight(),
            drain: self.drain(),
            is_on_probation: self.probation_until().is_some(),
            counters: self.prepared.ties.counters.snapshot(),
        }
    }
}
