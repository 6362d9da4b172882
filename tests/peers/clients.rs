//! Thousands of clients of a WebSocket server in one process, cheap enough not to be what is measured: frames are counted
//! where they lie, and only those of some clients are read.
//!
//! A process of its own, which is told `connect N`, `begin`, `report`, one a line, and answers each with one of JSON.

use crate::servers::number_of;
use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_util::task::TaskTracker;

/// Clients that connect at the same time.
const CONNECTING: usize = 32;
/// Clients whose frames are read, to see how far apart the same event comes to them.
const SAMPLED: usize = 100;
/// A longer time without an event is a pause.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// A shorter text is no event: those have about 300 bytes.
const EVENT_BYTES_MIN: u64 = 200;

/// Before somebody who was told that too many come at once tries again.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// How the server is entered.
struct Target {
    address: SocketAddr,
    /// None for bare frames without a handshake.
    upgrade: Option<String>,
    hello: Option<String>,
}

#[derive(Default)]
struct Tally {
    clients: RefCell<Vec<Rc<Cell<u64>>>>,
    lost: Cell<usize>,
    bytes: Cell<u64>,
    last: Cell<Option<Instant>>,
    /// Time in which events came, without the pauses.
    busy: Cell<Duration>,
    /// When the sampled clients had each event.
    seen: RefCell<HashMap<u64, Vec<Instant>>>,
    buffer: RefCell<Vec<u8>>,
}

/// The target is one JSON document: `address`, `upgrade` (the request's lines behind the first, or null), `hello`.
pub(crate) fn main(target: &str) -> anyhow::Result<()> {
    let target: Value = serde_json::from_str(target)?;
    let text = |name: &str| target.get(name).and_then(Value::as_str).map(str::to_owned);
    let target = Target {
        address: text("address").context("no address")?.parse()?,
        upgrade: text("upgrade"),
        hello: text("hello"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, obey(target))
}

async fn obey(target: Target) -> anyhow::Result<()> {
    let tally = Rc::new(Tally { buffer: RefCell::new(vec![0; 256 << 10]), ..Tally::default() });
    let tracker = TaskTracker::new();
    let (sender, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        // Ends with the input, or with who reads it.
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            sender.blocking_send(line)?;
        }
        anyhow::Ok(())
    });
    while let Some(line) = lines.recv().await {
        let answer = match line.split_once(' ') {
            Some(("connect", count)) => connect(&target, count.parse()?, &tally, &tracker).await?,
            None if line == "begin" => tally.begin(),
            None if line == "report" => tally.report(),
            Some(_) | None => anyhow::bail!("not understood: {line}"),
        };
        let mut out = io::stdout();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

async fn connect(target: &Target, count: usize, tally: &Rc<Tally>, tracker: &TaskTracker) -> anyhow::Result<Value> {
    let all: Vec<_> =
        futures_util::stream::iter(0..count).map(|_| open(target)).buffer_unordered(CONNECTING).collect().await;
    let mut refused = Vec::new();
    // Spread over all of them, whatever order a server serves its clients in.
    let step = (count / SAMPLED).max(1);
    for (number, opened) in all.into_iter().enumerate() {
        match opened {
            Ok((socket, rest)) => {
                let own = Rc::new(Cell::new(0));
                tally.clients.borrow_mut().push(Rc::clone(&own));
                let client =
                    Client { tally: Rc::clone(tally), own, is_sampled: number % step == 0, frames: Frames::default() };
                tracker.spawn_local(client.read_on(socket, rest));
            }
            Err(error) => refused.push(format!("{error:#}")),
        }
    }
    Ok(json!({ "clients": tally.clients.borrow().len(), "refused": refused.len(), "why": refused.first() }))
}

/// Comes back as long as the server says that too many come at once.
async fn open(target: &Target) -> anyhow::Result<(TcpStream, Vec<u8>)> {
    loop {
        match try_open(target).await {
            Err(error) if error.to_string().starts_with("HTTP/1.1 503") => tokio::time::sleep(BUSY_PAUSE).await,
            opened => return opened,
        }
    }
}

async fn try_open(target: &Target) -> anyhow::Result<(TcpStream, Vec<u8>)> {
    let mut socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    let Some(upgrade) = &target.upgrade else { return Ok((socket, Vec::new())) };
    socket.write_all(upgrade.as_bytes()).await?;
    let mut reply = Vec::new();
    let end = loop {
        if let Some(at) = reply.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(socket.read_buf(&mut reply).await? > 0, "hung up: {}", String::from_utf8_lossy(&reply));
    };
    ensure!(reply.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&reply));
    if let Some(hello) = &target.hello {
        socket.write_all(&masked(0x81, hello.as_bytes())?).await?;
    }
    Ok((socket, reply.split_off(end)))
}

/// A frame of a client, with the mask that changes nothing.
fn masked(first: u8, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length =
        u8::try_from(payload.len()).ok().filter(|length| *length < 126).context("too long for a short frame")?;
    Ok([&[first, 0x80 | length, 0, 0, 0, 0], payload].concat())
}

