use super::{SOON, one};
use serde_json::json;
use std::time::Duration;
use tests::{Client, Feed, Node, Program};

const ALL: &[&str] = &["node/*/state", "proc/*/state"];

#[tokio::test]
async fn a_killed_child_and_its_new_run_are_told_in_order() -> anyhow::Result<()> {
    let (node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let process = host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let mut feed = host.feed().await?;
    let item = feed.items.iter().find(|item| item["process"]["id"] == "quiet:quiet").cloned();
    assert_eq!(item.unwrap_or_default()["process"], process, "the snapshot and the API say the same");
    let killed = node.kill_process("quiet:quiet").await?;
    let event = feed
        .event("the kill shows", Duration::from_secs(2), |event| {
            event["topic"] == "proc/alpha/state" && event["process"]["pid"] != killed
        })
        .await?;
    assert_eq!((&event["kind"], &event["node"]), (&"changed".into(), &"alpha".into()));
    if event["process"]["state"] != "running" {
        feed.process_state("alpha", "quiet:quiet", "running", SOON).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_returns_is_given_what_it_missed() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let feed = host.feed().await?;
    let position = feed.position();
    drop(feed);
    host.order("alpha", "quiet:quiet", "stop").await?.expect_status(200)?;
    let mut again = Feed::open(&host.admin, ALL, Some(&position)).await?;
    assert_eq!(again.welcome["mode"], "replay", "{}", again.welcome);
    again.process_state("alpha", "quiet:quiet", "stopped", SOON).await?;
    let stranger = Feed::open(&host.admin, ALL, Some("another-epoch:1")).await?;
    assert_eq!(stranger.welcome["mode"], "snapshot");
    Ok(())
}

#[tokio::test]
async fn a_topic_that_was_not_asked_for_stays_away() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let mut nodes = Feed::open(&host.admin, &["node/*/state"], None).await?;
    assert!(nodes.items.iter().all(|item| item["topic"] == "node/alpha/state"), "{:?}", nodes.items);
    let mut all = host.feed().await?;
    host.order("alpha", "quiet:quiet", "stop").await?.expect_status(200)?;
    all.process_state("alpha", "quiet:quiet", "stopped", SOON).await?;
    let stray = nodes.event("a process", Duration::from_secs(1), |event| event.get("process").is_some()).await;
    assert!(stray.is_err(), "{stray:?}");
    Ok(())
}

/// A request for an upgrade, sent as plain HTTP so that a refusal can be read.
async fn upgrade(client: &Client, origin: Option<&str>) -> anyhow::Result<tests::Reply> {
    let mut headers = vec![
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "feed.v1"),
    ];
    headers.extend(origin.map(|origin| ("origin", origin)));
    client.send("GET", "/api/v1/feed", &headers, Vec::new()).await
}

#[tokio::test]
async fn the_door_of_the_feed_is_guarded() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    host.admin.get("/api/v1/feed").await?.problem(426, "feed.upgrade_required")?;
    upgrade(&host.stranger(), None).await?.problem(401, "auth.required")?;
    for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example"] {
        upgrade(&host.admin, Some(origin)).await?.problem(403, "feed.origin_refused")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_talks_nonsense_is_told_not_to_come_back() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    for nonsense in ["{", r#"{"t":"dance"}"#, "[]"] {
        let mut feed = host.feed().await?;
        feed.say(nonsense).await?;
        assert_eq!(feed.closed(SOON).await?, 4502, "{nonsense}");
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_stops_says_goodbye() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let mut feed = host.feed().await?;
    let (stopped, closed) = futures_util::future::join(host.stop(), feed.closed(SOON)).await;
    stopped?;
    assert_eq!(closed?, 4001);
    Ok(())
}

#[tokio::test]
async fn the_feed_ends_with_its_session() -> anyhow::Result<()> {
    let (_node, host) = one(Node::new("alpha")).await?;
    let mut feed = host.feed().await?;
    host.admin.post("/api/v1/logout", &json!({})).await?.expect_status(204)?;
    assert_eq!(feed.closed(SOON).await?, 4501);
    host.admin.get("/api/v1/me").await?.problem(401, "auth.required")?;
    Ok(())
}
