use crate::config::CallLimits;
use crate::plugin::counters::{Outcome, Usage};
use crate::plugin::ending::{self, Ending, Refused};
use crate::plugin::grant::Granted;
use crate::plugin::state::{CallState, Limiter, LogBook};
use crate::plugin::storm::Storm;
use crate::plugin::ticker::Ticker;
use crate::plugin::wasi;
use crate::plugin::{Accounts, BoxFuture, Exchange, PluginClass, PluginCounters, PluginFailure};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use wasmtime::{Engine, Store, Trap, UpdateDeadline};

/// Component handles that one call may hold.
const HANDLES_MAX: usize = 256;
/// Lines about failures of a plugin, and lines that it writes itself, in one window over all its calls.
const BREACH_LINES_MAX: u32 = 5;
const PLUGIN_LINES_MAX: u32 = 1_000;
const WINDOW: Duration = Duration::from_secs(10);

/// One plugin, linked and ready, with everything that its calls share.
pub(super) struct Callee<P> {
    pub name: Arc<str>,
    pub class: PluginClass,
    pub limits: CallLimits,
    /// What the plugin may do.
    granted: Arc<Granted>,
    pub counters: Arc<PluginCounters>,
    /// The linked component, of which each call makes an instance.
    pub linked: P,
    engine: Engine,
    ticker: Arc<Ticker>,
    /// Once true, calls under way end at their next tick.
    revoked: Arc<AtomicBool>,
    slots: Semaphore,
    /// What this room says of the plugin.
    told: Storm,
    /// What the plugin says itself.
    lines: Arc<Storm>,
}

/// What a generation shares with those who look after it.
#[derive(Debug, Clone, Default)]
pub(super) struct Ties {
    pub counters: Arc<PluginCounters>,
    pub revoked: Arc<AtomicBool>,
}

/// What one call is given besides its arguments.
#[derive(Default)]
pub(super) struct Given {
    pub link: Option<Arc<dyn Exchange>>,
    pub accounts: Option<Arc<dyn Accounts>>,
    /// The caller's own deadline, where it has one.
    pub deadline: Option<Instant>,
    pub request_id: Option<String>,
    /// At least so much time, whatever the plugin's limit is.
    pub time_least: Duration,
}

impl Given {
    /// For asking a plugin what it is. Nobody waits for it as they wait for a verdict, and a machine that is busy for a
    /// moment is no reason to turn a component down; fuel bounds it as ever.
    pub(super) fn to_describe() -> Self {
        Self { time_least: Duration::from_secs(2), ..Self::default() }
    }
}

impl<P: Send + Sync> Callee<P> {
    pub(super) fn new(
        name: Arc<str>,
        class: PluginClass,
        granted: Arc<Granted>,
        linked: P,
        engine: Engine,
        ticker: Arc<Ticker>,
        ties: Ties,
    ) -> Self {
        let limits = granted.limits;
        let slots = Semaphore::new(limits.calls_max.min(Semaphore::MAX_PERMITS));
        let told = Storm::new(BREACH_LINES_MAX, WINDOW);
        let lines = Arc::new(Storm::new(PLUGIN_LINES_MAX, WINDOW));
        let Ties { counters, revoked } = ties;
        Self { name, class, limits, granted, counters, linked, engine, ticker, revoked, slots, told, lines }
    }

    /// Runs one call in an instance of its own and inside every limit; `accept` judges what it returned.
    ///
    /// A panic of a host function is caught here as well: the engine carries it through the guest's stack to us, and
    /// one plugin's call must not take its caller's task with it.
    ///
    /// # Errors
    /// [`Ending`]; a failure of the plugin is counted and logged here, a fault only counted.
    ///
    /// # Cancel safety
    /// Dropping the future drops the instance with everything in it, and counts as cancelled.
    pub(super) async fn call<R, T>(
        &self,
        given: Given,
        run: impl for<'s> FnOnce(&'s P, &'s mut Store<CallState>) -> BoxFuture<'s, wasmtime::Result<R>>,
        accept: impl FnOnce(R) -> Result<T, Refused>,
    ) -> Result<T, Ending> {
        let started = Instant::now();
        let request_id = given.request_id.clone();
        let result = match self.slots.try_acquire() {
            Ok(_slot) => self.run(given, started, run, accept).await,
            Err(_) => Err(Ending::Failure(PluginFailure::Busy {
                plugin: self.name.to_string(),
                limit: self.limits.calls_max,
            })),
        };
        self.counters.count(result.as_ref().map_or_else(Ending::outcome, |_| Outcome::Ok));
        if let Err(Ending::Failure(failure)) = &result {
            self.tell(failure, request_id.as_deref());
        }
        result
    }

