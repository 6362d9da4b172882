//! Strategies and adapters that are swapped some hundred times while logins, checks of keys and observations go on.

use super::SOON;
use super::load::Load;
use crate::component::with_section;
use anyhow::Context as _;
use serde_json::{Value, json};
use tests::{ADMIN, ADMIN_PASSWORD, Client, Feed, Host, Node, Program, Settings, Supervisord, until};

const SWAPS: u64 = 200;

/// Two components that do what the plugin in the box does.
fn variants(plugin: &str) -> anyhow::Result<[Vec<u8>; 2]> {
    let component = std::fs::read(tests::plugins()?.join(format!("{plugin}.wasm")))?;
    Ok([with_section(component.clone(), "variant", "one"), with_section(component, "variant", "two")])
}

/// Settings with a folder of plugins of their own: these in the box.
fn settings(plugins: &[&str]) -> anyhow::Result<Settings> {
    let settings = Settings::new()?;
    let folder = settings.path("plugins.d");
    std::fs::create_dir(&folder)?;
    for name in plugins.iter().chain(&["auth-local", "validate-strict"]) {
        let file = format!("{name}.wasm");
        std::fs::copy(tests::plugins()?.join(&file), folder.join(&file))?;
    }
    Ok(settings
        .with("plugins", "directory", &format!("{folder:?}"))
        // What is counted here are swaps, not how busy the machine is.
        .with("plugins.auth_limits", "time_ms", "20000")
        .with("plugins.adapter_limits", "time_ms", "20000")
        .with("log", "level", "\"info\""))
}

async fn swap(client: &Client, plugin: &str, component: &[u8]) -> anyhow::Result<()> {
    let (path, kind) = (format!("/api/v1/plugins/{plugin}"), [("content-type", "application/wasm")]);
    let reply = client.send("PUT", &path, &kind, component.to_vec()).await?.expect_status(200)?.json()?;
    anyhow::ensure!(reply["result"] == "activated", "{reply}");
    Ok(())
}

/// Waits until the generations that left are drained; all calls of a plugin ended well, in so many generations.
async fn check(client: &Client, plugin: &str, swaps: u64) -> anyhow::Result<u64> {
    let path = format!("/api/v1/plugins/{plugin}");
    let page: Value = until("drained", SOON, async || {
        let page = client.get(&path).await?.expect_status(200)?.json()?;
        Ok((page["previous"]["state"] == "retired").then_some(page))
    })
    .await?;
    assert_eq!((&page["generation"], &page["quarantine"]), (&json!(swaps + 1), &json!("none")), "{page}");
    assert_eq!(page["counters"]["swaps"]["activated"], json!(swaps), "{page}");
    let calls = page["counters"]["calls"].as_object().context("calls by outcome")?;
    assert!(calls.iter().all(|(outcome, count)| outcome == "ok" || *count == 0), "{calls:?}");
    page["counters"]["calls"]["ok"].as_u64().context("calls that went well")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_of_strategies_under_load_fail_no_login_and_no_check_of_a_key() -> anyhow::Result<()> {
    let settings = settings(&["auth-token"])?.with("plugins", "auth", r#"["auth-token", "auth-local"]"#);
    let host = Host::start(settings).await?;
    let wish = json!({ "label": "reader", "scopes": ["node.read"] });
    let created = host.admin.post("/api/v1/api-keys", &wish).await?.expect_status(201)?.json()?;
    let reader = host.stranger().bearer(created["text"].as_str().context("no text")?);
    let stranger = host.stranger();
    let logins = Load::start(1, move || {
        let stranger = stranger.clone();
        async move { stranger.login(ADMIN, ADMIN_PASSWORD).await.map(drop) }
    });
    let checks = Load::start(1, move || {
        let reader = reader.clone();
        async move { reader.get("/api/v1/nodes").await?.expect_status(200).map(drop) }
    });
    let (local, token) = (variants("auth-local")?, variants("auth-token")?);
    for round in 0..SWAPS {
        let variant = usize::try_from(round % 2)?;
        swap(&host.admin, "auth-local", &local[variant]).await?;
        swap(&host.admin, "auth-token", &token[variant]).await?;
        checks.once_more().await?;
    }
    let ((logged_in, mut failed), (checked, others)) = (logins.end().await?, checks.end().await?);
    failed.extend(others);
    println!("2 x {SWAPS} swaps, {logged_in} logins and {checked} checks meanwhile, {} failed", failed.len());
    assert!(failed.is_empty(), "{} failed, among them {:#?}", failed.len(), failed.first());
    assert!(logged_in >= 10, "that was no load: {logged_in} logins");
    // A yes is forgotten with each swap, so each of them was asked for anew.
    assert!(check(&host.admin, "auth-token", SWAPS).await? >= SWAPS);
    assert!(check(&host.admin, "auth-local", SWAPS).await? >= logged_in);
    host.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_of_an_adapter_under_load_change_no_nodes_state_and_fail_no_read() -> anyhow::Result<()> {
    let program = || Program::script("writer", "echo hello\nexec sleep 1000");
    let alpha = Supervisord::start(Node::new("alpha").program(program())).await?;
    let bravo = Supervisord::start(Node::new("bravo").program(program())).await?;
    let settings = settings(&["node-supervisord"])?.node(&alpha)?.node(&bravo)?;
    let host = Host::start(settings.with("pool", "poll_interval_ms", "100")).await?;
    for node in ["alpha", "bravo"] {
        host.until_node(node, &["live"], SOON).await?;
        host.until_process(node, "writer:writer", "running", SOON).await?;
    }
    let mut feed = Feed::open(&host.admin, &["node/*/state", "proc/*/state"], None).await?;
    let before = host.node("alpha").await?;
    let admin = host.admin.clone();
    let reads = Load::start(1, move || {
        let admin = admin.clone();
        async move {
            for node in ["alpha", "bravo"] {
                let path = format!("/api/v1/nodes/{node}/processes/writer:writer/logs/stdout");
                admin.get(&path).await?.expect_status(200)?;
            }
            Ok(())
        }
    });
    let components = variants("node-supervisord")?;
    for round in 0..SWAPS {
        swap(&host.admin, "node-supervisord", &components[usize::try_from(round % 2)?]).await?;
        reads.once_more().await?;
    }
    let (rounds, failed) = reads.end().await?;
    let read = 2 * rounds;
    let calls = check(&host.admin, "node-supervisord", SWAPS).await?;
    println!("{SWAPS} swaps, {calls} calls, {read} of them reads, {} failed", failed.len());
    assert!(failed.is_empty(), "{} failed, among them {:#?}", failed.len(), failed.first());
    let after = host.node("alpha").await?;
    assert_eq!((&after["state"], &after["state_since"]), (&json!("live"), &before["state_since"]), "{before} {after}");
    assert_ne!(after["observed_at"], before["observed_at"], "it was observed meanwhile");

    // What the feed tells first is what is done now.
    host.order("bravo", "writer:writer", "stop").await?.expect_status(200)?;
    let first = feed.event("anything at all", SOON, |_| true).await?;
    let process = &first["process"];
    assert_eq!((&first["topic"], &process["id"]), (&json!("proc/bravo/state"), &json!("writer:writer")), "{first}");
    assert!(["stopping", "stopped"].iter().any(|state| process["state"] == *state), "{first}");
    host.stop().await
}
