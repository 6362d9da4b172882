//! The reassembler against files that grow, are rotated, cleared and cut under it.

use super::reassembler::{PIECE_BYTES_MAX, Reassembler};
use crate::model::{GapReason, LogNewsBody, LogPiece, LogRange, LogSlice};
use proptest::collection::vec;
use proptest::prelude::*;

/// A log as its supervisor has it: the file that is there now, and those that were.
#[derive(Default)]
struct Files {
    kept: Vec<File>,
    written: u64,
}

#[derive(Default, Clone)]
struct File {
    bytes: Vec<u8>,
    /// Bytes that the supervisor cannot show.
    hidden: Vec<bool>,
}

#[derive(Debug, Clone)]
enum Step {
    /// So many bytes of this kind are written at once.
    Write { kind: Kind, length: usize },
    /// The file gives way to an empty one.
    Rotate,
    /// The file is cut to an empty one and written again to at least the same length, before anybody looks.
    Regrow,
    /// Bytes are written that the supervisor cannot show.
    Hide(usize),
    /// The log is read once; an answer holds so many bytes at most.
    Read { bytes_max: u32 },
    /// Nothing came for a while.
    Flush,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Lines,
    /// Any bytes, control characters and halves of characters among them.
    Any,
    /// A character of three bytes after the other, cut anywhere.
    Euro,
    Nul,
}

impl Files {
    fn new() -> Self {
        Self { kept: vec![File::default()], written: 0 }
    }

    fn now(&self) -> &File {
        self.kept.last().expect("there is always one")
    }

    /// Every 128 bytes stands a number of its own, so no two places of all the files look the same.
    fn write(&mut self, kind: Kind, length: usize) {
        for begin in (0..=length).step_by(128) {
            self.write_some(kind, 128.min(length - begin));
        }
    }

    fn write_some(&mut self, kind: Kind, length: usize) {
        self.written += 1;
        let mark = self.written.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut bytes = mark.to_be_bytes().to_vec();
        let word = |at: usize| u8::try_from((mark >> (at % 7 * 8)) & 0xFF).expect("a byte");
        bytes.extend((0..length).map(|at| match kind {
            Kind::Lines if at % 37 == 36 => b'\n',
            Kind::Lines => b'a' + word(at) % 26,
            Kind::Any => word(at).wrapping_add(u8::try_from(at % 251).expect("a byte")),
            Kind::Euro => "\u{20ac}".as_bytes()[at % 3],
            Kind::Nul => 0,
        }));
        let file = self.kept.last_mut().expect("there is always one");
        file.hidden.resize(file.hidden.len() + bytes.len(), false);
        file.bytes.extend(bytes);
    }

    fn hide(&mut self, length: usize) {
        let file = self.kept.last_mut().expect("there is always one");
        file.bytes.resize(file.bytes.len() + length, 0xE2);
        file.hidden.resize(file.hidden.len() + length, true);
    }

    /// As the contract of adapters says, and as that of supervisord answers.
    fn read(&self, range: LogRange, bytes_max: u32) -> LogSlice {
        let file = self.now();
        let size = file.bytes.len();
        let at = |offset: u64| usize::try_from(offset).expect("small");
        let (start, wanted, was_cut) = match range {
            LogRange::Tail { bytes_max } => (size.saturating_sub(at(u64::from(bytes_max))), size, false),
            LogRange::From { offset, .. } if at(offset) > size => (0, size, true),
            LogRange::From { offset, bytes_max: asked } => {
                (at(offset), at(u64::from(asked.min(bytes_max.max(600)))), false)
            }
        };
        let end = size.min(start + wanted);
        let is_hidden = |at: &usize| file.hidden.get(*at).copied().unwrap_or(false);
        let first = (start..end).find(|at| !is_hidden(at));
        let (from, to) = match first {
            Some(first) => (first, (first..end).find(is_hidden).unwrap_or(end)),
            None => (start, start),
        };
        LogSlice {
            start: from as u64,
            bytes: file.bytes[from..to].to_vec(),
            size: size as u64,
            has_gap: was_cut || from > start,
        }
    }
}

/// What a reader has: for each file the stretches it was given, in order.
#[derive(Default)]
struct Reader {
    pieces: Vec<(usize, LogPiece)>,
    gaps: Vec<GapReason>,
    /// The file that is being read, by what was told.
    file: usize,
    at: Option<u64>,
    /// Nothing was taken since the beginning or since the last gap: what is missing there is told already, a whole file
    /// that came and went included.
    is_fresh: bool,
}

