//! What half a fleet that hangs costs the other half: `cargo bench -p tests --bench load`.
//!
//! Two servers one after the other: one with 100 scripted supervisords that answer, one with those and 100 more that take
//! every connection and request and never answer. `-- --smoke` is a short form of 10 and 10, which fails where a node
//! that answers does not become live, or what happens there does not come to the feed.
//!
//! Then what it costs to change the configuration of a thousand nodes while lists are read: none of them is there, and they
//! are added, changed, disabled and removed.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(clippy::disallowed_methods, reason = "it measures by the system's clock")]

#[path = "../peers/lists.rs"]
mod lists;
#[path = "../peers/supervisord.rs"]
mod supervisord;
#[path = "../peers/usage.rs"]
mod usage;

use anyhow::Context as _;
use std::time::{Duration, Instant};
use supervisord::Scripted;
use tests::{ADMIN, ADMIN_PASSWORD, Client, Feed, Server, Settings, until};
use tokio_util::task::TaskTracker;
use usage::{processor, resident_bytes};

const PROGRAMS: u64 = 10;
const CONNECTIONS: usize = 16;

#[derive(Clone, Copy)]
struct Size {
    /// Nodes that answer, and as many that hang.
    nodes: usize,
    /// For how long nodes are looked at.
    window: Duration,
    requests: usize,
    restarts: usize,
    /// Nodes whose configuration changes.
    changed: usize,
}

fn main() -> anyhow::Result<()> {
    let has = |word: &str| std::env::args().any(|argument| argument == word);
    let size = if has("--smoke") {
        Size { nodes: 10, window: Duration::from_secs(1), requests: 20, restarts: 10, changed: 50 }
    } else {
        Size { nodes: 100, window: Duration::from_secs(30), requests: 200, restarts: 200, changed: 1_000 }
    };
    // `cargo test --benches` runs this without `--bench`; a measurement is not a test.
    if !has("--bench") && !has("--smoke") {
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(size))
}

async fn measure(size: Size) -> anyhow::Result<()> {
    println!("load {}, nodes of {PROGRAMS} programs, full observations each second", usage::load());
    let tracker = TaskTracker::new();
    let mut nodes = Vec::new();
    for number in 0..2 * size.nodes {
        let hangs = number >= size.nodes;
        nodes.push(Scripted::start(&format!("node-{number:03}"), PROGRAMS, hangs, &tracker).await?);
    }
    let (answering, _) = nodes.split_at(size.nodes);
    let alone = fleet(&format!("{} that answer", size.nodes), answering, size).await?;
    let beside = fleet(&format!("and {} that hang", size.nodes), &nodes, size).await?;
    println!("with those that hang, in times of without: {}", beside.over(&alone));
    changes(size.changed).await?;
    println!("load {}", usage::load());
    Ok(())
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy)]
struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    /// Not a number where nothing was measured: on a busy machine a short form may be over before a node is due.
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort();
        let at = |permille: usize| {
            let found = took.get(took.len().saturating_sub(1) * permille / 1_000);
            found.map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
        };
        Self { p50: at(500), p99: at(990), max: at(1_000) }
    }
}

struct Figures {
    list: Spread,
    refresh: Spread,
    told: Spread,
}

impl Figures {
    fn over(&self, other: &Self) -> String {
        let pair =
            |one: Spread, other: Spread| format!("p50 {:.2}, p99 {:.2}", one.p50 / other.p50, one.p99 / other.p99);
        format!(
            "list {}; between observations {}; restart to feed {}",
            pair(self.list, other.list),
            pair(self.refresh, other.refresh),
            pair(self.told, other.told)
        )
    }
}

