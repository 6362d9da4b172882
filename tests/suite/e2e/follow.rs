//! Logs that are followed on the feed, against what stands in the files.

use super::{SOON, one};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tests::{Feed, Host, Node, Program, Settings, Supervisord, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// What one client was told of one log.
#[derive(Default)]
struct Told {
    /// Runs of bytes without a gap in between, each with the offset of its first.
    runs: Vec<(u64, Vec<u8>)>,
    gaps: Vec<String>,
    follow: Vec<Value>,
    number: u64,
}

impl Told {
    /// Takes a frame and holds it against what the documents promise.
    fn take(&mut self, frame: &Value) -> anyhow::Result<()> {
        ensure!(frame["t"] == "log", "nothing is skipped here: {frame}");
        let number = frame["n"].as_u64().context("a frame without its number")?;
        ensure!(number > self.number, "number {number} after {}", self.number);
        self.number = number + frame["lines"].as_u64().context("a frame without its lines")? - 1;
        if let Some(why) = frame["gap"].as_str() {
            self.gaps.push(why.to_owned());
            self.runs.push((frame["next"].as_u64().context("a gap without its end")?, Vec::new()));
            return Ok(());
        }
        if frame["follow"].is_string() {
            self.follow.push(frame.clone());
            return Ok(());
        }
        let bytes = match (&frame["text"], &frame["base64"]) {
            (Value::String(text), Value::Null) => text.clone().into_bytes(),
            (Value::Null, Value::String(text)) => BASE64.decode(text)?,
            _ => anyhow::bail!("neither text nor bytes: {frame}"),
        };
        let start = frame["start"].as_u64().context("a piece without its place")?;
        if self.runs.is_empty() {
            self.runs.push((start, Vec::new()));
        }
        let (first, run) = self.runs.last_mut().context("there is one")?;
        let place = *first + run.len() as u64;
        ensure!(start == place, "a piece at {start} after one that ended at {place}: {frame}");
        let is_whole = bytes.ends_with(b"\n");
        ensure!(is_whole != (frame["continued"] == true), "a line that is neither whole nor marked: {frame}");
        run.extend(bytes);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.runs.iter().map(|(_, run)| run.len()).sum()
    }
}

fn topic(node: &str, program: &str) -> String {
    format!("log/{node}/{program}:{program}/stdout")
}

/// A client that follows these logs, once the host has said so.
async fn follow(host: &Host, topics: &[String]) -> anyhow::Result<Feed> {
    let mut feed = Feed::open(&host.admin, &["node/none/state"], None).await?;
    feed.say(&json!({ "t": "logs", "log": topics }).to_string()).await?;
    let frame = feed.log_frame(SOON).await?;
    ensure!(frame["t"] == "logs" && frame["denied"].is_null(), "not followed: {frame}");
    Ok(feed)
}

async fn following(feed: &mut Feed, told: &mut Told) -> anyhow::Result<()> {
    while told.follow.last().is_none_or(|frame| frame["follow"] != "following") {
        told.take(&feed.log_frame(SOON).await?)?;
    }
    Ok(())
}

/// The numbers of the lines `line NUMBER ...` in a run; what its ends cut is left out.
fn numbers(run: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(run);
    let whole = text.lines().filter(|line| line.ends_with('.') && line.starts_with("line "));
    whole.filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
}

#[tokio::test]
async fn what_a_client_is_told_is_the_file_byte_by_byte() -> anyhow::Result<()> {
    // Characters in halves, colours, a NUL, a line without an end, one of 40 KiB, and bytes that are no text.
    let script = "n=0; while :; do n=$((n+1)); printf 'line %d \\342\\202'  $n; sleep 0.05; printf '\\254 \\033[31m\\000 .\\n'; \
        head -c 40000 /dev/zero | tr '\\000' x; echo; printf 'prompt> '; sleep 0.4; printf '\\377\\376 raw\\n'; sleep 0.2; done";
    let (node, host) = one(Node::new("alpha").program(Program::script("writer", script).waiting())).await?;
    let log = topic("alpha", "writer");
    let mut feed = follow(&host, std::slice::from_ref(&log)).await?;
    let mut told = Told::default();
    host.admin.post("/api/v1/nodes/alpha/processes/writer:writer/start", &json!({})).await?.expect_status(200)?;
    while told.bytes() < 200_000 {
        told.take(&feed.log_frame(SOON).await?)?;
    }
    let (start, run) = &told.runs[0];
    assert!(told.gaps.is_empty() && told.runs.len() == 1, "gaps: {:?}", told.gaps);
    let path = std::fs::read_dir(node.folder())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("writer-stdout"))
        .context("a log file")?;
    let file = std::fs::read(path)?;
    let start = usize::try_from(*start)?;
    assert_eq!(run.as_slice(), &file[start..start + run.len()], "byte by byte");
    Ok(())
}

