//! What the host offers to plugins. Each function charges for what it does, or a plugin could have the host do a
//! thousand times the work that its own fuel pays for.

use crate::model::Secret;
use crate::plugin::bindings::adapter::omnivisor::host::exchange::{Failure, Request, Response};
use crate::plugin::bindings::adapter::omnivisor::host::log::Level;
use crate::plugin::bindings::auth::omnivisor::host::accounts::PasswordCheck as Answer;
use crate::plugin::class::{ACCOUNTS, EXCHANGE, LOG};
use crate::plugin::exchange::{check, reply};
use crate::plugin::state::{CallState, LogBook};
use crate::plugin::text::clean;
use crate::plugin::{PasswordCheck, PluginClass, wasi};
use std::fmt::Write as _;
use tokio::time::Instant;
use wasmtime::component::{Linker, LinkerInstance};
use wasmtime::{StoreContextMut, Trap};

/// Fuel that a call of the host costs, besides one unit a byte.
const CALL_FUEL: u64 = 1_000;
/// Bytes of a log line, message and fields together.
pub(super) const LINE_BYTES_MAX: usize = 4_096;
const USERNAME_BYTES_MAX: usize = 255;
const PASSWORD_BYTES_MAX: usize = 1_024;

type Fields = Vec<(String, String)>;

/// Links exactly what the class's world names, WASI as far as it is harmless, and nothing else.
pub(super) fn offer(linker: &mut Linker<CallState>, class: PluginClass) -> wasmtime::Result<()> {
    wasi::offer(linker)?;
    add_log(&mut linker.instance(LOG)?)?;
    match class {
        PluginClass::Auth => add_accounts(&mut linker.instance(ACCOUNTS)?),
        PluginClass::Validate => Ok(()),
        PluginClass::Adapter => add_exchange(&mut linker.instance(EXCHANGE)?),
    }
}

fn add_log(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap("write", |mut cx: StoreContextMut<'_, CallState>, line: (Level, String, Fields)| {
        let (level, message, fields) = line;
        let bytes = message.len() + fields.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let log = &mut cx.data_mut().log;
        // Before the charge: a plugin that panics for want of fuel still gets its last words.
        if fields.iter().any(|(key, _)| key == "panic") {
            log.keep_last_words(&message);
        }
        charge(&mut cx, bytes)?;
        let log = &mut cx.data_mut().log;
        if log.take_line(Instant::now()) {
            write_line(log, &level, &message, &fields);
        }
        Ok(())
    })
}

fn add_accounts(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap_async(
        "check-password",
        |mut cx: StoreContextMut<'_, CallState>, (username, password): (String, String)| {
            Box::new(async move {
                charge(&mut cx, username.len() + password.len())?;
                let is_fit = (1..=USERNAME_BYTES_MAX).contains(&username.len())
                    && (1..=PASSWORD_BYTES_MAX).contains(&password.len());
                if !cx.data_mut().take_password_check() || !is_fit {
                    return Ok((Ok(Answer::Differs),));
                }
                let Some(accounts) = cx.data().accounts.clone() else {
                    return Ok((Err("there are no accounts here".to_owned()),));
                };
                let answer: Result<Answer, String> =
                    accounts.check_password(username, Secret::new(password)).await.map(|check| match check {
                        PasswordCheck::Matches => Answer::Matches,
                        PasswordCheck::Differs => Answer::Differs,
                    });
                rearm(&mut cx);
                Ok((answer,))
            })
        },
    )
}

fn add_exchange(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap_async("send", |mut cx: StoreContextMut<'_, CallState>, (request,): (Request,)| {
        Box::new(async move {
            let headers = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            charge(&mut cx, request.method.len() + request.path.len() + headers + request.body.len())?;
            let answer: Result<Response, Failure> = match (check(request), cx.data().link.clone()) {
                (Err(rule), _) => Err(Failure::Refused(rule)),
                (Ok(_), None) => Err(Failure::Refused("this call has nothing to send to a node".to_owned())),
                (Ok(request), Some(link)) => {
                    let until = cx.data().exchange_until(Instant::now());
                    cx.data_mut().is_at_node = true;
                    let result = link.send(request, until).await;
                    cx.data_mut().is_at_node = false;
                    reply(result)
                }
            };
            rearm(&mut cx);
            Ok((answer,))
        })
    })
}

/// Takes the price of a call that moved so many bytes from the plugin's fuel and from its bytes.
pub(super) fn charge(cx: &mut StoreContextMut<'_, CallState>, bytes: usize) -> wasmtime::Result<()> {
    let bytes_left = cx.data().bytes_left.saturating_sub(bytes);
    cx.data_mut().bytes_left = bytes_left;
    // The engine's own budget is one for each call of the host; this makes it one for the whole call of the plugin.
    cx.set_hostcall_fuel(bytes_left);
    let price = CALL_FUEL.saturating_add(bytes as u64);
    match cx.get_fuel()?.checked_sub(price) {
        Some(left) => cx.set_fuel(left),
        None => {
            cx.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// The epoch went on while the plugin waited, and waiting is not computing.
fn rearm(cx: &mut StoreContextMut<'_, CallState>) {
    cx.set_epoch_deadline(1);
}

pub(super) fn write_line(log: &LogBook, level: &Level, message: &str, fields: &Fields) {
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
