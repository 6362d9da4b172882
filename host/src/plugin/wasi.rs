//! WASI 0.2, closed: guests of any toolchain load, and get clocks, random numbers and a way into the plugin's log.
//! There are no files, no arguments, no variables and no input; of sockets there is not even the interface.

use crate::plugin::bindings::adapter_v0_1::omnivisor::host::log::Level;
use crate::plugin::class::{Match, compare};
use crate::plugin::grant::Granted;
use crate::plugin::imports::{LINE_BYTES_MAX, charge, write_line};
use crate::plugin::state::{CallState, LogBook};
use bytes::Bytes;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{CallHook, StoreContextMut};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// What is linked. Whatever else begins with `wasi:` is refused by its name before anything is compiled.
pub(super) const INTERFACES: [&str; 20] = [
    "wasi:cli/environment@0.2.0",
    "wasi:cli/exit@0.2.0",
    "wasi:cli/stderr@0.2.0",
    "wasi:cli/stdin@0.2.0",
    "wasi:cli/stdout@0.2.0",
    "wasi:cli/terminal-input@0.2.0",
    "wasi:cli/terminal-output@0.2.0",
    "wasi:cli/terminal-stderr@0.2.0",
    "wasi:cli/terminal-stdin@0.2.0",
    "wasi:cli/terminal-stdout@0.2.0",
    "wasi:clocks/monotonic-clock@0.2.0",
    "wasi:clocks/wall-clock@0.2.0",
    "wasi:filesystem/preopens@0.2.0",
    "wasi:filesystem/types@0.2.0",
    "wasi:io/error@0.2.0",
    "wasi:io/poll@0.2.0",
    "wasi:io/streams@0.2.0",
    "wasi:random/insecure@0.2.0",
    "wasi:random/insecure-seed@0.2.0",
    "wasi:random/random@0.2.0",
];

/// Resources, streams and timers among them, that one call may hold.
const RESOURCES_MAX: usize = 256;
/// Bytes that one call of `write` may carry.
const WRITE_BYTES_MAX: usize = 4_096;
/// Bytes that one call of `get-random-bytes` may ask for. Making them costs what the call is charged.
const RANDOM_BYTES_MAX: u64 = 4_096;

/// Whether an import is one of those, in any version of its track.
pub(super) fn is_offered(import: &str) -> bool {
    INTERFACES.iter().any(|offered| compare(import, offered) == Match::Compatible)
}

/// Links all of it. What a component does not import costs nothing.
pub(super) fn offer(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    // Streams, polling, both clocks, random numbers and the standard streams.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, CallState::cli)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, CallState::filesystem)?;
    // Without a directory to begin with there is never a descriptor, so nothing of this can be reached.
    filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, CallState::filesystem)
}

/// Charges each call of WASI like any other of the host, once it is over. A hook, for the functions are not ours.
pub(super) fn charge_calls(mut cx: StoreContextMut<'_, CallState>, hook: CallHook) -> wasmtime::Result<()> {
    match hook {
        CallHook::ReturningFromHost => {}
        CallHook::CallingHost | CallHook::CallingWasm | CallHook::ReturningFromWasm => return Ok(()),
    }
    let state = cx.data_mut();
    let Some(wasi) = state.wasi.as_deref_mut().filter(|wasi| wasi.is_called) else { return Ok(()) };
    wasi.is_called = false;
    let written = wasi.written.take();
    let granted = Arc::clone(&state.granted);
    wasi.lines.add(&written, &mut state.log, &|line| granted.redact(line));
    charge(&mut cx, written.len())
}

/// What one call has of WASI. Made when the plugin first asks for any of it.
pub(super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    is_called: bool,
    written: Written,
    lines: Lines,
}

impl Default for Wasi {
    fn default() -> Self {
        let written = Written::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let ctx = WasiCtx::builder()
            .stdout(written.clone())
            .stderr(written.clone())
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self { ctx, table, is_called: false, written, lines: Lines::default() }
    }
}

impl Wasi {
    /// Writes the line that was never ended.
    pub(super) fn finish(&mut self, log: &mut LogBook, granted: &Granted) {
        self.lines.end(log, &|line| granted.redact(line));
    }
}

impl WasiView for CallState {
    /// Every function of WASI passes here, once in a call.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_default();
        wasi.is_called = true;
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

/// What was written to standard output and error since the last look. Both go to the log, in the order of writing.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl IsTerminal for Written {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Written {
    // For WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Written {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap("a write beyond what `check-write` allowed"));
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for Written {
    // It always takes more: what is beyond the budget of lines is dropped and counted.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

/// Cuts what is written into lines of the log.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    is_panic: bool,
}

impl Lines {
    fn add(&mut self, bytes: &[u8], log: &mut LogBook, redact: &dyn Fn(String) -> String) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end(log, redact);
                continue;
            }
            self.rest.push(byte);
            if self.rest.len() >= LINE_BYTES_MAX {
                self.end(log, redact);
            }
        }
    }

    fn end(&mut self, log: &mut LogBook, redact: &dyn Fn(String) -> String) {
        if self.rest.is_empty() {
            return;
        }
        let line = redact(String::from_utf8_lossy(&self.rest).into_owned());
        self.rest.clear();
        // Rust's standard library says where on one line and why on the next; the trap that follows says nothing.
        if std::mem::replace(&mut self.is_panic, line.contains("' panicked at ") || line.contains(") panicked at ")) {
            log.keep_last_words(&line);
        }
        if log.take_line(Instant::now()) {
            write_line(log, &Level::Info, &line, &vec![]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::storm::Storm;
    use std::time::Duration;

    fn book() -> LogBook {
        LogBook::new("node-x".into(), None, Arc::new(Storm::new(1_000, Duration::from_secs(10))))
    }

    #[test]
    fn sockets_and_other_ages_are_not_offered() {
        for import in ["wasi:cli/stderr@0.2.0", "wasi:clocks/wall-clock@0.2.12", "wasi:io/poll@0.2.3"] {
            assert!(is_offered(import), "{import}");
        }
        for import in
            ["wasi:sockets/tcp@0.2.0", "wasi:sockets/network@0.2.0", "wasi:http/types@0.2.0", "wasi:cli/stderr@0.3.0"]
        {
            assert!(!is_offered(import), "{import}");
        }
    }

    #[tokio::test]
    async fn what_is_written_in_pieces_becomes_lines_and_a_panic_becomes_last_words() {
        let (mut lines, mut log) = (Lines::default(), book());
        lines.add(b"half ", &mut log, &|line| line);
        assert_eq!(lines.rest, b"half ");
        lines.add(
            b"a line\n\n\nthread 'main' panicked at src/lib.rs:1:1:\nno such \x1b[31mlist\nnote: more",
            &mut log,
            &|line| line,
        );
        assert_eq!(log.last_words.as_deref(), Some("no such \\u{1b}[31mlist"));
        lines.end(&mut log, &|line| line);
        assert!(lines.rest.is_empty());
        lines.add(&vec![b'x'; 10 * LINE_BYTES_MAX], &mut log, &|line| line);
        assert!(lines.rest.len() < LINE_BYTES_MAX, "a line without end is cut");
        lines.add(&b"x\n".repeat(100), &mut log, &|line| line);
        assert_eq!(log.lines_dropped, 4 + 10 + 100 - 64, "the budget is that of any other line");
    }
}
