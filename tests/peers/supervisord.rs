//! A supervisord of a script, for benches: answers at once from a list that the bench changes, or never answers at all.

use anyhow::Context as _;
use bytes::Bytes;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

/// Clones are the same node.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    hints: broadcast::Sender<Bytes>,
    hangs: bool,
}

struct State {
    /// Of each program its process number.
    programs: Vec<u64>,
    next: u64,
    /// When everything was asked for.
    asked: Vec<Instant>,
}

impl Scripted {
    /// A node with so many programs, all running. One that hangs takes connections and requests, and never answers.
    pub(crate) async fn start(name: &str, programs: u64, hangs: bool, tracker: &TaskTracker) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let state = State { programs: (1..=programs).collect(), next: programs + 1, asked: Vec::new() };
        let this = Self {
            name: name.to_owned(),
            address: listener.local_addr()?,
            state: Arc::new(Mutex::new(state)),
            hints: broadcast::channel(1_024).0,
            hangs,
        };
        let node = this.clone();
        tracker.spawn(async move {
            let connections = TaskTracker::new();
            while let Ok((stream, _)) = listener.accept().await {
                let node = node.clone();
                connections.spawn(async move { node.serve(stream).await });
            }
        });
        Ok(this)
    }

    /// Restarts so many programs at once: each is an event with a process number of its own, and the log tells of them.
    pub(crate) fn restart(&self, count: usize) {
        let mut lines = String::new();
        {
            let state = &mut *self.lock();
            for _ in 0..count {
                // Another one each time: a program that is restarted twice before anybody looks is one event.
                let number = usize::try_from(state.next).unwrap_or_default() % state.programs.len().max(1);
                let Some(pid) = state.programs.get_mut(number) else { continue };
                (*pid, state.next) = (state.next, state.next + 1);
                let _ = writeln!(lines, "2026-01-01 10:00:00,123 INFO spawned: 'p-{number:03}' with pid {pid}");
            }
        }
        // Nobody listens before the server does.
        let _ = self.hints.send(lines.into());
    }

    /// When it was asked for everything, since this was asked last.
    pub(crate) fn asked(&self) -> Vec<Instant> {
        std::mem::take(&mut self.lock().asked)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let mut rest = Vec::new();
        loop {
            let (head, body) = request(&mut stream, &mut rest).await?;
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if head.starts_with("GET /mainlogtail") {
                return self.tell(stream).await;
            }
            let body = self.answer(&body)?;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
        }
    }

    async fn tell(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        let mut hints = self.hints.subscribe();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        loop {
            let text = hints.recv().await?;
            let chunk = [format!("{:x}\r\n", text.len()).as_bytes(), &text, b"\r\n"].concat();
            stream.write_all(&chunk).await?;
        }
    }

    /// The answers to the calls of one `system.multicall`, in their order.
    fn answer(&self, body: &str) -> anyhow::Result<String> {
        let mut state = self.lock();
        let mut answers = String::new();
        for call in body.split("<string>supervisor.").skip(1) {
            let (method, parameters) = call.split_once('<').context("a method")?;
            match method {
                "getState" => answers.push_str(
                    "<value><struct><member><name>statecode</name><value><int>1</int></value></member>\
                     <member><name>statename</name><value><string>RUNNING</string></value></member></struct></value>",
                ),
                "getSupervisorVersion" => answers.push_str("<value><string>4.3.0</string></value>"),
                "getIdentification" => answers.push_str("<value><string>scripted</string></value>"),
                "getAllProcessInfo" => {
                    state.asked.push(Instant::now());
                    let all: String = state.programs.iter().enumerate().map(info).collect();
                    write!(answers, "<value><array><data>{all}</data></array></value>")?;
                }
                "getProcessInfo" => {
                    let (_, name) = parameters.rsplit_once(":p-").context("a name")?;
                    let number: usize = name.split('<').next().unwrap_or_default().parse()?;
                    let pid = state.programs.get(number).context("no such program")?;
                    answers.push_str(&info((number, pid)));
                }
                _ => anyhow::bail!("{method} is not in the script"),
            }
        }
        Ok(format!(
            "<?xml version='1.0'?>\n<methodResponse><params><param><value><array><data>{answers}</data></array></value>\
             </param></params></methodResponse>\n"
        ))
    }
}

/// One process as supervisord describes it; its values stand in arrays of one within a multicall's answer to it alone.
fn info((number, pid): (usize, &u64)) -> String {
    let mut members = String::new();
    for (name, text) in [
        ("name", format!("p-{number:03}")),
        ("group", format!("p-{number:03}")),
        ("statename", "RUNNING".to_owned()),
        ("spawnerr", String::new()),
    ] {
        let _ = write!(members, "<member><name>{name}</name><value><string>{text}</string></value></member>");
    }
    for (name, value) in [
        ("state", 20),
        ("start", 1_700_000_000 + pid),
        ("stop", 0),
        ("now", 1_700_000_000 + pid),
        ("exitstatus", 0),
        ("pid", *pid),
    ] {
        let _ = write!(members, "<member><name>{name}</name><value><int>{value}</int></value></member>");
    }
    format!("<value><struct>{members}</struct></value>")
}

async fn request(stream: &mut TcpStream, rest: &mut Vec<u8>) -> anyhow::Result<(String, String)> {
    loop {
        if let Some(at) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(rest.get(..at).unwrap_or_default()).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
            if rest.len() >= at + 4 + length {
                let after = rest.split_off(at + 4 + length);
                let whole = std::mem::replace(rest, after);
                let text = |from: usize, to: usize| {
                    String::from_utf8_lossy(whole.get(from..to).unwrap_or_default()).into_owned()
                };
                return Ok((text(0, at), text(at + 4, at + 4 + length)));
            }
        }
        anyhow::ensure!(stream.read_buf(rest).await? > 0, "the server hung up");
    }
}
