//! The configuration changes while the server runs.

use super::SOON;
use super::load::Load;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tests::{
    ADMIN, ADMIN_PASSWORD, Client, CommandLine, Node, Program, Reply, Server, Settings, Signal, Supervisord,
    send_signal, until,
};

fn file(server: &Server) -> PathBuf {
    server.settings().path("omnivisor.toml")
}

/// Replaces the file whole, as an editor does.
fn replace(server: &Server, text: &str) -> anyhow::Result<()> {
    let new = file(server).with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, file(server))?;
    Ok(())
}

async fn post(client: &Client, path: &str) -> anyhow::Result<Reply> {
    client.send("POST", path, &[], Vec::new()).await
}

async fn nodes(client: &Client) -> anyhow::Result<Vec<String>> {
    let list = client.get("/api/v1/nodes").await?.expect_status(200)?.json()?;
    let items = list["items"].as_array().context("a list")?;
    Ok(items.iter().filter_map(|node| node["name"].as_str().map(str::to_owned)).collect())
}

fn unreachable(name: &str) -> String {
    format!("\n[[node]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:1\"\n")
}

fn quiet() -> anyhow::Result<Settings> {
    Ok(Settings::new()?.with("log", "level", "\"info\""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_traffic_fail_no_request_and_leave_other_nodes_alone() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let server = Server::start(quiet()?.node(&node)?).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let text = std::fs::read_to_string(file(&server))?;
    let live = async || {
        let view = admin.get("/api/v1/nodes/alpha").await?.expect_status(200)?.json()?;
        Ok((view["state"] == "live").then_some(view))
    };
    let before = until("alpha is live", SOON, live).await?;
    let load = Load::of_lists(4, &admin);
    for round in 1..=15_u32 {
        let grants = format!("[plugin.validate-strict]\ncanary_permille = {round}\n");
        replace(&server, &format!("{text}{}{grants}", unreachable(&format!("extra-{round}"))))?;
        if round % 3 == 0 {
            send_signal(Signal::Hangup, server.pid().context("it runs")?)?;
        }
        let applied = post(&admin, "/api/v1/config/reload").await?.expect_status(200)?.json()?;
        // A signal, or the watch of the file, may have been first; whoever was, it is applied now.
        assert_eq!(nodes(&admin).await?, ["alpha", &format!("extra-{round}")], "{applied}");
    }
    let (served, failed) = load.end().await?;
    assert_eq!(failed, [""; 0]);
    assert!(served > 50, "that was no traffic: {served}");
    let after = live().await?.context("alpha is live")?;
    assert_eq!(after["since"], before["since"], "a node that is the same was not disturbed");
    let config = admin.get("/api/v1/config").await?.expect_status(200)?.json()?;
    assert_eq!(config["generation"], 16, "{config}");
    assert!(!config.to_string().contains(node.password()), "a password shows");
    assert_eq!(config["nodes"][0]["owner"], "file");
    Ok(())
}

#[tokio::test]
async fn a_fault_changes_nothing_and_all_of_them_are_told() -> anyhow::Result<()> {
    let server = Server::start(quiet()?).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let text = std::fs::read_to_string(file(&server))?;
    let before = admin.get("/api/v1/config").await?.json()?;
    let faulty = format!("{text}{}[pool]\nfailures_max = 0\nnonsense = 1\n", unreachable("one"));
    replace(&server, &faulty)?;
    let problem = post(&admin, "/api/v1/config/reload").await?.problem(422, "config.faulty")?;
    let pointers: Vec<_> = problem["errors"].as_array().context("all")?.iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, [json!("/config/pool/failures_max"), json!("/config/pool/nonsense")], "{problem}");
    // A plugin that cannot serve so: the nodes of the same file are not applied either.
    replace(&server, &format!("{text}{}[plugin.validate-strict.limits]\nfuel = 1\n", unreachable("one")))?;
    post(&admin, "/api/v1/config/reload").await?.problem(422, "config.plugins_refused")?;
    std::fs::remove_file(file(&server))?;
    post(&admin, "/api/v1/config/reload").await?.problem(422, "config.unreadable")?;
    let told = |text: &str| server.log().matches(text).count();
    until("the vanished file is told", SOON, async || Ok((told("cannot be read") > 0).then_some(()))).await?;
    assert_eq!(admin.get("/api/v1/config").await?.json()?, before);
    assert_eq!(nodes(&admin).await?, [""; 0]);
    replace(&server, &format!("{text}{}", unreachable("two")))?;
    until("the file is read by itself", SOON, async || Ok((nodes(&admin).await? == ["two"]).then_some(()))).await?;
    Ok(())
}

#[tokio::test]
async fn nodes_of_the_api_outlive_a_restart_and_generations_can_be_gone_back_to() -> anyhow::Result<()> {
    let node = Supervisord::start(Node::new("beta").program(Program::quiet("quiet"))).await?;
    let settings = quiet()?;
    std::fs::create_dir(settings.path("node-passwords"))?;
    settings.secret("node-passwords/beta", node.password())?;
    let mut server = Server::start(settings).await?;
    let text = std::fs::read_to_string(file(&server))?;
    replace(&server, &format!("{text}{}", unreachable("declared")))?;
    let user = CommandLine::new(server.client().address())?;
    let password = user.home().join("password");
    std::fs::write(&password, ADMIN_PASSWORD)?;
    let run = user.run(&["login", "--username", ADMIN, "--password-file", &password.to_string_lossy()]).await?;
    assert_eq!(run.code, 0, "{run:?}");
    let run = user.run(&["config", "reload", "--json"]).await?;
    let applied: Value = serde_json::from_str(&run.stdout).with_context(|| format!("{run:?}"))?;
    assert_eq!(applied["generation"], 2, "{applied}");
    let url = format!("http://{}", node.address());
    let add = ["node", "add", "beta", &url, "--username", Node::USERNAME, "--server-password-file", "beta"];
    let run = user.run(&add).await?;
    assert!(run.code == 0 && run.stdout.contains("nodes added: beta"), "{run:?}");
    let run = user.run(&add).await?;
    assert!(run.code != 0 && run.stderr.contains("already"), "{run:?}");
    let run = user.run(&["node", "remove", "declared"]).await?;
    assert!(run.code != 0 && run.stderr.contains("is changed there"), "{run:?}");
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let bad = json!({ "name": "gamma", "url": "http://x", "username": "u", "password_file": "../../etc/shadow" });
    let problem = admin.post("/api/v1/nodes", &bad).await?.problem(422, "request.invalid")?;
    assert_eq!(problem["errors"][0]["pointer"], "/body/password_file", "{problem}");
    let bad = json!({ "name": "gamma", "url": "http://x:1", "password": "canary" });
    admin.post("/api/v1/nodes", &bad).await?.problem(422, "request.invalid")?;

    server.terminate(SOON).await?;
    // What `start_again` writes is the file without the declared node: another generation.
    let server = server.start_again().await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    assert_eq!(nodes(&admin).await?, ["beta"]);
    until("beta is live", SOON, async || {
        let view = admin.get("/api/v1/nodes/beta").await?.expect_status(200)?.json()?;
        Ok(view["state"].as_str().is_some_and(|state| state.starts_with("live")).then_some(()))
    })
    .await?;
    let run = user.run(&["config", "generations"]).await?;
    assert!(run.stdout.contains("4 (in force)") && run.stdout.contains("node.add"), "{run:?}");
    let run = user.run(&["config", "rollback", "2"]).await?;
    assert!(run.stdout.contains("generation 5 is in force") && run.stdout.contains("nodes removed: beta"), "{run:?}");
    assert_eq!(nodes(&admin).await?, ["declared"]);
    assert!(std::fs::read_to_string(file(&server))?.contains("declared"), "the file says so too");
    Ok(())
}

#[tokio::test]
async fn health_says_how_each_part_does_and_readiness_goes_before_the_listener() -> anyhow::Result<()> {
    let server = Server::start(quiet()?.with("server", "drain_ms", "1500")).await?;
    let text = std::fs::read_to_string(file(&server))?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let health = admin.get("/api/v1/health").await?.expect_status(200)?.json()?;
    assert_eq!(health["status"], "ok", "{health}");
    let names: Vec<_> = health["components"].as_array().context("parts")?.iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["store", "nodes", "feed", "plugins", "configuration", "log", "certificates"].map(Value::from));
    replace(&server, &format!("{text}{}", unreachable("gone")))?;
    post(&admin, "/api/v1/config/reload").await?.expect_status(200)?;
    let health = until("a node that is gone shows", SOON, async || {
        let health = admin.get("/api/v1/health").await?.json()?;
        Ok((health["status"] == "degraded").then_some(health))
    })
    .await?;
    let reason = health["components"][1]["reason"].as_str().context("a reason")?;
    assert!(reason.contains("gone is"), "{health}");
    server.client().get("/api/v1/health").await?.problem(401, "auth.required")?;
    let other = text.replacen("[log]", "[log]\nformat = \"json\"", 1);
    replace(&server, &other)?;
    post(&admin, "/api/v1/config/reload").await?.expect_status(200)?;
    let health = admin.get("/api/v1/health").await?.json()?;
    let part = &health["components"][4];
    assert_eq!((&part["state"], &part["figures"]["waits_for_restart"]), (&json!("degraded"), &json!(1)), "{health}");
    assert!(part["reason"].as_str().is_some_and(|reason| reason.ends_with("restart: log.format")), "{health}");
    replace(&server, &format!("{text}nonsense = 1\n"))?;
    post(&admin, "/api/v1/config/reload").await?.problem(422, "config.faulty")?;
    let health = admin.get("/api/v1/health").await?.json()?;
    assert!(
        health["components"][4]["reason"].as_str().is_some_and(|reason| reason.contains("unknown key")),
        "{health}"
    );
    replace(&server, &text)?;
    post(&admin, "/api/v1/config/reload").await?.expect_status(200)?;
    let health = admin.get("/api/v1/health").await?.json()?;
    assert_eq!((&health["components"][4]["state"], &health["status"]), (&json!("ok"), &json!("ok")), "{health}");
    send_signal(Signal::Terminate, server.pid().context("it runs")?)?;
    // A new connection each time: the listener is still there to say that it goes.
    let client = server.client();
    until("it says that it goes", Duration::from_millis(1_400), async || {
        Ok((client.get("/readyz").await?.status == 503).then_some(()))
    })
    .await?;
    Ok(())
}

