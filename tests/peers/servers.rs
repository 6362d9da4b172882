//! Peers of the feed that are written here: each message sent and flushed by itself as everyone writes it first, and the
//! floor, which is one write for each message and client without any protocol. Each runs in a process of its own.

use anyhow::Context as _;
use futures_util::SinkExt as _;
use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::task::TaskTracker;

/// Bytes of an event's text.
const EVENT_BYTES: usize = 300;
/// Events that a client of the plain server may be behind before it loses some.
const BEHIND_MAX: usize = 65_536;

fn event(number: u64) -> String {
    let mut text = format!(r#"{{"t":"ev","o":{number},"process":{{"pid":{number},"pad":""#);
    while text.len() < EVENT_BYTES - 3 {
        text.push('x');
    }
    text.push_str("\"}}");
    text
}

/// Says where it listens, then calls `publish` with the number of each event that it is told to publish.
fn obey(listener: &TcpListener, mut publish: impl FnMut(u64)) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let mut number = 0;
    for line in std::io::stdin().lock().lines() {
        for _ in 0..line?.parse::<u64>()? {
            number += 1;
            publish(number);
        }
    }
    Ok(())
}

/// tokio-tungstenite with its defaults: a task for each client, which sends and flushes each message.
pub(crate) fn tungstenite() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (sender, _) = broadcast::channel::<Utf8Bytes>(BEHIND_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    TaskTracker::new().spawn_on(accept(listener.try_clone()?, sender.clone()), runtime.handle());
    obey(&listener, |number| drop(sender.send(event(number).into())))
}

async fn accept(listener: TcpListener, events: broadcast::Sender<Utf8Bytes>) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tracker = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut events = events.subscribe();
        tracker.spawn(async move {
            let mut socket = tokio_tungstenite::accept_async(stream).await?;
            while let Ok(text) = events.recv().await {
                socket.send(Message::Text(text)).await?;
            }
            anyhow::Ok(())
        });
    }
}

/// Nothing but writes of the same bytes, from one thread, to sockets that do not block.
pub(crate) fn floor() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let clients: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let (accepting, accepted) = (listener.try_clone()?, Arc::clone(&clients));
    std::thread::spawn(move || {
        for stream in accepting.incoming() {
            let stream = stream?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            accepted.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        }
        std::io::Result::Ok(())
    });
    obey(&listener, |number| {
        let text = event(number);
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        let mut frame = vec![0x81, 126];
        frame.extend(length.to_be_bytes());
        frame.extend(text.as_bytes());
        for client in clients.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            put(client, &frame);
        }
    })
}

fn put(client: &mut TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match client.write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(_) => return,
        }
    }
}

/// The number in `"pid":NUMBER` of an event.
pub(crate) fn number_of(text: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"pid\":";
    let at = text.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let digits = text.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = String::new();
    for digit in digits {
        write!(number, "{}", char::from(*digit)).ok()?;
    }
    number.parse().ok()
}

/// This program as a child in another part.
pub(crate) fn part(name: &str) -> anyhow::Result<tokio::process::Command> {
    let mut command = tokio::process::Command::new(std::env::current_exe().context("the bench has no path")?);
    command.arg(name);
    Ok(command)
}
