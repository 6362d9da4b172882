use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmtime::{Engine, EngineWeak};

const TICK: Duration = Duration::from_millis(1);

/// Ticks with nothing to do before the thread sleeps: waking it for every one of many short calls costs more.
const IDLE_TICKS_MAX: u32 = 20;

/// Advances the epoch of some engines each millisecond while calls are running.
///
/// An OS thread of its own: a task could be starved by the very guest it is there to stop. Dropping the ticker ends
/// the thread and waits for it, which takes a tick at most.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    is_asleep: AtomicBool,
    is_stopped: AtomicBool,
}

/// A call under way; the epoch advances until it is dropped.
#[derive(Debug)]
pub(super) struct Running<'a> {
    shared: &'a Shared,
}

impl Ticker {
    pub(super) fn start(engines: &[Engine]) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let engines: Vec<EngineWeak> = engines.iter().map(Engine::weak).collect();
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("plugin-ticker".to_owned())
            .stack_size(128 << 10)
            .spawn(move || tick(&seen, &engines))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Keeps the epoch advancing while the answer lives.
    pub(super) fn run(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        // The thread sets `is_asleep` and then reads `running`, we do it the other way round: one of us sees the other.
        if self.shared.is_asleep.load(SeqCst) {
            self.wake();
        }
        Running { shared: &self.shared }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(target: "omnivisor::plugin", "the thread that ticks for plugins had panicked");
        }
    }
}

fn tick(shared: &Shared, engines: &[EngineWeak]) {
    let mut idle_ticks = 0;
    while !shared.is_stopped.load(SeqCst) {
        if shared.running.load(SeqCst) > 0 {
            idle_ticks = 0;
        } else {
            idle_ticks += 1;
        }
        if idle_ticks > IDLE_TICKS_MAX {
            shared.is_asleep.store(true, SeqCst);
            if shared.running.load(SeqCst) == 0 && !shared.is_stopped.load(SeqCst) {
                std::thread::park();
            }
            shared.is_asleep.store(false, SeqCst);
            idle_ticks = 0;
            continue;
        }
        std::thread::park_timeout(TICK);
        for engine in engines.iter().filter_map(EngineWeak::upgrade) {
            engine.increment_epoch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_asleep_within(ticker: &Ticker, limit: Duration) -> bool {
        let (mut waited, step) = (Duration::ZERO, Duration::from_millis(1));
        while waited < limit {
            if ticker.shared.is_asleep.load(SeqCst) {
                return true;
            }
            std::thread::park_timeout(step);
            waited += step;
        }
        false
    }

    #[test]
    fn sleeps_when_nothing_runs_wakes_for_a_call_and_ends_with_its_owner() {
        let ticker = Ticker::start(&[Engine::default()]).expect("a thread");
        assert!(is_asleep_within(&ticker, Duration::from_secs(10)), "nothing runs");
        for _ in 0..3 {
            let running = ticker.run();
            while ticker.shared.is_asleep.load(SeqCst) {
                std::thread::yield_now();
            }
            drop(running);
            assert!(is_asleep_within(&ticker, Duration::from_secs(10)), "the call has ended");
        }
        let seen = Arc::downgrade(&ticker.shared);
        drop(ticker);
        assert!(seen.upgrade().is_none(), "the thread let go of what it shared");
    }
}
