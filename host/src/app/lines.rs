//! The log's way out: a bounded queue and a thread, so that a reader that does not read holds up nobody.

use crate::app::one_line::one_line;
use crate::config::LogFormat;
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

/// Takes log lines without ever waiting. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogLines {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    /// Dropped and not told yet.
    untold: Arc<AtomicU64>,
}

impl LogLines {
    /// Starts the thread, which writes to `out` and ends with the last clone.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(out: impl Write + Send + 'static, format: LogFormat) -> io::Result<Self> {
        let (sender, inbox) = sync_channel(LINES_MAX);
        let (dropped, untold) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let lines = Self { sender, dropped, untold: Arc::clone(&untold) };
        std::thread::Builder::new().name("log-writer".into()).spawn(move || write(inbox, out, format, &untold))?;
        Ok(lines)
    }

    /// How many lines were dropped since the start, counted where it can be read at any time.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
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
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
            self.untold.fetch_add(1, Relaxed);
        }
    }
}

fn write(inbox: Receiver<Message>, mut out: impl Write, format: LogFormat, untold: &AtomicU64) {
    for message in inbox {
        match message {
            // A reader that went away is no reason to end: the lines are lost, the server is not.
            Message::Line(line) => drop(out.write_all(&line)),
            Message::Flush(done) => drop(done.send(())),
        }
        let count = untold.swap(0, Relaxed);
        if count > 0 {
            drop(out.write_all(notice(count, format).as_bytes()));
        }
    }
}

fn notice(count: u64, format: LogFormat) -> String {
    let text = "log lines were dropped, for they were not read fast enough";
    match format {
        LogFormat::Text => format!(" WARN omnivisor::app: {text} dropped={count}\n"),
        LogFormat::Json => {
            format!("{{\"level\":\"WARN\",\"target\":\"omnivisor::app\",\"message\":\"{text}\",\"dropped\":{count}}}\n")
        }
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
            self.lines.push(one_line(std::mem::take(&mut self.bytes)));
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
        let lines = LogLines::start(pipe.clone(), LogFormat::Json).unwrap();
        let written = LINES_MAX as u64 + 500;
        for number in 0..written {
            // Returns at once although nobody reads.
            writeln!(lines.make_writer(), "{number}").unwrap();
        }
        let dropped = lines.dropped().load(Relaxed);
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
            .filter_map(|line| line.split_once("\"dropped\":").map(|(_, count)| count.trim_end_matches('}')))
            .map(|count| count.parse::<u64>().unwrap())
            .sum();
        assert_eq!(told, dropped);
        let kept: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(kept.len() as u64, written - dropped);
        assert!(kept.is_sorted(), "what is kept is in order");
    }
}