    async fn run<R, T>(
        &self,
        given: Given,
        started: Instant,
        run: impl for<'s> FnOnce(&'s P, &'s mut Store<CallState>) -> BoxFuture<'s, wasmtime::Result<R>>,
        accept: impl FnOnce(R) -> Result<T, Refused>,
    ) -> Result<T, Ending> {
        let until = started + self.limits.time.max(given.time_least);
        let until = given.deadline.map_or(until, |deadline| deadline.min(until));
        let time = until.saturating_duration_since(started);
        if time.is_zero() {
            return Err(self.timed_out(time));
        }
        let mut store = self.arm(given, until).map_err(|error| self.broken(&error))?;
        let _tick = self.ticker.run();
        let underway = Underway::begin(&self.counters);
        let ended = timeout_at(until, AssertUnwindSafe(run(&self.linked, &mut store)).catch_unwind()).await;
        underway.end();
        self.settle(&mut store, started);
        let result = match ended {
            Err(_) => return Err(ending::timed_out(&self.name, store.data(), time)),
            Ok(Err(_panic)) => return Err(self.trapped("the host failed in a call of this plugin")),
            Ok(Ok(Err(error))) => {
                tracing::debug!(target: "omnivisor::plugin", plugin = &*self.name, error = %format!("{error:?}"), "a call failed");
                let failure = ending::failed(&self.name, &self.limits, time, store.data(), &error);
                return Err(Ending::Failure(failure));
            }
            Ok(Ok(Ok(result))) => result,
        };
        // A host function that blocked its thread is seen by no other limit.
        if Instant::now() > until {
            return Err(self.timed_out(time));
        }
        accept(result).map_err(|refused| match refused {
            Refused::Fault(mut fault) => {
                fault.message = self.granted.redact(fault.message);
                Ending::Fault(fault)
            }
            Refused::TooMuch(what) => {
                Ending::Failure(PluginFailure::TooMuchData { plugin: self.name.to_string(), what })
            }
        })
    }

