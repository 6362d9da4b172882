//! The bytes of a window that supervisord will not decode.
//!
//! Near the end of the file every byte can be had: the decoder's complaint about the last N bytes names the first byte
//! that is wrong by place and value, so the flaws are found from there and the text between them is read as usual. Only
//! half a character in the middle of the file keeps its first byte to itself: a gap. Further from the end a complaint
//! would cost the node more than the bytes are worth; there the longest readable run is looked for instead.

use super::window::{End, Log, Piece, unreadable};
use plugin_sdk::Fault;
use plugin_sdk::adapter::LogSlice;
use std::collections::BTreeMap;

/// How far from the end of the file flaws are looked for. Each look may send everything up to the end.
const NEAR_BYTES_MAX: u64 = 512 << 10;
/// Requests that look for flaws in one window.
const ROUNDS_MAX: usize = 8;
/// Of these, how many may be in vain. A look is about bytes before the end, so a log that grows between two requests
/// moves it; one that grows faster than we ask is read by offset instead, as if it were far from the end.
const VAIN_ROUNDS_MAX: usize = 2;
/// What is looked at when a longer tail has more flaws than can be found.
const SHORT_TAIL_BYTES_MAX: u64 = 1 << 10;
/// Looks in one request, and the bytes that they may read on the node together.
const LOOKS_MAX: u64 = 256;
const LOOKED_AT_BYTES_MAX: u64 = 1 << 20;
/// A window far from the end is this small, because it is asked for in 16 ways at once.
const FAR_BYTES_MAX: u64 = 16 << 10;
/// Bytes that are passed over in one call in search of something readable.
const SKIPPED_BYTES_MAX: u64 = 64;
/// Bytes of the longest UTF-8 character.
const CHARACTER_BYTES_MAX: u64 = 4;

/// The last bytes, at most so many. Fewer when there are more flaws than one call may look for.
pub(crate) fn tail(log: &mut Log<'_>, size: u64, bytes_max: u32) -> Result<LogSlice, Fault> {
    let bytes_max = u64::from(bytes_max).min(size);
    for bytes in [bytes_max, bytes_max.min(SHORT_TAIL_BYTES_MAX)] {
        let mut survey = Survey::new(size, size - bytes, size);
        survey.look(log)?;
        if survey.is_complete() {
            return survey.end_slice(log);
        }
    }
    far(log, size, size - bytes_max.min(FAR_BYTES_MAX), size)
}

/// What stands from an offset on, at most so many bytes.
pub(crate) fn from(log: &mut Log<'_>, size: u64, start: u64, bytes_max: u32) -> Result<LogSlice, Fault> {
    let end = size.min(start.saturating_add(u64::from(bytes_max)));
    if size - start <= NEAR_BYTES_MAX {
        let mut survey = Survey::new(size, start, end);
        survey.look(log)?;
        if survey.reached > start {
            return survey.first_slice(log);
        }
    }
    far(log, size, start, end.min(start + FAR_BYTES_MAX))
}

/// A stretch of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// These bytes.
    Known(Vec<u8>),
    /// Text whose bytes are still to be fetched. It may end inside a character, at the end of the window.
    Text(u64),
    /// So many bytes that cannot be had.
    Hidden(u64),
}

/// What is known of a window near the end of the file.
struct Survey {
    size: u64,
    start: u64,
    end: u64,
    /// Up to where the parts reach.
    reached: u64,
    parts: Vec<Part>,
    /// What follows an offset, up to the first flaw or the end of the file.
    ends: BTreeMap<u64, End>,
}

impl Survey {
    fn new(size: u64, start: u64, end: u64) -> Self {
        Self { size, start, end, reached: start, parts: Vec::new(), ends: BTreeMap::new() }
    }

    fn is_complete(&self) -> bool {
        self.reached == self.end
    }