async fn fleet(what: &str, nodes: &[Scripted], size: Size) -> anyhow::Result<Figures> {
    let settings =
        nodes.iter().try_fold(Settings::new()?, |settings, node| settings.open_node(&node.name, node.address))?;
    let settings = settings
        .with("log", "level", "\"info\"")
        .with("pool", "nudge_interval_ms", "0")
        // A fifth of it: hints flow.
        .with("pool", "poll_interval_ms", "200");
    let began = Instant::now();
    let mut server = Server::start(settings).await?;
    let client = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    until("all nodes that answer are live", Duration::from_secs(60), async || {
        let list = client.get("/api/v1/nodes").await?.json()?;
        let items = list.get("items").and_then(serde_json::Value::as_array).context("a list")?;
        let live = items.iter().filter(|node| node.get("state").is_some_and(|state| state == "live")).count();
        Ok((live == size.nodes).then_some(()))
    })
    .await?;
    println!("{what}: all live {:.1} s after the start", began.elapsed().as_secs_f64());
    let pid = server.pid().context("the server runs")?;
    let (answering, _) = nodes.split_at(size.nodes);
    answering.iter().for_each(|node| drop(node.asked()));
    let used = processor(pid)?;
    tokio::time::sleep(size.window).await;
    let share = 100.0 * (processor(pid)? - used).as_secs_f64() / size.window.as_secs_f64();
    let asked: Vec<Vec<Instant>> = answering.iter().map(Scripted::asked).collect();
    let between = |moments: &Vec<Instant>| -> Vec<Duration> {
        moments.iter().zip(moments.iter().skip(1)).map(|(one, next)| next.duration_since(*one)).collect()
    };
    let figures = Figures {
        refresh: Spread::of(asked.iter().flat_map(between).collect()),
        list: Spread::of(lists::read(&client, CONNECTIONS, size.requests).await?),
        told: restarts(&client, answering, size.restarts).await?,
    };
    let megabytes = resident_bytes(pid)? as f64 / f64::from(1 << 20);
    println!("{what}: server {share:.1} % of a core, {megabytes:.1} MiB");
    for (name, Spread { p50, p99, max }) in
        [("list", figures.list), ("between observations", figures.refresh), ("restart to feed", figures.told)]
    {
        println!("{what}: {name}: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms");
    }
    server.terminate(Duration::from_secs(15)).await?;
    Ok(figures)
}

/// From a line in a node's log to the event on the feed.
async fn restarts(client: &Client, nodes: &[Scripted], count: usize) -> anyhow::Result<Spread> {
    let mut feed = Feed::open(client, &["proc/*/state"], None).await?;
    let mut took = Vec::new();
    for node in nodes.iter().cycle().take(count) {
        let began = Instant::now();
        node.restart(1);
        let is_told = |event: &serde_json::Value| event.get("node").is_some_and(|name| name == node.name.as_str());
        feed.event("the restart", Duration::from_secs(10), is_told).await?;
        took.push(began.elapsed());
    }
    Ok(Spread::of(took))
}

/// How long each change of so many nodes takes from the request to its answer, and the list of everything meanwhile.
async fn changes(nodes: usize) -> anyhow::Result<()> {
    let settings = Settings::new()?
        .with("server", "config_watch", "false")
        .with("pool", "poll_interval_ms", "60000")
        .with("log", "level", "\"error\"");
    let mut server = Server::start(settings).await?;
    let client = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let path = server.settings().write()?;
    let text = std::fs::read_to_string(&path)?;
    // Nothing listens on port 1, so every call is refused at once.
    let declared = |more: &str| -> String {
        (0..nodes).map(|n| format!("\n[[node]]\nname = \"n{n:04}\"\nurl = \"http://127.0.0.1:1\"\n{more}")).collect()
    };
    for (what, nodes_text, told) in [
        ("added", declared(""), "nodes_added"),
        ("changed", declared("environment = \"e\"\n"), "nodes_changed"),
        ("disabled", declared("environment = \"e\"\nenabled = false\n"), "nodes_changed"),
        ("removed", String::new(), "nodes_removed"),
    ] {
        std::fs::write(&path, format!("{text}{nodes_text}"))?;
        let began = Instant::now();
        let change = async {
            let reply = client.post("/api/v1/config/reload", &serde_json::json!({})).await?.expect_status(200)?;
            anyhow::Ok((began.elapsed(), reply.json()?))
        };
        let lists = async {
            let mut connection = lists::connect(&client).await?;
            let mut took = Vec::new();
            for _ in 0..50 {
                let asked = Instant::now();
                lists::get(&mut connection, &client).await?;
                took.push(asked.elapsed());
            }
            anyhow::Ok(took)
        };
        let ((took, applied), lists) = tokio::try_join!(change, lists)?;
        let count = applied.get(told).and_then(serde_json::Value::as_array).map(Vec::len);
        anyhow::ensure!(count == Some(nodes), "{what}: {count:?} of {nodes} nodes");
        let Spread { p50, max, .. } = Spread::of(lists);
        let took = took.as_secs_f64() * 1e3;
        println!("{nodes} nodes {what}: {took:.0} ms; 50 lists meanwhile and after: p50 {p50:.1} ms, max {max:.1} ms");
    }
    server.terminate(Duration::from_secs(15)).await?;
    Ok(())
}
