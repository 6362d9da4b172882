//! Plugins that are swapped while they serve, by the platform itself, without a server around it.

use crate::component::{World, build, good};
use crate::place::Place;
use bytes::Bytes;
use omnivisor::config::PluginsConfig;
use omnivisor::model::{OperationRequest, Requester, Role};
use omnivisor::plugin::{
    Accounts, Author, BoxFuture, GenerationLog, GenerationRecord, GenerationState, JudgeError, LoadError, Platform,
    PlatformParts, PluginEvent, PluginEventKind, PluginFailure, PluginReport, PluginSet, QuarantineReach, Services,
    SwapEntry, SwapError, SwapResult, Validator, WebCache,
};
use omnivisor::task::{TaskGroup, TaskKind, Tasks};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const NAME: &str = "judge";
const SOON: Duration = Duration::from_secs(30);

/// Remembers what it is told, as the store does; may be told to fail.
#[derive(Default)]
struct Memory {
    records: Mutex<BTreeMap<String, GenerationRecord>>,
    entries: Mutex<Vec<SwapEntry>>,
    is_full: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    fn record(&self) -> GenerationRecord {
        lock(&self.records).get(NAME).cloned().unwrap_or_default()
    }

    /// What the audit says: what, whether it was done, and why.
    fn told(&self) -> Vec<(String, bool, String)> {
        let entries = lock(&self.entries);
        entries.iter().map(|entry| (entry.what.to_owned(), entry.is_done, entry.reason.clone())).collect()
    }
}

impl GenerationLog for Memory {
    fn read(&self) -> Result<BTreeMap<String, GenerationRecord>, String> {
        Ok(lock(&self.records).clone())
    }

    fn commit(&self, record: GenerationRecord, entry: SwapEntry) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            if self.is_full.load(SeqCst) {
                return Err("the disk is full".to_owned());
            }
            lock(&self.records).insert(entry.plugin.clone(), record);
            self.note(entry).await
        })
    }

    fn note(&self, entry: SwapEntry) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            lock(&self.entries).push(entry);
            Ok(())
        })
    }
}

/// A platform with one plugin, which is called `judge`.
pub(crate) struct Rig {
    place: Place,
    kept: PathBuf,
    memory: Arc<Memory>,
    pub(crate) platform: Platform,
    pub(crate) set: watch::Receiver<Arc<PluginSet>>,
    events: mpsc::Receiver<PluginEvent>,
    stop: CancellationToken,
    tracker: TaskGroup,
}

/// A validator that says `code` of everything.
pub(crate) fn says(code: &str) -> anyhow::Result<Vec<u8>> {
    let length = code.len();
    build(
        World::Validate,
        &format!(
            r#"(data (i32.const 3000) "\00\00\00\00\d0\0b\00\00\01\00\00\00")
               (data (i32.const 3024) "\00\0c\00\00\00\00\00\00\00\0c\00\00\{length:02x}\00\00\00\00\0c\00\00\00\00\00\00")
               (data (i32.const 3072) "{code}")
               (func $validate (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 3000))"#
        ),
    )
}

/// A validator that traps on every request.
fn traps() -> anyhow::Result<Vec<u8>> {
    build(World::Validate, "(func $validate (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable))")
}

impl Rig {
    pub(crate) async fn start(bytes: &[u8]) -> anyhow::Result<Self> {
        Self::start_with(bytes, |_| {}).await
    }

    async fn start_with(bytes: &[u8], adapt: impl FnOnce(&mut PluginsConfig)) -> anyhow::Result<Self> {
        let mut place = Place::new()?.validator(NAME, bytes)?;
        adapt(&mut place.config);
        Self::of(place).await
    }

    pub(crate) async fn of(place: Place) -> anyhow::Result<Self> {
        let kept = place.config.directory.join("state/plugins");
        Self::run(place, kept, Arc::default()).await.map_err(|errors| anyhow::anyhow!("{errors:?}"))
    }

