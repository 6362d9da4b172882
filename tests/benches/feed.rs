//! What the feed costs beside its peers, in one run: `cargo bench -p tests --bench feed`.
//!
//! The server is the real one; its events come from a scripted supervisord whose log tells of restarts. Beside it:
//! uWebSockets.js, a server that sends and flushes each message by itself, and the floor, which is plain writes of the
//! same bytes. All have the same clients and the same schedule. `-- --smoke` is a short form, which fails where a client
//! misses an event.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures by the system's clock, and its peers are programs of their own"
)]

#[path = "../peers/clients.rs"]
mod clients;
#[path = "../peers/servers.rs"]
mod servers;
#[path = "../peers/supervisord.rs"]
#[expect(dead_code, reason = "shared with the bench of nodes, which uses all of it")]
mod supervisord;
#[path = "../peers/usage.rs"]
mod usage;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use supervisord::Scripted;
use tests::{ADMIN, ADMIN_PASSWORD, Client, Server, Settings, until};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::task::TaskTracker;
use usage::{processor, resident_bytes};

/// Programs of the node: as many events as one burst may have.
const PROGRAMS: u64 = 200;
const IDLE_CLIENTS: usize = 10_000;

/// So many events each so often, for so long.
#[derive(Clone, Copy)]
struct Schedule {
    what: &'static str,
    every: Duration,
    burst: usize,
    times: usize,
}

/// One size of the audience, and what it is told.
struct Audience {
    clients: usize,
    schedules: [Schedule; 2],
}

fn audiences(is_smoke: bool) -> Vec<Audience> {
    let audience = |clients, (every_ms, times), (burst, burst_every_ms, bursts)| Audience {
        clients,
        schedules: [
            Schedule { what: "one at a time", every: Duration::from_millis(every_ms), burst: 1, times },
            Schedule { what: "bursts", every: Duration::from_millis(burst_every_ms), burst, times: bursts },
        ],
    };
    if is_smoke {
        return vec![audience(100, (10, 50), (50, 100, 5))];
    }
    // About as many messages a second for each of them.
    vec![
        audience(100, (10, 800), (200, 100, 60)),
        audience(1_000, (50, 200), (200, 400, 15)),
        audience(5_000, (250, 40), (200, 2_000, 4)),
    ]
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    match arguments.first().map(String::as_str) {
        Some("clients") => return clients::main(arguments.get(1).context("no target")?),
        Some("tungstenite") => return servers::tungstenite(),
        Some("floor") => return servers::floor(),
        // `cargo test --benches` runs this without `--bench`; a measurement is not a test.
        Some(_) | None if has("--bench") || has("--smoke") => {}
        Some(_) | None => return Ok(()),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(has("--smoke")))
}

async fn measure(is_smoke: bool) -> anyhow::Result<()> {
    println!("load {}", usage::load());
    let tracker = TaskTracker::new();
    let mut all = vec![Publisher::floor().await?];
    if !is_smoke {
        all.push(Publisher::tungstenite().await?);
        match Publisher::uws().await {
            Ok(uws) => all.push(uws),
            Err(error) => println!("without uWebSockets.js: {error:#}"),
        }
    }
    let (server, ours) = omnivisor(&tracker).await?;
    all.push(ours);
    println!(
        "{:<14} {:>7} {:<14} {:>9} {:>9} {:>10} {:>7} {:>9} {:>9} {:>9}",
        "server", "clients", "events", "offered/s", "peak/s", "us/message", "x floor", "p50 ms", "p99 ms", "B/client"
    );
    for audience in audiences(is_smoke) {
        let mut floors = [None; 2];
        for publisher in &mut all {
            let rows = publisher.serve(&audience).await?;
            for (row, floor) in rows.iter().zip(&mut floors) {
                row.print(publisher.name, *floor.get_or_insert(row.cost_us));
            }
            if is_smoke && publisher.name == "omnivisor" {
                ensure!(rows.iter().all(|row| row.is_whole), "a client missed an event, or was lost");
            }
        }
    }
    if !is_smoke {
        for publisher in all.iter_mut().filter(|publisher| publisher.name != "floor") {
            publisher.idle().await?;
        }
    }
    println!("load {}", usage::load());
    drop(server);
    Ok(())
}

/// Something that publishes events to clients when it is told to.
struct Publisher {
    name: &'static str,
    pid: u32,
    address: SocketAddr,
    upgrade: Option<String>,
    hello: Option<&'static str>,
    source: Source,
    /// Held for as long as it is measured.
    _child: Option<Child>,
}

enum Source {
    Node(Scripted),
    Told(ChildStdin),
}