    /// Finds the parts, from the start on, in a bounded number of requests.
    fn look(&mut self, log: &mut Log<'_>) -> Result<(), Fault> {
        let mut vain_rounds = 0;
        for _ in 0..ROUNDS_MAX {
            let lengths = self.lengths();
            let (size, ends) = log.ends(&lengths)?;
            if size < self.size {
                return Err(rotated());
            }
            // It may have grown meanwhile: what was said is then about offsets further on.
            self.size = size;
            self.ends.extend(lengths.into_iter().zip(ends).map(|(length, end)| (size.saturating_sub(length), end)));
            let before = self.reached;
            while let Some(end) = self.ends.remove(&self.reached) {
                self.advance(end);
            }
            if self.reached == before {
                vain_rounds += 1;
            }
            if self.is_complete() || vain_rounds == VAIN_ROUNDS_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Where to look next, as bytes before the end of the file: half of the looks close together, since flaws are seldom
    /// alone, and half spread over what is left.
    fn lengths(&self) -> Vec<u64> {
        let left = self.end - self.reached;
        let looks = (LOOKED_AT_BYTES_MAX / (self.size - self.reached).max(1)).clamp(2, LOOKS_MAX);
        let close = (looks / 2).max(1).min(left);
        let step = (left - close).div_ceil(looks - looks / 2).max(1);
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        let offsets = (0..close).chain((close..left).step_by(step));
        offsets.map(|offset| self.size - self.reached - offset).collect()
    }

    fn advance(&mut self, end: End) {
        let left = self.end - self.reached;
        match end {
            End::Bytes(mut bytes) => {
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                self.parts.push(Part::Known(bytes));
                self.reached = self.end;
            }
            End::Flaw { valid, .. } if valid >= left => {
                self.parts.push(Part::Text(left));
                self.reached = self.end;
            }
            End::Flaw { valid, flaw_bytes, value } => {
                if valid > 0 {
                    self.parts.push(Part::Text(valid));
                }
                let flaw_bytes = flaw_bytes.min(left - valid);
                self.parts.push(value.map_or(Part::Hidden(flaw_bytes), |byte| Part::Known(vec![byte])));
                self.reached += valid + flaw_bytes;
            }
        }
    }

    /// The run that the window ends with. A character that is only half written yet is left for the next call.
    fn end_slice(mut self, log: &mut Log<'_>) -> Result<LogSlice, Fault> {
        if matches!(self.parts.last(), Some(Part::Hidden(_))) {
            self.parts.pop();
        }
        let hidden = self.parts.iter().rposition(|part| matches!(part, Part::Hidden(_)));
        let after = hidden.map_or(0, |at| at + 1);
        let (before, run) = self.parts.split_at(after);
        let start = self.start + before.iter().map(Part::length).sum::<u64>();
        let bytes = fetch(log, self.size, start, run)?;
        Ok(LogSlice { start, bytes, size: self.size, has_gap: hidden.is_some() })
    }

    /// The run that the window begins with, or the next one after bytes that cannot be had.
    fn first_slice(self, log: &mut Log<'_>) -> Result<LogSlice, Fault> {
        let is_run = |part: &Part| !matches!(part, Part::Hidden(_));
        let before = self.parts.iter().position(is_run).unwrap_or(self.parts.len());
        let (hidden, rest) = self.parts.split_at(before);
        let run = rest.split(|part| !is_run(part)).next().unwrap_or_default();
        let hidden: u64 = hidden.iter().map(Part::length).sum();
        let is_half_written = run.is_empty() && self.reached == self.size;
        let start = if is_half_written { self.start } else { self.start + hidden };
        let bytes = fetch(log, self.size, start, run)?;
        Ok(LogSlice { start, bytes, size: self.size, has_gap: start > self.start })
    }
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Self::Known(bytes) => bytes.len() as u64,
            Self::Text(length) | Self::Hidden(length) => *length,
        }
    }
}

