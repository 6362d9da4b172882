use super::lines::{covers, is_meant};
use super::terminal::Key;
use crate::cli::age::{self, Clock};
use crate::cli::error::CliError;
use crate::cli::escape;
use crate::cli::feed::fleet::{Change, Fleet, Node};
use crate::cli::feed::frame::Frame;
use crate::cli::feed::link::Notice;
use crate::cli::paint::Tone;
use crate::cli::rows::{self, Row};
use crate::cli::selector::Selector;
use jiff::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Lines of the story that are kept.
const STORY_MAX: usize = 200;
/// How long a changed line stays marked.
const MARK_TIME: Duration = Duration::from_secs(8);
/// How long its state is shown in reverse.
const FLASH_TIME: Duration = Duration::from_secs(2);

/// What the full screen shows, and how keys and notices change it. Drawing is elsewhere.
pub(crate) struct Screen {
    pub(crate) server: String,
    pub(crate) is_colored: bool,
    pub(crate) connection: Connection,
    pub(crate) filter: String,
    pub(crate) is_typing: bool,
    /// The first line shown.
    pub(crate) scroll: usize,
    /// Lines that the table had room for when it was last drawn.
    pub(crate) page: usize,
    /// The latest last.
    pub(crate) story: VecDeque<Told>,
    selectors: Vec<Selector>,
    clock: Clock,
    fleet: Fleet,
    changed: HashMap<String, Instant>,
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Connection {
    /// The picture is on its way.
    Reading,
    /// Changes arrive as they happen.
    Live,
    /// Gone; the next attempt comes at this time.
    Lost { reason: String, until: Instant },
}

/// One line of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) at: String,
    pub(crate) address: String,
    pub(crate) words: String,
    pub(crate) tone: Tone,
}

/// A line of the table with what the screen adds to it.
pub(crate) struct Line {
    pub(crate) row: Row,
    pub(crate) mark: Mark,
}

/// How lately a line changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    Recent,
    Flash,
}

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Stay,
    Leave,
}

impl Screen {
    pub(crate) fn new(server: String, selectors: Vec<Selector>, is_colored: bool) -> Self {
        Self {
            server,
            is_colored,
            connection: Connection::Reading,
            filter: String::new(),
            is_typing: false,
            scroll: 0,
            page: 1,
            story: VecDeque::new(),
            selectors,
            clock: Clock::default(),
            fleet: Fleet::default(),
            changed: HashMap::new(),
        }
    }

    /// Takes in what happened on the link.
    ///
    /// # Errors
    /// What ended the link for good.
    pub(crate) fn notice(&mut self, notice: Notice) -> Result<(), CliError> {
        match notice {
            Notice::Opened(clock) => {
                self.clock = clock;
                self.connection = Connection::Reading;
            }
            Notice::Lost { reason, retry } => {
                let reason = escape::line(&reason).into_owned();
                self.connection = Connection::Lost { reason, until: Instant::now() + retry };
            }
            Notice::Frame(frame) => self.frame(&frame),
            Notice::Ended(error) => return Err(error),
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Welcome { mode, .. } if mode == "replay" => self.connection = Connection::Live,
            Frame::Snap { last: true, .. } | Frame::Ev(_) | Frame::Bm { .. } => self.connection = Connection::Live,
            Frame::Welcome { .. } | Frame::Resync { .. } | Frame::Snap { .. } => self.connection = Connection::Reading,
            Frame::Revoked { .. } | Frame::Logs { .. } | Frame::Log(_) | Frame::Skip { .. } | Frame::Unknown => {}
        }
        for change in self.fleet.apply(frame) {
            if is_meant(&change, &self.selectors) {
                self.tell(&change);
            }
        }
    }

    fn tell(&mut self, change: &Change) {
        let now = Instant::now();
        self.changed.retain(|_, at| now.duration_since(*at) < MARK_TIME);
        let address = escape::line(&change.address()).into_owned();
        self.changed.insert(address.clone(), now);
        let tone = match (&change.process, &change.after) {
            (Some(_), Some(state)) => Tone::of_process(state),
            (None, Some(state)) => Tone::of_node(state),
            (Some(_) | None, None) => Tone::Quiet,
        };
        let at = change.at.clone().unwrap_or_else(|| self.clock.now().to_string());
        if self.story.len() == STORY_MAX {
            self.story.pop_front();
        }
        let words = escape::line(&change.words()).into_owned();
        self.story.push_back(Told { at: escape::line(&age::time_of_day(&at)).into_owned(), address, words, tone });
    }

