//! A supervisor of another kind beside the first: what it can do differs, and everyone is told.

use super::SOON;
use serde_json::{Value, json};
use tests::{ADMIN, ADMIN_PASSWORD, CommandLine, Feed, Host, Monit, Node, Program, Service, Settings, Supervisord};

const LIVE: &[&str] = &["live", "live-poll"];

/// A monit alone.
async fn one(services: Vec<Service>) -> anyhow::Result<(Monit, Host)> {
    let node = Monit::start("mona", services).await?;
    let host = Host::start(Settings::new()?.monit(&node)?).await?;
    host.until_node("mona", &["live-poll"], SOON).await?;
    Ok((node, host))
}

/// Waits until the feed tells whether a process is watched.
async fn monitored(feed: &mut Feed, id: &str, value: &str) -> anyhow::Result<Value> {
    feed.event(&format!("`{id}` has monitored={value}"), SOON, |event| {
        event["process"]["id"] == id && event["process"]["attributes"]["monitored"] == value
    })
    .await
}

#[tokio::test]
async fn two_kinds_of_node_say_what_each_can_do_and_are_asked_for_nothing_else() -> anyhow::Result<()> {
    let alpha = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let mona = Monit::start("mona", vec![Service::quiet("web").with("group farm")]).await?;
    let host = Host::start(Settings::new()?.node(&alpha)?.monit(&mona)?).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let web = host.until_process("mona", "farm:web", "running", SOON).await?;
    assert_eq!((&web["native_state"], &web["attributes"]), (&json!("OK"), &json!({ "monitored": "true" })), "{web}");
    assert_eq!(web["pid"], mona.pid("web")?);
    let quiet = host.process("alpha", "quiet:quiet").await?;
    assert!(quiet.get("attributes").is_none(), "there is nothing to say: {quiet}");

    let can = [
        ("alpha", json!(["start", "stop", "restart"]), json!(["stdout", "stderr"])),
        ("mona", json!(["start", "stop", "restart", "monitor", "unmonitor"]), json!([])),
    ];
    let feed = host.feed().await?;
    for (name, operations, channels) in can {
        let told = feed.items.iter().find(|item| item["topic"] == format!("node/{name}/state"));
        for view in [host.node(name).await?, told.map(|item| item["state"].clone()).unwrap_or_default()] {
            assert_eq!((&view["operations"], &view["log_channels"]), (&operations, &channels), "{view}");
        }
    }
    let version = host.node("mona").await?["version"].clone();
    assert!(version.as_str().is_some_and(|version| version.starts_with("5.")), "{version}");

    for operation in ["monitor", "unmonitor"] {
        let refused = host.order("alpha", "quiet:quiet", operation).await?.problem(422, "operation.unsupported")?;
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(operation)), "{refused}");
    }
    let log = "/api/v1/nodes/mona/processes/farm:web/logs/stdout";
    host.admin.get(log).await?.problem(422, "operation.unsupported")?;
    host.order("mona", "farm:web", "dance").await?.problem(404, "route.not_found")?;
    assert_eq!(host.process("mona", "farm:web").await?["pid"], web["pid"]);
    Ok(())
}

#[tokio::test]
async fn every_order_has_its_effect_and_is_seen_on_the_feed() -> anyhow::Result<()> {
    let (node, host) = one(vec![Service::quiet("web").waiting()]).await?;
    let mut feed = host.feed().await?;
    let outcome = async |operation: &str| {
        let result = host.order("mona", "web:web", operation).await?.expect_status(200)?.json()?;
        anyhow::Ok((result["outcome"].as_str().unwrap_or_default().to_owned(), result))
    };
    let (started, result) = outcome("start").await?;
    assert_eq!((started.as_str(), &result["state"]), ("done", &json!("running")), "{result}");
    for state in ["starting", "running"] {
        feed.process_state("mona", "web:web", state, SOON).await?;
    }
    let first = node.pid("web")?;

    let (restarted, result) = outcome("restart").await?;
    assert_eq!((restarted.as_str(), &result["state"]), ("done", &json!("running")), "{result}");
    let second = node.pid("web")?;
    assert_ne!(first, second);
    feed.event("another run", SOON, |event| event["process"]["pid"] == second).await?;

    assert_eq!(outcome("monitor").await?.0, "unchanged");
    assert_eq!(outcome("unmonitor").await?.0, "done");
    let told = monitored(&mut feed, "web:web", "false").await?;
    assert_eq!(told["process"]["state"], "unknown", "monit says nothing of what it does not watch: {told}");
    assert!(node.is_alive("web")?);
    host.order("mona", "web:web", "stop").await?.problem(409, "process.not_monitored")?;
    assert_eq!(outcome("unmonitor").await?.0, "unchanged");
    assert_eq!(outcome("monitor").await?.0, "done");
    feed.event("it is watched and runs, as it did all the time", SOON, |event| {
        event["process"]["pid"] == second && event["process"]["attributes"]["monitored"] == "true"
    })
    .await?;

    let (stopped, result) = outcome("stop").await?;
    assert_eq!(stopped, "done", "{result}");
    monitored(&mut feed, "web:web", "false").await?;
    assert!(!node.is_alive("web")?);
    Ok(())
}