/// The bytes of a run without hidden parts, beginning at `start`.
fn fetch(log: &mut Log<'_>, size: u64, start: u64, run: &[Part]) -> Result<Vec<u8>, Fault> {
    let mut offset = start;
    let mut windows = Vec::new();
    for part in run {
        if let Part::Text(length) = part {
            // The window's end may cut the last character: it is then read whole and cut here.
            windows.extend((0..CHARACTER_BYTES_MAX).map(|more| (offset, length + more)));
        }
        offset += part.length();
    }
    let is_cut = matches!(run.last(), Some(Part::Text(_)));
    let windows: Vec<(u64, u64)> = thin(&windows, is_cut);
    if windows.is_empty() {
        return Ok(run.iter().filter_map(known).flatten().copied().collect());
    }
    let (now, pieces) = log.windows(&windows)?;
    if now < size {
        return Err(rotated());
    }
    let mut found: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for ((offset, _), piece) in windows.into_iter().zip(pieces) {
        if let Piece::Bytes(bytes) = piece {
            found.entry(offset).or_insert(bytes);
        }
    }
    let (mut bytes, mut offset) = (Vec::new(), start);
    for part in run {
        let length = part.length();
        match part {
            Part::Known(known) => bytes.extend_from_slice(known),
            Part::Text(_) | Part::Hidden(_) => {
                let wanted = usize::try_from(length).unwrap_or(usize::MAX);
                let text = found.get(&offset).and_then(|text| text.get(..wanted)).ok_or_else(rotated)?;
                bytes.extend_from_slice(text);
            }
        }
        offset += length;
    }
    Ok(bytes)
}

/// Of the four ways to read each text, the exact one; all four for the last if it may be cut.
fn thin(windows: &[(u64, u64)], is_cut: bool) -> Vec<(u64, u64)> {
    let ways = usize::try_from(CHARACTER_BYTES_MAX).unwrap_or(4);
    let whole = windows.len() - if is_cut { ways.min(windows.len()) } else { 0 };
    let (whole, cut) = windows.split_at(whole);
    whole.iter().step_by(ways).chain(cut).copied().collect()
}

fn known(part: &Part) -> Option<&[u8]> {
    match part {
        Part::Known(bytes) => Some(bytes),
        Part::Text(_) | Part::Hidden(_) => None,
    }
}

/// What can be read from an offset far from the end: the window itself if only its ends cut characters, the longest of
/// some shorter ones, or what follows the next bytes that cannot be had.
fn far(log: &mut Log<'_>, size: u64, start: u64, end: u64) -> Result<LogSlice, Fault> {
    let lengths = |end: u64, start: u64| std::iter::successors(Some(end - start), |length| Some(length / 2));
    for first in [0, 1] {
        let lengths: Vec<u64> = lengths(end, start).take_while(|&length| length > 0).collect();
        let lengths = if first == 0 { lengths.get(..1) } else { lengths.get(1..) }.unwrap_or_default();
        if let Some(bytes) = longest(log, start, lengths)? {
            return Ok(LogSlice { start, bytes, size, has_gap: false });
        }
    }
    let lengths: Vec<u64> = (1..=CHARACTER_BYTES_MAX).collect();
    let starts = start + 1..=(start + SKIPPED_BYTES_MAX).min(size - 1);
    let windows: Vec<(u64, u64)> =
        starts.flat_map(|start| lengths.iter().map(move |&length| (start, length))).collect();
    let (_, pieces) = log.windows(&windows)?;
    let readable = windows.into_iter().zip(pieces).find(|(_, piece)| matches!(piece, Piece::Bytes(_)));
    match readable {
        Some(((start, _), Piece::Bytes(bytes))) => Ok(LogSlice { start, bytes, size, has_gap: true }),
        Some((_, Piece::Undecodable)) | None => Err(unreadable()),
    }
}

/// The bytes of the first length that can be read from an offset, with whole characters around its ends.
fn longest(log: &mut Log<'_>, start: u64, lengths: &[u64]) -> Result<Option<Vec<u8>>, Fault> {
    let mut ways = Vec::new();
    for &length in lengths {
        for before in 0..CHARACTER_BYTES_MAX.min(start + 1) {
            ways.extend((0..CHARACTER_BYTES_MAX).map(|after| (length, before, after)));
        }
    }
    let windows: Vec<(u64, u64)> =
        ways.iter().map(|&(length, before, after)| (start - before, before + length + after)).collect();
    if windows.is_empty() {
        return Ok(None);
    }
    let (_, pieces) = log.windows(&windows)?;
    let found = ways.into_iter().zip(pieces).find_map(|((length, before, _), piece)| match piece {
        Piece::Bytes(bytes) => {
            let (before, length) = (usize::try_from(before).ok()?, usize::try_from(length).ok()?);
            bytes.get(before..before + length).map(<[u8]>::to_vec)
        }
        Piece::Undecodable => None,
    });
    Ok(found)
}

fn rotated() -> Fault {
    Fault::node("log.unreadable", "the log was rotated while it was read; ask again")
}