    /// Takes in a key.
    pub(crate) fn key(&mut self, key: Key) -> Next {
        match key {
            Key::Interrupt | Key::Broken(_) => return Next::Leave,
            Key::Resize => {}
            Key::Up => self.scroll = self.scroll.saturating_sub(1),
            Key::Down => self.scroll = self.scroll.saturating_add(1),
            Key::PageUp => self.scroll = self.scroll.saturating_sub(self.page),
            Key::PageDown => self.scroll = self.scroll.saturating_add(self.page),
            Key::Home => self.scroll = 0,
            // Drawing brings it back to the last page.
            Key::End => self.scroll = usize::MAX,
            Key::Enter => self.is_typing = false,
            Key::Backspace if self.is_typing => {
                self.filter.pop();
                self.scroll = 0;
            }
            Key::Backspace => {}
            Key::Escape if self.is_typing || !self.filter.is_empty() => {
                self.is_typing = false;
                self.filter.clear();
                self.scroll = 0;
            }
            Key::Escape => return Next::Leave,
            Key::Char(character) if self.is_typing => {
                self.filter.extend(character.to_lowercase());
                self.scroll = 0;
            }
            Key::Char(character) => return self.letter(character),
        }
        Next::Stay
    }

    fn letter(&mut self, character: char) -> Next {
        match character {
            'q' => return Next::Leave,
            '/' => self.is_typing = true,
            'k' => return self.key(Key::Up),
            'j' => return self.key(Key::Down),
            'g' => return self.key(Key::Home),
            'G' => return self.key(Key::End),
            ' ' => return self.key(Key::PageDown),
            _ => {}
        }
        Next::Stay
    }

    /// The server's present.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// True once there is something to show.
    pub(crate) const fn is_known(&self) -> bool {
        self.fleet.is_known()
    }

    /// Nodes, running processes, processes: of what the user pointed at.
    pub(crate) fn totals(&self) -> (usize, usize, usize) {
        let mut totals = (0, 0, 0);
        for (name, node) in self.fleet.nodes().filter(|(name, node)| self.is_shown(name, node)) {
            totals.0 += 1;
            for process in node.processes.values().filter(|p| covers(&self.selectors, name, Some(&p.id))) {
                totals.1 += usize::from(process.state == "running");
                totals.2 += 1;
            }
        }
        totals
    }

    /// All lines that selectors and filter let through, in order.
    pub(crate) fn lines(&self, now: Timestamp) -> Vec<Line> {
        let mut lines = Vec::new();
        for (name, node) in self.fleet.nodes().filter(|(name, node)| self.is_shown(name, node)) {
            let is_old = node.view.as_ref().is_none_or(|view| !rows::is_live(view));
            let processes: Vec<Row> = node
                .processes
                .values()
                .filter(|process| covers(&self.selectors, name, Some(&process.id)))
                .map(|process| rows::process(name, is_old, process, now))
                .filter(|row| self.passes(row))
                .collect();
            if let Some(view) = &node.view {
                let (running, count) = node.running();
                let row = rows::node(view, running, count, now);
                // A node stays above those of its processes that the filter lets through.
                if !processes.is_empty() || self.passes(&row) {
                    lines.push(self.line(row));
                }
            }
            lines.extend(processes.into_iter().map(|row| self.line(row)));
        }
        lines
    }

    fn is_shown(&self, name: &str, node: &Node) -> bool {
        let of_process = || node.processes.keys().any(|id| covers(&self.selectors, name, Some(id)));
        self.selectors.is_empty()
            || self.selectors.iter().any(|selector| selector.is_node() && selector.covers_node(name))
            || of_process()
    }

    fn passes(&self, row: &Row) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.filter);
        self.filter.is_empty() || has(&row.address) || has(&row.state) || has(&row.detail)
    }

    fn line(&self, row: Row) -> Line {
        let mark = match self.changed.get(&row.address).map(Instant::elapsed) {
            Some(age) if age < FLASH_TIME => Mark::Flash,
            Some(age) if age < MARK_TIME => Mark::Recent,
            Some(_) | None => Mark::None,
        };
        Line { row, mark }
    }
}
