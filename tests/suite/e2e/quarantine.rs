//! Plugins that keep trapping, as their users see it: a strategy closes the door, an adapter says so of its nodes, and
//! a good generation heals both.

use super::SOON;
use crate::component::{World, build, good};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tests::{ADMIN, ADMIN_PASSWORD, Client, Feed, Host, Node, Program, Settings, Supervisord, until};

/// A strategy that has nothing to say, but traps at names of three letters: the length is the third argument.
pub(super) fn traps_at_three_letters() -> anyhow::Result<Vec<u8>> {
    build(
        World::Auth,
        r#"(data (i32.const 1312) "\02")
           (func $authenticate (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
             (if (i32.eq (local.get 2) (i32.const 3)) (then (unreachable))) (i32.const 1304))"#,
    )
}

/// One that has nothing to say.
pub(super) fn passes_on() -> anyhow::Result<Vec<u8>> {
    build(World::Auth, r#"(data (i32.const 1312) "\02")"#)
}

/// Settings with a folder of plugins of their own: those in the box, and `gate`.
pub(super) fn gated(gate: &[u8]) -> anyhow::Result<Settings> {
    let settings = Settings::new()?;
    let folder = settings.path("plugins.d");
    std::fs::create_dir(&folder)?;
    for name in ["auth-local.wasm", "validate-strict.wasm", "node-supervisord.wasm"] {
        std::fs::copy(tests::plugins()?.join(name), folder.join(name))?;
    }
    std::fs::write(folder.join("gate.wasm"), gate)?;
    Ok(settings
        .with("plugins", "directory", &format!("{folder:?}"))
        .with("log", "level", "\"info\"")
        .with("metrics", "open", "true"))
}

pub(super) async fn put(client: &Client, component: Vec<u8>) -> anyhow::Result<()> {
    let kind = [("content-type", "application/wasm")];
    let reply = client.send("PUT", "/api/v1/plugins/gate", &kind, component).await?.expect_status(200)?.json()?;
    anyhow::ensure!(reply["result"] == "activated", "{reply}");
    Ok(())
}

async fn gate(client: &Client) -> anyhow::Result<Value> {
    client.get("/api/v1/plugins/gate").await?.expect_status(200)?.json()
}

async fn has_metric(client: &Client, line: &str) -> anyhow::Result<bool> {
    Ok(client.get("/metrics").await?.expect_status(200)?.text().lines().any(|present| present == line))
}

async fn log_in(client: &Client, username: &str) -> anyhow::Result<tests::Reply> {
    client.post("/api/v1/login", &json!({ "username": username, "password": ADMIN_PASSWORD })).await
}

/// Has these fail until the last of them is refused even a good name.
async fn shut(callers: &[(&Client, &str)]) -> anyhow::Result<tests::Reply> {
    let (last, _) = callers.last().context("nobody calls")?;
    until("the door is shut", SOON, async || {
        for _ in 0..5 {
            for (client, name) in callers {
                log_in(client, name).await?;
            }
        }
        // A slow machine may come late and be the one trial; then it begins anew.
        let reply = log_in(last, ADMIN).await?;
        Ok((reply.status == 503).then_some(reply))
    })
    .await
}

#[tokio::test]
async fn a_strategy_that_keeps_trapping_closes_the_door_and_says_why_until_a_good_one_comes() -> anyhow::Result<()> {
    let settings = gated(&traps_at_three_letters()?)?.with("plugins", "auth", r#"["gate", "auth-local"]"#);
    let host = Host::start(settings).await?;
    let mut feed = Feed::open(&host.admin, &["plugin/*"], None).await?;
    let stranger = host.stranger();
    log_in(&stranger, "ann").await?.problem(500, "plugin.trapped")?;
    // Fails closed: nobody from there comes in, although the strategy behind it would know them.
    let refused = shut(&[(&stranger, "ann")]).await?;
    let problem = refused.problem(503, "plugin.quarantined")?;
    // Strangers are told which strategy it is and what that means; why, is for those who may see the plugin's page.
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("`gate`") && detail.contains("nobody is let in"), "{problem}");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{refused:?}");
    let page = gate(&host.admin).await?;
    assert_eq!((&page["state"], &page["quarantine"]), (&json!("active"), &json!("caller")), "{page}");
    assert_eq!(page["failures"][4]["code"], "plugin.trapped", "{page}");
    let message = page["failures"][4]["message"].as_str().unwrap_or_default();
    assert!(message.contains("unreachable"), "{page}");
    assert!(has_metric(&stranger, r#"omnivisor_plugin_quarantined{plugin="gate",reach="caller"} 1"#).await?);
    let event = feed.event("quarantined", SOON, |event| event["kind"] == "quarantined").await?;
    assert_eq!((&event["topic"], &event["plugin"]["quarantine"]), (&json!("plugin/gate"), &json!("caller")), "{event}");
    // One address breaks it: the others come in, until it fails for them too.
    let elsewhere = stranger.from_source(Ipv4Addr::new(127, 0, 0, 2).into());
    log_in(&elsewhere, ADMIN).await?.expect_status(200)?;
    shut(&[(&stranger, "ann"), (&elsewhere, "bob")]).await?;
    let page = gate(&host.admin).await?;
    assert_eq!((&page["state"], &page["quarantine"]), (&json!("quarantined"), &json!("all")), "{page}");
    assert!(has_metric(&stranger, r#"omnivisor_plugin_quarantined{plugin="gate",reach="all"} 1"#).await?);

    put(&host.admin, passes_on()?).await?;
    log_in(&stranger, ADMIN).await?.expect_status(200)?;
    log_in(&elsewhere, "bob").await?.problem(401, "auth.failed")?;
    let page = gate(&host.admin).await?;
    assert_eq!((&page["state"], &page["quarantine"]), (&json!("active"), &json!("none")), "{page}");
    assert!(has_metric(&stranger, r#"omnivisor_plugin_quarantined{plugin="gate",reach="all"} 0"#).await?);
    assert!(has_metric(&stranger, r#"omnivisor_plugin_quarantined{plugin="gate",reach="caller"} 0"#).await?);
    let event = feed.event("activated", SOON, |event| event["kind"] == "activated").await?;
    assert_eq!(
        (&event["plugin"]["generation"], &event["plugin"]["quarantine"]),
        (&json!(2), &json!("none")),
        "{event}"
    );
    host.stop().await
}

#[tokio::test]
async fn an_adapter_that_keeps_trapping_shows_its_nodes_as_failed_with_what_was_known_and_heals() -> anyhow::Result<()>
{
    let alpha = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let bravo = Supervisord::start(Node::new("bravo").program(Program::quiet("quiet"))).await?;
    let settings = gated(&good(World::Adapter)?)?
        .node(&alpha)?
        .adapter("gate")
        .node(&bravo)?
        .adapter("gate")
        .with("pool", "poll_interval_ms", "200")
        // Nobody goes back from a generation that has served for so long.
        .with("plugins", "probation_ms", "100");
    let host = Host::start(settings).await?;
    for node in ["alpha", "bravo"] {
        host.until_node(node, &["live-poll"], SOON).await?;
        host.until_process(node, "g:p", "running", SOON).await?;
    }
    let mut feed = Feed::open(&host.admin, &["plugin/*", "node/*/state"], None).await?;

    put(&host.admin, build(World::Adapter, "(func $observe (result i32) (unreachable))")?).await?;
    let told = feed.event("failed", SOON, |event| event["state"]["state"] == "adapter-failed").await?;
    assert!(told["state"]["reason"].as_str().is_some_and(|reason| reason.contains("trapped")), "{told}");
    assert_eq!(host.process("alpha", "g:p").await?["state"], "running", "what was known stays");
    feed.event("quarantined", SOON, |event| event["plugin"]["quarantine"] == "all").await?;
    for name in ["alpha", "bravo"] {
        let node = until("the node says that it is quarantined", SOON, async || {
            let node = host.node(name).await?;
            let reason = node["reason"].as_str().unwrap_or_default();
            Ok((reason.contains("kept failing") && reason.contains("trapped")).then_some(node))
        })
        .await?;
        assert_eq!(node["state"], "adapter-failed", "{node}");
    }
    let page = gate(&host.admin).await?;
    assert_eq!((&page["state"], &page["quarantine"]), (&json!("quarantined"), &json!("all")), "{page}");
    assert!(has_metric(&host.stranger(), r#"omnivisor_plugin_quarantined{plugin="gate",reach="all"} 1"#).await?);
    let trapped = page["counters"]["calls"]["trapped"].as_u64().unwrap_or_default();
    assert!((5..20).contains(&trapped), "it is not called for ever: {page}");

    put(&host.admin, build(World::Adapter, r#"(data (i32.const 3000) "mended")"#)?).await?;
    for name in ["alpha", "bravo"] {
        let node = host.until_node(name, &["live-poll"], SOON).await?;
        assert_eq!(node["reason"], Value::Null, "{node}");
    }
    let page = gate(&host.admin).await?;
    assert_eq!((&page["state"], &page["quarantine"]), (&json!("active"), &json!("none")), "{page}");
    assert!(has_metric(&host.stranger(), r#"omnivisor_plugin_quarantined{plugin="gate",reach="all"} 0"#).await?);
    host.stop().await
}
