//! Puts the answers about a growing log together: the file's bytes in their order, none twice, and a gap where some may
//! be missing.
//!
//! What supervisord's own stream leaves out, and why it is not the source of the bytes, is told in
//! `docs/decisions/0011-following-a-log.md`.

use crate::model::{GapReason, LogGap, LogNewsBody, LogPiece, LogRange, LogSlice};

/// Bytes asked for at once.
const READ_BYTES: u32 = 256 << 10;
/// So many bytes before the place where we are are read again with each question: they tell whether it is still the same
/// file.
const SEAM_BYTES: usize = 256;
/// Bytes of one piece. A longer line is passed on in parts.
pub(super) const PIECE_BYTES_MAX: usize = 16 << 10;
/// A log that is further ahead of us than this is left behind, and joined again so many bytes before its end.
const BEHIND_BYTES_MAX: u64 = 4 << 20;
const REJOINED_BYTES: u64 = 64 << 10;

/// Where we are in a followed log. Pure: it is told what was read and says what to ask next.
#[derive(Debug, Default)]
pub(super) struct Reassembler {
    /// Offset of the byte after the last one taken; none before the first answer.
    next: Option<u64>,
    /// The file's bytes before `next`, as far as they are remembered.
    seam: Vec<u8>,
    doubt: Doubt,
    /// Bytes before `next` that were taken and not passed on: the beginning of a line.
    rest: Vec<u8>,
    /// The file's size by the last answer.
    size: u64,
    /// True if asking again at once may bring more.
    is_urgent: bool,
}

/// What is done when nothing beyond the seam came with it: a byte in between cannot be had, now or ever.
#[derive(Debug, Default)]
enum Doubt {
    /// There is none.
    #[default]
    None,
    /// What follows the seam is asked for alone.
    Beyond,
    /// It came. It is believed as soon as the seam is seen to stand where it was, for a file that is gone does not come back.
    Unproven(LogSlice),
}

impl Reassembler {
    /// What to read next.
    pub(super) fn question(&self) -> LogRange {
        match self.next {
            None => LogRange::Tail { bytes_max: small(SEAM_BYTES) },
            Some(next) => {
                let seam = small(self.seam.len());
                match self.doubt {
                    Doubt::None => LogRange::From { offset: next - u64::from(seam), bytes_max: READ_BYTES + seam },
                    Doubt::Beyond => LogRange::From { offset: next, bytes_max: READ_BYTES },
                    Doubt::Unproven(_) => LogRange::From { offset: next - u64::from(seam), bytes_max: seam.max(1) },
                }
            }
        }
    }

    /// Offset of the next byte; none before the first answer.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// True if the file is known to hold more than was taken, and asking again at once may bring it.
    pub(super) fn is_behind(&self) -> bool {
        self.is_urgent && self.next.is_some_and(|next| next < self.size)
    }

    /// True while a line has begun and not ended.
    pub(super) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Takes the answer to [`Self::question`]. The first one says where the log ends now; what follows begins there.
    pub(super) fn take(&mut self, slice: &LogSlice) -> Vec<LogNewsBody> {
        let mut told = Vec::new();
        self.size = slice.size;
        let Some(next) = self.next else {
            self.next = Some(slice.start + slice.bytes.len() as u64);
            self.remember(&slice.bytes);
            return told;
        };
        self.is_urgent = true;
        let doubt = std::mem::take(&mut self.doubt);
        if slice.size < next || self.is_another_file(slice, next) {
            self.lose(GapReason::Rotated, 0, &mut told);
            return told;
        }
        match doubt {
            Doubt::None if goes_beyond(slice, next) && self.is_proof(slice, next) => {
                self.accept(slice, next, &mut told);
            }
            Doubt::None if goes_beyond(slice, next) => self.doubt = Doubt::Unproven(slice.clone()),
            Doubt::None if slice.size > next => self.doubt = Doubt::Beyond,
            Doubt::Beyond if goes_beyond(slice, next) => self.doubt = Doubt::Unproven(slice.clone()),
            Doubt::None | Doubt::Beyond => self.is_urgent = false,
            Doubt::Unproven(beyond) if self.is_proof(slice, next) => self.accept(&beyond, next, &mut told),
            // What could be shown before cannot be shown now. Nobody knows whether it is the same file.
            Doubt::Unproven(beyond) => {
                let place = beyond.start.max(next);
                self.lose(GapReason::Rotated, place, &mut told);
                self.accept(&beyond, place, &mut told);
            }
        }
        told
    }