    async fn run(place: Place, kept: PathBuf, memory: Arc<Memory>) -> Result<Self, Vec<LoadError>> {
        let (publish, set) = watch::channel(Arc::default());
        let (sender, events) = mpsc::channel(1_000);
        let (stop, tracker) = (CancellationToken::new(), Tasks::new().group(TaskKind::Keeper));
        let accounts: Arc<dyn Accounts> = Arc::clone(&place.accounts) as Arc<dyn Accounts>;
        let toolchain = place.toolchain().map_err(|error| vec![error])?;
        let parts = PlatformParts {
            config: place.config.clone(),
            adapters: place.adapters.clone(),
            services: Services { accounts, api_keys: None, http: None, web_cache: WebCache::default(), toolchain },
            log: Arc::clone(&memory) as Arc<dyn GenerationLog>,
            kept: kept.clone(),
            publish,
            events: sender,
            stop: stop.clone(),
        };
        let platform = Platform::start(parts, &tracker).await?;
        Ok(Self { place, kept, memory, platform, set, events, stop, tracker })
    }

    /// Stops it and starts another on the same files and the same memory.
    async fn restart(self) -> Result<Self, Vec<LoadError>> {
        self.stop.cancel();
        self.tracker.tracker().close();
        self.tracker.tracker().wait().await;
        Self::run(self.place, self.kept, self.memory).await
    }

    fn validator(&self) -> Option<Arc<dyn Validator>> {
        self.set.borrow().validators.first().cloned()
    }

    /// What the validator says of a request of this caller.
    pub(crate) async fn ask(&self, who: &str) -> Result<String, JudgeError> {
        let none = || PluginFailure::Trapped { plugin: NAME.to_owned(), what: "there is no validator".to_owned() };
        ask(&self.validator().ok_or_else(none)?, who).await
    }

    pub(crate) async fn install(&self, bytes: &[u8]) -> Result<SwapResult, SwapError> {
        let author = Author { who: "ann".to_owned(), ..Author::default() };
        Ok(self.platform.install(NAME, Bytes::copy_from_slice(bytes), author).await?.result)
    }

    pub(crate) async fn roll_back(&self) -> Result<SwapResult, SwapError> {
        Ok(self.platform.roll_back(NAME, Author::default()).await?.result)
    }