#[tokio::test]
async fn three_writers_one_of_which_floods_while_the_files_rotate() -> anyhow::Result<()> {
    let slow = "n=0; while :; do n=$((n+1)); echo \"line $n slow .\"; sleep 0.03; done";
    let flood = "n=0; while :; do n=$((n+1)); echo \"line $n flood xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx .\"; done";
    let rotating = |program: Program, bytes: &str| {
        program.with("stdout_logfile_maxbytes", bytes).with("stdout_logfile_backups", "3")
    };
    let node = Node::new("alpha")
        .program(rotating(Program::script("slow", slow), "2000"))
        .program(rotating(Program::script("flood", flood), "200KB"))
        .program(Program::script("steady", slow));
    let (_node, host) = one(node).await?;
    let names = ["slow", "flood", "steady"];
    let topics: Vec<String> = names.iter().map(|name| topic("alpha", name)).collect();
    let mut feed = follow(&host, &topics).await?;
    let mut told = [Told::default(), Told::default(), Told::default()];
    let end = Instant::now() + Duration::from_secs(12);
    while Instant::now() < end {
        let frame = feed.log_frame(SOON).await?;
        let stream = frame["topic"].as_str().or(frame["stream"].as_str()).context("a frame without its log")?;
        let at = topics.iter().position(|topic| topic == stream).context("a log that nobody asked for")?;
        told[at].take(&frame)?;
    }
    for (name, told) in names.iter().zip(&told) {
        let mut last = 0;
        for (at, (_, run)) in told.runs.iter().enumerate() {
            for (index, number) in numbers(run).into_iter().enumerate() {
                assert!(number > last, "{name}: line {number} after {last}");
                // In a run nothing is missing; the first line of one follows a gap.
                assert!(index == 0 || number == last + 1, "{name}: {last} is followed by {number} in run {at}");
                last = number;
            }
        }
        assert!(last > 50, "{name}: only {last} lines");
        assert!(told.gaps.iter().all(|why| why == "rotated"), "{name}: {:?}", told.gaps);
    }
    assert!(told[0].gaps.len() >= 2, "the slow one was rotated: {:?}", told[0].gaps);
    assert!(!told[1].gaps.is_empty(), "the flood was rotated");
    assert!(told[2].gaps.is_empty(), "the steady one was not");
    // The slow log is read several times between two rotations, so little of it is lost.
    let (lines, last) = (told[0].runs.iter().map(|(_, run)| numbers(run).len()).sum::<usize>(), told[0].runs.last());
    let last = last.and_then(|(_, run)| numbers(run).last().copied()).unwrap_or_default();
    assert!(lines as u64 * 2 > last, "{lines} of {last} lines of the slow log");
    Ok(())
}

#[tokio::test]
async fn a_node_that_goes_and_comes_back_loses_nothing_that_its_file_holds() -> anyhow::Result<()> {
    let script = "n=0; while :; do n=$((n+1)); echo \"line $n .\"; sleep 0.05; done";
    let (mut node, host) = one(
        Node::new("alpha").program(Program::script("writer", script).with("stdout_logfile", "%(here)s/writer.log"))
    )
    .await?;
    let mut feed = follow(&host, &[topic("alpha", "writer")]).await?;
    let mut told = Told::default();
    following(&mut feed, &mut told).await?;
    let read = |told: &Told| told.bytes();
    while read(&told) < 200 {
        told.take(&feed.log_frame(SOON).await?)?;
    }
    node.kill();
    while told.follow.last().is_none_or(|frame| frame["follow"] != "waiting") {
        told.take(&feed.log_frame(SOON).await?)?;
    }
    let before = read(&told);
    node.start_again().await?;
    while told.follow.last().is_none_or(|frame| frame["follow"] != "following") || read(&told) < before + 500 {
        told.take(&feed.log_frame(SOON).await?)?;
    }
    assert!(told.gaps.is_empty(), "{:?}", told.gaps);
    let (start, run) = &told.runs[0];
    let file = std::fs::read(node.folder().join("writer.log"))?;
    let start = usize::try_from(*start)?;
    assert_eq!(run.as_slice(), &file[start..start + run.len()]);
    Ok(())
}

