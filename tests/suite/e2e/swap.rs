//! Plugins that are swapped under load, over the API, the command line, files and signals.

use super::SOON;
use super::load::Load;
use crate::component::{World, build, good};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tests::{
    ADMIN, ADMIN_PASSWORD, Client, CommandLine, Feed, Host, Reply, Server, Settings, Signal, send_signal, until,
};

const SWAPS: u64 = 1_000;
const CLIENTS: usize = 4;

/// A validator that lets everything pass; each word makes another component of it.
fn passes(word: &str) -> anyhow::Result<Vec<u8>> {
    build(World::Validate, &format!(r#"(data (i32.const 3000) "{word}")"#))
}

/// One that traps on every request but logins, so that the suite can still come in.
fn traps() -> anyhow::Result<Vec<u8>> {
    // The first byte of the operation's name: `s` of `session.login`.
    let body = "(if (i32.ne (i32.load8_u (local.get 0)) (i32.const 115)) (then (unreachable))) (i32.const 0)";
    build(World::Validate, &format!("(func $validate (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {body})"))
}

/// Settings with a folder of plugins of their own: those in the box, and the validator `judge`.
fn settings(judge: &[u8]) -> anyhow::Result<Settings> {
    let settings = Settings::new()?;
    let folder = settings.path("plugins.d");
    std::fs::create_dir(&folder)?;
    for name in ["auth-local.wasm", "validate-strict.wasm"] {
        std::fs::copy(tests::plugins()?.join(name), folder.join(name))?;
    }
    std::fs::write(folder.join("judge.wasm"), judge)?;
    Ok(settings
        .with("plugins", "directory", &format!("{folder:?}"))
        .with("plugins", "validate", "[\"validate-strict\", \"judge\"]")
        // What is counted here are swaps, not how busy the machine is.
        .with("plugins.validate_limits", "time_ms", "10000")
        .with("log", "level", "\"info\""))
}

fn file(settings: &Settings) -> PathBuf {
    settings.path("plugins.d/judge.wasm")
}

async fn put(client: &Client, component: Vec<u8>) -> anyhow::Result<Reply> {
    client.send("PUT", "/api/v1/plugins/judge", &[("content-type", "application/wasm")], component).await
}

async fn judge(client: &Client) -> anyhow::Result<Value> {
    client.get("/api/v1/plugins/judge").await?.expect_status(200)?.json()
}

async fn until_judge(client: &Client, what: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    until(what, SOON, async || {
        let plugin = judge(client).await?;
        Ok(is_so(&plugin).then_some(plugin))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_swaps_under_load_fail_no_request() -> anyhow::Result<()> {
    let variants = [passes("one")?, passes("two")?];
    let host = Host::start(settings(&variants[0])?).await?;
    let load = Load::of_lists(CLIENTS, &host.admin);
    let mut failed = Vec::new();
    for swap in 1..=SWAPS {
        let reply = put(&host.admin, variants[usize::try_from(swap % 2)?].clone()).await?;
        if reply.status != 200 || reply.json()?["result"] != "activated" {
            failed.push(format!("swap {swap}: {} {}", reply.status, reply.text()));
        }
    }
    let (served, others) = load.end().await?;
    failed.extend(others);
    println!("{SWAPS} swaps, {served} requests of {CLIENTS} clients meanwhile, {} failed", failed.len());
    assert!(failed.is_empty(), "{} failed, among them {:#?}", failed.len(), failed.get(..failed.len().min(5)));
    assert!(served >= 1_000, "that was no load: {served} requests");
    let plugin = until_judge(&host.admin, "drained", |plugin| plugin["previous"]["state"] == "retired").await?;
    assert_eq!(plugin["generation"], json!(SWAPS + 1));
    assert_eq!(plugin["counters"]["swaps"]["activated"], json!(SWAPS), "{plugin}");
    let calls = plugin["counters"]["calls"].as_object().context("calls by outcome")?;
    assert!(calls.iter().all(|(outcome, count)| outcome == "ok" || *count == 0), "{calls:?}");
    let metrics = host.admin.get("/metrics").await?.text();
    for line in [
        "omnivisor_plugin_generation{plugin=\"judge\"} 1001",
        "omnivisor_plugin_swaps_total{plugin=\"judge\",result=\"activated\"} 1000",
        "omnivisor_plugin_quarantined{plugin=\"judge\",reach=\"all\"} 0",
        "omnivisor_plugin_call_seconds_bucket{le=\"+Inf\",plugin=\"judge\"}",
        "omnivisor_plugin_call_fuel_count{plugin=\"judge\"}",
        "omnivisor_plugin_swaps_waiting 0",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    host.stop().await
}

#[tokio::test]
async fn what_cannot_serve_changes_nothing_and_what_fails_is_rolled_back_and_told_on_the_feed() -> anyhow::Result<()> {
    let host = Host::start(settings(&passes("one")?)?).await?;
    let mut feed = Feed::open(&host.admin, &["plugin/*"], None).await?;
    let names: Vec<_> = feed.items.iter().map(|item| item["plugin"]["name"].clone()).collect();
    assert_eq!(names, ["auth-local", "judge", "validate-strict"], "{:?}", feed.items);
    let before = judge(&host.admin).await?;
    for broken in [b"half".to_vec(), good(World::Adapter)?] {
        let problem = put(&host.admin, broken).await?.problem(422, "plugin.not_loaded")?;
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("judge")), "{problem}");
    }
    assert_eq!(judge(&host.admin).await?["digest"], before["digest"]);
    put(&host.stranger(), passes("two")?).await?.problem(401, "auth.required")?;
    put(&host.admin, vec![0; (8 << 20) + 1]).await?.problem(413, "request.too_large")?;

    put(&host.admin, traps()?).await?.expect_status(200)?;
    for _ in 0..3 {
        host.admin.get("/api/v1/nodes").await?.problem(500, "plugin.trapped")?;
    }
    host.admin.get("/api/v1/nodes").await?.expect_status(200)?;
    let plugin = until_judge(&host.admin, "told", |plugin| plugin["refused"] != json!([])).await?;
    assert_eq!((&plugin["digest"], &plugin["state"]), (&before["digest"], &json!("active")), "{plugin}");
    assert_eq!(plugin["failures"][2]["code"], "plugin.trapped", "{plugin}");
    let event = feed.event("rolled back", SOON, |event| event["kind"] == "rolled-back").await?;
    assert_eq!((&event["topic"], &event["plugin"]["generation"]), (&json!("plugin/judge"), &json!(1)), "{event}");
    host.stop().await
}

#[tokio::test]
async fn a_plugin_without_a_way_back_is_quarantined_for_whoever_breaks_it() -> anyhow::Result<()> {
    let host = Host::start(settings(&traps()?)?).await?;
    for _ in 0..5 {
        host.admin.get("/api/v1/nodes").await?.problem(500, "plugin.trapped")?;
    }
    let reply = host.admin.get("/api/v1/nodes").await?;
    let problem = reply.problem(503, "plugin.quarantined")?;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("trapped")), "{problem}");
    assert!(!reply.header("retry-after").is_empty());
    // Who is not known yet is another caller: they still come in.
    host.stranger().login(ADMIN, ADMIN_PASSWORD).await?;
    host.stop().await
}

async fn log_in(user: &CommandLine) -> anyhow::Result<()> {
    let file = user.home().join("password");
    std::fs::write(&file, ADMIN_PASSWORD)?;
    let run = user.run(&["login", "--username", ADMIN, "--password-file", &file.to_string_lossy()]).await?;
    anyhow::ensure!(run.code == 0, "{run:?}");
    Ok(())
}

fn at(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[tokio::test]
async fn the_command_line_installs_lists_and_rolls_back_and_a_restart_keeps_to_it() -> anyhow::Result<()> {
    let mut server = Server::start(settings(&passes("one")?)?).await?;
    let user = CommandLine::new(server.client().address())?;
    log_in(&user).await?;
    let (new, broken) = (user.home().join("judge.wasm"), user.home().join("other.wasm"));
    std::fs::write(&new, passes("two")?)?;
    std::fs::write(&broken, b"half")?;
    let run = user.run(&["plugin", "install", &at(&new)]).await?;
    assert_eq!((run.code, run.stdout.contains("judge: activated, generation 2")), (0, true), "{run:?}");
    let run = user.run(&["plugin", "install", &at(&new)]).await?;
    assert!(run.stdout.contains("already"), "{run:?}");
    let run = user.run(&["plugin", "install", &at(&broken), "--name", "judge"]).await?;
    assert!(run.code != 0 && run.stderr.contains("judge"), "{run:?}");
    let run = user.run(&["plugin", "list"]).await?;
    for word in ["PLUGIN", "auth-local", "judge", "on probation"] {
        assert!(run.stdout.contains(word), "no {word}: {run:?}");
    }
    let run = user.run(&["plugin", "rollback", "judge", "--json"]).await?;
    let swap: Value = serde_json::from_str(&run.stdout).with_context(|| format!("{run:?}"))?;
    assert_eq!((&swap["result"], &swap["plugin"]["generation"]), (&json!("rolled-back"), &json!(1)));
    let run = user.run(&["plugin", "rollback", "judge"]).await?;
    assert!(run.code != 0 && run.stderr.contains("no generation before"), "{run:?}");

    assert_eq!(std::fs::read(file(server.settings()))?, passes("two")?, "the file is the one that was installed");
    server.terminate(SOON).await?;
    let server = server.start_again().await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    assert_eq!(judge(&admin).await?["digest"], swap["plugin"]["digest"], "what was rolled back is not loaded again");
    assert!(server.log().contains("was rolled back"), "{}", server.log());
    Ok(())
}

#[tokio::test]
async fn a_changed_file_is_swapped_in_and_a_hangup_applies_limits_or_nothing() -> anyhow::Result<()> {
    let server = Server::start(settings(&passes("one")?)?).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let path = file(server.settings());
    std::fs::write(path.with_extension("new"), passes("two")?)?;
    std::fs::rename(path.with_extension("new"), &path)?;
    until_judge(&admin, "swapped by its file", |plugin| plugin["generation"] == 2).await?;

    let config = server.settings().path("omnivisor.toml");
    let text = std::fs::read_to_string(&config)?;
    let pid = server.pid().context("it runs")?;
    let log = |word: &'static str| {
        let server = &server;
        async move { until(word, SOON, async || Ok(server.log().contains(word).then_some(()))).await }
    };
    std::fs::write(&config, format!("{text}\n[plugin.judge]\nnonsense = 1\n"))?;
    send_signal(Signal::Hangup, pid)?;
    log("was not read again").await?;
    std::fs::write(&config, format!("{text}\n[plugin.judge.limits]\nfuel = 1\n"))?;
    send_signal(Signal::Hangup, pid)?;
    log("was not applied").await?;
    assert_eq!(judge(&admin).await?["generation"], 2);
    let other_format = text.replacen("[log]", "[log]\nformat = \"json\"", 1);
    std::fs::write(&config, format!("{other_format}\n[plugin.judge.limits]\nfuel = 1000000\n"))?;
    send_signal(Signal::Hangup, pid)?;
    let plugin = until_judge(&admin, "configured anew", |plugin| plugin["generation"] == 3).await?;
    assert_eq!(plugin["previous"]["generation"], 3, "the way back has the new limits too: {plugin}");
    log("only a restart changes").await?;
    admin.get("/api/v1/nodes").await?.expect_status(200)?;
    Ok(())
}
