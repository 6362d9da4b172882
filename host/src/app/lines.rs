//! The log's way out: a bounded queue and a thread, so that a reader that does not read holds up nobody. A record is one
//! line, whatever is in it.

use crate::api::LogLoss;
use crate::model::is_deceptive;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait. Beyond it they are dropped and counted.
const LINES_MAX: usize = 4_096;

/// What the writing thread is handed.
enum Message {
    Line(Vec<u8>),
    /// Answered once all lines before it are written.
    Flush(SyncSender<()>),
}

/// How a character that must not stand in a line is shown. Names, paths and causes come from outside: an end of a line in
/// one of them would make a second record, and others would change what a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// As `\u{1b}`.
    Text,
    /// The same, but the log itself writes colours.
    ColouredText,
    /// As `\u001b`, which is the same text to whoever reads the JSON.
    Json,
}

/// Takes log lines without ever waiting. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogLines {
    sender: SyncSender<Message>,
    escapes: Escapes,
    loss: Arc<LogLoss>,
    /// Dropped and not told yet.
    untold: Arc<AtomicU64>,
}

impl LogLines {
    /// Starts the thread, which writes to `out` and ends with the last clone.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(out: impl Write + Send + 'static, escapes: Escapes) -> io::Result<Self> {
        let (sender, inbox) = sync_channel(LINES_MAX);
        let (loss, untold) = (Arc::<LogLoss>::default(), Arc::<AtomicU64>::default());
        let lines = Self { sender, escapes, loss: Arc::clone(&loss), untold: Arc::clone(&untold) };
        let writing = move || write(inbox, out, escapes, (&loss, &untold));
        std::thread::Builder::new().name("log-writer".into()).spawn(writing)?;
        Ok(lines)
    }

    /// What was lost since the start, counted where it can be read at any time.
    pub(super) fn loss(&self) -> Arc<LogLoss> {
        Arc::clone(&self.loss)
    }

    /// Waits until what was logged is written, as long as `limit` lasts. Blocks.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, written) = sync_channel(1);
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            // Whoever does not read in time loses the rest.
            let _ = written.recv_timeout(limit);
        }
    }

    fn push(&self, line: Vec<u8>) {
        if self.sender.try_send(Message::Line(escaped(line, self.escapes))).is_err() {
            self.loss.note();
            self.untold.fetch_add(1, Relaxed);
        }
    }
}

fn write(inbox: Receiver<Message>, mut out: impl Write, escapes: Escapes, (loss, untold): (&LogLoss, &AtomicU64)) {
    for message in inbox {
        match message {
            // A reader that went away is no reason to end: the lines are lost, the server is not.
            Message::Line(line) => {
                let is_written = out.write_all(&line).is_ok();
                loss.note_written(is_written);
                if !is_written {
                    loss.note();
                    untold.fetch_add(1, Relaxed);
                }
            }
            Message::Flush(done) => drop(done.send(())),
        }
        let count = untold.swap(0, Relaxed);
        if count > 0 && out.write_all(notice(count, escapes).as_bytes()).is_err() {
            untold.fetch_add(count, Relaxed);
        }
    }
}

/// A record's line with nothing in it that is more than a character of it.
fn escaped(line: Vec<u8>, escapes: Escapes) -> Vec<u8> {
    let (end, body) = match line.split_last() {
        Some((b'\n', body)) => ("\n", body),
        _ => ("", line.as_slice()),
    };
    // What is not ASCII begins with a byte of 0x80 or more, and may be an odd one.
    if body.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return line;
    }
    let body = String::from_utf8_lossy(body);
    let mut text = String::with_capacity(body.len() + end.len() + 16);
    for c in body.chars() {
        match escapes {
            Escapes::ColouredText if c == '\u{1b}' => text.push(c),
            _ if !is_deceptive(c) => text.push(c),
            Escapes::Text | Escapes::ColouredText => text.extend(c.escape_default()),
            Escapes::Json => drop(write!(text, "\\u{:04x}", u32::from(c))),
        }
    }
    text.push_str(end);
    text.into_bytes()
}

fn notice(count: u64, escapes: Escapes) -> String {
    let (now, text) = (Timestamp::now(), "log lines were dropped, for they could not be written in time");
    match escapes {
        Escapes::Text | Escapes::ColouredText => {
            format!("{now:.6}  WARN omnivisor::app::lines: {text} dropped={count}\n")
        }
        Escapes::Json => format!(
            "{{\"timestamp\":\"{now:.6}\",\"level\":\"WARN\",\"message\":\"{text}\",\"dropped\":{count},\"target\":\"omnivisor::app::lines\"}}\n"
        ),
    }
}

