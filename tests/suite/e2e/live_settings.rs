//! Settings that are changed while the server runs, each seen in what the server does.

use super::{SOON, slow};
use anyhow::Context as _;
use serde_json::json;
use std::time::Duration;
use tests::{
    ADMIN, ADMIN_PASSWORD, Client, Feed, Node, Program, Server, Settings, Signal, Supervisord, send_signal, until,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server whose file is only read when it is told to.
fn settings() -> anyhow::Result<Settings> {
    Ok(Settings::new()?.with("server", "config_watch", "false").with("log", "level", "\"info\""))
}

/// Writes the file with some text in another's place.
fn change(server: &Server, old: &str, new: &str) -> anyhow::Result<()> {
    let path = server.settings().path("omnivisor.toml");
    let text = std::fs::read_to_string(&path)?;
    anyhow::ensure!(text.contains(old), "no {old:?} in {text}");
    Ok(std::fs::write(path, text.replacen(old, new, 1))?)
}

/// The same, and has it applied; gives the keys that count from now on.
async fn apply(server: &Server, admin: &Client, old: &str, new: &str) -> anyhow::Result<Vec<String>> {
    change(server, old, new)?;
    let applied = admin.post("/api/v1/config/reload", &json!({})).await?.expect_status(200)?.json()?;
    assert_eq!(applied["restart"], json!([]), "{applied}");
    let keys = applied["settings"].as_array().context("keys")?;
    Ok(keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn the_feeds_places_and_the_logs_level_are_those_of_the_file() -> anyhow::Result<()> {
    let server = Server::start(settings()?.with("server", "feed_clients_max", "1")).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let _first = Feed::open(&admin, &["*"], None).await?;
    assert!(Feed::open(&admin, &["*"], None).await.is_err(), "there is one place");
    let keys = apply(&server, &admin, "feed_clients_max = 1", "feed_clients_max = 2").await?;
    assert_eq!(keys, ["server.feed_clients_max"]);
    let _second = Feed::open(&admin, &["*"], None).await?;
    assert!(Feed::open(&admin, &["*"], None).await.is_err(), "there are two");
    // What is applied is told at the level that counts from then on.
    let told = || server.log().matches("the configuration was applied").count();
    assert_eq!(told(), 1);
    apply(&server, &admin, "level = \"info\"", "level = \"error\"").await?;
    apply(&server, &admin, "feed_clients_max = 2", "feed_clients_max = 3").await?;
    apply(&server, &admin, "level = \"error\"", "level = \"warn,omnivisor::reload=info\"").await?;
    until("it is told", SOON, async || Ok((told() == 2).then_some(()))).await?;
    Ok(())
}

#[tokio::test]
async fn one_principal_and_one_address_have_so_many_places_of_the_feed_as_the_file_says() -> anyhow::Result<()> {
    let settings = settings()?.with("server", "feed_clients_per_principal_max", "1");
    let server = Server::start(settings.with("server", "feed_clients_per_address_max", "3")).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let first = Feed::open(&admin, &["*"], None).await?;
    let refused = admin.get("/api/v1/feed/events").await?;
    assert_eq!(refused.header("retry-after"), "10");
    refused.problem(429, "feed.principal_full")?;
    let keys = apply(&server, &admin, "per_principal_max = 1", "per_principal_max = 9").await?;
    assert_eq!(keys, ["server.feed_clients_per_principal_max"]);
    let _others = [Feed::open(&admin, &["*"], None).await?, Feed::open(&admin, &["*"], None).await?];
    admin.get("/api/v1/feed/events").await?.problem(429, "feed.address_full")?;
    drop(first);
    until("its place is free", SOON, async || Ok(Feed::open(&admin, &["*"], None).await.ok())).await?;
    let metrics = admin.get("/metrics").await?.text();
    for line in ["{why=\"principal\"} 1", "{why=\"rate\"} 0"] {
        assert!(metrics.contains(&format!("omnivisor_feed_handshakes_rejected_total{line}")), "{metrics}");
    }
    Ok(())
}

#[tokio::test]
async fn connections_are_as_many_as_the_file_says_and_a_signal_gets_through_when_they_are_taken() -> anyhow::Result<()>
{
    let server = Server::start(settings()?.with("server", "connections_max", "2")).await?;
    let client = server.client();
    let mut held = Vec::new();
    until("both places are taken", SOON, async || {
        // Whoever has asked for nothing would make room.
        let mut holder = TcpStream::connect(client.address()).await?;
        holder.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let _ = timeout(Duration::from_millis(300), holder.read(&mut [0; 64])).await;
        held.push(holder);
        Ok(timeout(Duration::from_millis(300), client.get("/livez")).await.is_err().then_some(()))
    })
    .await?;
    change(&server, "connections_max = 2", "connections_max = 50")?;
    send_signal(Signal::Hangup, server.pid().context("it runs")?)?;
    until("there are more", SOON, async || {
        Ok(timeout(Duration::from_secs(1), client.get("/livez")).await.ok().map(drop))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn orders_and_batches_may_ask_for_what_the_file_says() -> anyhow::Result<()> {
    let other = Program::script("other", "trap 'sleep 2; exit 0' TERM\nwhile :; do sleep 0.1; done");
    let node = Supervisord::start(Node::new("alpha").program(slow()).program(other)).await?;
    let settings = settings()?
        .with("orders", "batches_max", "1")
        .with("orders", "batch_items_max", "1")
        .with("orders", "wait_max_ms", "2000")
        .node(&node)?;
    let server = Server::start(settings).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let all = json!({ "operation": "stop", "select": [{ "node": "alpha" }], "dry_run": true });
    until("both are seen", SOON, async || Ok((admin.post("/api/v1/bulk", &all).await?.status == 422).then_some(())))
        .await?;
    admin.post("/api/v1/bulk", &all).await?.problem(422, "bulk.too_many")?;
    apply(&server, &admin, "batch_items_max = 1", "batch_items_max = 2").await?;
    admin.post("/api/v1/bulk", &all).await?.expect_status(200)?;

    let start = "/api/v1/nodes/alpha/processes/slow:slow/start";
    admin.post(start, &json!({ "wait_ms": 2001 })).await?.problem(422, "request.invalid")?;
    apply(&server, &admin, "wait_max_ms = 2000", "wait_max_ms = 3000").await?;
    admin.post(start, &json!({ "wait_ms": 2001 })).await?.expect_status(200)?;

    let restart = |name: &str| json!({ "operation": "restart", "select": [{ "name": name }] });
    let (one, two) = (restart("slow"), restart("other"));
    let busy = async || {
        let both = tokio::join!(admin.post("/api/v1/bulk", &one), admin.post("/api/v1/bulk", &two));
        anyhow::Ok([both.0?.status, both.1?.status].into_iter().filter(|status| *status == 503).count())
    };
    assert_eq!(busy().await?, 1, "one batch at once");
    apply(&server, &admin, "batches_max = 1", "batches_max = 2").await?;
    assert_eq!(busy().await?, 0, "two");
    Ok(())
}

/// Real supervisord: left alone it is not spoken to, and taken up again nothing is told of its processes that did not
/// happen.
#[tokio::test]
async fn a_node_is_disabled_and_enabled_by_the_file() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let server = Server::start(settings()?.node(&node)?).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    until("it is live, and its program runs", SOON, async || {
        let view = admin.get("/api/v1/nodes/alpha").await?.expect_status(200)?.json()?;
        Ok((view["state"] == "live" && view["processes"][0]["state"] == "running").then_some(()))
    })
    .await?;
    let mut feed = Feed::open(&admin, &["node/*/state", "proc/*/state"], None).await?;
    change(&server, "name = \"alpha\"", "name = \"alpha\"\nenabled = false")?;
    let applied = admin.post("/api/v1/config/reload", &json!({})).await?.expect_status(200)?.json()?;
    assert_eq!(applied["nodes_changed"], json!(["alpha"]), "{applied}");
    feed.node_state("alpha", &["disabled"], SOON).await?;
    let view = admin.get("/api/v1/nodes/alpha").await?.expect_status(200)?.json()?;
    assert_eq!((&view["state"], &view["processes"][0]["state"]), (&json!("disabled"), &json!("running")), "{view}");
    let stop = "/api/v1/nodes/alpha/processes/quiet:quiet/stop";
    let problem = admin.post(stop, &json!({})).await?.problem(409, "node.disabled")?;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("`enabled = true`")), "{problem}");
    let health = admin.get("/api/v1/health").await?.json()?;
    assert_eq!(
        (&health["status"], &health["components"][1]["figures"]["disabled"]),
        (&json!("ok"), &json!(1)),
        "{health}"
    );
    change(&server, "enabled = false", "enabled = true")?;
    admin.post("/api/v1/config/reload", &json!({})).await?.expect_status(200)?;
    let told =
        feed.event("it is live", SOON, |event| event["state"]["state"] == "live" || event["process"].is_object());
    let told = told.await?;
    assert!(told["process"].is_null(), "nothing happened to its processes: {told}");
    Ok(())
}
