//! What a process uses, as Linux tells it.

use anyhow::Context as _;
use std::time::Duration;

/// Processor time. Source: proc(5), fields 14 and 15 of `stat`, in ticks of 10 ms.
pub(crate) fn processor(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after) = stat.rsplit_once(')').context("a stat file")?;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || anyhow::Ok(fields.next().context("a number of ticks")?.parse::<u64>()?);
    Ok(Duration::from_millis((ticks()? + ticks()?) * 10))
}

/// Resident memory.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("a VmRSS line")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? * 1_024)
}

/// The machine's load of the last minute, for the reader of the figures.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}
