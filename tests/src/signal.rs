use anyhow::{Context as _, ensure};
use std::process::Command;

/// A signal that a suite sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Freezes: connections are taken and never answered.
    Stop,
    /// Thaws.
    Continue,
    /// Asks to end.
    Terminate,
    /// Asks to read the configuration again.
    Hangup,
    /// As Ctrl-C.
    Interrupt,
    /// Ends, unasked.
    Kill,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::Terminate => "TERM",
            Self::Hangup => "HUP",
            Self::Interrupt => "INT",
            Self::Kill => "KILL",
        }
    }
}

/// Sends a signal to one process that the caller started. The shell's own `kill` does it, which is there everywhere.
///
/// # Errors
/// There is no such process.
pub fn send(signal: Signal, pid: u32) -> anyhow::Result<()> {
    let order = format!("kill -s {} {pid}", signal.name());
    let output = Command::new("sh").args(["-c", &order]).output().context("no `sh` to send a signal with")?;
    ensure!(output.status.success(), "`{order}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