/// One line that is being made.
pub(super) struct Line<'l> {
    lines: &'l LogLines,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.lines.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl<'l> MakeWriter<'l> for LogLines {
    type Writer = Line<'l>;

    fn make_writer(&'l self) -> Line<'l> {
        Line { lines: self, bytes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// Whether it is open, and what went through.
    type Flow = Mutex<(bool, Vec<u8>)>;

    /// A pipe that is full until it is opened.
    #[derive(Clone, Default)]
    struct Pipe(Arc<(Flow, Condvar)>);

    impl Pipe {
        fn open(&self) {
            self.0.0.lock().unwrap().0 = true;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().1.clone()).unwrap()
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| !state.0).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_pipe_holds_up_nobody_and_what_was_lost_is_told() {
        let pipe = Pipe::default();
        let lines = LogLines::start(pipe.clone(), Escapes::Json).unwrap();
        let written = LINES_MAX as u64 + 500;
        for number in 0..written {
            // Returns at once although nobody reads.
            writeln!(lines.make_writer(), "{number}").unwrap();
        }
        let dropped = lines.loss().lines();
        assert!((499..=500).contains(&dropped), "one line may be in the thread's hands: {dropped}");
        lines.flush(Duration::from_millis(1));
        pipe.open();
        // The queue is full until the thread has taken from it.
        while !pipe.text().contains("dropped\":") {
            std::thread::yield_now();
        }
        lines.flush(Duration::from_secs(10));
        let text = pipe.text();
        let told: u64 = text
            .lines()
            .filter_map(|line| {
                line.split_once("\"dropped\":").map(|(_, rest)| rest.split(',').next().unwrap_or_default())
            })
            .map(|count| count.parse::<u64>().unwrap())
            .sum();
        assert_eq!(told, dropped);
        let kept: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(kept.len() as u64, written - dropped);
        assert!(kept.is_sorted(), "what is kept is in order");
    }

    #[test]
    fn a_record_is_one_line_of_harmless_characters_and_json_still_means_the_same() {
        let odd = "a\nb\r\tc\u{1b}[31md\u{202e}e\u{2028}\u{85}f\u{7f}g h\u{e4}\u{1f680}";
        let text = String::from_utf8(escaped(format!("{odd}\n").into_bytes(), Escapes::Text)).unwrap();
        assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
        assert!(!text.trim_end_matches('\n').contains(is_deceptive), "{text:?}");
        assert!(text.contains("\\u{1b}[31m") && text.contains("h\u{e4}\u{1f680}"), "{text:?}");
        let record = format!("{}\n", serde_json::json!({ "message": odd }));
        let line = String::from_utf8(escaped(record.into_bytes(), Escapes::Json)).unwrap();
        assert!(!line.trim_end_matches('\n').contains(is_deceptive), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], odd);
        let coloured = escaped("\u{1b}[2mx\r\u{1b}[0m\n".into(), Escapes::ColouredText);
        assert_eq!(coloured, "\u{1b}[2mx\\r\u{1b}[0m\n".as_bytes());
        assert_eq!(escaped(vec![0xff, b'\n'], Escapes::Text), "\u{fffd}\n".as_bytes());
    }

    proptest::proptest! {
        /// P25 for single records: whatever is logged, a record is one line, and its JSON means what was logged.
        #[test]
        fn p25_whatever_is_in_a_record_it_is_one_line(
            text in proptest::collection::vec(proptest::prelude::any::<char>(), 0..60),
        ) {
            let text = String::from_iter(text);
            for escapes in [Escapes::Text, Escapes::ColouredText] {
                let line = String::from_utf8(escaped(format!("{text}\n").into_bytes(), escapes)).unwrap();
                proptest::prop_assert!(line.ends_with('\n'));
                let body = line.trim_end_matches('\n');
                let is_bad = |c| is_deceptive(c) && (c != '\u{1b}' || escapes == Escapes::Text);
                proptest::prop_assert!(!body.contains(is_bad));
            }
            let record = format!("{}\n", serde_json::json!({ "message": text }));
            let line = String::from_utf8(escaped(record.into_bytes(), Escapes::Json)).unwrap();
            proptest::prop_assert!(!line.trim_end_matches('\n').contains(is_deceptive));
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            proptest::prop_assert_eq!(read["message"].as_str(), Some(text.as_str()));
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_is_told_until_it_can() {
        /// Fails as long as it is told to.
        struct Disk(Arc<AtomicU64>);
        impl Write for Disk {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0.load(Relaxed) == 0 { Ok(bytes.len()) } else { Err(io::ErrorKind::StorageFull.into()) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let is_full = Arc::new(AtomicU64::new(1));
        let lines = LogLines::start(Disk(Arc::clone(&is_full)), Escapes::Text).unwrap();
        writeln!(lines.make_writer(), "one").unwrap();
        lines.flush(Duration::from_secs(10));
        assert_eq!((lines.loss().lines(), lines.loss().is_broken()), (1, true));
        is_full.store(0, Relaxed);
        writeln!(lines.make_writer(), "two").unwrap();
        lines.flush(Duration::from_secs(10));
        assert_eq!((lines.loss().lines(), lines.loss().is_broken()), (1, false));
    }
}
