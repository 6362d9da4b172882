//! The audit as a log that only grows: pages of it, its chain, its end by age.

use super::*;
use crate::model::Glob;
use crate::store::tables::{AUDIT, META};
use proptest::prelude::*;
use redb::ReadableTable;
use std::collections::BTreeSet;

fn record(second: u64, who: &str, what: &str, outcome: AuditOutcome) -> AuditRecord {
    AuditRecord { at: at(second), who: who.into(), what: what.into(), outcome, ..audit("") }
}

fn query(order: AuditOrder, limit: usize) -> AuditQuery {
    AuditQuery { filter: AuditFilter::default(), order, cursor: None, limit }
}

/// All pages, put together.
async fn pages(store: &Store, mut query: AuditQuery) -> Vec<AuditEntry> {
    let mut all = Vec::new();
    loop {
        let page = store.audit(query.clone()).await.unwrap();
        assert!(page.entries.len() <= query.limit);
        all.extend(page.entries);
        let Some(next) = page.next else { return all };
        query.cursor = Some(next.to_string().parse().unwrap());
    }
}

/// Works on the file as somebody would who has no business there.
fn tamper(place: &Place, with: impl FnOnce(&redb::WriteTransaction)) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(place.path()).unwrap();
    let database = disk::open_file(file, disk::Access::Write).unwrap();
    let txn = database.begin_write().unwrap();
    with(&txn);
    txn.commit().unwrap();
}

fn key_of(txn: &redb::WriteTransaction, number: usize) -> [u8; 16] {
    let table = txn.open_table(AUDIT).unwrap();
    table.iter().unwrap().nth(number - 1).unwrap().unwrap().0.value()
}