impl Tally {
    fn begin(&self) -> Value {
        self.clients.borrow().iter().for_each(|client| client.set(0));
        self.bytes.set(0);
        self.last.set(None);
        self.busy.set(Duration::ZERO);
        self.seen.borrow_mut().clear();
        json!({})
    }

    fn report(&self) -> Value {
        let clients = self.clients.borrow();
        let counts = || clients.iter().map(|client| client.get());
        let mut apart: Vec<u64> = Vec::new();
        for moments in self.seen.borrow().values() {
            let first = moments.iter().min();
            apart.extend(
                moments.iter().zip(first.into_iter().cycle()).map(|(moment, first)| {
                    u64::try_from(moment.duration_since(*first).as_micros()).unwrap_or(u64::MAX)
                }),
            );
        }
        apart.sort_unstable();
        let at = |permille: usize| apart.get((apart.len().saturating_sub(1)) * permille / 1_000);
        json!({
            "lost": self.lost.get(), "messages": counts().sum::<u64>(), "bytes": self.bytes.get(), "busy": self.busy.get().as_secs_f64(),
            "least": counts().min(), "most": counts().max(), "p50_us": at(500), "p99_us": at(990), "max_us": at(1_000),
        })
    }
}

struct Client {
    tally: Rc<Tally>,
    own: Rc<Cell<u64>>,
    is_sampled: bool,
    frames: Frames,
}

impl Client {
    async fn read_on(mut self, socket: TcpStream, rest: Vec<u8>) {
        let tally = Rc::clone(&self.tally);
        if self.take(&socket, &rest).is_err() {
            tally.lost.set(tally.lost.get() + 1);
            return;
        }
        loop {
            let read = match socket.readable().await {
                // Borrowed between two awaits: one thread reads for all of them, one after the other.
                Ok(()) => {
                    let mut buffer = tally.buffer.borrow_mut();
                    match socket.try_read(&mut buffer) {
                        Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                        Ok(count) => self.take(&socket, buffer.get(..count).unwrap_or_default()),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                        Err(error) => Err(error),
                    }
                }
                Err(error) => Err(error),
            };
            if read.is_err() {
                tally.lost.set(tally.lost.get() + 1);
                return;
            }
        }
    }

    fn take(&mut self, socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(frame) = self.frames.next(&mut bytes, self.is_sampled) {
            match frame.opcode {
                1 if frame.length >= EVENT_BYTES_MIN => self.count(&frame),
                9 => {
                    let pong = masked(0x8a, &frame.payload).map_err(io::Error::other)?;
                    socket.try_write(&pong)?;
                }
                8 => return Err(io::ErrorKind::ConnectionReset.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn count(&self, frame: &Frame) {
        self.own.set(self.own.get() + 1);
        let tally = &self.tally;
        tally.bytes.set(tally.bytes.get() + frame.length);
        let now = Instant::now();
        let gap = tally.last.replace(Some(now)).map_or(Duration::ZERO, |last| now.duration_since(last));
        if gap < PAUSE_MIN {
            tally.busy.set(tally.busy.get() + gap);
        }
        if let Some(number) = number_of(&frame.payload) {
            tally.seen.borrow_mut().entry(number).or_default().push(now);
        }
    }
}

/// Where a client stands in the bytes of its frames.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    opcode: u8,
    length: u64,
    left: u64,
    is_in_payload: bool,
    kept: Vec<u8>,
}

struct Frame {
    opcode: u8,
    length: u64,
    /// Empty unless it was to be kept.
    payload: Vec<u8>,
}

impl Frames {
    /// The next frame that ends in these bytes, which are moved on.
    fn next(&mut self, bytes: &mut &[u8], is_sampled: bool) -> Option<Frame> {
        while !self.is_in_payload {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            self.head.push(*byte);
            self.begin();
        }
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, rest) = bytes.split_at(taken);
        *bytes = rest;
        // A ping has to be answered with what it holds.
        if is_sampled || self.opcode == 9 {
            self.kept.extend_from_slice(payload);
        }
        self.left -= taken as u64;
        if self.left > 0 {
            return None;
        }
        self.is_in_payload = false;
        Some(Frame { opcode: self.opcode, length: self.length, payload: std::mem::take(&mut self.kept) })
    }

    /// Begins the payload once the head is whole. A server's frames have no mask.
    fn begin(&mut self) {
        let length = match self.head.as_slice() {
            [_, short, ..] if *short < 126 => u64::from(*short),
            [_, 126, high, low] => u64::from(u16::from_be_bytes([*high, *low])),
            [_, 127, a, b, c, d, e, f, g, h] => u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
            _ => return,
        };
        self.opcode = self.head.first().map_or(0, |first| first & 0x0f);
        (self.length, self.left, self.is_in_payload) = (length, length, true);
        self.head.clear();
    }
}
