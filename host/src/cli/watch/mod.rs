//! `watch`: the fleet live, as a full screen on a terminal and as lines elsewhere.
//!
//! One task reads the feed, one thread the keyboard; the screen itself belongs to the loop in [`run`] alone.

mod draw;
mod lines;
mod screen;
mod terminal;

use super::args::WatchArgs;
use super::console::Console;
use super::error::CliError;
use super::feed::link::{Link, Notice};
use super::selector::Selector;
use super::server::ServerUrl;
use screen::{Next, Screen};
use std::time::Duration;
use terminal::{FullScreen, Key, read_keys};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Notices that may wait for the screen. Beyond it the socket waits.
const NOTICES_MAX: usize = 256;
/// Keys that may wait for the screen. Beyond it the keyboard waits.
const KEYS_MAX: usize = 64;
/// Uptimes tick and marks fade at this pace.
const TICK: Duration = Duration::from_millis(250);
/// The shortest time between two pictures when much happens; nobody sees more.
const FRAME: Duration = Duration::from_millis(33);
/// More selectors than this are applied here alone, so that the server need not.
const SELECTORS_SENT_MAX: usize = 100;

pub(crate) async fn run(
    server: &ServerUrl,
    token: Option<&str>,
    console: &mut Console,
    args: &WatchArgs,
) -> Result<(), CliError> {
    let selectors = Selector::parse_all(&args.selectors)?;
    let link = Link { server: server.clone(), token: token.map(str::to_owned), sub: topics(&selectors), log: vec![] };
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    // After a panic too: the keyboard thread would otherwise keep the process until the next key.
    let _stopping = stop.clone().drop_guard();
    let (sender, notices) = mpsc::channel(NOTICES_MAX);
    tasks.spawn(link.run(sender, stop.clone()));
    let ended = if console.is_smart && !console.is_json {
        let screen = Screen::new(server.to_string(), selectors, console.is_colored);
        full_screen(screen, notices, &tasks, &stop).await
    } else {
        lines::run(console, notices, &selectors).await
    };
    stop.cancel();
    tasks.close();
    // Nothing is lost when a task does not end in time: the process ends with it.
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
    ended
}

/// The topics to ask for: those of the nodes that the selectors name, or all.
fn topics(selectors: &[Selector]) -> Vec<String> {
    let mut nodes: Vec<&str> = selectors.iter().map(Selector::node_pattern).collect();
    nodes.sort_unstable();
    nodes.dedup();
    if nodes.is_empty() || nodes.len() > SELECTORS_SENT_MAX {
        nodes = vec!["*"];
    }
    nodes.iter().flat_map(|node| [format!("node/{node}/state"), format!("proc/{node}/state")]).collect()
}

async fn full_screen(
    mut screen: Screen,
    mut notices: mpsc::Receiver<Notice>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    // A server that is not there is reported on the ordinary screen, not on one that vanishes at once.
    let first = tokio::select! {
        biased;
        () = signals.any() => return Ok(()),
        first = notices.recv() => first,
    };
    let Some(first) = first else { return Ok(()) };
    screen.notice(first)?;
    let mut full = FullScreen::enter().map_err(CliError::Terminal)?;
    let (sender, mut keys) = mpsc::channel(KEYS_MAX);
    let stopped = stop.clone();
    tasks.spawn_blocking(move || read_keys(&sender, &stopped));
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        full.draw(|frame| draw::draw(frame, &mut screen)).map_err(CliError::Terminal)?;
        let drawn = Instant::now();
        let step = tokio::select! {
            biased;
            () = signals.any() => Step::Leave,
            key = keys.recv() => key.map_or(Step::Leave, Step::Key),
            notice = notices.recv() => notice.map_or(Step::Leave, Step::Notice),
            _ = tick.tick() => Step::Tick,
        };
        match step {
            Step::Leave => return Ok(()),
            Step::Tick => {}
            Step::Key(Key::Broken(error)) => return Err(CliError::Terminal(error)),
            Step::Key(key) => match screen.key(key) {
                Next::Stay => {}
                Next::Leave => return Ok(()),
            },
            Step::Notice(notice) => {
                screen.notice(notice)?;
                // A burst is drawn once.
                tokio::time::sleep_until(drawn + FRAME).await;
                for _ in 0..NOTICES_MAX {
                    let Ok(notice) = notices.try_recv() else { break };
                    screen.notice(notice)?;
                }
            }
        }
    }
}

enum Step {
    Leave,
    Tick,
    Key(Key),
    Notice(Notice),
}

/// The signals that end a watch well.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::Terminal);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_topics_of_the_nodes_that_are_meant_are_asked_for() {
        let parse = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            topics(&Selector::parse_all(&texts).expect("selectors"))
        };
        assert_eq!(parse(&[]), ["node/*/state", "proc/*/state"]);
        assert_eq!(parse(&["web-*/app:x", "web-*"]), ["node/web-*/state", "proc/web-*/state"]);
        let many: Vec<String> = (0..101).map(|n| format!("n{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(parse(&many), ["node/*/state", "proc/*/state"]);
    }
}