impl Reader {
    /// Takes what a read of the file that is there now brought.
    fn read(&mut self, log: &mut Reassembler, slice: &LogSlice, files: &Files) -> Result<(), TestCaseError> {
        if self.is_fresh {
            self.file = files.kept.len() - 1;
        }
        let told = log.take(slice);
        self.take(told, files)?;
        self.is_fresh &= !log.has_rest();
        Ok(())
    }

    fn take(&mut self, told: Vec<LogNewsBody>, files: &Files) -> Result<(), TestCaseError> {
        for news in told {
            match news {
                LogNewsBody::Piece(piece) => {
                    let file = &files.kept[self.file];
                    let start = usize::try_from(piece.start).expect("small");
                    prop_assert_eq!(
                        file.bytes.get(start..start + piece.bytes.len()),
                        Some(piece.bytes.as_slice()),
                        "the file's bytes, unchanged"
                    );
                    if let Some(at) = self.at {
                        prop_assert_eq!(piece.start, at, "nothing twice, and nothing left out without a gap");
                    }
                    prop_assert!(!piece.bytes.is_empty() && piece.bytes.len() <= PIECE_BYTES_MAX + 600);
                    prop_assert_eq!(!piece.is_continued, piece.bytes.ends_with(b"\n"), "lines are whole or marked");
                    self.at = Some(piece.start + piece.bytes.len() as u64);
                    self.is_fresh = false;
                    self.pieces.push((self.file, piece));
                }
                LogNewsBody::Gap(gap) => {
                    if gap.why == GapReason::Rotated {
                        self.file = files.kept.len() - 1;
                        prop_assert_eq!(gap.bytes, None);
                    } else {
                        prop_assert_eq!(gap.bytes, self.at.map(|at| gap.next - at), "as long as it says");
                        if gap.why == GapReason::Unreadable {
                            let file = &files.kept[self.file];
                            let lost = self.at.expect("begun")..gap.next;
                            let is_hidden = |at| file.hidden.get(usize::try_from(at).expect("small")) == Some(&true);
                            prop_assert!(
                                lost.clone().all(is_hidden),
                                "only what cannot be shown is left out: {lost:?}"
                            );
                        }
                    }
                    self.at = Some(gap.next);
                    self.is_fresh = true;
                    self.gaps.push(gap.why);
                }
                LogNewsBody::Follow(state) => prop_assert!(false, "not its business: {state:?}"),
            }
        }
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(Kind::Lines), Just(Kind::Any), Just(Kind::Euro), Just(Kind::Nul)];
    let length = prop_oneof![6 => 0..400_usize, 1 => 0..50_000_usize];
    prop_oneof![
        8 => (kind, length).prop_map(|(kind, length)| Step::Write { kind, length }),
        2 => Just(Step::Rotate),
        1 => Just(Step::Regrow),
        1 => (1..80_usize).prop_map(Step::Hide),
        8 => (300..60_000_u32).prop_map(|bytes_max| Step::Read { bytes_max }),
        2 => Just(Step::Flush),
    ]
}

/// Reads until nothing more comes.
fn drain(log: &mut Reassembler, reader: &mut Reader, files: &Files) -> Result<(), TestCaseError> {
    for _ in 0..2_000 {
        let slice = files.read(log.question(), u32::MAX);
        let is_over = !log.is_behind();
        let before = log.next();
        reader.read(log, &slice, files)?;
        if is_over && !log.is_behind() && log.next() == before {
            return Ok(());
        }
        let hidden_end = files.now().hidden.iter().rev().take_while(|hidden| **hidden).count() as u64;
        if log.next() == Some(slice.size - hidden_end) {
            return Ok(()); // half a character, as far as anybody can tell
        }
    }
    Err(TestCaseError::fail("it does not come to the end"))
}

