//! What a fleet costs, against 20 real supervisords with 10 programs each: `cargo bench -p tests --bench fleet`.
//!
//! Prints one table. Processor time is read from `/proc`, so it is the server's alone. The naive version beside it asks
//! every node when somebody wants the list, as the ancestors do.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a bench may stop with a panic, and measures")]

#[path = "../peers/lists.rs"]
mod lists;
#[path = "../peers/ready.rs"]
mod ready;
#[path = "../peers/usage.rs"]
mod usage;

use anyhow::Context as _;
use lists::{LIST, connect, connect_to, get, get_as};
use std::time::{Duration, Instant};
use tests::{
    ADMIN, ADMIN_PASSWORD, Client, Feed, Node, Program, Server, Settings, Signal, Supervisord, send_signal, until,
};
use usage::{processor, resident_bytes};

const NODES: usize = 20;
const PROGRAMS: usize = 10;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(ready::PART) {
        let bytes = arguments.next().context("how many bytes")?.parse()?;
        return tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(ready::serve(bytes));
    }
    // `cargo test --benches` runs this without `--bench`; a measurement is not a test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let node = (0..PROGRAMS).fold(Node::new(&format!("node-{number:02}")), |node, program| {
            node.program(Program::quiet(&format!("p-{program:02}")))
        });
        nodes.push(Supervisord::start(node).await?);
    }
    let settings = nodes.iter().try_fold(Settings::new()?.with("log", "level", "\"info\""), Settings::node)?;
    let mut server = Server::start(settings).await?;
    let client = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    until("all nodes are live", Duration::from_secs(30), async || {
        let list = client.get(LIST).await?.json()?;
        let items = list["items"].as_array().context("a list")?;
        let is_live = |node: &serde_json::Value| node["state"] == "live" && node["running_count"] == PROGRAMS;
        Ok(items.iter().all(is_live).then_some(()))
    })
    .await?;
    let pid = server.pid().context("the server runs")?;
    println!("{NODES} supervisords x {PROGRAMS} programs, load {}", usage::load());
    idle(pid, &nodes).await?;
    list(pid, &client).await?;
    naive(&nodes).await?;
    latency(pid, &client, "list, 32 connections").await?;
    kills(&client, &nodes).await?;
    frozen(pid, &client, &nodes).await?;
    server.terminate(Duration::from_secs(15)).await?;
    Ok(())
}

async fn idle(pid: u32, nodes: &[Supervisord]) -> anyhow::Result<()> {
    let window = Duration::from_secs(10);
    let before = (processor(pid)?, node_cpu(nodes)?);
    tokio::time::sleep(window).await;
    let share = |used: Duration| 100.0 * used.as_secs_f64() / window.as_secs_f64();
    println!("idle: server {:.2} % of a core", share(processor(pid)? - before.0));
    println!("idle: one node {:.2} % of a core", share(node_cpu(nodes)? - before.1) / nodes.len() as f64);
    println!("idle: server resident {:.1} MiB", resident_bytes(pid)? as f64 / f64::from(1 << 20));
    Ok(())
}

/// Requests that are made one after the other.
const REQUESTS: u32 = 5_000;

/// Processor time of the server for each list, and of one that has it ready.
async fn list(pid: u32, client: &Client) -> anyhow::Result<()> {
    let mut connection = connect(client).await?;
    let idle = {
        let before = processor(pid)?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        (processor(pid)? - before) / 5
    };
    let (before, began) = (processor(pid)?, Instant::now());
    let mut bytes = 0;
    for _ in 0..REQUESTS {
        bytes = get(&mut connection, client).await?;
    }
    let own = (processor(pid)? - before).saturating_sub(idle.mul_f64(began.elapsed().as_secs_f64()));
    let floor = floor(bytes).await?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(REQUESTS);
    println!("list: {:.1} us of processor time a request, {bytes} bytes", each(own));
    println!("floor (the library's own server, the bytes ready): {:.1} us of processor time a request", each(floor));
    Ok(())
}

