//! Kill -9 while writing. The child is this test binary again, running only [`child_that_writes_until_it_is_killed`].

use super::*;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const PLACE: &str = "OMNIVISOR_TEST_STORE";
const CHILD: &str = "store::tests::crash::child_that_writes_until_it_is_killed";
/// Kills. The file grows from one to the next.
const ROUNDS: u64 = 200;
/// Records that are acknowledged before each kill, and up to so many more.
const RECORDS: u64 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Ok(path) = std::env::var(PLACE) else { return };
    let store = Store::open(&StorageConfig::at(path.into())).unwrap();
    let writers = (0..16).map(|writer| {
        let store = store.clone();
        async move {
            for n in 0_u64.. {
                let reason = format!("{}.{writer}.{n}", std::process::id());
                store.append_audit(audit(&reason)).await.unwrap();
                let line = format!("acknowledged {reason}\n");
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
}

#[tokio::test]
async fn a_kill_while_writing_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let mut acknowledged = HashSet::new();
    for round in 1..=ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture", "--test-threads", "1"])
            .env(PLACE, place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            // Another line of the test binary may stand before the first one.
            let Some((_, reason)) = line.split_once("acknowledged ") else { continue };
            acknowledged.insert(reason.to_owned());
            seen += 1;
            if seen == RECORDS + round % RECORDS {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= RECORDS, "the child ended by itself after {seen} records");
        let store = place.open();
        let kept = everything(&store).await;
        let verdict = store.verify_audit(None).await.unwrap();
        assert_eq!(verdict.fault, None, "round {round}");
        assert_eq!(u64::try_from(kept.len()).unwrap(), verdict.records, "no record twice");
        let lost = acknowledged.iter().filter(|reason| !kept.contains(*reason)).count();
        assert_eq!(lost, 0, "round {round}: {} were acknowledged", acknowledged.len());
    }
    println!("{ROUNDS} kills: {} acknowledged, none lost", acknowledged.len());
}

async fn everything(store: &Store) -> HashSet<String> {
    let mut kept = HashSet::new();
    let (filter, order) = (AuditFilter::default(), AuditOrder::OldestFirst);
    let mut query = AuditQuery { filter, order, cursor: None, limit: AUDIT_PAGE_MAX };
    loop {
        let page = store.audit(query.clone()).await.unwrap();
        kept.extend(page.entries.into_iter().map(|entry| entry.record.reason));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return kept;
        }
    }
}
