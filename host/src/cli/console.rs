//! Where a command's words go: results to standard output, remarks to standard error.

use super::error::CliError;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// The two streams, and what is known about them. Tests put buffers in their place.
pub(crate) struct Console {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Standard output is a terminal.
    pub(crate) is_terminal: bool,
    /// It understands more than lines.
    pub(crate) is_smart: bool,
    /// Colours are wanted.
    pub(crate) is_colored: bool,
    /// Somebody is there to answer a question.
    pub(crate) can_ask: bool,
    /// Results as JSON.
    pub(crate) is_json: bool,
}

impl Console {
    /// The process's own streams. `NO_COLOR` with any value and a terminal that calls itself `dumb` turn colours off.
    pub(crate) fn standard(is_json: bool, no_color: bool) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_terminal = io::stdout().is_terminal();
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            is_terminal,
            is_smart: is_terminal && !is_dumb,
            is_colored: is_terminal && !no_color && !is_dumb && !is_set("NO_COLOR"),
            can_ask: io::stdin().is_terminal() && io::stderr().is_terminal(),
            is_json,
        }
    }

    /// One line of result, visible at once.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(CliError::output)
    }

    /// One JSON document on a line of its own.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(document).map_err(|error| CliError::output(error.into()))?;
        self.line(&text)
    }

    /// Bytes of result as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(CliError::output)
    }

    /// A remark. What is wrong with standard error cannot be said anywhere, so it is not looked at.
    pub(crate) fn remark(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}").and_then(|()| self.err.flush());
    }

    /// Part of a line to standard error: a question.
    pub(crate) fn ask(&mut self, text: &str) -> Result<String, CliError> {
        write!(self.err, "{text}").and_then(|()| self.err.flush()).map_err(CliError::Terminal)?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(CliError::Terminal)?;
        Ok(answer.trim().to_owned())
    }

    /// A failed command's last words.
    pub(crate) fn report(&mut self, error: &CliError) {
        let text = if self.is_json { error.render_json() } else { error.render() };
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }
}

#[cfg(test)]
pub(crate) mod captured {
    use super::{Console, io};
    use std::sync::{Arc, Mutex, PoisonError};

    /// What a test's console has written.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
        }
    }

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A console without a terminal that keeps what it is told: output, remarks.
    pub(crate) fn console(is_json: bool) -> (Console, Written, Written) {
        let (out, err) = (Written::default(), Written::default());
        let console = Console {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            is_terminal: false,
            is_smart: false,
            is_colored: false,
            can_ask: false,
            is_json,
        };
        (console, out, err)
    }
}