    /// Takes what stands at our place or after it.
    fn accept(&mut self, slice: &LogSlice, next: u64, told: &mut Vec<LogNewsBody>) {
        if slice.start > next {
            self.lose(GapReason::Unreadable, slice.start, told);
        }
        let old = usize::try_from(next.saturating_sub(slice.start)).unwrap_or(usize::MAX);
        let new = slice.bytes.get(old..).unwrap_or_default();
        let end = slice.start + slice.bytes.len() as u64;
        self.rest.extend_from_slice(new);
        self.next = Some(end);
        self.remember(new);
        self.pass_on(told);
        if self.size.saturating_sub(end) > BEHIND_BYTES_MAX {
            self.lose(GapReason::Behind, self.size - REJOINED_BYTES, told);
        }
    }

    /// Passes on the beginning of a line whose end does not come. A character that is not whole yet is kept.
    pub(super) fn flush(&mut self) -> Option<LogNewsBody> {
        let whole = before_unfinished(&self.rest, self.rest.len());
        let start = self.rest_start();
        let rest = self.rest.split_off(whole);
        let bytes = std::mem::replace(&mut self.rest, rest);
        (!bytes.is_empty()).then_some(LogNewsBody::Piece(LogPiece { start, bytes, is_continued: true }))
    }

    fn rest_start(&self) -> u64 {
        self.next.unwrap_or_default() - self.rest.len() as u64
    }

    /// True if what stood before our place stands there no more.
    fn is_another_file(&self, slice: &LogSlice, next: u64) -> bool {
        let seam_start = next - self.seam.len() as u64;
        // Offset by offset, as far as both know.
        let mut known = slice.bytes.iter().zip(slice.start..).filter(|&(_, at)| at >= seam_start && at < next);
        known.any(|(byte, at)| {
            let at = usize::try_from(at - seam_start).unwrap_or(usize::MAX);
            self.seam.get(at) != Some(byte)
        })
    }

    /// True if an answer shows all that stands before our place.
    fn is_proof(&self, slice: &LogSlice, next: u64) -> bool {
        let is_whole = slice.start + slice.bytes.len() as u64 >= next;
        self.seam.is_empty() || slice.start <= next - self.seam.len() as u64 && is_whole
    }

    /// Tells of a gap after all that was taken, and goes on at `next`.
    fn lose(&mut self, why: GapReason, next: u64, told: &mut Vec<LogNewsBody>) {
        let start = self.rest_start();
        let bytes = std::mem::take(&mut self.rest);
        if !bytes.is_empty() {
            told.push(LogNewsBody::Piece(LogPiece { start, bytes, is_continued: true }));
        }
        let lost = match why {
            GapReason::Rotated => None,
            GapReason::Unreadable | GapReason::Behind => self.next.map(|before| next - before),
        };
        told.push(LogNewsBody::Gap(LogGap { why, bytes: lost, next }));
        self.next = Some(next);
        self.seam.clear();
    }

    /// Remembers the last bytes before `next`, from the beginning of a character on.
    fn remember(&mut self, new: &[u8]) {
        let kept = new.get(new.len().saturating_sub(SEAM_BYTES)..).unwrap_or_default();
        let room = SEAM_BYTES - kept.len();
        self.seam.drain(..self.seam.len().saturating_sub(room));
        self.seam.extend_from_slice(kept);
        let is_inside = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
        let inside = self.seam.iter().take(3).take_while(is_inside).count();
        if self.seam.len() == SEAM_BYTES {
            self.seam.drain(..inside);
        }
    }

    /// Passes on whole lines, and what is too long for one piece.
    fn pass_on(&mut self, told: &mut Vec<LogNewsBody>) {
        let mut start = self.rest_start();
        let mut rest = self.rest.as_slice();
        loop {
            let window = rest.get(..PIECE_BYTES_MAX).unwrap_or(rest);
            let line_end = window.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
            let cut = match line_end {
                Some(end) => end,
                None if rest.len() >= PIECE_BYTES_MAX => before_unfinished(window, PIECE_BYTES_MAX),
                None => break,
            };
            let (bytes, after) = rest.split_at(cut);
            let is_continued = line_end.is_none();
            told.push(LogNewsBody::Piece(LogPiece { start, bytes: bytes.to_vec(), is_continued }));
            start += cut as u64;
            rest = after;
        }
        self.rest = rest.to_vec();
    }
}

/// True if an answer brings bytes beyond our place, or says that there are none up to some other place.
fn goes_beyond(slice: &LogSlice, next: u64) -> bool {
    slice.start > next || slice.start + slice.bytes.len() as u64 > next
}

/// The end of `bytes`, or the place before a character that begins there and is not whole.
fn before_unfinished(bytes: &[u8], end: usize) -> usize {
    for back in 1..=3.min(end) {
        let Some(&byte) = bytes.get(end - back) else { continue };
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return end,
        };
        return if length > back { end - back } else { end };
    }
    end
}

fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
