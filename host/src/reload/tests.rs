//! Real files and a real database; the plugins and nodes are a recording of what they were asked.

mod passwords;

use crate::config::{
    Config, Defaults, LoadError, MachineSecrets, ManagedNode, NodeConfig, PluginsConfig, Snapshot, StorageConfig,
    StorageKey, check,
};
use crate::plugin::{BoxFuture, SwapError};
use crate::reload::{Author, ConfigFile, Parts, ReloadError, Reloader, Worker, WorkerParts};
use crate::store::{SlowDisk, Store, StoreError};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the plugins and nodes were told last.
#[derive(Default)]
struct Recorded {
    plugins: Mutex<Option<PluginsConfig>>,
    settings: Mutex<Option<Config>>,
    nodes: Mutex<Vec<NodeConfig>>,
    refuses: AtomicBool,
    applies: AtomicU64,
}

impl Parts for Recorded {
    fn plugins(
        &self,
        config: PluginsConfig,
        _: BTreeSet<String>,
        _: Author,
    ) -> BoxFuture<'_, Result<Vec<String>, SwapError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.refuses.load(SeqCst) {
                return Err(SwapError::Several(vec![]));
            }
            *self.plugins.lock().expect("whole") = Some(config);
            Ok(vec![])
        })
    }

    fn settings(&self, config: &Config) {
        *self.settings.lock().expect("whole") = Some(config.clone());
    }

    fn nodes(&self, nodes: Vec<NodeConfig>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            *self.nodes.lock().expect("whole") = nodes;
            self.applies.fetch_add(1, SeqCst);
        })
    }
}

struct Rig {
    place: TempDir,
    recorded: Arc<Recorded>,
    reloader: Reloader,
    hints: Arc<Notify>,
    stop: CancellationToken,
    tracker: TaskTracker,
    store: Store,
}

fn defaults(place: &Path) -> Defaults {
    Defaults {
        storage_path: place.join("x.redb"),
        plugins_directory: "/plugins".into(),
        cache_directory: "/cache".into(),
    }
}

fn storage(place: &TempDir) -> StorageConfig {
    StorageConfig { path: place.path().join("x.redb"), key: Some(StorageKey::of_test(1)) }
}

/// A configuration that says one number in four places.
fn stamped(stamp: u64) -> String {
    format!(
        "[server]\nbody_bytes_max = {}\nconfig_watch = false\n[plugins]\nprobation_ms = {}\n\
         [[node]]\nname = \"stamp-{stamp}\"\nurl = \"http://x:{}\"\nenvironment = \"e{stamp}\"\n",
        1024 + stamp,
        100 + stamp,
        1 + stamp
    )
}

/// The number, if all places say the same.
fn stamp_of(snapshot: &Snapshot) -> Option<u64> {
    let config = &snapshot.config;
    let stamp = config.server.body_bytes_max as u64 - 1024;
    let [node] = config.nodes.as_slice() else { return None };
    let is_whole = config.plugins.probation == Duration::from_millis(100 + stamp)
        && node.name.as_str() == format!("stamp-{stamp}")
        && node.environment.as_deref() == Some(&*format!("e{stamp}"))
        && *snapshot.text == *stamped(stamp);
    is_whole.then_some(stamp)
}

impl Rig {
    async fn start(text: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), Some(text)).await
    }

    /// On a folder that may hold a database and a file already.
    async fn start_in(place: TempDir, text: Option<&str>) -> Self {
        let path = place.path().join("o.toml");
        if let Some(text) = text {
            std::fs::write(&path, text).expect("room");
        }
        let store = Store::open(&storage(&place)).expect("a database");
        Self::start_on(place, store).await
    }

    async fn start_on(place: TempDir, store: Store) -> Self {
        let path = place.path().join("o.toml");
        let file = ConfigFile::new(path, defaults(place.path()));
        let (text, config) = file.load().expect("legal");
        let first = Worker::begin(config, text, Some(&file), &store).await.expect("it begins");
        let (recorded, hints, stop) = (Arc::<Recorded>::default(), Arc::<Notify>::default(), CancellationToken::new());
        *recorded.nodes.lock().expect("whole") = first.config.nodes.clone();
        let parts = Arc::clone(&recorded) as Arc<dyn Parts>;
        let (worker, reloader) = Worker::new(WorkerParts {
            first,
            file: Some(file),
            store: store.clone(),
            parts,
            hints: Arc::clone(&hints),
            stop: stop.clone(),
        });
        let tracker = TaskTracker::new();
        tracker.spawn(worker.run());
        Self { place, recorded, reloader, hints, stop, tracker, store }
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("o.toml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).expect("room");
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let mut snapshots = self.reloader.snapshots();
        let seen = tokio::time::timeout(Duration::from_secs(20), snapshots.wait_for(|seen| is_so(seen))).await;
        Arc::clone(&seen.expect(what).expect("it runs"))
    }

    async fn end(self) -> TempDir {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(Duration::from_secs(5), self.tracker.wait()).await.expect("it ends");
        self.store.close().await.expect("open");
        self.place
    }
}