    /// Makes a store with every limit set before anything of the plugin runs: a component may have a start function.
    fn arm(&self, given: Given, until: Instant) -> wasmtime::Result<Store<CallState>> {
        let limiter = Limiter::new(self.limits.memory_bytes);
        let log = LogBook::new(Arc::clone(&self.name), given.request_id, Arc::clone(&self.lines));
        let mut state = CallState::new(limiter, log, Arc::clone(&self.granted), until);
        (state.link, state.accounts) = (given.link, given.accounts);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_fuel(self.limits.fuel)?;
        store.set_hostcall_fuel(self.limits.hostcall_bytes);
        store.set_max_component_handles(HANDLES_MAX);
        store.call_hook(wasi::charge_calls);
        store.set_epoch_deadline(1);
        let revoked = Arc::clone(&self.revoked);
        store.epoch_deadline_callback(move |_| {
            if Instant::now() >= until || revoked.load(Relaxed) {
                return Err(Trap::Interrupt.into());
            }
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        Ok(store)
    }

    /// Notes what the call used, however it ended.
    fn settle(&self, store: &mut Store<CallState>, started: Instant) {
        let fuel_left = store.get_fuel().unwrap_or(0);
        let state = store.data_mut();
        if let Some(wasi) = &mut state.wasi {
            wasi.finish(&mut state.log, &state.granted);
        }
        let usage = Usage {
            fuel: self.limits.fuel.saturating_sub(fuel_left),
            memory_bytes: state.limiter.memory_bytes_peak,
            log_lines_dropped: state.log.lines_dropped,
        };
        self.counters.add(usage, started.elapsed());
        if usage.log_lines_dropped > 0
            && let Some(untold) = self.told.admit(Instant::now())
        {
            tracing::warn!(
                target: "omnivisor::plugin",
                plugin = &*self.name, request = state.log.request_id, dropped = usage.log_lines_dropped,
                untold, "log lines beyond the budget were dropped"
            );
        }
    }

    fn tell(&self, failure: &PluginFailure, request: Option<&str>) {
        if let Some(untold) = self.told.admit(Instant::now()) {
            tracing::warn!(
                target: "omnivisor::plugin",
                plugin = &*self.name, class = %self.class, code = failure.code(), request, untold, "{failure}"
            );
        }
    }

    fn timed_out(&self, limit: Duration) -> Ending {
        Ending::Failure(PluginFailure::TimedOut { plugin: self.name.to_string(), limit })
    }

    fn trapped(&self, what: &str) -> Ending {
        Ending::Failure(PluginFailure::Trapped { plugin: self.name.to_string(), what: what.to_owned() })
    }

    fn broken(&self, error: &wasmtime::Error) -> Ending {
        tracing::error!(target: "omnivisor::plugin", plugin = &*self.name, error = %format!("{error:#}"), "no store for a call");
        self.trapped("the host could not prepare the call")
    }
}

/// A call under way. Dropped before its end it was cancelled, and is counted so.
struct Underway<'a> {
    counters: &'a PluginCounters,
    has_ended: bool,
}

impl<'a> Underway<'a> {
    fn begin(counters: &'a PluginCounters) -> Self {
        counters.begin();
        Self { counters, has_ended: false }
    }

    fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.counters.end();
        if !self.has_ended {
            self.counters.count(Outcome::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Manifest, engine};
    use wasmtime::{Instance, Module};

    /// A callee with all the time and fuel there is, which loops without an end.
    fn endless(ties: Ties) -> Callee<Module> {
        let engine = engine::build(PluginClass::Validate, 4).expect("an engine");
        let text = "(module (func (export \"run\") (loop $again (br $again))))";
        let module = Module::new(&engine, wat::parse_str(text).expect("text")).expect("it compiles");
        let limits = CallLimits {
            fuel: u64::MAX,
            time: Duration::from_secs(3_600),
            memory_bytes: 1 << 20,
            hostcall_bytes: 1 << 20,
            calls_max: 4,
        };
        let (manifest, settings) = (Manifest::default(), String::new());
        let granted = Granted { manifest, limits, settings, secrets: None, web: None, api_keys: None };
        let ticker = Arc::new(Ticker::start(std::slice::from_ref(&engine)).expect("a thread"));
        Callee::new(Arc::from("endless"), PluginClass::Validate, Arc::new(granted), module, engine, ticker, ties)
    }

    async fn run(callee: &Callee<Module>) -> Result<(), Ending> {
        let call = callee.call(
            Given::default(),
            |module, store| {
                Box::pin(async move {
                    let instance = Instance::new_async(&mut *store, module, &[]).await?;
                    instance.get_typed_func::<(), ()>(&mut *store, "run")?.call_async(store, ()).await
                })
            },
            Ok,
        );
        call.await
    }

    #[tokio::test]
    async fn a_call_that_computes_ends_at_the_next_tick_once_its_generation_is_revoked() {
        let ties = Ties::default();
        let callee = endless(ties.clone());
        let revoke = async {
            // The loop has the thread to itself but for a moment with each tick.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(ties.counters.snapshot().running, 1, "nothing else ends it");
            ties.revoked.store(true, Relaxed);
            Instant::now()
        };
        let both = async { tokio::join!(run(&callee), revoke) };
        let (ended, revoked) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("it ends");
        assert!(matches!(&ended, Err(Ending::Failure(PluginFailure::TimedOut { .. }))), "{ended:?}");
        assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());
        assert_eq!(ties.counters.snapshot().running, 0);
        // Nothing new runs in it either, until it is put back.
        assert!(run(&callee).await.is_err());
    }
}