#[tokio::test]
async fn pages_hold_what_the_filter_wants_in_both_orders_while_records_are_added() {
    let place = Place::new();
    let store = place.open();
    for n in 0..60_u64 {
        let who = ["ann", "bob", "ann-2"][usize::try_from(n % 3).unwrap()];
        let what = if n % 2 == 0 { "process.stop" } else { "session.login" };
        let outcome = AuditOutcome::ALL[usize::try_from(n % 5).unwrap()];
        store.append_audit(record(n, who, what, outcome)).await.unwrap();
    }
    let everything = pages(&store, query(AuditOrder::OldestFirst, 7)).await;
    assert_eq!(everything.iter().map(|entry| entry.number).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
    let filters = [
        AuditFilter { who: Some(Glob::new("ann*")), ..AuditFilter::default() },
        AuditFilter { what: Some(Glob::new("*.stop")), outcome: Some(AuditOutcome::Failed), ..AuditFilter::default() },
        AuditFilter { since: Some(at(10)), until: Some(at(20)), ..AuditFilter::default() },
        AuditFilter { since: Some(at(20)), until: Some(at(10)), ..AuditFilter::default() },
        AuditFilter { request_id: Some("r1".into()), target: Some(Glob::new("web-*")), ..AuditFilter::default() },
        AuditFilter { request_id: Some("r".into()), ..AuditFilter::default() },
    ];
    for filter in filters {
        let fits = |glob: &Option<Glob>, text: &str| glob.as_ref().is_none_or(|glob| glob.matches(text));
        let naive: Vec<_> = everything
            .iter()
            .filter(|entry| fits(&filter.who, &entry.record.who) && fits(&filter.what, &entry.record.what))
            .filter(|entry| filter.outcome.is_none_or(|outcome| outcome == entry.record.outcome))
            .filter(|entry| filter.request_id.as_ref().is_none_or(|id| *id == entry.record.request_id))
            .filter(|entry| filter.since.is_none_or(|since| entry.record.at >= since))
            .filter(|entry| filter.until.is_none_or(|until| entry.record.at < until))
            .cloned()
            .collect();
        let mut found = pages(&store, AuditQuery { filter: filter.clone(), ..query(AuditOrder::NewestFirst, 4) }).await;
        found.reverse();
        assert_eq!(found, naive, "{filter:?}");
        assert_eq!(pages(&store, AuditQuery { filter, ..query(AuditOrder::OldestFirst, 4) }).await, naive);
    }
    // What is added behind a cursor that goes back is not in its pages; one that goes on finds it.
    let back = store.audit(query(AuditOrder::NewestFirst, 50)).await.unwrap();
    let on = store.audit(query(AuditOrder::OldestFirst, 50)).await.unwrap();
    store.append_audit(record(61, "eve", "session.login", AuditOutcome::Done)).await.unwrap();
    let back = AuditQuery { cursor: back.next, ..query(AuditOrder::NewestFirst, 50) };
    let on = AuditQuery { cursor: on.next, ..query(AuditOrder::OldestFirst, 50) };
    assert_eq!(pages(&store, back).await.iter().map(|entry| entry.number).max(), Some(10));
    assert_eq!(pages(&store, on).await.iter().map(|entry| entry.number).max(), Some(61));
}

#[tokio::test]
async fn a_page_ends_after_so_many_records_were_looked_at_and_says_where_to_go_on() {
    let place = Place::new();
    let store = place.open();
    let more = 50;
    // No more at once than the queue takes.
    for _ in 0..(AUDIT_SCAN_MAX + more).div_ceil(500) {
        let written = futures_util::future::join_all((0..500).map(|_| store.append_audit(audit("")))).await;
        assert!(written.iter().all(Result::is_ok));
    }
    let filter = AuditFilter { who: Some(Glob::new("nobody")), ..AuditFilter::default() };
    let asked = AuditQuery { filter, ..query(AuditOrder::OldestFirst, 10) };
    let page = store.audit(asked.clone()).await.unwrap();
    assert!(page.entries.is_empty() && page.next.is_some());
    let rest = store.audit(AuditQuery { cursor: page.next, ..asked }).await.unwrap();
    assert_eq!(rest, AuditPage { entries: vec![], next: None });
}

#[test]
fn cursors_are_read_as_they_are_shown_and_nothing_else_is() {
    for odd in ["", "0", "+0000000000000000000000000000000", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33)] {
        assert_eq!(odd.parse::<AuditCursor>(), Err(()), "{odd}");
    }
    let text = "0123456789abcdef0123456789abcdef";
    assert_eq!(text.parse::<AuditCursor>().unwrap().to_string(), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any record that is changed, removed, exchanged or cut off shows, and nothing shows where nothing was done.
    #[test]
    fn whatever_is_done_to_the_audit_shows(
        count in 2..20_usize, which in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), how in 0..5_u8,
        byte in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let place = Place::new();
        runtime.block_on(async {
            let store = place.open();
            for n in 0..count {
                store.append_audit(audit(format!("number {n}"))).await.unwrap();
            }
            let verdict = store.verify_audit(None).await.unwrap();
            prop_assert_eq!((verdict.records, verdict.head.number, verdict.fault), (count as u64, count as u64, None));
            store.close().await.unwrap();
            Ok(())
        })?;
        let (which, other) = (which.index(count) + 1, other.index(count) + 1);
        prop_assume!(how != 2 || which != other);
        tamper(&place, |txn| {
            let (one, another) = (key_of(txn, which), key_of(txn, other));
            let mut table = txn.open_table(AUDIT).unwrap();
            let mut value = table.get(one).unwrap().unwrap().value().to_vec();
            match how {
                0 => {
                    let at = byte.index(value.len());
                    value[at] ^= 1;
                    table.insert(one, value.as_slice()).unwrap();
                }
                1 => drop(table.remove(one).unwrap()),
                2 => {
                    let second = table.get(another).unwrap().unwrap().value().to_vec();
                    table.insert(another, value.as_slice()).unwrap();
                    table.insert(one, second.as_slice()).unwrap();
                }
                3 => table.retain(|key, _| key < one).unwrap(),
                // A record of one's own, well made but for its link.
                _ => drop(table.insert((u128::from_be_bytes(one) + 1).to_be_bytes(), value.as_slice()).unwrap()),
            }
        });
        runtime.block_on(async {
            let store = place.open();
            let verdict = store.verify_audit(None).await.unwrap();
            prop_assert!(verdict.fault.is_some(), "{how} {which} {other}: {verdict:?}");
            let fault = format!("{}", verdict.fault.unwrap());
            prop_assert!(fault.contains("record"), "{fault}");
            store.close().await.unwrap();
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_mark_that_was_noted_tells_a_chain_that_was_made_anew() {
    let place = Place::new();
    let store = place.open();
    for n in 0..3 {
        store.append_audit(audit(format!("{n}"))).await.unwrap();
    }
    let noted = store.verify_audit(None).await.unwrap().head;
    store.append_audit(audit("later")).await.unwrap();
    assert_eq!(store.verify_audit(Some(noted)).await.unwrap().fault, None);
    let ahead = AuditMark { number: 9, ..noted };
    assert_eq!(store.verify_audit(Some(ahead)).await.unwrap().fault, Some(AuditFault::NotThere(9)));
    let before_all = AuditMark { number: 0, link: AuditLink::ORIGIN };
    assert_eq!(store.verify_audit(Some(before_all)).await.unwrap().fault, None);
    store.close().await.unwrap();

    // Somebody who knows how it is done writes another history, whole in itself.
    let other = Place::new();
    let store = other.open();
    for n in 0..4 {
        store.append_audit(audit(format!("other {n}"))).await.unwrap();
    }
    assert_eq!(store.verify_audit(None).await.unwrap().fault, None);
    assert_eq!(store.verify_audit(Some(noted)).await.unwrap().fault, Some(AuditFault::NotAsNoted(3)));
}

#[tokio::test]
async fn records_end_by_their_age_alone_and_the_end_is_a_record_and_numbers_go_on() {
    let place = Place::new();
    let store = place.open();
    for n in 0..10 {
        store.append_audit(record(n, "ann", "x.y", AuditOutcome::Done)).await.unwrap();
    }
    let noted = store.verify_audit(None).await.unwrap().head;
    assert_eq!(store.purge_audit(at(0), at(100)).await.unwrap(), 0);
    assert_eq!(store.recent_audit(1).await.unwrap()[0].number, 10, "what removes nothing leaves no record");
    assert_eq!(store.purge_audit(at(4), at(100)).await.unwrap(), 4);
    let all = pages(&store, query(AuditOrder::OldestFirst, 100)).await;
    assert_eq!(all.iter().map(|entry| entry.number).collect::<Vec<_>>(), (5..=11).collect::<Vec<_>>());
    let told = &all.last().unwrap().record;
    assert_eq!((told.what.as_str(), told.target.as_str(), told.at), ("audit.retention", "1-4", at(100)));
    let verdict = store.verify_audit(Some(noted)).await.unwrap();
    assert_eq!((verdict.records, verdict.removed.number, verdict.head.number, verdict.fault), (7, 4, 11, None));
    store.close().await.unwrap();

    let store = place.open();
    assert_eq!(store.purge_audit(at(1_000), at(1_001)).await.unwrap(), 7);
    store.append_audit(record(1_002, "ann", "x.y", AuditOutcome::Done)).await.unwrap();
    let left: Vec<_> =
        pages(&store, query(AuditOrder::OldestFirst, 9)).await.iter().map(|entry| entry.number).collect();
    assert_eq!(left, [12, 13]);
    assert_eq!(store.verify_audit(None).await.unwrap().fault, None);
}

#[tokio::test]
async fn a_database_of_schema_2_is_chained_as_it_is_when_it_is_opened() {
    let place = Place::new();
    let store = place.open();
    for n in 0..5 {
        store.append_audit(audit(format!("old {n}"))).await.unwrap();
    }
    let before = pages(&store, query(AuditOrder::OldestFirst, 9)).await;
    store.close().await.unwrap();
    tamper(&place, |txn| {
        let mut meta = txn.open_table(META).unwrap();
        meta.insert("schema", 2_u32.to_be_bytes().as_slice()).unwrap();
        meta.retain(|key, _| !key.starts_with("audit-")).unwrap();
        let mut table = txn.open_table(AUDIT).unwrap();
        let keys: BTreeSet<_> = table.iter().unwrap().map(|pair| pair.unwrap().0.value()).collect();
        for key in keys {
            let value = table.get(key).unwrap().unwrap().value().to_vec();
            // As schema 2 wrote it: the byte of the encoding, then the text.
            table.insert(key, [&[1][..], &value[33..]].concat().as_slice()).unwrap();
        }
    });
    let store = place.open();
    assert_eq!(pages(&store, query(AuditOrder::OldestFirst, 9)).await, before, "the same records, and the same links");
    store.append_audit(audit("new")).await.unwrap();
    let verdict = store.verify_audit(None).await.unwrap();
    assert_eq!((verdict.records, verdict.head.number, verdict.fault), (6, 6, None));
}

#[tokio::test]
async fn a_copy_holds_all_that_was_acknowledged_before_it_began_and_can_be_put_back() {
    let place = Place::new();
    let store = place.open();
    store.create_account(account("ann"), None, audit("account")).await.unwrap();
    store.put_session(ID, session(), audit("session")).await.unwrap();
    let role = CustomRole { name: "deploy".into(), actions: vec!["process.read".into()], revision: 1 };
    store.put_role(role.clone(), None, None, audit("role")).await.unwrap();
    let key = store.artefact_key().await.unwrap();
    let path = place.directory.path().join("copy.redb");
    let known = store.recent_audit(1).await.unwrap()[0].number;
    // Written to without a pause while the copy is made.
    let writes = async {
        for n in 0..200 {
            store.append_audit(audit(format!("beside {n}"))).await.unwrap();
        }
    };
    let (facts, ()) = tokio::join!(store.back_up(path.clone()), writes);
    let facts = facts.unwrap();
    assert_eq!((facts.instance.as_str(), facts.accounts, facts.audit.fault), (store.instance_id(), 1, None));
    assert!(facts.audit.head.number >= known, "{facts:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(inspect(&path).unwrap(), facts, "looking into it changes nothing");
    assert!(matches!(store.back_up(path.clone()).await, Err(StoreError::Open { .. })), "no file is overwritten");

    let put_back = || restore(&path, &place.config(), audit("restored"));
    assert!(matches!(put_back(), Err(StoreError::Locked { .. })), "not under a server that runs");
    let instance = store.instance_id().to_owned();
    store.create_account(account("bob"), None, audit("after the copy")).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let restored = put_back().unwrap();
    assert_eq!((restored.sessions_ended, &restored.facts), (1, &facts));
    let store = place.open();
    assert_eq!(store.instance_id(), instance);
    assert!(store.account("ann").unwrap().is_some() && store.account("bob").unwrap().is_none());
    assert_eq!(store.session(ID).unwrap(), None, "it may have ended since");
    assert_eq!(store.role("deploy").unwrap(), Some(role));
    assert_eq!(store.artefact_key().await.unwrap(), key);
    let newest = &store.recent_audit(1).await.unwrap()[0];
    assert_eq!((newest.number, newest.record.reason.as_str()), (facts.audit.head.number + 1, "restored"));
    assert_eq!(store.verify_audit(Some(facts.audit.head)).await.unwrap().fault, None);
    // What was there before is whole, beside it.
    assert_eq!(inspect(&restored.aside.unwrap()).unwrap().accounts, 2);
}

#[tokio::test]
async fn what_is_no_whole_copy_is_not_put_back_and_changes_nothing() {
    let place = Place::new();
    let store = place.open();
    for n in 0..3 {
        store.append_audit(audit(format!("{n}"))).await.unwrap();
    }
    let path = place.directory.path().join("copy.redb");
    store.back_up(path.clone()).await.unwrap();
    store.close().await.unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let good = std::fs::read(&path).unwrap();
    let other = Place { directory: TempDir::new().unwrap() };
    std::fs::create_dir_all(other.path().parent().unwrap()).unwrap();
    std::fs::copy(&path, other.path()).unwrap();
    tamper(&other, |txn| {
        let key = key_of(txn, 2);
        txn.open_table(AUDIT).unwrap().remove(key).unwrap();
    });
    let broken = [
        Vec::new(),
        b"no database at all".to_vec(),
        good[..good.len() / 2].to_vec(),
        std::fs::read(other.path()).unwrap(),
    ];
    for bytes in broken {
        std::fs::write(&path, &bytes).unwrap();
        let refused = restore(&path, &place.config(), audit("restored"));
        assert!(refused.is_err(), "{} bytes: {refused:?}", bytes.len());
        assert_eq!(std::fs::read(place.path()).unwrap(), before, "{} bytes", bytes.len());
    }
    let left: Vec<_> = std::fs::read_dir(place.path().parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
}

#[tokio::test]
async fn a_copy_knows_every_table() {
    let place = Place::new();
    let store = place.open();
    let path = place.directory.path().join("copy.redb");
    let facts = store.back_up(path.clone()).await.unwrap();
    assert_eq!(facts.audit.records, 0);
    store.close().await.unwrap();
    tamper(&place, |txn| {
        let table = redb::TableDefinition::<u64, u64>::new("from_the_future");
        txn.open_table(table).unwrap().insert(1, 2).unwrap();
    });
    let store = place.open();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(store.back_up(path.clone()).await, Err(StoreError::Damaged { .. })));
    assert!(!path.exists(), "a copy that failed is removed");
    store.append_audit(audit("the store is in use as ever")).await.unwrap();
}
