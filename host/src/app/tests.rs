//! The order of the end, with tasks of every kind that take their time.

use crate::app::build::End;
use crate::app::shutdown::Ended;
use crate::config::{Defaults, MachineSecrets, StorageConfig, check};
use crate::store::{AuditOutcome, AuditRecord, Store};
use crate::task::{Stage, TaskKind, Tasks};
use proptest::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

fn record(what: String) -> AuditRecord {
    AuditRecord {
        at: SystemTime::UNIX_EPOCH,
        who: String::new(),
        what,
        target: String::new(),
        outcome: AuditOutcome::Done,
        reason: String::new(),
        request_id: String::new(),
        address: None,
    }
}

/// Each task lingers after it was told to end, and then writes down that it has: a request while nodes can still be
/// asked, everything while the store takes it. Gives what went wrong.
async fn end(plan: &[(usize, u64)]) -> Result<(), TestCaseError> {
    let place = tempfile::tempdir().expect("a folder");
    let storage = StorageConfig::at(place.path().join("x.redb"));
    let defaults = Defaults { storage_path: "/x".into(), plugins_directory: "/p".into(), cache_directory: "/c".into() };
    let server = check("# defaults", &MachineSecrets, Path::new("/"), &defaults).expect("legal").server;
    let (tasks, stop, stop_owners) = (Tasks::new(), CancellationToken::new(), CancellationToken::new());
    let (store, faults) = (Store::open(&storage).expect("a database"), Arc::<Mutex<Vec<String>>>::default());
    for (index, (kind, lingers)) in plan.iter().enumerate() {
        let (kind, lingers) = (TaskKind::ALL[*kind], Duration::from_millis(*lingers));
        let (store, faults, stop, stop_owners) =
            (store.clone(), Arc::clone(&faults), stop.clone(), stop_owners.clone());
        tasks.group(kind).named(&index.to_string(), async move {
            match kind.stage() {
                Stage::Edge => stop.cancelled().await,
                Stage::Core => stop_owners.cancelled().await,
            }
            tokio::time::sleep(lingers).await;
            let fault = |what: &str| faults.lock().expect("whole").push(format!("{kind} {index}: {what}"));
            if kind.stage() == Stage::Edge && stop_owners.is_cancelled() {
                fault("the nodes were given up while a request might wait for them");
            }
            if let Err(error) = store.append_audit(record(format!("{kind} {index}"))).await {
                fault(&format!("what it wrote last is lost: {error}"));
            }
        });
    }
    stop.cancel();
    let ended = End { tasks: tasks.clone(), stop_owners, running: None, store }.come(&server).await;
    prop_assert_eq!(&*faults.lock().expect("whole"), &[""; 0]);
    prop_assert_eq!((ended, tasks.left()), (Ended::Clean, (0, vec![])));
    let written = Store::open(&storage).expect("it is closed").recent_audit(1_000).await.expect("read");
    prop_assert_eq!(written.len(), plan.len(), "each wrote its last word");
    Ok(())
}

proptest! {
    // Each case opens a database of its own: an eighth of the usual number, 32 in CI and 2,500 in the long run.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn p06_every_stage_is_waited_for_in_its_order(
        plan in prop::collection::vec((0..TaskKind::ALL.len(), 0..40_u64), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(end(&plan))?;
    }
}