async fn floor(bytes: usize) -> anyhow::Result<Duration> {
    let (child, address) = ready::start(bytes).await?;
    let (pid, host) = (child.id().context("it runs")?, address.to_string());
    let mut connection = connect_to(address).await?;
    let before = processor(pid)?;
    for _ in 0..REQUESTS {
        get_as(&mut connection, &host, "Bearer nobody").await?;
    }
    Ok(processor(pid)? - before)
}

/// Asks each node in turn, on a new connection each, and does nothing with the answers.
async fn naive(nodes: &[Supervisord]) -> anyhow::Result<()> {
    let rounds = 20;
    let (before, began) = (processor(std::process::id())?, Instant::now());
    for _ in 0..rounds {
        for node in nodes {
            node.call("supervisor.getAllProcessInfo", &[]).await?.expect_status(200)?;
        }
    }
    let used = processor(std::process::id())? - before;
    println!(
        "naive list (every node asked in turn): {:.1} us of our processor time, {:.1} ms a request",
        used.as_secs_f64() * 1e6 / f64::from(rounds),
        began.elapsed().as_secs_f64() * 1e3 / f64::from(rounds)
    );
    Ok(())
}

async fn latency(pid: u32, client: &Client, what: &str) -> anyhow::Result<()> {
    let (before, began) = (processor(pid)?, Instant::now());
    let mut all = lists::read(client, 32, 200).await?;
    let (own, took) = ((processor(pid)? - before).as_secs_f64() * 1e6, began.elapsed().as_secs_f64());
    let count = all.len() as f64;
    print(what, &mut all);
    println!("{what}: {:.0} requests/s, {:.1} us of the server's processor time a request", count / took, own / count);
    Ok(())
}

async fn kills(client: &Client, nodes: &[Supervisord]) -> anyhow::Result<()> {
    let mut feed = Feed::open(client, &["proc/*/state"], None).await?;
    let mut took = Vec::new();
    for round in 0..60 {
        let node = &nodes[round % nodes.len()];
        let id = format!("p-{0:02}:p-{0:02}", round % PROGRAMS);
        let pid = node.pid(&id).await?;
        let began = Instant::now();
        send_signal(Signal::Kill, pid)?;
        let name = node.name().to_owned();
        feed.event(&format!("{name}/{id} is gone"), Duration::from_secs(10), |event| {
            event["node"] == name.as_str() && event["process"]["id"] == id.as_str() && event["process"]["pid"] != pid
        })
        .await?;
        took.push(began.elapsed());
        feed.process_state(&name, &id, "running", Duration::from_secs(10)).await?;
    }
    print("program killed -> on the feed", &mut took);
    Ok(())
}

async fn frozen(pid: u32, client: &Client, nodes: &[Supervisord]) -> anyhow::Result<()> {
    let (mut stale, mut live) = (Vec::new(), Vec::new());
    let mut feed = Feed::open(client, &["node/*/state"], None).await?;
    for round in 0..4 {
        let began = Instant::now();
        for node in &nodes[..5] {
            node.freeze()?;
        }
        // The first round loads the server, and its events are read late: it does not count for how soon they came.
        if round == 0 {
            latency(pid, client, "list, 32 connections, 5 of 20 nodes frozen").await?;
        }
        for _ in 0..5 {
            feed.event("a node is stale", Duration::from_secs(30), |event| event["state"]["state"] == "stale").await?;
            if round > 0 {
                stale.push(began.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let began = Instant::now();
        for node in &nodes[..5] {
            node.thaw()?;
        }
        for _ in 0..5 {
            feed.event("a node is live", Duration::from_secs(30), |event| event["state"]["state"] == "live-poll")
                .await?;
            live.push(began.elapsed());
        }
    }
    print("frozen -> shown as stale", &mut stale);
    print("thawed -> live again", &mut live);
    Ok(())
}

fn print(what: &str, took: &mut [Duration]) {
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} times)", at(0.5), at(0.99), at(1.0), took.len());
}

fn node_cpu(nodes: &[Supervisord]) -> anyhow::Result<Duration> {
    nodes.iter().map(|node| processor(node.family()[0])).sum()
}