/// A thousand nodes, none of which is there, changed in every way while lists are read: no request fails, and each change
/// is acknowledged soon. The figures of an optimised build are the bench's; this bound is that of a busy machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_nodes_change_under_traffic_and_no_request_fails() -> anyhow::Result<()> {
    const NODES: usize = 1_000;
    let settings = quiet()?.with("server", "config_watch", "false").with("pool", "poll_interval_ms", "60000");
    let server = Server::start(settings).await?;
    let admin = server.client().login(ADMIN, ADMIN_PASSWORD).await?;
    let text = std::fs::read_to_string(file(&server))?;
    let nodes = |names: std::ops::Range<usize>, more: &str| -> String {
        names.map(|n| format!("{}{more}\n", unreachable(&format!("n{n:04}")).trim_end())).collect()
    };
    let load = Load::of_lists(2, &admin);
    for (what, names, more, told) in [
        ("added", 0..NODES, "", "nodes_added"),
        ("another environment", 0..NODES, "\nenvironment = \"e\"", "nodes_changed"),
        ("disabled", 0..NODES, "\nenvironment = \"e\"\nenabled = false", "nodes_changed"),
        ("enabled", 0..NODES, "\nenvironment = \"e\"", "nodes_changed"),
        ("removed", 0..0, "", "nodes_removed"),
    ] {
        std::fs::write(file(&server), format!("{text}{}", nodes(names, more)))?;
        let began = tokio::time::Instant::now();
        let applied = post(&admin, "/api/v1/config/reload").await?.expect_status(200)?.json()?;
        println!("{what}: {:?}", began.elapsed());
        assert_eq!(applied[told].as_array().map(Vec::len), Some(NODES), "{what}");
        assert!(began.elapsed() < SOON, "{what}: {:?}", began.elapsed());
    }
    let (served, failed) = load.end().await?;
    assert_eq!(failed, [""; 0]);
    assert!(served > 10, "that was no traffic: {served}");
    Ok(())
}
