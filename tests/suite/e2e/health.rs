use super::{SOON, one};
use std::time::Duration;
use tests::{Host, Node, Program, Settings, Supervisord};
use tokio::time::Instant;

const LIVE: &[&str] = &["live", "live-poll"];

#[tokio::test]
async fn a_wrong_password_refuses_one_node_and_leaves_the_others() -> anyhow::Result<()> {
    let locked = Supervisord::start(Node::new("locked")).await?;
    let open = Supervisord::start(Node::new("open").program(Program::quiet("quiet"))).await?;
    let host = Host::start(Settings::new()?.node_with_password(&locked, "canary-wrong-password")?.node(&open)?).await?;
    let node = host.until_node("locked", &["refused"], SOON).await?;
    let reason = node["reason"].as_str().unwrap_or_default();
    assert!(!reason.is_empty() && !reason.contains("canary"), "{node}");
    host.until_node("open", LIVE, SOON).await?;
    host.order("open", "quiet:quiet", "restart").await?.expect_status(200)?;
    Ok(())
}

#[tokio::test]
async fn a_frozen_node_is_stale_soon_and_live_soon_after_it_thaws() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let other = Supervisord::start(Node::new("bravo").program(Program::quiet("quiet"))).await?;
    let host = Host::start(Settings::new()?.node(&node)?.node(&other)?).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    host.until_node("bravo", LIVE, SOON).await?;
    let mut feed = host.feed().await?;

    node.freeze()?;
    let begin = Instant::now();
    feed.node_state("alpha", &["stale", "unreachable"], Duration::from_secs(4)).await?;
    let process = host.process("alpha", "quiet:quiet").await?;
    assert_eq!(process["state"], "running", "old data stays visible");
    let view = host.until_node("alpha", &["unreachable"], Duration::from_secs(30)).await?;
    assert!(view["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{view}");
    assert!(view["observed_at"].is_string(), "{view}");
    assert!(begin.elapsed() > Duration::from_secs(1), "one missed answer is no outage");
    let answered = Instant::now();
    host.order("bravo", "quiet:quiet", "restart").await?.expect_status(200)?;
    assert!(answered.elapsed() < Duration::from_secs(10), "a frozen node held up another");

    node.thaw()?;
    host.until_node("alpha", LIVE, Duration::from_secs(3)).await?;
    Ok(())
}

#[tokio::test]
async fn a_node_that_dies_and_returns_is_told_so_and_seen_again() -> anyhow::Result<()> {
    let (mut node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let before = host.until_process("alpha", "quiet:quiet", "running", SOON).await?["pid"].clone();
    node.kill();
    let view = host.until_node("alpha", &["stale", "unreachable"], SOON).await?;
    assert!(view["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{view}");
    node.start_again().await?;
    host.until_node("alpha", LIVE, SOON).await?;
    let after = host.until_process("alpha", "quiet:quiet", "running", SOON).await?["pid"].clone();
    assert_ne!(before, after);
    Ok(())
}

#[tokio::test]
async fn an_order_to_a_node_that_is_not_there_is_refused_and_not_kept_for_later() -> anyhow::Result<()> {
    let (mut node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    node.kill();
    host.until_node("alpha", &["stale", "unreachable"], SOON).await?;
    let reply = host.order("alpha", "quiet:quiet", "stop").await?;
    let code = reply.json()?["code"].as_str().unwrap_or_default().to_owned();
    match code.as_str() {
        "node.unreachable" => reply.problem(502, &code)?,
        "node.breaker_open" => reply.problem(503, &code)?,
        "node.timed_out" => reply.problem(504, &code)?,
        _ => anyhow::bail!("{}", reply.text()),
    };
    node.start_again().await?;
    host.until_node("alpha", LIVE, SOON).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    Ok(())
}