/// Passes connections on to a node and counts those that carry a log's stream.
async fn counted(node: SocketAddr) -> anyhow::Result<(SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (open, ever) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&open), Arc::clone(&ever));
    TaskTracker::new().spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (open, ever) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
            TaskTracker::new().spawn(async move {
                let Ok(mut server) = TcpStream::connect(node).await else { return };
                let mut first = vec![0; 4096];
                let Ok(length) = client.read(&mut first).await else { return };
                first.truncate(length);
                let is_stream = first.starts_with(b"GET /logtail/");
                if server.write_all(&first).await.is_err() {
                    return;
                }
                open.fetch_add(usize::from(is_stream), SeqCst);
                ever.fetch_add(usize::from(is_stream), SeqCst);
                // Either end closes both.
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                }
                open.fetch_sub(usize::from(is_stream), SeqCst);
            });
        }
    });
    Ok((address, open, ever))
}

#[tokio::test]
async fn two_clients_share_one_stream_and_the_last_one_closes_it() -> anyhow::Result<()> {
    let script = "n=0; while :; do n=$((n+1)); echo \"line $n .\"; sleep 0.2; done";
    let node = Supervisord::start(Node::new("alpha").program(Program::script("writer", script))).await?;
    let (address, open, ever) = counted(node.address()).await?;
    let host = Host::start(Settings::new()?.node_behind(&node, address)?).await?;
    host.until_node("alpha", &["live", "live-poll"], SOON).await?;
    let log = [topic("alpha", "writer")];
    let mut clients = [follow(&host, &log).await?, follow(&host, &log).await?];
    for feed in &mut clients {
        let mut told = Told::default();
        while told.bytes() < 50 {
            told.take(&feed.log_frame(SOON).await?)?;
        }
    }
    assert_eq!((open.load(SeqCst), ever.load(SeqCst)), (1, 1), "one stream for two clients");
    let [first, second] = clients;
    drop(first);
    tokio::time::sleep(Duration::from_secs(6)).await; // longer than a log lingers
    assert_eq!(open.load(SeqCst), 1, "the other client still reads");
    // One that comes back at once finds the stream as it was.
    drop(second);
    let mut back = follow(&host, &log).await?;
    let mut told = Told::default();
    while told.bytes() < 20 {
        told.take(&back.log_frame(SOON).await?)?;
    }
    assert_eq!((open.load(SeqCst), ever.load(SeqCst)), (1, 1), "a reload does not reconnect");
    drop(back);
    until("the stream is closed", SOON, async || Ok((open.load(SeqCst) == 0).then_some(()))).await
}

/// Prints how long a line takes from the program to a client, for the bench's table; fails only where something is stuck.
#[tokio::test]
async fn a_line_is_with_its_reader_soon() -> anyhow::Result<()> {
    let script = "while :; do sleep 0.31; echo \"line $(date +%s%N) .\"; done";
    let (_node, host) = one(Node::new("alpha").program(Program::script("writer", script))).await?;
    let mut feed = follow(&host, &[topic("alpha", "writer")]).await?;
    let mut told = Told::default();
    following(&mut feed, &mut told).await?;
    let mut took = Vec::new();
    while took.len() < 40 {
        let frame = feed.log_frame(SOON).await?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let text = frame["text"].as_str().unwrap_or_default();
        took.extend(numbers(text.as_bytes()).last().map(|at| now.saturating_sub(u128::from(*at)) / 1_000));
    }
    took.sort_unstable();
    let (median, last) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!("line -> client: p50 {median} us, max {last} us over {} lines", took.len());
    assert!(median < 300_000, "p50 {median} us");
    Ok(())
}