fn managed(name: &str, port: u16) -> ManagedNode {
    ManagedNode {
        name: name.to_owned(),
        url: format!("http://y:{port}"),
        environment: None,
        adapter: None,
        username: None,
        password_env: None,
        password_file: None,
        has_kept_password: false,
        enabled: None,
    }
}

fn names(rig: &Rig) -> Vec<String> {
    rig.recorded.nodes.lock().expect("whole").iter().map(|node| node.name.to_string()).collect()
}

/// Bursts of files and signals: readers at any moment see one whole configuration, generations never go back, and the last
/// content wins.
fn burst(drawn: Vec<(u64, bool)>) -> Result<(), TestCaseError> {
    // No content comes twice, so that the last is known when it is seen.
    let stamps: Vec<(u64, bool)> =
        (0..).zip(drawn).map(|(index, (stamp, waits))| (index * 60 + stamp, waits)).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let rig = Rig::start(&stamped(0)).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (reloader, is_over) = (rig.reloader.clone(), Arc::clone(&is_over));
                rig.tracker.spawn(async move {
                    let (mut last, mut seen) = (0, Vec::new());
                    while !is_over.load(SeqCst) {
                        let snapshot = reloader.snapshot();
                        let Some(stamp) = stamp_of(&snapshot) else { return Err(format!("a mix: {snapshot:?}")) };
                        if snapshot.generation < last {
                            return Err(format!("{} after {last}", snapshot.generation));
                        }
                        if snapshot.generation > last {
                            last = snapshot.generation;
                            seen.push(stamp);
                        }
                        tokio::task::yield_now().await;
                    }
                    Ok(seen)
                })
            })
            .collect();
        let written: Vec<u64> = stamps.iter().map(|(stamp, _)| *stamp).collect();
        for (stamp, waits) in &stamps {
            // Replaced whole, as an editor does; else a reader could see half a file, which P10 is about.
            let new = rig.file().with_extension("new");
            std::fs::write(&new, stamped(*stamp)).expect("room");
            std::fs::rename(&new, rig.file()).expect("one file system");
            if *waits {
                rig.reloader.reload(Author::host("test")).await.expect("legal");
            } else {
                rig.hints.notify_one();
            }
        }
        let last = *written.last().expect("not empty");
        let end = rig.until("the last content", |snapshot| stamp_of(snapshot) == Some(last)).await;
        // A hint may still be on its way; it changes nothing.
        rig.reloader.reload(Author::host("test")).await.expect("legal");
        prop_assert_eq!(rig.reloader.snapshot().generation, end.generation);
        prop_assert_eq!(names(&rig), vec![format!("stamp-{last}")]);
        is_over.store(true, SeqCst);
        for reader in readers {
            let seen = reader.await.expect("no panic").map_err(TestCaseError::fail)?;
            // What was seen is a subsequence of what was written, after the first.
            let mut left = std::iter::once(&0).chain(&written);
            prop_assert!(seen.iter().all(|stamp| left.any(|w| w == stamp)), "{:?} of {:?}", seen, written);
        }
        rig.end().await;
        Ok(())
    })
}