/// The real server with one node.
async fn omnivisor(tracker: &TaskTracker) -> anyhow::Result<(Server, Publisher)> {
    let node = Scripted::start("scripted", PROGRAMS, false, tracker).await?;
    let settings = Settings::new()?
        .open_node(&node.name, node.address)?
        .with("server", "connections_max", "20000")
        .with("server", "feed_clients_max", "12000")
        .with("server", "feed_clients_per_principal_max", "12000")
        .with("server", "feed_clients_per_address_max", "12000")
        .with("pool", "nudge_interval_ms", "0")
        // Only what the node's log tells counts here.
        .with("pool", "poll_interval_ms", "60000")
        .with("log", "level", "\"info\"");
    let server = Server::start(settings).await?;
    let client = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    until("the node is live", Duration::from_secs(30), async || {
        let node = client.get("/api/v1/nodes/scripted").await?.json()?;
        Ok((node.get("state") == Some(&json!("live"))).then_some(()))
    })
    .await?;
    let publisher = Publisher {
        name: "omnivisor",
        pid: server.pid().context("the server runs")?,
        address: client.address(),
        upgrade: Some(upgrade("/api/v1/feed", &authorization(&client)?)),
        hello: Some(r#"{"t":"hello","sub":["proc/*/state"]}"#),
        source: Source::Node(node),
        _child: None,
    };
    Ok((server, publisher))
}

fn authorization(client: &Client) -> anyhow::Result<String> {
    let token = client.authorization().context("logged in")?;
    Ok(format!("authorization: {token}\r\nsec-websocket-protocol: feed.v1\r\n"))
}

fn upgrade(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

impl Publisher {
    async fn floor() -> anyhow::Result<Self> {
        Self::child("floor", servers::part("floor")?, None).await
    }

    async fn tungstenite() -> anyhow::Result<Self> {
        Self::child("tungstenite", servers::part("tungstenite")?, Some(upgrade("/", ""))).await
    }

    async fn uws() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = root.join("../target/tools/uws/node_modules");
        let modules = std::env::var_os("OMNIVISOR_UWS_MODULES").map_or(installed, Into::into);
        ensure!(
            modules.join("uwebsockets").exists(),
            "run `scripts/setup.sh uws`, or name its folder in OMNIVISOR_UWS_MODULES"
        );
        let mut command = Command::new("node");
        command.arg(root.join("peers/uws.mjs")).arg(&modules);
        Self::child("uWebSockets.js", command, Some(upgrade("/", ""))).await
    }

    async fn child(name: &'static str, mut command: Command, upgrade: Option<String>) -> anyhow::Result<Self> {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = spawned.with_context(|| format!("starting {name}"))?;
        let stdin = child.stdin.take().context("no standard input")?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let port: u16 = lines.next_line().await?.with_context(|| format!("{name} ended"))?.parse()?;
        let pid = child.id().context("it runs")?;
        let address = ([127, 0, 0, 1], port).into();
        Ok(Self { name, pid, address, upgrade, hello: None, source: Source::Told(stdin), _child: Some(child) })
    }

    async fn publish(&mut self, count: usize) -> anyhow::Result<()> {
        match &mut self.source {
            Source::Node(node) => node.restart(count),
            Source::Told(stdin) => {
                stdin.write_all(format!("{count}\n").as_bytes()).await?;
                stdin.flush().await?;
            }
        }
        Ok(())
    }

    async fn run(&mut self, schedule: Schedule) -> anyhow::Result<()> {
        let mut due = tokio::time::interval(schedule.every);
        for _ in 0..schedule.times {
            due.tick().await;
            self.publish(schedule.burst).await?;
        }
        Ok(())
    }

    /// What it costs to publish by a schedule while nobody listens: nothing, for those who need no node to be asked.
    async fn unheard(&mut self, schedule: Schedule) -> anyhow::Result<Duration> {
        if matches!(self.source, Source::Told(_)) {
            return Ok(Duration::ZERO);
        }
        let before = processor(self.pid)?;
        self.run(schedule).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(processor(self.pid)? - before)
    }

    async fn serve(&mut self, audience: &Audience) -> anyhow::Result<[Row; 2]> {
        let [first, second] = audience.schedules;
        let unheard = [self.unheard(first).await?, self.unheard(second).await?];
        let before = resident_bytes(self.pid)?;
        let mut clients = Clients::start(self).await?;
        clients.connect(audience.clients).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let bytes = resident_bytes(self.pid)?.saturating_sub(before) / audience.clients as u64;
        let first = self.deliver(&mut clients, audience.clients, first, unheard[0], bytes).await?;
        let second = self.deliver(&mut clients, audience.clients, second, unheard[1], bytes).await?;
        Ok([first, second])
    }

    async fn deliver(
        &mut self,
        clients: &mut Clients,
        count: usize,
        schedule: Schedule,
        unheard: Duration,
        idle_bytes: u64,
    ) -> anyhow::Result<Row> {
        clients.ask("begin").await?;
        let before = processor(self.pid)?;
        self.run(schedule).await?;
        let report = clients.settled().await?;
        let used = (processor(self.pid)? - before).saturating_sub(unheard);
        let number = |name: &str| report.get(name).and_then(Value::as_f64).unwrap_or_default();
        let events = (schedule.burst * schedule.times) as f64;
        Ok(Row {
            clients: count,
            what: schedule.what,
            offered: schedule.burst as f64 * count as f64 / schedule.every.as_secs_f64(),
            peak: number("messages") / number("busy").max(f64::MIN_POSITIVE),
            cost_us: used.as_secs_f64() * 1e6 / number("messages").max(1.0),
            p50_ms: number("p50_us") / 1e3,
            p99_ms: number("p99_us") / 1e3,
            idle_bytes,
            is_whole: number("least") == number("most") && number("least") > 0.0 && number("lost") == 0.0,
            missed: number("most") * count as f64 - number("messages"),
            merged: events - number("most"),
        })
    }

    /// Many clients to whom nothing happens.
    async fn idle(&mut self) -> anyhow::Result<()> {
        let before = resident_bytes(self.pid)?;
        let mut clients = Clients::start(self).await?;
        clients.connect(IDLE_CLIENTS).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let bytes = resident_bytes(self.pid)?.saturating_sub(before) / IDLE_CLIENTS as u64;
        let (used, window) = (processor(self.pid)?, Duration::from_secs(30));
        tokio::time::sleep(window).await;
        let share = 100.0 * (processor(self.pid)? - used).as_secs_f64() / window.as_secs_f64();
        clients.ask("begin").await?;
        self.publish(1).await?;
        let report = clients.settled().await?;
        println!(
            "{:<14} {IDLE_CLIENTS} idle clients: {bytes} bytes each, {share:.1} % of a core; then one event: {report}",
            self.name
        );
        Ok(())
    }
}

struct Row {
    clients: usize,
    what: &'static str,
    offered: f64,
    /// Messages a second that came, without the pauses.
    peak: f64,
    /// The server's processor time for each message, without what publishing costs.
    cost_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    idle_bytes: u64,
    /// All clients had as much as the one that had most.
    is_whole: bool,
    missed: f64,
    /// Events that were none, for their node was looked at too late or the time was over.
    merged: f64,
}

impl Row {
    fn print(&self, name: &str, floor_us: f64) {
        let Self { clients, what, offered, peak, cost_us, p50_ms, p99_ms, idle_bytes, .. } = self;
        let ratio = cost_us / floor_us;
        let missed = if self.is_whole { String::new() } else { format!("  {:.0} messages missed", self.missed) };
        let merged = if self.merged == 0.0 { String::new() } else { format!("  {:.0} events never told", self.merged) };
        println!(
            "{name:<14} {clients:>7} {what:<14} {offered:>9.0} {peak:>9.0} {cost_us:>10.2} {ratio:>7.2} {p50_ms:>9.2} \
             {p99_ms:>9.2} {idle_bytes:>9}{missed}{merged}"
        );
    }
}

/// The process that has the clients.
struct Clients {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Clients {
    async fn start(of: &Publisher) -> anyhow::Result<Self> {
        let target = json!({ "address": of.address.to_string(), "upgrade": of.upgrade, "hello": of.hello });
        let mut command = servers::part("clients")?;
        command.arg(target.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().context("no standard input")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { _child: child, stdin, lines })
    }

    async fn ask(&mut self, line: &str) -> anyhow::Result<Value> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await?;
        self.stdin.flush().await?;
        let answer = tokio::time::timeout(Duration::from_secs(120), self.lines.next_line()).await??;
        Ok(serde_json::from_str(&answer.context("the clients ended")?)?)
    }

    async fn connect(&mut self, count: usize) -> anyhow::Result<()> {
        let answer = self.ask(&format!("connect {count}")).await?;
        ensure!(answer.get("refused") == Some(&json!(0)), "not all could connect: {answer}");
        Ok(())
    }

    /// The report once nothing more comes.
    async fn settled(&mut self) -> anyhow::Result<Value> {
        let mut before = Value::Null;
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let report = self.ask("report").await?;
            if report.get("messages") == before.get("messages") {
                return Ok(report);
            }
            before = report;
        }
        Ok(before)
    }
}
