//! What `/api/v1/health` says when one part after the other is broken, and the probes meanwhile.

use super::SOON;
use super::quarantine::{gated, passes_on, put, traps_at_three_letters};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tests::{ADMIN, ADMIN_PASSWORD, Client, Feed, Node, Program, Server, Settings, Supervisord, free_address, until};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// The parts that are not well, with their reasons.
async fn unwell(admin: &Client) -> anyhow::Result<Vec<(String, String)>> {
    let health = admin.get("/api/v1/health").await?.expect_status(200)?.json()?;
    let parts = health["components"].as_array().context("no parts")?;
    ensure!(parts.len() == 7, "{health}");
    let unwell: Vec<_> = parts.iter().filter(|part| part["state"] != "ok").cloned().collect();
    ensure!((health["status"] == "ok") == unwell.is_empty(), "{health}");
    let text = |part: &Value, name: &str| part[name].as_str().unwrap_or_default().to_owned();
    Ok(unwell.iter().map(|part| (text(part, "name"), text(part, "reason"))).collect())
}

/// Waits until exactly this part is not well, and why; the probes are as ever.
async fn until_only(admin: &Client, part: &str, reason: &str) -> anyhow::Result<()> {
    until(&format!("`{part}` alone is not well: {reason}"), SOON, async || {
        let told = unwell(admin).await?;
        Ok((told.len() == 1 && told[0].0 == part && told[0].1.contains(reason)).then_some(()))
    })
    .await?;
    probes(admin.address()).await
}

async fn until_well(admin: &Client) -> anyhow::Result<()> {
    until("every part is well", SOON * 2, async || Ok(unwell(admin).await?.is_empty().then_some(()))).await
}

async fn probes(address: std::net::SocketAddr) -> anyhow::Result<()> {
    let stranger = Client::new(address);
    for path in ["/livez", "/readyz"] {
        let asked = Instant::now();
        stranger.get(path).await?.expect_status(200)?;
        ensure!(asked.elapsed() < Duration::from_secs(1), "{path} took {:?}", asked.elapsed());
    }
    Ok(())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

/// A house of which everything can be broken.
async fn house() -> anyhow::Result<(Supervisord, Server)> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let settings = gated(&traps_at_three_letters()?)?.with("plugins", "auth", r#"["gate", "auth-local"]"#);
    let (certificate, key) = (settings.path("tls.pem"), settings.path("tls.key"));
    std::fs::copy(fixture("first.pem"), &certificate)?;
    std::fs::copy(fixture("first.key"), &key)?;
    let lines = format!("address = \"127.0.0.1:0\"\ncertificate_file = {certificate:?}\nkey_file = {key:?}");
    let settings = settings.with("server", "feed_clients_max", "1").listen(&lines).node(&node)?;
    let server = Server::start(settings).await?;
    Ok((node, server))
}

#[tokio::test]
async fn p24_health_names_the_part_that_is_broken_and_no_other() -> anyhow::Result<()> {
    let (mut node, mut server) = house().await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    until_well(&admin).await?;

    node.kill();
    until_only(&admin, "nodes", "alpha is").await?;
    node.start_again().await?;
    until_well(&admin).await?;

    let config = server.settings().path("omnivisor.toml");
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("{text}\n[log]\nnonsense = 1\n"))?;
    until_only(&admin, "configuration", "").await?;
    std::fs::write(&config, &text)?;
    until_well(&admin).await?;

    let feed = Feed::open(&admin, &["node/*/state"], None).await?;
    until_only(&admin, "feed", "as many clients").await?;
    drop(feed);
    until_well(&admin).await?;

    let certificate = server.settings().path("tls.pem");
    std::fs::write(&certificate, "no certificate")?;
    until_only(&admin, "certificates", "tls.pem").await?;
    std::fs::copy(fixture("first.pem"), &certificate)?;
    until_well(&admin).await?;

    let login = json!({ "username": "ann", "password": "canary-guess" });
    until("the plugin is quarantined", SOON, async || {
        let reply = server.client().post("/api/v1/login", &login).await?;
        Ok((reply.status == 503).then_some(()))
    })
    .await?;
    until_only(&admin, "plugins", "gate is quarantined").await?;
    put(&admin, passes_on()?).await?;
    until_well(&admin).await?;
    let page = admin.get("/metrics").await?.expect_status(200)?.text();
    for outcome in ["ok", "failed"] {
        let line = format!("outcome=\"{outcome}\"}} 1");
        ensure!(
            page.lines().any(|told| told.starts_with("omnivisor_certificate_reloads_total{") && told.ends_with(&line)),
            "{page}"
        );
    }
    ensure!(page.contains("omnivisor_certificate_expires_seconds{"), "{page}");
    server.terminate(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn p24_while_a_node_hangs_probes_and_health_answer_at_once() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let mut server = Server::start(Settings::new()?.node(&node)?).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    until_well(&admin).await?;
    node.freeze()?;
    let tracker = tokio_util::task::TaskTracker::new();
    for _ in 0..8 {
        let admin = admin.clone();
        tracker.spawn(async move { admin.post("/api/v1/nodes/alpha/processes/quiet:quiet/stop", &json!({})).await });
    }
    tracker.close();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        probes(admin.address()).await?;
        let asked = Instant::now();
        unwell(&admin).await?;
        ensure!(asked.elapsed() < Duration::from_secs(1), "health took {:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_only(&admin, "nodes", "alpha is").await?;
    node.thaw()?;
    timeout(SOON, tracker.wait()).await?;
    server.terminate(SOON).await?;
    Ok(())
}

/// Bounds how large files may become that a process writes to.
async fn bound_files(pid: u32, bytes: &str) -> anyhow::Result<()> {
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--fsize={bytes}:")]).status().await;
    ensure!(status.context("prlimit, of util-linux, cannot be run")?.success(), "prlimit failed");
    Ok(())
}

#[tokio::test]
async fn p24_a_database_without_room_is_named_and_heals() -> anyhow::Result<()> {
    let address = free_address()?;
    let settings = Settings::new()?.with("server", "listen", &format!("\"{address}\""));
    settings.init().await?;
    // What is too large fails with an error only for who ignores the signal; the log is no file.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" serve --config \"$1\" 2>/dev/null"])
        .arg(tests::omnivisor()?)
        .arg(settings.write()?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let client = Client::new(address);
    until("it is ready", Duration::from_secs(60), async || {
        Ok(client.get("/readyz").await.ok().filter(|reply| reply.status == 200).map(drop))
    })
    .await?;
    let admin = client.login(ADMIN, ADMIN_PASSWORD).await?;
    until_well(&admin).await?;
    let pid = child.id().context("it runs")?;
    bound_files(pid, "4096").await?;
    // A change that has to be on record is refused, and says why.
    let wish = json!({ "name": "extra", "actions": [] });
    let refused = admin.post("/api/v1/roles", &wish).await?;
    refused.problem(503, "store.full")?;
    until_only(&admin, "store", "the disk of the database is full").await?;
    bound_files(pid, "unlimited").await?;
    until("it is written again", SOON, async || {
        Ok((admin.post("/api/v1/roles", &wish).await?.status == 201).then_some(()))
    })
    .await?;
    until_well(&admin).await?;
    tests::send_signal(tests::Signal::Terminate, pid)?;
    timeout(SOON, child.wait()).await??;
    Ok(())
}
