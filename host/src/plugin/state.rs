use crate::plugin::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use crate::plugin::grant::Granted;
use crate::plugin::storm::Storm;
use crate::plugin::text::clean;
use crate::plugin::wasi::Wasi;
use crate::plugin::{Accounts, Exchange};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::ResourceLimiter;

/// Log lines that one call may write.
const LOG_LINES_MAX: u32 = 64;
/// Password checks that one call may ask for: each is 20 ms of arithmetic in the host.
const PASSWORD_CHECKS_MAX: u8 = 2;
/// Requests that one call may send to granted origins, those that are answered from what is kept not counted.
const WEB_REQUESTS_MAX: u8 = 4;
/// Bytes of a plugin's last words.
const LAST_WORDS_BYTES_MAX: usize = 256;

/// What the host keeps for one call. It lives in the call's store and ends with it.
pub(super) struct CallState {
    pub limiter: Limiter,
    pub log: LogBook,
    /// What the plugin may do.
    pub granted: Arc<Granted>,
    /// Bytes that the plugin may still pass to the host.
    pub bytes_left: usize,
    /// When the whole call has to be over.
    pub until: Instant,
    /// True while the plugin waits for its node: a call that ends there is the node's fault.
    pub is_at_node: bool,
    pub link: Option<Arc<dyn Exchange>>,
    pub accounts: Option<Arc<dyn Accounts>>,
    /// What it has of WASI, if it asked for any.
    pub wasi: Option<Box<Wasi>>,
    password_checks_left: u8,
    web_requests_left: u8,
}

impl CallState {
    pub(super) fn new(limiter: Limiter, log: LogBook, granted: Arc<Granted>, until: Instant) -> Self {
        Self {
            limiter,
            log,
            bytes_left: granted.limits.hostcall_bytes,
            granted,
            until,
            is_at_node: false,
            link: None,
            accounts: None,
            wasi: None,
            password_checks_left: PASSWORD_CHECKS_MAX,
            web_requests_left: WEB_REQUESTS_MAX,
        }
    }

    /// When an exchange has to be over: a little before the call, so that the plugin can still say what it made of it.
    pub(super) fn exchange_until(&self, now: Instant) -> Instant {
        let left = self.until.saturating_duration_since(now);
        now + left.saturating_sub((left / 10).min(Duration::from_millis(50)))
    }

    /// Takes one of the call's password checks; false when there is none left.
    pub(super) fn take_password_check(&mut self) -> bool {
        let left = self.password_checks_left.checked_sub(1);
        self.password_checks_left = left.unwrap_or(0);
        left.is_some()
    }

    /// Requests that the call may still send to granted origins.
    pub(super) fn web_requests_left(&mut self) -> &mut u8 {
        &mut self.web_requests_left
    }
}

/// Refuses memory and tables beyond the limits, and remembers the most that was had.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_bytes_max: usize,
    /// The most memory the call had.
    pub memory_bytes_peak: usize,
    /// True once something was refused.
    pub has_refused: bool,
}

impl Limiter {
    pub(super) const fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, memory_bytes_peak: 0, has_refused: false }
    }

    /// A refusal traps: a guest that is told -1 would only go on and fail less clearly.
    fn refuse(&mut self, what: &'static str) -> wasmtime::Result<bool> {
        self.has_refused = true;
        Err(wasmtime::Error::msg(what))
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.memory_bytes_max {
            return self.refuse("memory beyond the limit");
        }
        self.memory_bytes_peak = self.memory_bytes_peak.max(desired);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS_MAX { self.refuse("table elements beyond the limit") } else { Ok(true) }
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

/// What a call may still write to the log, and what it wrote that matters to its caller.
#[derive(Debug)]
pub(super) struct LogBook {
    /// The plugin.
    pub plugin: Arc<str>,
    /// The request that the call serves, where that is known.
    pub request_id: Option<String>,
    /// Lines beyond the budget.
    pub lines_dropped: u64,
    /// The message of a line that announced a panic, cleaned.
    pub last_words: Option<String>,
    lines_left: u32,
    /// The budget of all calls of the plugin together.
    shared: Arc<Storm>,
}

impl LogBook {
    pub(super) fn new(plugin: Arc<str>, request_id: Option<String>, shared: Arc<Storm>) -> Self {
        Self { plugin, request_id, lines_dropped: 0, last_words: None, lines_left: LOG_LINES_MAX, shared }
    }

    /// Takes one line of the budgets, or counts one that is beyond them.
    pub(super) fn take_line(&mut self, now: Instant) -> bool {
        let is_admitted = self.lines_left > 0 && self.shared.admit(now).is_some();
        if is_admitted {
            self.lines_left -= 1;
        } else {
            self.lines_dropped += 1;
        }
        is_admitted
    }

    /// Keeps a panic's message for the error that follows it.
    pub(super) fn keep_last_words(&mut self, message: &str) {
        self.last_words = Some(clean(message, LAST_WORDS_BYTES_MAX));
    }
}