#[tokio::test]
async fn an_order_during_a_slow_one_is_refused_and_the_slow_one_goes_on() -> anyhow::Result<()> {
    let (node, host) = one(vec![Service::quiet("slow").stop("sleep 3\nkill \"$(cat \"$1.pid\")\"\n")]).await?;
    host.until_process("mona", "slow:slow", "running", SOON).await?;
    let path = "/api/v1/nodes/mona/processes/slow:slow";
    let reply = host.admin.post(&format!("{path}/stop"), &json!({ "wait_ms": 500 })).await?;
    let result = reply.expect_status(202)?.json()?;
    assert_eq!((&result["outcome"], &result["state"]), (&json!("in-progress"), &json!("stopping")), "{result}");
    let refused = host.admin.post(&format!("{path}/start"), &json!({})).await?;
    assert_eq!(refused.status, 409, "{}", refused.text());
    host.until_process("mona", "slow:slow", "unknown", SOON).await?;
    assert!(!node.is_alive("slow")?);
    Ok(())
}

#[tokio::test]
async fn a_start_that_fails_and_a_restart_that_changes_nothing_are_told_as_such() -> anyhow::Result<()> {
    let services = vec![
        Service::quiet("bad").waiting().start("exit 3\n"),
        Service::quiet("stuck").stop("exit 0\n").with("group g"),
    ];
    let (node, host) = one(services).await?;
    host.until_process("mona", "g:stuck", "running", SOON).await?;
    let before = node.pid("stuck")?;
    // The stop's time limit is part of monit's restart.
    let reply = host.admin.post("/api/v1/nodes/mona/processes/g:stuck/restart", &json!({ "wait_ms": 40_000 })).await?;
    let result = reply.expect_status(200)?.json()?;
    assert_eq!((&result["outcome"], &result["state"]), (&json!("failed"), &json!("running")), "{result}");
    assert_eq!(node.pid("stuck")?, before);

    let result = host.order("mona", "bad:bad", "start").await?.expect_status(200)?.json()?;
    assert_eq!((&result["outcome"], &result["state"]), (&json!("failed"), &json!("backoff")), "{result}");
    assert!(result["message"].as_str().is_some_and(|words| words.contains("Execution failed")), "{result}");
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_killed_comes_back_and_both_are_told() -> anyhow::Result<()> {
    let (node, host) = one(vec![Service::quiet("web")]).await?;
    host.until_process("mona", "web:web", "running", SOON).await?;
    let mut feed = host.feed().await?;
    let killed = node.kill_process("web")?;
    let gone = |event: &Value| event["process"]["id"] == "web:web" && event["process"]["state"] != "running";
    feed.event("it is seen gone", SOON, gone).await?;
    let back = feed.process_state("mona", "web:web", "running", SOON).await?;
    assert_ne!(back["process"]["pid"], killed);
    assert_eq!(back["process"]["pid"], node.pid("web")?);
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_a_monit_that_dies_returns_to_what_ran_on() -> anyhow::Result<()> {
    let locked = Monit::start("locked", vec![]).await?;
    let mut mona = Monit::start("mona", vec![Service::quiet("web")]).await?;
    let settings = Settings::new()?.monit_with_password(&locked, "canary-wrong-password")?.monit(&mona)?;
    let host = Host::start(settings).await?;
    let node = host.until_node("locked", &["refused"], SOON).await?;
    assert!(!node["reason"].as_str().unwrap_or("canary").contains("canary"), "{node}");
    let before = host.until_process("mona", "web:web", "running", SOON).await?["pid"].clone();

    mona.kill();
    let view = host.until_node("mona", &["unreachable"], SOON).await?;
    assert!(view["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{view}");
    assert_eq!(host.process("mona", "web:web").await?["state"], "running", "old data stays visible");
    mona.start_again().await?;
    host.until_node("mona", LIVE, SOON).await?;
    assert_eq!(host.until_process("mona", "web:web", "running", SOON).await?["pid"], before, "it was not touched");
    Ok(())
}

#[tokio::test]
async fn a_user_has_a_process_left_alone_and_watched_again() -> anyhow::Result<()> {
    let (node, host) = one(vec![Service::quiet("web").with("group farm")]).await?;
    host.until_process("mona", "farm:web", "running", SOON).await?;
    let user = CommandLine::new(host.address())?;
    let file = user.home().join("password");
    std::fs::write(&file, ADMIN_PASSWORD)?;
    let run = user.run(&["login", "--username", ADMIN, "--password-file", &file.to_string_lossy()]).await?;
    anyhow::ensure!(run.code == 0, "{run:?}");
    for (arguments, words) in [
        (["unmonitor", "mona/farm:web"], "unmonitored in"),
        (["unmonitor", "mona/farm:web"], "was unmonitored already"),
        (["status", "mona"], "monit does not watch it"),
        (["monitor", "mona/farm:web"], "monitored in"),
    ] {
        let run = user.run(&arguments).await?;
        assert!(run.code == 0 && run.stdout.contains(words), "{arguments:?}: {run:?}");
    }
    let run = user.run(&["tail", "mona/farm:web"]).await?;
    assert!(run.code != 0 && run.stderr.contains("cannot"), "{run:?}");
    assert!(node.is_alive("web")?);
    Ok(())
}
