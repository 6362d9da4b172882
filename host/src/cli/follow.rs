//! `tail --follow`: what is added to a log, as the feed tells it, put behind what was read before.
//!
//! Every piece says where in the file it stands. So what was printed is not printed again, and what the feed left out is
//! read by its place: after a reconnect, or when this client was too slow.

use super::api::{Api, LogAddress, LogBytes, LogPart};
use super::console::Console;
use super::error::CliError;
use super::feed::frame::Frame;
use super::feed::link::{Link, Notice};
use super::tail::{Page, gap_marker, is_passing};
use crate::api::wire::LogView;
use crate::api::wire::log::LogEvent;
use crate::model::{LogTopic, NodeId, ProcessId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Notices that may wait for being printed. Beyond it the socket waits.
const NOTICES_MAX: usize = 256;
/// A hole is filled in so many reads at most; what is still missing then is marked.
const FILLS_MAX: usize = 256;

/// Follows a log until the feed is over.
pub(super) struct Follow<'a> {
    api: &'a Api,
    token: Option<&'a str>,
    console: &'a mut Console,
    log: &'a LogAddress,
    /// The end that is printed first.
    end: LogPart,
    page: &'a mut Page,
    /// Offset of the byte after the last one printed.
    pub(super) next: Option<u64>,
    /// The file was rotated since the feed read what it tells of; the next gap says so.
    is_ahead: bool,
    /// A gap that the next document is to carry.
    has_gap: bool,
    /// Readers were told that it does not go on.
    is_waiting: bool,
}

/// How following ended without an error.
pub(super) enum Ended {
    /// The server does not follow this log for us; it can still be read.
    Denied(String),
}

impl<'a> Follow<'a> {
    pub(super) const fn new(
        api: &'a Api,
        token: Option<&'a str>,
        console: &'a mut Console,
        log: &'a LogAddress,
        end: LogPart,
        page: &'a mut Page,
    ) -> Self {
        let (is_ahead, has_gap, is_waiting) = (false, false, false);
        Self { api, token, console, log, end, page, next: None, is_ahead, has_gap, is_waiting }
    }

    pub(super) async fn run(&mut self) -> Result<Ended, CliError> {
        let topic = topic(self.log)?;
        let link = Link {
            server: self.api.server().clone(),
            token: self.token.map(str::to_owned),
            // Something has to be asked for; this is little, and passed over.
            sub: vec![format!("node/{}/state", self.log.node)],
            log: vec![topic.clone()],
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let _stopping = stop.clone().drop_guard();
        let (sender, mut notices) = mpsc::channel(NOTICES_MAX);
        tasks.spawn(link.run(sender, stop.clone()));
        loop {
            match notices.recv().await {
                Some(Notice::Opened(_)) => {}
                Some(Notice::Frame(frame)) => {
                    if let Some(ended) = self.frame(*frame, &topic).await? {
                        return Ok(ended);
                    }
                }
                Some(Notice::Lost { reason, retry }) => {
                    self.wait(&format!("{reason}; trying again in {}", short(retry)))
                }
                // Full, not allowed, or older than followed logs: it may still be read.
                Some(Notice::Ended(error @ (CliError::Refused { .. } | CliError::FeedClosed { .. })))
                    if self.next.is_none() =>
                {
                    return Ok(Ended::Denied(error.one_line()));
                }
                Some(Notice::Ended(error)) => return Err(error),
                None => return Ok(Ended::Denied("the feed ended".to_owned())),
            }
        }
    }

    pub(super) async fn frame(&mut self, frame: Frame, topic: &str) -> Result<Option<Ended>, CliError> {
        match frame {
            Frame::Logs { denied } => {
                if let Some(denied) = denied.iter().find(|denied| denied.topic == topic) {
                    return Ok(Some(Ended::Denied(denied.why.clone())));
                }
                // Whatever is written from here on is told; what stands there by now is read.
                match self.next {
                    None => self.read(self.end).await.map(|_| ())?,
                    Some(_) => self.fill(None).await?,
                }
                self.goes_on();
            }
            Frame::Log(event) => self.event(*event).await?,
            Frame::Welcome { .. }
            | Frame::Snap { .. }
            | Frame::Ev(_)
            | Frame::Bm { .. }
            | Frame::Resync { .. }
            | Frame::Revoked { .. }
            // What was skipped shows as a hole before the next piece.
            | Frame::Skip { .. }
            | Frame::Unknown => {}
        }
        Ok(None)
    }

    async fn event(&mut self, event: LogEvent) -> Result<(), CliError> {
        if let (Some(start), Some(next)) = (event.start, event.next) {
            return self.piece(event, start, next).await;
        }
        if let Some(why) = &event.gap {
            self.gap(why, event.lost, event.next)?;
        }
        match (event.follow.as_deref(), event.why) {
            (Some("following"), _) => {
                self.goes_on();
                if let Some(next) = event.next {
                    self.fill(Some(next)).await?;
                }
            }
            (Some(_), Some(why)) => self.wait(&format!("{why}; trying again")),
            (Some(_) | None, _) => {}
        }
        Ok(())
    }

    async fn piece(&mut self, event: LogEvent, start: u64, next: u64) -> Result<(), CliError> {
        if self.next.is_some_and(|at| at < start) {
            self.fill(Some(start)).await?;
        }
        if self.is_ahead {
            return Ok(());
        }
        let at = self.next.unwrap_or(start);
        let bytes = match (event.text, event.base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(text)) => BASE64.decode(text).map_err(|_| self.odd("a piece that is no Base64"))?,
            (None, None) => return Err(self.odd("a piece without its bytes")),
        };
        let known = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else { return Ok(()) };
        self.next = Some(next);
        self.print(start.max(at), next, new)
    }

