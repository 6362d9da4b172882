//! `log`: lines in the host's log, under the plugin's name.

use crate::plugin::bindings::adapter_v0_1::omnivisor::host::log::Level;
use crate::plugin::imports::charge;
use crate::plugin::state::{CallState, LogBook};
use crate::plugin::text::clean;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::time::Instant;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

/// Bytes of a log line, message and fields together.
pub(in crate::plugin) const LINE_BYTES_MAX: usize = 4_096;

type Fields = Vec<(String, String)>;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap("write", |mut cx: StoreContextMut<'_, CallState>, line: (Level, String, Fields)| {
        let (level, message, fields) = line;
        let bytes = message.len() + fields.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let granted = Arc::clone(&cx.data().granted);
        // Before the charge: a plugin that panics for want of fuel still gets its last words.
        if fields.iter().any(|(key, _)| key == "panic") {
            cx.data_mut().log.keep_last_words(&granted.redact(message.clone()));
        }
        charge(&mut cx, bytes)?;
        let log = &mut cx.data_mut().log;
        if log.take_line(Instant::now()) {
            let fields = fields.into_iter().map(|(key, value)| (granted.redact(key), granted.redact(value))).collect();
            write_line(log, &level, &granted.redact(message), &fields);
        }
        Ok(())
    })
}

pub(in crate::plugin) fn write_line(log: &LogBook, level: &Level, message: &str, fields: &Fields) {
    let message = clean(message, LINE_BYTES_MAX);
    let mut rest = String::new();
    for (key, value) in fields {
        // Writing to a String cannot fail.
        let _ = write!(rest, "{}{key}={value:?}", if rest.is_empty() { "" } else { " " });
        if rest.len() > LINE_BYTES_MAX {
            break;
        }
    }
    let fields = clean(&rest, LINE_BYTES_MAX.saturating_sub(message.len()));
    let (plugin, request) = (&*log.plugin, log.request_id.as_deref());
    match level {
        Level::Trace => tracing::trace!(target: "omnivisor::plugin", plugin, request, fields, "{message}"),
        Level::Debug => tracing::debug!(target: "omnivisor::plugin", plugin, request, fields, "{message}"),
        Level::Info | Level::Other(_) => {
            tracing::info!(target: "omnivisor::plugin", plugin, request, fields, "{message}");
        }
        Level::Warn => tracing::warn!(target: "omnivisor::plugin", plugin, request, fields, "{message}"),
        Level::Error => tracing::error!(target: "omnivisor::plugin", plugin, request, fields, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::storm::Storm;
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn book() -> LogBook {
        LogBook::new("node-x".into(), Some("r-1".to_owned()), Arc::new(Storm::new(70, Duration::from_secs(10))))
    }

    #[test]
    fn a_line_stays_one_line_under_the_name_of_its_plugin() {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).without_time().finish();
        tracing::subscriber::with_default(subscriber, || {
            let fields = vec![("key\n".to_owned(), "a\r\nb\u{1b}[2J".to_owned())];
            write_line(&book(), &Level::Other("shout".to_owned()), "first\nERROR forged", &fields);
            write_line(&book(), &Level::Warn, &"x".repeat(10_000), &vec![]);
        });
        let text = String::from_utf8(captured.0.lock().expect("nobody panicked").clone()).expect("plain text");
        let lines: Vec<&str> = text.lines().collect();
        let [first, second] = lines.as_slice() else { panic!("two lines: {text}") };
        assert!(first.contains("INFO omnivisor::plugin: first\\nERROR forged"), "{first}");
        assert!(first.contains("plugin=\"node-x\"") && first.contains("request=\"r-1\""), "{first}");
        assert!(!text.contains('\u{1b}') && !text.contains('\r'));
        assert!(second.starts_with(" WARN") && second.len() < LINE_BYTES_MAX + 200, "{}", second.len());
    }

    #[tokio::test(start_paused = true)]
    async fn lines_have_a_budget_in_each_call_and_in_all_calls_of_a_plugin() {
        let shared = Arc::new(Storm::new(70, Duration::from_secs(10)));
        let mut first = LogBook::new("node-x".into(), None, Arc::clone(&shared));
        let written = (0..80).filter(|_| first.take_line(Instant::now())).count();
        assert_eq!((written, first.lines_dropped), (64, 16));
        let mut second = LogBook::new("node-x".into(), None, shared);
        let written = (0..80).filter(|_| second.take_line(Instant::now())).count();
        assert_eq!((written, second.lines_dropped), (6, 74));
    }
}
