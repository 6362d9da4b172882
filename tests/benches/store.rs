//! What a durable record of the audit costs, and what reading and copying cost beside it.
//!
//! The limit is a bare append with `fdatasync`, which no durable record can beat by itself; many that share one can.

use omnivisor::config::StorageConfig;
use omnivisor::store::{AuditFilter, AuditOrder, AuditOutcome, AuditQuery, AuditRecord, Store};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

const SECONDS: u64 = 3;
const CALLERS: [usize; 4] = [1, 8, 64, 256];

fn main() -> anyhow::Result<()> {
    let place = tempfile::TempDir::new()?;
    println!("{:<44} {:>12} {:>10} {:>10}", "store", "a second", "p50", "p99");
    let limit = bare(place.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    runtime.block_on(async {
        let store = Store::open(&StorageConfig::at(place.path().join("bench.redb")))?;
        for callers in CALLERS {
            let rate = appends(&store, callers).await?;
            println!("{:<44} {:>11.1}x", "  of the bare append", rate / limit);
        }
        reads(&store).await?;
        let started = Instant::now();
        let facts = store.back_up(place.path().join("copy.redb")).await?;
        let records = facts.audit.records;
        println!("{:<44} {:>12}", format!("copy with {records} records, looked through"), show(started.elapsed()));
        let started = Instant::now();
        let verdict = store.verify_audit(Some(facts.audit.head)).await?;
        anyhow::ensure!(verdict.fault.is_none(), "{verdict:?}");
        println!("{:<44} {:>12}", format!("chain of {} records verified", verdict.records), show(started.elapsed()));
        let done = store.compact().await?;
        let label =
            format!("{} records compacted, {} to {} MiB", records, mib(done.before_bytes), mib(done.after_bytes));
        println!("{label:<44} {:>12}", show(done.took));
        store.close().await?;
        Ok(())
    })
}

/// 4 KiB and a sync each.
fn bare(folder: &Path) -> anyhow::Result<f64> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("bare"))?;
    let (block, mut times) = (vec![7; 4_096], Vec::new());
    let ends = Instant::now() + Duration::from_secs(SECONDS);
    while Instant::now() < ends {
        let started = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    Ok(row("bare append of 4 KiB and fdatasync", times, Duration::from_secs(SECONDS)))
}

/// Callers that each wait for their record to be on the disk before they write the next.
async fn appends(store: &Store, callers: usize) -> anyhow::Result<f64> {
    let started = Instant::now();
    let ends = started + Duration::from_secs(SECONDS);
    let tracker = TaskTracker::new();
    let tasks: Vec<_> = (0..callers).map(|caller| tracker.spawn(append(store.clone(), caller, ends))).collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(row(&format!("durable records, {callers} callers"), times, started.elapsed()))
}

async fn append(store: Store, caller: usize, ends: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < ends {
        let record = AuditRecord {
            at: SystemTime::now(),
            who: format!("caller-{caller}"),
            what: "process.restart".into(),
            target: "web-1/web:web_00".into(),
            outcome: AuditOutcome::Done,
            reason: String::new(),
            request_id: "0123456789abcdef".into(),
            address: Some([10, 0, 0, 7].into()),
        };
        let started = Instant::now();
        store.append_audit(record).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// Pages of the newest hundred, alone and while 64 callers write.
async fn reads(store: &Store) -> anyhow::Result<()> {
    for (label, writers) in [("pages of 100, alone", 0), ("pages of 100, while 64 callers write", 64)] {
        let started = Instant::now();
        let ends = started + Duration::from_secs(SECONDS);
        let tracker = TaskTracker::new();
        let tasks: Vec<_> = (0..writers).map(|caller| tracker.spawn(append(store.clone(), caller, ends))).collect();
        let mut times = Vec::new();
        while Instant::now() < ends {
            let started = Instant::now();
            let (filter, order) = (AuditFilter::default(), AuditOrder::NewestFirst);
            let page = store.audit(AuditQuery { filter, order, cursor: None, limit: 100 }).await?;
            anyhow::ensure!(page.entries.len() == 100, "a page of {}", page.entries.len());
            times.push(started.elapsed());
        }
        for task in tasks {
            task.await??;
        }
        row(label, times, started.elapsed());
    }
    Ok(())
}

fn row(label: &str, mut times: Vec<Duration>, took: Duration) -> f64 {
    times.sort_unstable();
    let rate = times.len() as f64 / took.as_secs_f64();
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    let shown = |share| at(share).map_or_else(String::new, |time| show(*time));
    println!("{label:<44} {rate:>12.0} {:>10} {:>10}", shown(0.5), shown(0.99));
    rate
}

const fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

fn show(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}
