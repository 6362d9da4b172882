//! One id from the answer through the log and the audit to the plugin and the node.

use super::SOON;
use super::quarantine::{gated, traps_at_three_letters};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tests::{ADMIN, ADMIN_PASSWORD, Node, Program, Reply, Server, Supervisord, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The records at WARN and ERROR that are about the request with this id.
fn failures(log: &str, id: &str) -> Vec<Value> {
    let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_failure =
        |record: &Value| record["request_id"] == id && ["WARN", "ERROR"].iter().any(|level| record["level"] == *level);
    records.filter(is_failure).collect()
}

struct Failed {
    id: String,
    reply: Reply,
    route: &'static str,
    node: Option<&'static str>,
}

/// Whether the one record of a failure says all that it has to.
fn check(log: &str, failed: &Failed) -> anyhow::Result<()> {
    let (id, status) = (&failed.id, failed.reply.status.as_u16());
    let records = failures(log, id);
    let [record] = records.as_slice() else {
        anyhow::bail!("{} records of {id} ({status}): {records:?}", records.len())
    };
    let problem = failed.reply.json()?;
    ensure!(problem["request_id"] == *id && failed.reply.header("x-request-id") == id, "{problem}");
    let level = if status == 500 { "ERROR" } else { "WARN" };
    let user = failed.node.map(|_| ADMIN);
    for (name, expected) in [
        ("level", json!(level)),
        ("status", json!(status)),
        ("code", problem["code"].clone()),
        ("route", json!(failed.route)),
        ("trace_id", json!(TRACE)),
    ] {
        ensure!(record[name] == expected, "`{name}` of {record}");
    }
    ensure!(record.get("node").and_then(Value::as_str) == failed.node, "the node of {record}");
    ensure!(record.get("user").and_then(Value::as_str) == user, "the user of {record}");
    ensure!(record["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "the cause of {record}");
    ensure!(record["span_id"].as_str().is_some_and(|span| span.len() == 16), "the span of {record}");
    Ok(())
}

const STOP: &str = "/api/v1/nodes/{node}/processes/{process}/stop";

#[tokio::test]
async fn p18_each_failure_has_one_record_with_the_id_of_its_answer() -> anyhow::Result<()> {
    let mut dead = Supervisord::start(Node::new("dead").program(Program::quiet("quiet"))).await?;
    let frozen = Supervisord::start(Node::new("frozen").program(Program::quiet("quiet"))).await?;
    let settings = gated(&traps_at_three_letters()?)?.with("plugins", "auth", r#"["gate", "auth-local"]"#);
    let settings = settings.with("log", "format", "\"json\"").node(&dead)?.node(&frozen)?;
    let mut server = Server::start(settings).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    until("the nodes are live", SOON, async || {
        let list = admin.get("/api/v1/nodes").await?.json()?;
        let is_live = |at: usize| list["items"][at]["state"].as_str().is_some_and(|state| state.starts_with("live"));
        Ok((is_live(0) && is_live(1)).then_some(()))
    })
    .await?;
    dead.kill();
    frozen.freeze()?;
    let mut failed = Vec::new();
    let seen = |failed: &[Failed]| failed.iter().map(|one| one.reply.status.as_u16()).collect::<BTreeSet<u16>>();
    let mut number = 0;
    until("nodes fail in every way", SOON * 2, async || {
        for node in ["dead", "frozen"] {
            number += 1;
            let id = format!("p18-{number}");
            let path = STOP.replace("{node}", node).replace("{process}", "quiet:quiet");
            let reply =
                admin.send("POST", &path, &[("x-request-id", &id), ("traceparent", PARENT)], Vec::new()).await?;
            if reply.status.is_server_error() {
                failed.push(Failed { id, reply, route: STOP, node: Some(node) });
            }
        }
        Ok(seen(&failed).is_superset(&BTreeSet::from([502, 503, 504])).then_some(()))
    })
    .await?;
    let login = json!({ "username": "ann", "password": "canary-guess" }).to_string().into_bytes();
    let headers = [("content-type", "application/json"), ("x-request-id", "p18-login"), ("traceparent", PARENT)];
    let reply = server.client().send("POST", "/api/v1/login", &headers, login).await?;
    reply.problem(500, "plugin.trapped")?;
    failed.push(Failed { id: "p18-login".to_owned(), reply, route: "/api/v1/login", node: None });

    // The audit has the same id: the intent and the failure, or, of what was not sent, the refusal.
    let audit = admin.get("/api/v1/audit?limit=1000").await?.expect_status(200)?.json()?;
    for one in failed.iter().filter(|one| one.node.is_some()) {
        let is_of = |record: &&Value| record["request_id"] == one.id;
        ensure!(audit["items"].as_array().into_iter().flatten().filter(is_of).count() >= 2, "the audit of {}", one.id);
    }
    server.terminate(SOON).await?;
    let log = server.log();
    for one in &failed {
        check(&log, one)?;
    }
    // The plugin was told, and what it failed with is told under the same id.
    let is_plugins = |line: &&str| line.contains("\"plugin\":\"gate\"") && line.contains("p18-login");
    ensure!(log.lines().any(|line| is_plugins(&line)), "{log}");
    Ok(())
}

/// A node that answers nothing and keeps what it was asked.
async fn listening_node(tracker: &TaskTracker) -> anyhow::Result<(std::net::SocketAddr, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, heard) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
    let (kept, connections) = (Arc::clone(&heard), tracker.clone());
    tracker.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(hear(stream, Arc::clone(&kept)));
        }
    });
    Ok((address, heard))
}

async fn hear(mut stream: TcpStream, kept: Arc<Mutex<Vec<String>>>) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains("</methodCall>") {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            let _ = stream.write_all(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n").await;
            bytes.clear();
        }
    }
}

#[tokio::test]
async fn p18_a_node_is_told_on_whose_behalf_it_is_asked() -> anyhow::Result<()> {
    let tracker = TaskTracker::new();
    let (address, heard) = listening_node(&tracker).await?;
    let mut server = Server::start(tests::Settings::new()?.open_node("alpha", address)?).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let headers = [("x-request-id", "p18-told"), ("traceparent", PARENT), ("tracestate", "vendor=1")];
    let told = until("the node was told", SOON, async || {
        let path = "/api/v1/nodes/alpha/processes/quiet:quiet/logs/stdout";
        admin.send("GET", path, &headers, Vec::new()).await?;
        let heard = heard.lock().expect("nobody panicked");
        Ok(heard.iter().find(|text| text.to_lowercase().contains("x-request-id: p18-told")).cloned())
    })
    .await?
    .to_lowercase();
    let parent = told.lines().find_map(|line| line.strip_prefix("traceparent: ")).context("no traceparent")?;
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"), "{parent}");
    assert!(!parent.contains("00f067aa0ba902b7"), "our span is the parent: {parent}");
    assert!(told.contains("tracestate: vendor=1"), "{told}");
    // What the server asks for itself is on nobody's behalf.
    assert!(heard.lock().expect("nobody panicked").iter().any(|text| !text.to_lowercase().contains("traceparent")));
    server.terminate(SOON).await?;
    Ok(())
}
