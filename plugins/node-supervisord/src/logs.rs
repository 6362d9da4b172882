//! Pieces of a process's log, as exact as supervisord lets them be had (S14 to S18, S24).
//!
//! supervisord decodes logs as UTF-8 before it sends them, and refuses a window that is not. [`window`] asks for one;
//! [`exact`] puts the bytes together where it is refused.

mod exact;
mod window;

use crate::name;
use plugin_sdk::adapter::{LogChannel, LogRange, LogSlice, ProcessId};
use plugin_sdk::{Exchange, Fault};
use window::{Log, Piece};

/// Bytes that one call returns at most. `&` takes five bytes in XML, so a reply stays below 4 MiB.
const BYTES_MAX: u32 = 512 << 10;

/// Reads a piece of a log.
pub(crate) fn read(
    link: &mut dyn Exchange,
    id: &ProcessId,
    channel: &LogChannel,
    range: &LogRange,
) -> Result<LogSlice, Fault> {
    let mut log = Log::new(link, name::literal(id)?, channel)?;
    match *range {
        LogRange::Tail(bytes_max) => tail(&mut log, bytes_max.clamp(1, BYTES_MAX)),
        LogRange::From((offset, bytes_max)) => from(&mut log, offset, bytes_max.clamp(1, BYTES_MAX)),
    }
}

fn tail(log: &mut Log<'_>, bytes_max: u32) -> Result<LogSlice, Fault> {
    let (size, piece) = log.last(bytes_max)?;
    match piece {
        Piece::Bytes(bytes) => {
            let start = size.saturating_sub(bytes.len() as u64);
            Ok(LogSlice { start, bytes, size, has_gap: false })
        }
        Piece::Undecodable => exact::tail(log, size, bytes_max),
    }
}

fn from(log: &mut Log<'_>, offset: u64, bytes_max: u32) -> Result<LogSlice, Fault> {
    let (size, piece) = log.window(offset, bytes_max)?;
    // Smaller than where we are: rotated or cleared. What was written before that is out of reach (S24).
    let has_gap = size < offset;
    let (start, size, piece) = if has_gap {
        let (size, piece) = log.window(0, bytes_max)?;
        (0, size, piece)
    } else {
        (offset, size, piece)
    };
    let mut slice = match piece {
        Piece::Bytes(bytes) => LogSlice { start, bytes, size, has_gap: false },
        Piece::Undecodable => exact::from(log, size, start, bytes_max)?,
    };
    slice.has_gap |= has_gap;
    Ok(slice)
}
