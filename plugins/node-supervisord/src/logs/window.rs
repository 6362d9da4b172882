use crate::fault::{FAILED, NO_FILE, RpcFault};
use crate::rpc::{self, Answer};
use crate::xml::{Call, Parameter, Value};
use plugin_sdk::adapter::LogChannel;
use plugin_sdk::{Exchange, Fault};

/// One log of one process.
pub(crate) struct Log<'l> {
    link: &'l mut dyn Exchange,
    name: String,
    read: &'static str,
    tail: &'static str,
}

/// What a window of the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Something that is not UTF-8, or half a character at an end.
    Undecodable,
}

/// What the end of the file holds, from some offset on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// These bytes, all of them UTF-8.
    Bytes(Vec<u8>),
    /// UTF-8 for `valid` bytes, then `flaw_bytes` bytes that are none. One alone is told by its value.
    Flaw {
        /// Bytes before the flaw.
        valid: u64,
        /// Bytes that belong to the flaw.
        flaw_bytes: u64,
        /// The flaw's only byte.
        value: Option<u8>,
    },
}

impl<'l> Log<'l> {
    pub(crate) fn new(link: &'l mut dyn Exchange, name: String, channel: &LogChannel) -> Result<Self, Fault> {
        let (read, tail) = match channel {
            LogChannel::Stdout => ("supervisor.readProcessStdoutLog", "supervisor.tailProcessStdoutLog"),
            LogChannel::Stderr => ("supervisor.readProcessStderrLog", "supervisor.tailProcessStderrLog"),
            LogChannel::Other(word) => {
                return Err(Fault::unsupported("log.not_found", format!("supervisord keeps no log called `{word}`")));
            }
        };
        Ok(Self { link, name, read, tail })
    }

    /// The file's size and its last bytes.
    pub(crate) fn last(&mut self, bytes_max: u32) -> Result<(u64, Piece), Fault> {
        let call = self.call(self.read, -i64::from(bytes_max), 0);
        self.one(call)
    }

    /// The file's size and what stands in it from `offset` on.
    pub(crate) fn window(&mut self, offset: u64, bytes_max: u32) -> Result<(u64, Piece), Fault> {
        let call = self.call(self.read, signed(offset), i64::from(bytes_max));
        self.one(call)
    }

    /// The file's size and what stands in several windows, as offset and length, all at one moment.
    pub(crate) fn windows(&mut self, windows: &[(u64, u64)]) -> Result<(u64, Vec<Piece>), Fault> {
        let calls =
            windows.iter().map(|&(offset, bytes)| self.call(self.read, signed(offset), signed(bytes))).collect();
        self.ask(calls, piece)
    }

    /// The file's size and what stands in its last bytes, for several lengths, all at one moment.
    ///
    /// `tail*Log` gives the last `length` bytes whatever the offset (S14). Unlike `read*Log` it lets its decoder's words
    /// through when they are not UTF-8, and those name the place and the byte.
    pub(crate) fn ends(&mut self, lengths: &[u64]) -> Result<(u64, Vec<End>), Fault> {
        let calls = lengths.iter().map(|&bytes| self.call(self.tail, 0, signed(bytes))).collect();
        self.ask(calls, end)
    }

    fn call(&self, method: &'static str, offset: i64, bytes: i64) -> Call {
        let name = Parameter::Text(self.name.clone());
        Call::new(method, vec![name, Parameter::Int(offset), Parameter::Int(bytes)])
    }

    fn one(&mut self, call: Call) -> Result<(u64, Piece), Fault> {
        let (size, pieces) = self.ask(vec![call], piece)?;
        let piece = pieces.into_iter().next().ok_or_else(|| rpc::bad_reply("it holds no answer"))?;
        Ok((size, piece))
    }

    /// Makes the calls and reads their answers. The size comes with them, as the tail of no length (S15).
    fn ask<T>(
        &mut self,
        mut calls: Vec<Call>,
        read: impl Fn(Answer<'_>) -> Result<T, Fault>,
    ) -> Result<(u64, Vec<T>), Fault> {
        calls.insert(0, self.call(self.tail, 0, 0));
        let replies = rpc::send(self.link, &calls)?;
        let document = replies.document();
        let mut answers = replies.answers(&document)?.into_iter();
        let size = answers.next().ok_or_else(|| rpc::bad_reply("it holds no answer"))?.map_err(RpcFault::into_fault)?;
        let size = size.as_array().and_then(|parts| parts.get(1)).and_then(Value::as_int);
        let size = size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| rpc::bad_reply("it holds no size"))?;
        Ok((size, answers.map(read).collect::<Result<_, _>>()?))
    }
}

/// No log reaches beyond 4 TiB, and file systems refuse to be asked for what stands far beyond their own largest file.
fn signed(number: u64) -> i64 {
    const FILE_BYTES_MAX: i64 = 1 << 42;
    i64::try_from(number).unwrap_or(FILE_BYTES_MAX).min(FILE_BYTES_MAX)
}

pub(crate) fn piece(answer: Answer<'_>) -> Result<Piece, Fault> {
    match answer {
        Ok(Value::Text(bytes)) => Ok(Piece::Bytes(bytes.into_owned())),
        Ok(_) => Err(rpc::bad_reply("a piece of a log is no text")),
        Err(fault) if is_undecodable(&fault) => Ok(Piece::Undecodable),
        Err(fault) => Err(not_read(fault)),
    }
}

fn end(answer: Answer<'_>) -> Result<End, Fault> {
    match answer {
        Ok(value) => match value.as_array().and_then(|parts| parts.first()).and_then(Value::as_bytes) {
            Some(bytes) => Ok(End::Bytes(bytes.to_vec())),
            None => Err(rpc::bad_reply("the end of a log is no text")),
        },
        Err(fault) if is_undecodable(&fault) => flaw(&fault.text).ok_or_else(unreadable),
        Err(fault) => Err(not_read(fault)),
    }
}

/// What one call alone would answer as HTTP 500 (S17) is a fault among several: 30, with Python's words for it. Those of
/// `read*Log` are about its own failure to report the failure.
fn is_undecodable(fault: &RpcFault) -> bool {
    fault.code == FAILED && ["UnicodeDecodeError", "'utf-8'", "'utf8'"].iter().any(|word| fault.text.contains(word))
}

/// Reads `'utf-8' codec can't decode byte 0xe9 in position 3: ...` or `... bytes in position 3-4: ...`.
fn flaw(text: &str) -> Option<End> {
    let (_, text) = text.split_once("can't decode byte")?;
    if let Some(bytes) = text.strip_prefix("s in position ") {
        let (first, last) = bytes.split_once(':')?.0.split_once('-')?;
        let (valid, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        return Some(End::Flaw { valid, flaw_bytes: last.checked_sub(valid)? + 1, value: None });
    }
    let (value, position) = text.strip_prefix(" 0x")?.split_once(" in position ")?;
    let value = u8::from_str_radix(value, 16).ok()?;
    Some(End::Flaw { valid: position.split_once(':')?.0.parse().ok()?, flaw_bytes: 1, value: Some(value) })
}

pub(crate) fn unreadable() -> Fault {
    Fault::node("log.unreadable", "this part of the log is not UTF-8, and supervisord gives out nothing else")
}

fn not_read(fault: RpcFault) -> Fault {
    if fault.code != NO_FILE {
        return fault.into_fault();
    }
    Fault::caller("log.not_found", "the process has no such log, or has not written to it yet").with("text", fault.text)
}
