use crate::store::apply::{self, Change};
use crate::store::audit::AuditRecord;
use crate::store::compact::Compaction;
use crate::store::disk::{Disk, Exchange, Opener, Passing};
use crate::store::error::{is_full, is_read_only};
use crate::store::seal::Sealer;
use crate::store::snapshot::Snapshots;
use crate::store::{StoreCondition, StoreError, WRITES_MAX, backup};
use redb::{Database, ReadTransaction};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How long a batch is held, once, for those that came with the one before, where less than half of them are there: a commit,
/// which takes several times as long, would have the others wait for two.
const GATHER: Duration = Duration::from_micros(50);

/// What the writer thread is asked.
pub(super) enum Order {
    /// Boxed, because a queue of large orders is a large queue.
    Write(Box<Write>),
    /// Answered once the file is smaller.
    Compact(oneshot::Sender<Result<Compaction, StoreError>>),
    /// Answered once the file is closed.
    Close(oneshot::Sender<()>),
}

/// One caller's write: a change, and a record that is appended if the change changed something. Both or neither.
pub(super) struct Write {
    pub(super) change: Option<Change>,
    pub(super) audit: Option<AuditRecord>,
    /// Told how many records the change touched. `None` for hints that nobody waits for.
    pub(super) reply: Option<oneshot::Sender<Result<u64, StoreError>>>,
}

struct Writer {
    disk: Disk,
    snapshots: Arc<Snapshots>,
    inbox: mpsc::Receiver<Order>,
    /// The failure after which no write is tried any more.
    broken: Option<Arc<redb::Error>>,
    /// The file before the last compaction, until its last reader has ended.
    retired: Option<Retired>,
    /// Writes of the batch before. All of them were told at the same time, and who has more comes back at once.
    came_before: usize,
}

struct Retired {
    _database: Database,
    readers: Weak<ReadTransaction>,
}

/// Starts the writer thread, which opens the file itself: the engine may panic on a file damaged from outside, and a
/// thread that ends without an answer is such a file's plain error.
pub(super) fn start(
    path: PathBuf,
    opener: Box<dyn Opener>,
    sealer: Option<Arc<Sealer>>,
    inbox: mpsc::Receiver<Order>,
) -> Result<(Arc<Snapshots>, String, JoinHandle<()>), StoreError> {
    let (report, opened) = std::sync::mpsc::sync_channel(1);
    let thread = {
        let path = path.clone();
        std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            match Writer::open(path, opener, sealer.as_deref(), inbox) {
                Ok((writer, instance)) => {
                    if report.send(Ok((Arc::clone(&writer.snapshots), instance))).is_ok() {
                        writer.run();
                    }
                }
                Err(error) => drop(report.send(Err(error))),
            }
        })
    };
    let thread = thread.map_err(|source| StoreError::Open { path: path.clone(), source })?;
    let (snapshots, instance) = opened.recv().unwrap_or(Err(StoreError::Damaged { path, source: None }))?;
    Ok((snapshots, instance, thread))
}

impl Writer {
    fn open(
        path: PathBuf,
        opener: Box<dyn Opener>,
        sealer: Option<&Sealer>,
        inbox: mpsc::Receiver<Order>,
    ) -> Result<(Self, String), StoreError> {
        let (disk, instance) = Disk::open(path.clone(), opener, sealer)?;
        let snapshot = disk.snapshot();
        let snapshot = snapshot.map_err(|source| StoreError::Damaged { path, source: Some(Box::new(source)) })?;
        let snapshots = Arc::<Snapshots>::default();
        drop(snapshots.publish(snapshot));
        Ok((Self { disk, snapshots, inbox, broken: None, retired: None, came_before: 0 }, instance))
    }

    fn run(mut self) {
        let mut closed = None;
        while closed.is_none()
            && let Some(first) = self.inbox.blocking_recv()
        {
            let (mut batch, mut last) = (Vec::new(), None);
            let mut next = Some(first);
            let mut has_waited = false;
            while let Some(order) = next.take() {
                match order {
                    Order::Write(write) => batch.push(*write),
                    other @ (Order::Compact(_) | Order::Close(_)) => last = Some(other),
                }
                if last.is_none() && batch.len() < WRITES_MAX {
                    next = self.inbox.try_recv().ok();
                    if next.is_none() && !has_waited && batch.len() < self.came_before / 2 {
                        std::thread::park_timeout(GATHER);
                        (has_waited, next) = (true, self.inbox.try_recv().ok());
                    }
                }
            }
            self.came_before = batch.len();
            self.carry_out(batch);
            self.retired = self.retired.take().filter(|retired| retired.readers.strong_count() > 0);
            match last {
                Some(Order::Compact(reply)) => drop(reply.send(self.compact())),
                Some(Order::Close(reply)) => closed = Some(reply),
                Some(Order::Write(_)) | None => {}
            }
        }
        self.inbox.close();
        self.snapshots.close();
        drop((self.disk, self.retired));
        if let Some(reply) = closed {
            let _ = reply.send(());
        }
    }

