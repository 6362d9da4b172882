//! `tail`: the end of a log, and what is added to it.

use super::api::{Api, LogAddress, LogBytes, LogPart};
use super::args::TailArgs;
use super::console::Console;
use super::error::CliError;
use super::escape;
use super::follow::{Ended, Follow};
use super::selector::Selector;
use crate::model::LogChannel;
use std::time::Duration;

/// Between two questions while nothing is added.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The longest wait between two questions that fail.
const RETRY_MAX: Duration = Duration::from_secs(10);

pub(crate) async fn run(
    api: &Api,
    token: Option<&str>,
    console: &mut Console,
    args: &TailArgs,
) -> Result<(), CliError> {
    let log = address(args)?;
    let mut page = Page::new(args.raw || !console.is_terminal);
    // Ctrl-C is the way to end a followed log, so it ends well.
    let ended = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => if args.follow { Ok(()) } else { Err(CliError::Interrupted) },
        ended = print(api, token, console, &log, args, &mut page) => ended,
    };
    let rest = page.finish();
    if !rest.is_empty() {
        console.bytes(rest.as_bytes())?;
    }
    ended
}

fn address(args: &TailArgs) -> Result<LogAddress, CliError> {
    let selector = Selector::parse(&args.process)?;
    let Some((node, process)) = selector.exact_process() else {
        return Err(CliError::usage(
            format!("`{}` is not one process", args.process),
            "write NODE/GROUP:NAME, without `*`",
        ));
    };
    let channel = if args.stderr { LogChannel::Stderr } else { LogChannel::Stdout };
    Ok(LogAddress { node: node.to_owned(), process, channel })
}

async fn print(
    api: &Api,
    token: Option<&str>,
    console: &mut Console,
    log: &LogAddress,
    args: &TailArgs,
    page: &mut Page,
) -> Result<(), CliError> {
    if !args.follow {
        return read(api, console, log, args.part(), page).await.map(drop);
    }
    let mut follow = Follow::new(api, token, &mut *console, log, args.part(), &mut *page);
    let Ended::Denied(why) = follow.run().await?;
    let next = follow.next;
    if why == "forbidden" {
        // The reading says so with the server's own words.
        return read(api, console, log, args.part(), page).await.map(drop);
    }
    console.remark(&format!("--- the server does not follow this log ({why}); it is asked twice a second ---"));
    let at = match next {
        Some(next) => Position { next, has_more: true },
        None => read(api, console, log, args.part(), page).await?,
    };
    poll(api, console, log, at, page).await
}

/// Asks for what is added, again and again.
async fn poll(
    api: &Api,
    console: &mut Console,
    log: &LogAddress,
    mut at: Position,
    page: &mut Page,
) -> Result<(), CliError> {
    let mut retry = Retry::default();
    loop {
        if !at.has_more {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        match read(api, console, log, LogPart::From(at.next), page).await {
            Ok(position) => {
                at = position;
                if retry.has_failed() {
                    console.remark("--- the log goes on ---");
                    retry = Retry::default();
                }
            }
            Err(error) if is_passing(&error) => {
                if !retry.has_failed() {
                    console.remark(&format!("--- {}; trying again ---", error.one_line()));
                }
                tokio::time::sleep(retry.next(&error)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Where to go on, and whether there is something already.
struct Position {
    next: u64,
    has_more: bool,
}

async fn read(
    api: &Api,
    console: &mut Console,
    log: &LogAddress,
    part: LogPart,
    page: &mut Page,
) -> Result<Position, CliError> {
    if console.is_json {
        let view = api.log_view(log, part).await?;
        let is_news = !view.text.is_empty() || view.has_gap || !matches!(part, LogPart::From(_));
        if is_news {
            console.json(&view)?;
        }
        return Ok(Position { next: view.next, has_more: view.next < view.size });
    }
    let piece = api.log_bytes(log, part).await?;
    if piece.is_short {
        console.remark("--- there are fewer lines in the last MiB, which is all that is read ---");
    }
    if let Some(marker) = gap_marker(&piece, part) {
        console.remark(&marker);
    }
    page.print(console, &piece.bytes)?;
    Ok(Position { next: piece.next, has_more: piece.next < piece.size })
}

/// What is said about bytes that cannot be had any more. Asking for the end loses nothing that was asked for.
pub(super) fn gap_marker(piece: &LogBytes, part: LogPart) -> Option<String> {
    let LogPart::From(asked) = part else { return None };
    if !piece.has_gap {
        return None;
    }
    match piece.start.checked_sub(asked) {
        Some(lost @ 1..) => Some(format!("--- {lost} bytes lost ---")),
        Some(0) | None => Some("--- the log was rotated or cleared; bytes may be lost ---".to_owned()),
    }
}

/// True for a failure that a followed log outlives: the node or the server may come back.
pub(super) fn is_passing(error: &CliError) -> bool {
    match error {
        CliError::Unreachable { .. } | CliError::TimedOut { .. } | CliError::Broken { .. } => true,
        CliError::Refused { problem, .. } => matches!(problem.status, 408 | 429 | 500..=599),
        CliError::Usage { .. }
        | CliError::Data { .. }
        | CliError::NoMatch { .. }
        | CliError::NotOmnivisor { .. }
        | CliError::FeedClosed { .. }
        | CliError::File { .. }
        | CliError::State { .. }
        | CliError::Terminal(_)
        | CliError::ClosedPipe
        | CliError::Declined
        | CliError::Interrupted
        | CliError::SomeFailed { .. } => false,
    }
}

/// Waits that grow with each failure in a row.
#[derive(Debug, Default)]
struct Retry {
    last: Option<Duration>,
}

impl Retry {
    const fn has_failed(&self) -> bool {
        self.last.is_some()
    }

    fn next(&mut self, error: &CliError) -> Duration {
        let wait = self.last.map_or(POLL_INTERVAL, |last| (last * 2).min(RETRY_MAX));
        self.last = Some(wait);
        let asked = if let CliError::Refused { retry_after, .. } = error { *retry_after } else { None };
        asked.map_or(wait, |asked| asked.clamp(wait, RETRY_MAX))
    }
}

/// How bytes reach standard output.
pub(super) enum Page {
    /// As they are.
    Unchanged,
    /// So that a terminal shows and does not obey them.
    Escaped(escape::Stream),
}

impl Page {
    pub(super) fn new(is_unchanged: bool) -> Self {
        if is_unchanged { Self::Unchanged } else { Self::Escaped(escape::Stream::default()) }
    }

    pub(super) fn print(&mut self, console: &mut Console, bytes: &[u8]) -> Result<(), CliError> {
        match self {
            Self::Unchanged => console.bytes(bytes),
            Self::Escaped(stream) => console.bytes(stream.push(bytes).as_bytes()),
        }
    }

    fn finish(&mut self) -> String {
        match self {
            Self::Unchanged => String::new(),
            Self::Escaped(stream) => stream.finish(),
        }
    }
}