    /// Marks a gap that the feed told of.
    fn gap(&mut self, why: &str, lost: Option<u64>, next: Option<u64>) -> Result<(), CliError> {
        if why == "rotated" {
            if !std::mem::take(&mut self.is_ahead) {
                self.next = next;
                self.has_gap = true;
                self.console.remark("--- the log was rotated or cleared; bytes may be lost ---");
            }
            return Ok(());
        }
        // What the feed could not read or passed over may have been read here before.
        if !self.is_ahead && self.next.zip(next).is_none_or(|(at, next)| at < next) {
            self.next = next;
            self.has_gap = true;
            let lost = lost.map_or_else(|| "some bytes".to_owned(), |lost| format!("{lost} bytes"));
            self.console.remark(&match why {
                "unreadable" => format!("--- {lost} that cannot be read ---"),
                "behind" => format!("--- {lost} passed over; the log grows faster than it can be read ---"),
                _ => format!("--- {lost} lost ---"),
            });
        }
        Ok(())
    }

    /// Prints what stands between our place and `end`, or the end of the file.
    async fn fill(&mut self, end: Option<u64>) -> Result<(), CliError> {
        for _ in 0..FILLS_MAX {
            let Some(at) = self.next.filter(|at| end.is_none_or(|end| *at < end)) else { return Ok(()) };
            let read = match self.read(LogPart::From(at)).await {
                Ok(read) => read,
                // The feed goes on where it can, and the hole is marked.
                Err(error) if is_passing(&error) => break,
                Err(error) => return Err(error),
            };
            // The feed tells of a file that is there no more, and will say so.
            if read.has_gap && read.start < at || end.is_some_and(|end| read.size < end) {
                self.is_ahead = end.is_some();
                return Ok(());
            }
            if read.next <= at || read.next >= read.size {
                break;
            }
        }
        if let (Some(at), Some(end)) = (self.next, end)
            && at < end
        {
            self.next = Some(end);
            self.has_gap = true;
            self.console.remark(&format!("--- {} bytes lost ---", end - at));
        }
        Ok(())
    }

    /// Reads a part of the file and prints it.
    async fn read(&mut self, part: LogPart) -> Result<LogBytes, CliError> {
        let piece = self.api.log_bytes(self.log, part).await?;
        if let Some(marker) = gap_marker(&piece, part) {
            self.console.remark(&marker);
            self.has_gap = true;
        }
        self.next = Some(piece.next);
        if !piece.bytes.is_empty() || self.has_gap {
            self.print(piece.start, piece.next, &piece.bytes)?;
        }
        Ok(piece)
    }

    fn print(&mut self, start: u64, next: u64, bytes: &[u8]) -> Result<(), CliError> {
        if self.console.is_json {
            return self.console.json(&LogView {
                node: self.log.node.clone(),
                process: self.log.process.clone(),
                channel: self.log.channel.as_str().to_owned(),
                start,
                next,
                size: next,
                has_gap: std::mem::take(&mut self.has_gap),
                text: String::from_utf8_lossy(bytes).into_owned(),
            });
        }
        self.has_gap = false;
        self.page.print(self.console, bytes)
    }

    fn wait(&mut self, why: &str) {
        self.is_waiting = true;
        self.console.remark(&format!("--- {why} ---"));
    }

    fn goes_on(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            self.console.remark("--- the log goes on ---");
        }
    }

    fn odd(&self, what: &str) -> CliError {
        CliError::NotOmnivisor { server: self.api.server().to_string(), what: what.to_owned() }
    }
}

fn topic(log: &LogAddress) -> Result<String, CliError> {
    let LogAddress { node, process, channel } = log;
    let (node, process) = (NodeId::parse(node), ProcessId::parse(process));
    match (node, process) {
        (Ok(node), Ok(process)) => Ok(LogTopic { node, process, channel: *channel }.to_string()),
        (Err(error), _) | (_, Err(error)) => {
            Err(CliError::usage(error.to_string(), "write NODE/GROUP:NAME, without `*`"))
        }
    }
}

fn short(pause: Duration) -> String {
    format!("{:.1} s", pause.as_secs_f64())
}