    /// Commits a batch in one transaction and answers everyone in it.
    fn carry_out(&mut self, batch: Vec<Write>) {
        if batch.is_empty() {
            return;
        }
        let began = Instant::now();
        let committed = self.resume().and_then(|()| self.commit(&batch).map_err(|error| self.refuse(error)));
        match committed {
            Ok(results) => {
                self.snapshots.counters.committed(batch.len(), began.elapsed());
                batch.into_iter().zip(results).for_each(|(write, result)| answer(write, result));
            }
            Err(refusal) => {
                self.snapshots.counters.failed(batch.len());
                batch.into_iter().for_each(|write| answer(write, Err(refusal.error())));
            }
        }
    }

    /// Whether writes may be tried. A disk that took none is asked again.
    fn resume(&mut self) -> Result<(), Refusal> {
        if let Some(cause) = &self.broken {
            return Err(Refusal::Broken(Arc::clone(cause)));
        }
        if self.snapshots.condition.get() != StoreCondition::ReadOnly {
            return Ok(());
        }
        let is_writable = self.disk.resume();
        self.snapshots.publish_reopened(self.disk.snapshot().ok());
        if is_writable { Ok(()) } else { Err(Refusal::ReadOnly) }
    }

    /// Writes everything into a new file, which takes the place of this one. Readers go on in the one that they read.
    fn compact(&mut self) -> Result<Compaction, StoreError> {
        self.resume().map_err(|refusal| refusal.error())?;
        if self.retired.is_some() {
            return Err(StoreError::ReadUnderWay);
        }
        let (began, before_bytes) = (Instant::now(), self.disk.bytes());
        let snapshot = self.disk.snapshot().map_err(|error| StoreError::Read { source: Box::new(error) })?;
        let exchanged = self.disk.exchange(|fresh| backup::copy_tables(&snapshot, fresh));
        drop(snapshot);
        let before = match exchanged {
            Ok(before) => before,
            Err(Exchange::Kept(error)) if is_full(&error) => return Err(StoreError::Full),
            Err(Exchange::Kept(error)) if is_read_only(&error) => return Err(StoreError::ReadOnly),
            Err(Exchange::Kept(error)) => return Err(StoreError::Read { source: Box::new(error) }),
            Err(Exchange::Unsure(error)) => return Err(self.refuse(error).error()),
        };
        let snapshot = self.disk.snapshot().map_err(|error| self.refuse(error).error())?;
        let readers = self.snapshots.publish(snapshot);
        self.retired = before.map(|database| Retired { _database: database, readers });
        Ok(Compaction { before_bytes, after_bytes: self.disk.bytes(), took: began.elapsed() })
    }

    /// What is acknowledged can be read: the new state is published before anyone is answered.
    fn commit(&mut self, batch: &[Write]) -> Result<apply::Results, redb::Error> {
        let results = apply::commit(self.disk.writable()?, batch)?;
        match self.disk.snapshot() {
            Ok(snapshot) => {
                drop(self.snapshots.publish(snapshot));
                self.snapshots.condition.set(StoreCondition::Good);
            }
            // The batch is on the disk all the same; only what comes after it is refused.
            Err(error) => drop(self.refuse(error)),
        }
        if batch.iter().filter_map(|write| write.change.as_ref()).any(Change::is_of_accounts) {
            self.snapshots.note_account_change();
        }
        Ok(results)
    }

    fn refuse(&mut self, error: redb::Error) -> Refusal {
        let passing = self.disk.recover(&error);
        self.snapshots.publish_reopened(self.disk.snapshot().ok());
        let error = Arc::new(error);
        let (condition, refusal, said) = match passing {
            Some(Passing::Full) => {
                (StoreCondition::Full, Refusal::Full, "the database's disk is full; writes are refused")
            }
            Some(Passing::ReadOnly) => {
                (StoreCondition::ReadOnly, Refusal::ReadOnly, "the database's disk takes no writes; they are refused")
            }
            None => {
                self.broken = Some(Arc::clone(&error));
                let refusal = Refusal::Broken(Arc::clone(&error));
                (StoreCondition::Broken, refusal, "a write failed; no more writes until a restart")
            }
        };
        // Each write is tried; that it fails as the one before is told to its caller alone.
        if self.snapshots.condition.replace(condition) != condition {
            tracing::error!(error = error.as_ref() as &dyn std::error::Error, "{said}");
        }
        refusal
    }
}

/// Why a whole batch failed; each of its callers gets an error of its own.
enum Refusal {
    Full,
    ReadOnly,
    Broken(Arc<redb::Error>),
}

impl Refusal {
    fn error(&self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::ReadOnly => StoreError::ReadOnly,
            Self::Broken(source) => StoreError::Broken { source: Arc::clone(source) },
        }
    }
}

fn answer(write: Write, result: Result<u64, StoreError>) {
    if let Some(reply) = write.reply {
        // The caller may have given up; what was written stays written.
        let _ = reply.send(result);
    }
}