proptest! {
    /// Whatever is written and whatever happens to the file in between: a reader has its bytes, or a gap exactly where
    /// bytes are missing, and none twice.
    #[test]
    fn what_is_put_together_is_the_file_or_a_gap(steps in vec(step(), 1..60)) {
        let mut files = Files::new();
        let (mut log, mut reader) = (Reassembler::default(), Reader::default());
        log.take(&files.read(log.question(), u32::MAX));
        (reader.at, reader.is_fresh) = (log.next(), true);
        // Of each file, how far it was read before it went.
        let mut went = Vec::new();
        for step in steps {
            match step {
                Step::Write { kind, length } => files.write(kind, length),
                Step::Rotate if !files.now().bytes.is_empty() => {
                    went.push(files.kept.len());
                    files.kept.push(File::default());
                }
                Step::Rotate => {}
                Step::Regrow if !files.now().bytes.is_empty() => {
                    let length = files.now().bytes.len();
                    went.push(files.kept.len());
                    files.kept.push(File::default());
                    files.write(Kind::Lines, length);
                }
                Step::Regrow => {}
                Step::Hide(length) => {
                    // Before and after it something can be shown, as with half a character in the middle of a file.
                    files.write(Kind::Lines, 10);
                    files.hide(length);
                    files.write(Kind::Lines, 10);
                }
                Step::Read { bytes_max } => {
                    let slice = files.read(log.question(), bytes_max);
                    reader.read(&mut log, &slice, &files)?;
                }
                Step::Flush => {
                    let told = log.flush().into_iter().collect();
                    reader.take(told, &files)?;
                }
            }
        }
        drain(&mut log, &mut reader, &files)?;
        reader.take(log.flush().into_iter().collect(), &files)?;
        let rotated = reader.gaps.iter().filter(|why| **why == GapReason::Rotated).count();
        prop_assert!(rotated <= went.len(), "a gap for each file that went, at most");
        let now = files.kept.len() - 1;
        let read = reader.pieces.iter().any(|(file, _)| *file == now);
        if read || !files.now().bytes.is_empty() {
            prop_assert_eq!(reader.file, now, "the file that is there is the one that is read");
            let left = files.now().bytes.len() as u64 - reader.at.unwrap_or_default();
            prop_assert!(left <= 3, "up to the last character: {} bytes are left", left);
        }
    }
}

fn text(start: u64, text: &str) -> LogNewsBody {
    LogNewsBody::Piece(LogPiece { start, bytes: text.as_bytes().to_vec(), is_continued: !text.ends_with('\n') })
}

fn read(log: &mut Reassembler, files: &Files) -> Vec<LogNewsBody> {
    log.take(&files.read(log.question(), u32::MAX))
}

impl Files {
    fn say(&mut self, text: &[u8]) {
        let file = self.kept.last_mut().expect("there is always one");
        file.bytes.extend_from_slice(text);
        file.hidden.resize(file.bytes.len(), false);
    }
}

#[test]
fn what_was_there_before_is_not_told_and_lines_come_whole() {
    let (mut files, mut log) = (Files::new(), Reassembler::default());
    files.say(b"before\nand ");
    assert_eq!(read(&mut log, &files), []);
    assert_eq!(log.next(), Some(11));
    files.say(b"after\nmore");
    assert_eq!(read(&mut log, &files), [text(11, "after\n")]);
    assert!(log.has_rest());
    assert_eq!(read(&mut log, &files), []);
    files.say(b" of it\n");
    assert_eq!(read(&mut log, &files), [text(17, "more of it\n")]);
}

#[test]
fn a_character_in_two_halves_is_not_cut() {
    let (mut files, mut log) = (Files::new(), Reassembler::default());
    read(&mut log, &files);
    files.say(b"5 \xE2\x82");
    assert_eq!(read(&mut log, &files), []);
    assert_eq!(log.flush(), Some(text(0, "5 ")));
    assert_eq!(log.flush(), None, "half a character waits for the other half");
    files.say(b"\xAC\n");
    assert_eq!(read(&mut log, &files), [text(2, "\u{20ac}\n")]);
}

#[test]
fn a_line_longer_than_a_piece_comes_in_marked_parts() {
    let (mut files, mut log) = (Files::new(), Reassembler::default());
    read(&mut log, &files);
    files.say("\u{20ac}".repeat(PIECE_BYTES_MAX / 2).as_bytes());
    files.say(b"\n");
    let told = read(&mut log, &files);
    let pieces: Vec<&LogPiece> =
        told.iter().map(|news| if let LogNewsBody::Piece(piece) = news { piece } else { panic!("{news:?}") }).collect();
    assert_eq!(pieces.iter().map(|piece| piece.is_continued).collect::<Vec<_>>(), [true, false]);
    assert!(pieces.iter().all(|piece| std::str::from_utf8(&piece.bytes).is_ok()), "cut between characters");
}

#[test]
fn a_log_that_runs_away_is_joined_again_near_its_end() {
    let (mut files, mut log) = (Files::new(), Reassembler::default());
    read(&mut log, &files);
    files.say(&b"0123456789\n".repeat(1 << 20));
    let told = read(&mut log, &files);
    let Some(LogNewsBody::Gap(gap)) = told.last() else { panic!("no gap") };
    assert_eq!(gap.why, GapReason::Behind);
    assert_eq!(gap.next, files.now().bytes.len() as u64 - (64 << 10));
    let Some(LogNewsBody::Piece(first)) = read(&mut log, &files).into_iter().next() else { panic!("no piece") };
    assert_eq!(first.start, gap.next);
}
