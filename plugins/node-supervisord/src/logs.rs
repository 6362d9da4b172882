//! Pieces of a process's log, as exact as supervisord lets them be had (S14 to S18, S24).
//!
//! supervisord decodes logs as UTF-8 before it sends them, and refuses a window that is not. [`window`] asks for one;
//! [`exact`] puts the bytes together where it is refused.

mod exact;
mod window;

use crate::xml::{Call, Parameter};
use crate::{name, rpc};
use plugin_sdk::adapter::{LogChannel, LogRange, LogSlice, ProcessId, StreamRequest};
use plugin_sdk::{Exchange, Fault};
use window::{Log, Piece};

/// Bytes that one call returns at most. `&` takes five bytes in XML, so a reply stays below 4 MiB.
const BYTES_MAX: u32 = 512 << 10;

/// Bytes of the longest character.
const UTF8_BYTES_MAX: u32 = 4;

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

/// How to open the live stream of a log (S23): up to the last KiB, then each new byte of the file.
pub(crate) fn follow(id: &ProcessId, channel: &LogChannel) -> Option<StreamRequest> {
    let channel = match channel {
        LogChannel::Stdout => "stdout",
        LogChannel::Stderr => "stderr",
        LogChannel::Other(_) => return None,
    };
    // supervisord decodes the path before it splits it, so it has no way to name these.
    let name = name::literal(id).ok().filter(|name| !name.contains('/'))?;
    let name = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
    Some(StreamRequest { path: format!("/logtail/{name}/{channel}"), headers: Vec::new() })
}

/// The end of supervisord's own log. It has no call that tells the size of it, and decodes it like any other (S17): of
/// four windows that begin one byte after the other, one begins with a character.
pub(crate) fn own(link: &mut dyn Exchange, bytes_max: u32) -> Result<Vec<u8>, Fault> {
    let bytes_max = i64::from(bytes_max.clamp(UTF8_BYTES_MAX, BYTES_MAX));
    let windows: Vec<Call> = (0..i64::from(UTF8_BYTES_MAX))
        .map(|later| Call::new("supervisor.readLog", vec![Parameter::Int(later - bytes_max), Parameter::Int(0)]))
        .collect();
    for window in windows {
        let replies = rpc::send(link, &[window])?;
        let document = replies.document();
        match replies.answers(&document)?.into_iter().next().map(window::piece) {
            Some(Ok(Piece::Bytes(bytes))) => return Ok(bytes),
            Some(Ok(Piece::Undecodable)) => {}
            Some(Err(fault)) if fault.code == "log.not_found" => {
                return Err(Fault::caller("log.not_found", "supervisord writes no log of its own to a file"));
            }
            Some(Err(fault)) => return Err(fault),
            None => return Err(rpc::bad_reply("it holds no answer")),
        }
    }
    Err(window::unreadable())
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

#[cfg(test)]
mod tests;
