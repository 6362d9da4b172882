//! Kill -9 while writing. The child is this test binary again, running only [`child_that_writes_until_it_is_killed`].

use super::*;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const PLACE: &str = "OMNIVISOR_TEST_STORE";
const CHILD: &str = "store::tests::crash::child_that_writes_until_it_is_killed";
const ROUNDS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Ok(path) = std::env::var(PLACE) else { return };
    let store = Store::open(&StorageConfig { path: path.into() }).unwrap();
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
            if seen == 50 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 50 * round, "the child ended by itself after {seen} records");
        let store = place.open();
        let kept: HashSet<_> = reasons(&store).await.into_iter().collect();
        let total = store.recent_audit(1).await.unwrap()[0].number;
        let newest = total.min(u64::try_from(AUDIT_READ_MAX).unwrap());
        assert_eq!(u64::try_from(kept.len()).unwrap(), newest, "no record twice");
        let lost = acknowledged.iter().filter(|reason| !store_has(&store, reason)).count();
        println!("round {round}: {} acknowledged so far, {total} in the file, {lost} lost", acknowledged.len());
        assert_eq!(lost, 0);
    }
}

fn store_has(store: &Store, reason: &str) -> bool {
    let found = store.shared.snapshots.read(|txn| {
        use redb::ReadableTable;
        let table = txn.open_table(tables::AUDIT)?;
        for pair in table.iter()?.rev() {
            let (_, value) = pair?;
            if String::from_utf8_lossy(value.value()).contains(&format!("\"{reason}\"")) {
                return Ok(true);
            }
        }
        Ok(false)
    });
    found.unwrap()
}