    /// Waits until the plugin's report is so.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&PluginReport) -> bool,
    ) -> anyhow::Result<PluginReport> {
        let wait = async {
            loop {
                let report = self.platform.report(NAME)?;
                if is_so(&report) {
                    return anyhow::Ok(report);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let last = || format!("{what}: {:?}", self.platform.report(NAME));
        tokio::time::timeout(SOON, wait).await.map_err(|_| anyhow::anyhow!(last()))?
    }

    pub(crate) async fn until_event(&mut self, kind: PluginEventKind) -> anyhow::Result<PluginEvent> {
        let wait = async {
            loop {
                let event = self.events.recv().await.ok_or_else(|| anyhow::anyhow!("no more events"))?;
                if event.kind == kind {
                    return anyhow::Ok(event);
                }
            }
        };
        tokio::time::timeout(SOON, wait).await.map_err(|_| anyhow::anyhow!("no {kind:?}"))?
    }
}

async fn ask(validator: &Arc<dyn Validator>, who: &str) -> Result<String, JudgeError> {
    let requester =
        Requester { name: who.to_owned(), role: Role::Operator, strategy: "test".to_owned(), permissions: vec![] };
    let request = OperationRequest {
        name: "process.start".to_owned(),
        is_mutating: true,
        requester: Some(requester),
        targets: vec![],
        fields: vec![],
        at: std::time::UNIX_EPOCH,
    };
    let found = validator.validate(Arc::new(request)).await?;
    Ok(found.into_iter().map(|violation| violation.code).collect())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_swap_serves_at_once_also_those_who_hold_an_older_set_and_is_written_down() -> anyhow::Result<()> {
    let mut rig = Rig::start(&says("one")?).await?;
    let old = rig.validator().expect("one validator");
    assert_eq!(rig.ask("ann").await?, "one");
    assert_eq!(rig.install(&says("two")?).await?, SwapResult::Activated);
    assert_eq!((ask(&old, "ann").await?, rig.ask("ann").await?), ("two".to_owned(), "two".to_owned()));
    let report = rig.until("drained", |report| report.previous.as_ref().is_some_and(|p| p.drain.is_some())).await?;
    assert_eq!((report.active.id, report.active.state), (2, GenerationState::Active));
    let previous = report.previous.expect("it stays linked");
    assert_eq!((previous.id, previous.state, previous.in_flight), (1, GenerationState::Retired, 0));
    let (one, two) = (digest(&says("one")?), digest(&says("two")?));
    let expected =
        GenerationRecord { generation: 2, active: two.clone(), previous: Some(one.clone()), refused: vec![] };
    assert_eq!(rig.memory.record(), expected);
    assert_eq!(std::fs::read(rig.place.config.directory.join("judge.wasm"))?, says("two")?, "the file is the new one");
    for kept in [&one, &two] {
        assert!(rig.kept.join(format!("{kept}.wasm")).exists());
    }
    assert_eq!(rig.until_event(PluginEventKind::Activated).await?.report.active.id, 1);
    assert_eq!(rig.until_event(PluginEventKind::Activated).await?.report.active.id, 2);
    assert_eq!(rig.install(&says("two")?).await?, SwapResult::Unchanged);
    assert_eq!(rig.platform.report(NAME)?.active.id, 2, "the same component is no swap");
    assert_eq!(rig.install(&says("three")?).await?, SwapResult::Activated);
    rig.until("pruned", |_| !rig.kept.join(format!("{one}.wasm")).exists()).await?;
    Ok(())
}

#[tokio::test]
async fn a_component_that_cannot_serve_changes_nothing_and_is_audited() -> anyhow::Result<()> {
    let rig = Rig::start(&says("one")?).await?;
    let before = rig.memory.record();
    for broken in [b"no component".to_vec(), good(World::Adapter)?, says("two")?[..200].to_vec()] {
        let error = rig.install(&broken).await.expect_err("it cannot serve");
        assert!(matches!(error, SwapError::Load(_)), "{error:?}");
        assert_eq!(rig.ask("ann").await?, "one");
    }
    rig.memory.is_full.store(true, SeqCst);
    let error = rig.install(&says("two")?).await.expect_err("it cannot be written down");
    assert!(matches!(&error, SwapError::NotKept { reason, .. } if reason == "the disk is full"), "{error:?}");
    assert_eq!((rig.ask("ann").await?, rig.memory.record()), ("one".to_owned(), before));
    let report = rig.platform.report(NAME)?;
    assert_eq!((report.active.id, report.is_verifying), (1, false));
    assert_eq!(report.swaps.iter().find(|(result, _)| *result == SwapResult::Failed).map(|(_, n)| *n), Some(4));
    let failed: Vec<_> = rig.memory.told().into_iter().filter(|(_, is_done, _)| !is_done).collect();
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert!(failed.iter().all(|(what, _, reason)| what == "plugin.install" && !reason.is_empty()), "{failed:?}");
    let unknown = rig.platform.install("other", Bytes::new(), Author::default()).await.expect_err("no such plugin");
    assert!(matches!(unknown, SwapError::Unknown { .. }));
    Ok(())
}

#[tokio::test]
async fn a_roll_back_is_at_once_and_holds_over_restarts_also_with_a_damaged_copy() -> anyhow::Result<()> {
    let (one, two) = (says("one")?, says("two")?);
    let rig = Rig::start(&one).await?;
    assert!(matches!(rig.roll_back().await, Err(SwapError::NoPrevious { .. })));
    rig.install(&two).await?;
    assert_eq!(rig.roll_back().await?, SwapResult::RolledBack);
    assert_eq!((rig.ask("ann").await?, rig.platform.report(NAME)?.active.id), ("one".to_owned(), 1));
    assert!(rig.memory.record().is_refused(&digest(&two)));
    assert!(matches!(rig.roll_back().await, Err(SwapError::NoPrevious { .. })), "once");

    // The file is still the one that was rolled back.
    let rig = rig.restart().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    assert_eq!(rig.ask("ann").await?, "one");
    // Who installs it again means it.
    assert_eq!(rig.install(&two).await?, SwapResult::Activated);
    let rig = rig.restart().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    assert_eq!(rig.ask("ann").await?, "two");
    // The way back is loaded again from its copy.
    assert_eq!(rig.platform.report(NAME)?.previous_digest, Some(digest(&one)));
    assert_eq!(rig.roll_back().await?, SwapResult::RolledBack);
    assert_eq!(rig.ask("ann").await?, "one");

    // Neither the refused file nor a damaged copy serves; then nothing does, and that is said.
    std::fs::write(rig.kept.join(format!("{}.wasm", digest(&one))), b"damaged")?;
    let errors = rig.restart().await.map(|_| ()).expect_err("nothing is left");
    assert!(matches!(errors.as_slice(), [LoadError::Refused { .. }]), "{errors:?}");
    Ok(())
}

#[tokio::test]
async fn at_the_start_a_file_that_does_not_load_gives_way_to_what_served_before() -> anyhow::Result<()> {
    let (one, two) = (says("one")?, says("two")?);
    let rig = Rig::start(&one).await?;
    rig.install(&two).await?;
    rig.place.put(NAME, b"half a file")?;
    let rig = rig.restart().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    assert_eq!(rig.ask("ann").await?, "two");
    std::fs::write(rig.kept.join(format!("{}.wasm", digest(&two))), b"damaged")?;
    let rig = rig.restart().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    assert_eq!(rig.ask("ann").await?, "one");
    assert_eq!((rig.memory.record().active, rig.memory.record().previous), (digest(&one), None));
    // Another file, put there while nobody looked, is a swap: watched, with a way back.
    rig.place.put(NAME, &says("three")?)?;
    let rig = rig.restart().await.map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    assert_eq!(rig.ask("ann").await?, "three");
    let report = rig.platform.report(NAME)?;
    assert!(report.active.is_on_probation && report.previous.is_some(), "{report:?}");
    Ok(())
}

#[tokio::test]
async fn a_new_generation_that_keeps_failing_is_rolled_back_once_and_remembered() -> anyhow::Result<()> {
    let mut rig = Rig::start(&says("one")?).await?;
    rig.install(&traps()?).await?;
    for _ in 0..3 {
        assert!(matches!(rig.ask("ann").await, Err(JudgeError::Plugin(PluginFailure::Trapped { .. }))));
    }
    assert_eq!(rig.ask("ann").await?, "one", "calls go to the one before at once");
    let event = rig.until_event(PluginEventKind::RolledBack).await?;
    assert!(event.reason.contains("trapped"), "{event:?}");
    let report = rig.platform.report(NAME)?;
    assert_eq!((report.active.id, report.refused), (1, vec![digest(&traps()?)]));
    assert_eq!((report.quarantine, report.failures.len()), (QuarantineReach::None, 3));
    assert_eq!(rig.memory.record().active, digest(&says("one")?));
    let (what, is_done, reason) = rig.memory.told().pop().expect("it is audited");
    assert!((what.as_str(), is_done) == ("plugin.rollback", true) && reason.starts_with("probation "), "{reason}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn without_a_way_back_a_failing_plugin_is_quarantined_with_back_off() -> anyhow::Result<()> {
    let mut rig = Rig::start(&traps()?).await?;
    for who in ["ann", "bob", "ann", "bob", "ann"] {
        assert!(matches!(rig.ask(who).await, Err(JudgeError::Plugin(PluginFailure::Trapped { .. }))));
    }
    let calls = rig.platform.report(NAME)?.totals.calls();
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        let wait = Duration::from_secs(wait);
        let Err(JudgeError::Plugin(failure)) = rig.ask("cid").await else { panic!("it is called") };
        let PluginFailure::Quarantined { retry_after, reason, .. } = &failure else { panic!("{failure}") };
        assert!(*retry_after <= wait && *retry_after > wait / 2, "{retry_after:?} of {wait:?}");
        assert!(reason.contains("trapped"), "{reason}");
        tokio::time::advance(*retry_after).await;
        assert!(matches!(rig.ask("cid").await, Err(JudgeError::Plugin(PluginFailure::Trapped { .. }))), "one trial");
    }
    let report = rig.platform.report(NAME)?;
    assert_eq!(report.totals.calls(), calls + 8, "nobody called it but the trials");
    assert_eq!((report.active.state, report.quarantine), (GenerationState::Quarantined, QuarantineReach::All));
    rig.until_event(PluginEventKind::Quarantined).await?;
    // A new generation begins with a clean sheet.
    rig.install(&says("one")?).await?;
    assert_eq!(rig.ask("cid").await?, "one");
    Ok(())
}

#[tokio::test]
async fn one_caller_whose_requests_break_a_plugin_locks_nobody_else_out() -> anyhow::Result<()> {
    // Traps for whoever's name has three letters: the length is the fifth argument.
    let component = build(
        World::Validate,
        "(func $validate (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (if (i32.eq (local.get 4) (i32.const 3)) (then (unreachable))) (i32.const 0))",
    )?;
    let rig = Rig::start(&component).await?;
    for _ in 0..5 {
        assert!(matches!(rig.ask("ann").await, Err(JudgeError::Plugin(PluginFailure::Trapped { .. }))));
    }
    assert!(matches!(rig.ask("ann").await, Err(JudgeError::Plugin(PluginFailure::Quarantined { .. }))));
    assert_eq!(rig.ask("robert").await?, "");
    assert_eq!(rig.platform.report(NAME)?.quarantine, QuarantineReach::Caller);
    Ok(())
}

/// A validator with a share of calls for new generations.
async fn with_canary(permille: u32, probation: Duration) -> anyhow::Result<Rig> {
    Rig::start_with(&says("one")?, |config| {
        config.probation = probation;
        let grant = omnivisor::config::PluginConfig { canary_permille: permille, ..Default::default() };
        config.grants.insert(NAME.to_owned(), grant);
    })
    .await
}

#[tokio::test]
async fn a_canary_gets_its_share_and_is_promoted_when_its_time_is_over() -> anyhow::Result<()> {
    let rig = with_canary(250, Duration::from_secs(2)).await?;
    assert_eq!(rig.install(&says("two")?).await?, SwapResult::Canary);
    assert_eq!(rig.memory.record().active, digest(&says("one")?), "after a crash the old one serves");
    let mut new = 0;
    for _ in 0..400 {
        new += usize::from(rig.ask("ann").await? == "two");
    }
    assert!((90..=110).contains(&new), "{new} of 400");
    rig.until("promoted", |report| report.active.id == 2).await?;
    assert_eq!(rig.ask("ann").await?, "two");
    assert_eq!(rig.memory.record().previous, Some(digest(&says("one")?)));
    Ok(())
}

#[tokio::test]
async fn a_canary_that_fails_is_dropped_and_the_others_never_met_it() -> anyhow::Result<()> {
    let mut rig = with_canary(100, Duration::from_secs(60)).await?;
    rig.install(&traps()?).await?;
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(rig.ask("ann").await.is_err());
    }
    assert_eq!(failed, 3, "three calls in a row of its own");
    rig.until_event(PluginEventKind::RolledBack).await?;
    let report = rig.platform.report(NAME)?;
    assert_eq!((report.active.id, report.canary.is_none(), report.refused), (1, true, vec![digest(&traps()?)]));
    Ok(())
}

#[tokio::test]
async fn a_file_that_changes_is_swapped_in_and_a_broken_or_refused_one_is_not() -> anyhow::Result<()> {
    let rig = Rig::start_with(&says("one")?, |config| config.watch = true).await?;
    rig.place.put(NAME, &says("two")?)?;
    rig.until("the file is swapped in", |report| report.active.id == 2).await?;
    assert_eq!(rig.ask("ann").await?, "two");
    // Replaced by another file, as installers do it.
    let beside = rig.place.config.directory.join("beside");
    std::fs::write(&beside, says("three")?)?;
    std::fs::rename(&beside, rig.place.config.directory.join("judge.wasm"))?;
    rig.until("the replaced file is swapped in", |report| report.active.id == 3).await?;
    // Half a file is told and left alone; the whole one is taken.
    let whole = says("four")?;
    rig.place.put(NAME, &whole[..whole.len() / 2])?;
    let failed =
        |report: &PluginReport| report.swaps.iter().any(|(result, count)| *result == SwapResult::Failed && *count == 1);
    rig.until("half a file is told", failed).await?;
    assert_eq!(rig.ask("ann").await?, "three");
    rig.place.put(NAME, &whole)?;
    rig.until("the whole file is swapped in", |report| report.active.id == 4).await?;
    // Going back does not end where it began, though the file is still there and is touched.
    rig.roll_back().await?;
    rig.place.put(NAME, &whole)?;
    rig.place.put(NAME, &says("five")?)?;
    rig.until("a file that nobody refused is swapped in", |report| report.active.id == 5).await?;
    assert_eq!(rig.ask("ann").await?, "five");
    Ok(())
}

#[tokio::test]
async fn another_configuration_is_a_new_generation_of_the_same_component_or_nothing() -> anyhow::Result<()> {
    let rig = Rig::start(&says("one")?).await?;
    let mut config = rig.place.config.clone();
    assert_eq!(
        rig.platform.configure(config.clone(), BTreeSet::new(), Author::default()).await?,
        [""; 0],
        "nothing changed"
    );
    config.validate_limits.fuel = 1;
    let error = rig
        .platform
        .configure(config.clone(), BTreeSet::new(), Author::default())
        .await
        .expect_err("too little to describe");
    assert!(matches!(&error, SwapError::Several(errors) if errors.len() == 1), "{error:?}");
    assert_eq!((rig.ask("ann").await?, rig.platform.report(NAME)?.active.id), ("one".to_owned(), 1));
    config.validate_limits.fuel = 4_000_000;
    rig.place.put("second", &says("two")?)?;
    config.validate.push("second".to_owned());
    let mut changed = rig.platform.configure(config.clone(), BTreeSet::new(), Author::default()).await?;
    changed.sort();
    assert_eq!(changed, [NAME, "second"]);
    let report = rig.platform.report(NAME)?;
    assert_eq!((report.active.id, report.active.digest), (2, digest(&says("one")?)));
    assert_eq!(rig.set.borrow().validators.len(), 2);
    config.validate.remove(0);
    assert_eq!(rig.platform.configure(config, BTreeSet::new(), Author::default()).await?, [NAME]);
    assert_eq!(rig.ask("ann").await?, "two", "the first of the set is the second now");
    assert!(rig.platform.report(NAME).is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_finish_in_their_generation_and_those_that_do_not_are_ended() -> anyhow::Result<()> {
    let endless = build(
        World::Validate,
        "(func $validate (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (if (i32.eq (local.get 4) (i32.const 3)) (then (loop $l (br $l)))) (i32.const 0))",
    )?;
    let rig = Rig::start_with(&endless, |config| {
        config.validate_limits.fuel = 1_000_000_000_000;
        config.validate_limits.time = Duration::from_secs(1);
    })
    .await?;
    let validator = rig.validator().expect("one validator");
    let (begun, running) = (tokio::time::Instant::now(), TaskTracker::new());
    let call = running.spawn(async move { ask(&validator, "ann").await });
    rig.until("the call runs", |report| report.active.in_flight == 1).await?;
    rig.install(&says("two")?).await?;
    let draining = rig.platform.report(NAME)?.previous.expect("it stays linked");
    assert_eq!((draining.state, draining.in_flight, draining.drain), (GenerationState::Draining, 1, None));
    assert_eq!(rig.ask("ann").await?, "two", "new calls do not wait for it");
    assert!(matches!(call.await?, Err(JudgeError::Plugin(PluginFailure::TimedOut { .. }))));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let is_drained = |report: &PluginReport| {
        report.previous.as_ref().is_some_and(|previous| previous.state == GenerationState::Retired)
    };
    let drain = rig.until("drained", is_drained).await?.previous.and_then(|previous| previous.drain);
    assert!(drain.is_some_and(|drain| drain > Duration::from_millis(500)), "{drain:?}");
    Ok(())
}

/// What ought to be so after some steps.
#[derive(Debug, Clone)]
struct Model {
    active: usize,
    previous: Option<usize>,
    /// The generation before is linked, so that a failing one is given up by itself.
    has_way_back: bool,
    refused: BTreeSet<usize>,
    failures: u32,
}

/// A generator of numbers that gives the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const TRAPS: usize = 3;

async fn check(rig: &Rig, model: &Model, digests: &[String], step: &str) -> anyhow::Result<()> {
    let named = |index: &usize| digests.get(*index).cloned().unwrap_or_default();
    let expected = (named(&model.active), model.previous.as_ref().map(named));
    let refused: BTreeSet<String> = model.refused.iter().map(named).collect();
    // What a call gave up is written down a moment later.
    let is_so = |report: &PluginReport| report.refused.iter().cloned().collect::<BTreeSet<_>>() == refused;
    let report = rig.until(&format!("{step}: {model:?}"), is_so).await?;
    let record = rig.memory.record();
    assert_eq!((record.active, record.previous), expected, "{step}: the record, {model:?}");
    assert_eq!((report.active.digest, report.previous_digest), expected, "{step}: memory, {model:?}");
    for digest in [Some(&expected.0), expected.1.as_ref()].into_iter().flatten() {
        assert!(rig.kept.join(format!("{digest}.wasm")).exists(), "{step}: a way back is missing");
    }
    Ok(())
}

async fn walk(seed: u64) -> anyhow::Result<()> {
    println!("seed {seed}");
    let words = ["one", "two", "three"];
    let mut components = Vec::new();
    for word in words {
        components.push(says(word)?);
    }
    components.push(traps()?);
    let digests: Vec<String> = components.iter().map(|bytes| digest(bytes)).collect();
    let mut dice = Dice(seed);
    let component = |index: usize| components.get(index).map(Vec::as_slice).unwrap_or_default();
    let mut rig = Rig::start(component(0)).await?;
    let mut model = Model { active: 0, previous: None, has_way_back: false, refused: BTreeSet::new(), failures: 0 };
    for number in 0..60 {
        let roll = dice.roll(12);
        let step = format!("seed {seed}, step {number}, roll {roll}");
        match roll {
            0..=3 => {
                let index = usize::try_from(dice.roll(4))?;
                let result = rig.install(component(index)).await?;
                if index == model.active {
                    assert_eq!(result, SwapResult::Unchanged, "{step}");
                } else {
                    assert_eq!(result, SwapResult::Activated, "{step}");
                    model.refused.remove(&index);
                    model =
                        Model { previous: Some(model.active), active: index, has_way_back: true, failures: 0, ..model };
                }
            }
            4 => {
                let (broken, _) = component(1).split_at(component(1).len() / 2);
                assert!(matches!(rig.install(broken).await, Err(SwapError::Load(_))), "{step}");
            }
            5 => match (rig.roll_back().await, model.previous) {
                (Ok(SwapResult::RolledBack), Some(previous)) => {
                    model.refused.insert(model.active);
                    model.refused.remove(&previous);
                    model = Model { active: previous, previous: None, has_way_back: false, failures: 0, ..model };
                }
                (Err(SwapError::NoPrevious { .. }), None) => {}
                (result, _) => anyhow::bail!("{step}: {result:?}, {model:?}"),
            },
            6 => {
                rig = rig.restart().await.map_err(|errors| anyhow::anyhow!("{step}: {errors:?}"))?;
                model = Model { has_way_back: false, failures: 0, ..model };
            }
            _ => match (rig.ask("ann").await, words.get(model.active)) {
                (Ok(said), Some(word)) => assert_eq!(said, *word, "{step}"),
                (Err(JudgeError::Plugin(_)), None) => {
                    model.failures += 1;
                    if let (3, true, Some(previous)) = (model.failures, model.has_way_back, model.previous) {
                        model.refused.insert(TRAPS);
                        model = Model { active: previous, previous: None, has_way_back: false, failures: 0, ..model };
                    }
                }
                (result, _) => anyhow::bail!("{step}: {result:?}, {model:?}"),
            },
        }
        check(&rig, &model, &digests, &step).await?;
        rig.until("generations that left are drained", |report| {
            report.previous.as_ref().is_none_or(|previous| previous.in_flight == 0)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn random_walks_of_swaps_faults_roll_backs_and_restarts_agree_with_a_model() -> anyhow::Result<()> {
    for seed in 1..=6 {
        walk(seed).await?;
    }
    Ok(())
}