/// A running text and a way to break it.
fn corrupted() -> impl Strategy<Value = String> {
    let text = stamped(7);
    let length = text.len();
    let cut = (0..length).prop_map({
        let text = text.clone();
        move |at| text[..at].to_owned()
    });
    let noise = (0..length, "[\\[\\]=\"a-z0-9\u{0}\n]{1,5}").prop_map({
        let text = text.clone();
        move |(at, noise)| format!("{}{noise}{}", &text[..at], &text[at..])
    });
    let line = prop::sample::select(vec![
        "\n[server]\nlisten = 1\n",
        "\nnonsense = 1\n",
        "\n[[node]]\nname = \"stamp-7\"\nurl = \"http://x:1\"\n",
        "\n[[node]]\nname = \"b\"\nurl = \"http://x:1\"\nusername = \"u\"\npassword_env = \"OMNIVISOR_NO_SUCH\"\n",
        "\n[[node]]\nname = \"b\"\nurl = \"http://x:0\"\n",
        "\n[pool]\nfailures_max = 0\n",
        "\n[[node]]\nname = \"managed\"\nurl = \"http://x:1\"\n",
    ])
    .prop_map(move |line| format!("{text}{line}"));
    prop_oneof![cut, noise, line]
}

proptest! {
    // Each case opens a database of its own: a quarter of the usual number, 64 in CI and 5,000 in the long run.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn p09_readers_see_one_whole_configuration_and_the_last_content_wins(
        stamps in prop::collection::vec((1..60_u64, any::<bool>()), 1..12),
    ) {
        burst(stamps)?;
    }

    #[test]
    fn p10_what_is_faulty_changes_nothing_and_is_told(text in corrupted(), refuses in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let rig = Rig::start(&stamped(7)).await;
            rig.reloader.add_node(managed("managed", 1), Author::default()).await.expect("legal");
            let place = rig.place.path().to_owned();
            let before = rig.reloader.snapshot();
            let history = rig.store.configurations().await.expect("it is read");
            let (plugins, nodes) =
                (rig.recorded.plugins.lock().expect("whole").clone(), rig.recorded.nodes.lock().expect("whole").clone());
            // A text that is legal by chance is refused by the plugins instead.
            let declared = check(&text, &MachineSecrets, &place, &defaults(&place));
            let is_taken = declared.as_ref().is_ok_and(|config| config.nodes.iter().any(|n| n.name.as_str() == "managed"));
            rig.recorded.refuses.store(refuses || (declared.is_ok() && !is_taken), SeqCst);
            rig.write(&text);
            let error = rig.reloader.reload(Author::host("test")).await.expect_err("it cannot be applied");
            match (&error, declared) {
                (ReloadError::Faulty(told), Err(faults)) => prop_assert_eq!(told, &faults),
                (ReloadError::Faulty(told), Ok(_)) => {
                    prop_assert!(is_taken && told[0].to_string().contains("the file declares the node `managed`"));
                    prop_assert!(told[0].to_string().contains("over the API"));
                }
                (ReloadError::Plugins(_), Ok(_)) => prop_assert!(!is_taken),
                (ReloadError::Unreadable(LoadError::NotText { .. }), _) => {}
                (other, _) => prop_assert!(false, "{:?}", other),
            }
            prop_assert!(!error.told().is_empty());
            prop_assert_eq!(&rig.reloader.snapshot(), &before);
            prop_assert_eq!(rig.store.configurations().await.expect("it is read"), history);
            prop_assert_eq!(&*rig.recorded.plugins.lock().expect("whole"), &plugins);
            prop_assert_eq!(&*rig.recorded.nodes.lock().expect("whole"), &nodes);
            rig.end().await;
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_rollback_brings_the_text_the_nodes_and_a_new_generation_and_a_restart_changes_nothing() {
    let rig = Rig::start(&stamped(1)).await;
    let ann = || Author { who: "ann".into(), ..Author::default() };
    rig.reloader.add_node(managed("a", 1), ann()).await.expect("legal");
    rig.write(&stamped(2));
    let applied = rig.reloader.reload(ann()).await.expect("legal");
    assert_eq!((applied.generation, applied.settings), (3, vec!["server.body_bytes_max", "plugins.probation_ms"]));
    let removed = rig.reloader.remove_node("a", ann()).await.expect("it is managed");
    assert_eq!((removed.generation, removed.nodes_removed.len()), (4, 1));
    let back = rig.reloader.roll_back(2, ann()).await.expect("it is kept");
    assert_eq!((back.generation, back.is_changed), (5, true));
    assert_eq!(names(&rig), ["a", "stamp-1"]);
    assert_eq!(std::fs::read_to_string(rig.file()).expect("it is there"), stamped(1));
    let causes: Vec<_> = rig.store.configurations().await.expect("read").into_iter().map(|kept| kept.cause).collect();
    assert_eq!(causes, ["start", "node.add", "reload", "node.remove", "rollback"]);
    let unchanged = rig.reloader.reload(ann()).await.expect("legal");
    assert_eq!((unchanged.generation, unchanged.is_changed), (5, false));
    let before = rig.reloader.snapshot();
    let place = rig.end().await;
    let rig = Rig::start_in(place, None).await;
    assert_eq!(rig.reloader.snapshot(), before, "the same number too");
    rig.end().await;
}

#[tokio::test]
async fn a_rollback_loses_nobodys_work_and_needs_a_file_that_can_be_written() {
    let rig = Rig::start(&stamped(1)).await;
    rig.write(&stamped(2));
    rig.reloader.reload(Author::default()).await.expect("legal");
    rig.write("half a thou");
    let error = rig.reloader.roll_back(1, Author::default()).await.expect_err("the file differs");
    assert!(matches!(error, ReloadError::FileChanged { .. }), "{error}");
    rig.write(&stamped(2));
    let error = rig.reloader.roll_back(9, Author::default()).await.expect_err("never was");
    assert!(matches!(error, ReloadError::UnknownGeneration { generation: 9 }));
    let mut permissions = std::fs::metadata(rig.file()).expect("it is there").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(rig.file(), permissions).expect("ours");
    let before = (rig.reloader.snapshot(), names(&rig));
    let error = rig.reloader.roll_back(1, Author::default()).await.expect_err("read-only");
    assert!(matches!(error, ReloadError::NotWritable { .. }), "{error}");
    assert_eq!((rig.reloader.snapshot(), names(&rig)), before);
    rig.end().await;
}

#[tokio::test]
async fn each_node_has_one_owner() {
    let rig = Rig::start(&stamped(1)).await;
    let error = rig.reloader.add_node(managed("stamp-1", 1), Author::default()).await.expect_err("the file's");
    assert!(matches!(error, ReloadError::Declared { .. }));
    let error = rig.reloader.remove_node("stamp-1", Author::default()).await.expect_err("the file's");
    assert!(error.to_string().contains("is changed there"), "{error}");
    let error = rig.reloader.replace_node(managed("a", 1), Author::default()).await.expect_err("not there");
    assert!(matches!(error, ReloadError::UnknownNode { .. }));
    rig.reloader.add_node(managed("a", 1), Author::default()).await.expect("legal");
    let error = rig.reloader.add_node(managed("a", 2), Author::default()).await.expect_err("it is there");
    assert!(matches!(error, ReloadError::NodeExists { .. }));
    let error = rig.reloader.add_node(managed("b c", 2), Author::default()).await.expect_err("no name");
    assert!(matches!(&error, ReloadError::Faulty(faults) if faults[0].key == "managed.b c.name"), "{error:?}");
    let changed = rig.reloader.replace_node(managed("a", 2), Author::default()).await.expect("legal");
    assert_eq!(changed.nodes_changed.len(), 1);
    assert_eq!(rig.recorded.applies.load(SeqCst), 2, "what was refused reached nobody");
    let place = rig.end().await;
    let text = format!("{}[[node]]\nname = \"a\"\nurl = \"http://x:1\"\n", stamped(1));
    let (store, file) = (
        Store::open(&StorageConfig::at(place.path().join("x.redb"))).expect("a database"),
        ConfigFile::new(place.path().join("o.toml"), defaults(place.path())),
    );
    let config = file.check(&text).expect("legal by itself");
    let error = Worker::begin(config, Arc::from(text), Some(&file), &store).await.expect_err("two owners");
    assert!(error.told().contains("the file declares the node `a`"), "{}", error.told());
}

#[tokio::test]
async fn a_file_that_changes_is_read_and_one_that_vanishes_or_is_cut_changes_nothing() {
    let watched = |stamp| stamped(stamp).replace("config_watch = false\n", "");
    let rig = Rig::start(&watched(1)).await;
    rig.write(&watched(2));
    let seen = rig.until("the file's change", |snapshot| snapshot.config.server.body_bytes_max == 1026).await;
    rig.write("");
    std::fs::remove_file(rig.file()).expect("it is there");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(rig.reloader.snapshot(), seen);
    rig.write(&watched(3));
    rig.until("the file is back", |snapshot| snapshot.config.server.body_bytes_max == 1027).await;
    rig.end().await;
}

/// The database hangs while a node is added: the answer says that it is not known what became of it. What is in force
/// has no such node, and neither has it after a restart.
#[tokio::test]
async fn a_change_that_the_database_did_not_confirm_does_not_come_back_with_a_restart() {
    let place = tempfile::tempdir().expect("a folder");
    std::fs::write(place.path().join("o.toml"), stamped(1)).expect("room");
    let (store, disk) = SlowDisk::open(&storage(&place));
    let rig = Rig::start_on(place, store).await;
    disk.hang(true);
    tokio::time::pause();
    let error = rig.reloader.add_node(managed("a", 1), Author::default()).await.expect_err("no answer");
    assert!(matches!(error, ReloadError::Store(StoreError::TimedOut { .. })), "{error}");
    tokio::time::resume();
    disk.hang(false);
    assert_eq!(names(&rig), ["stamp-1"]);
    rig.until("it is settled", |snapshot| snapshot.generation == 2).await;
    let kept = rig.store.configurations().await.expect("read");
    let told: Vec<_> = kept.iter().map(|kept| (kept.generation, kept.cause.as_str(), kept.managed.len())).collect();
    assert_eq!(told, [(1, "start", 0), (2, "undo", 0)]);
    let rig = Rig::start_in(rig.end().await, None).await;
    assert_eq!((rig.reloader.snapshot().generation, names(&rig)), (2, vec!["stamp-1".to_owned()]));
    let added = rig.reloader.add_node(managed("a", 1), Author::default()).await.expect("free");
    assert_eq!(added.generation, 3);
    rig.end().await;
}

/// The watch of the file begins and ends with what the file says.
#[tokio::test]
async fn config_watch_counts_from_when_it_is_applied() {
    let rig = Rig::start(&stamped(1)).await;
    let watched = |stamp| stamped(stamp).replace("config_watch = false", "config_watch = true");
    let is_at = |stamp: u64| move |seen: &Snapshot| seen.config.server.body_bytes_max as u64 == 1024 + stamp;
    rig.write(&stamped(2));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(is_at(1)(&rig.reloader.snapshot()), "nobody looks");
    rig.write(&watched(3));
    let applied = rig.reloader.reload(Author::default()).await.expect("legal");
    assert!(applied.settings.contains(&"server.config_watch"), "{applied:?}");
    for stamp in [4, 5] {
        rig.write(&watched(stamp));
        rig.until("it is seen by itself", is_at(stamp)).await;
    }
    rig.write(&stamped(6));
    rig.until("that is seen as well", is_at(6)).await;
    rig.write(&stamped(7));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(is_at(6)(&rig.reloader.snapshot()), "nobody looks any more");
    rig.end().await;
}

/// What lies with the file is told until the file is right again, and no change of a node takes it away.
#[tokio::test]
async fn why_the_file_is_not_in_force_is_known_until_it_is() {
    let rig = Rig::start(&stamped(1)).await;
    assert_eq!(rig.reloader.fault(), None);
    rig.write("[server]\nlisten = 1\n");
    assert!(rig.reloader.reload(Author::default()).await.is_err());
    rig.reloader.add_node(managed("a", 1), Author::default()).await.expect("legal");
    assert!(rig.reloader.add_node(managed("a", 1), Author::default()).await.is_err());
    let fault = rig.reloader.fault().expect("told");
    assert!(fault.contains("server.listen: it is a whole number"), "{fault}");
    rig.write(&stamped(2));
    rig.reloader.reload(Author::default()).await.expect("legal");
    assert_eq!(rig.reloader.fault(), None);
    let settings = rig.recorded.settings.lock().expect("whole").clone().expect("handed on");
    assert_eq!(settings, rig.reloader.snapshot().config, "who keeps settings was told of them");
    rig.end().await;
}
