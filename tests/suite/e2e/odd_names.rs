//! P22: names that are legal and odd are addressed everywhere, and no name from outside leads to a file.

use super::{SOON, user};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tests::{CommandLine, Feed, Host, Node, Program, Settings, Supervisord, plugins as packed};

/// What supervisord 4.3.0 takes as a name, with its form in a path of a URL. It refuses blanks, colons and slashes itself.
const NAMES: [(&str, &str); 7] = [
    ("a+b&<c>\"d'", "a%2Bb%26%3Cc%3E%22d%27"),
    ("100%", "100%25"),
    ("what?#x", "what%3F%23x"),
    ("..", "%2e%2e"),
    ("=cmd|calc", "%3Dcmd%7Ccalc"),
    ("n\u{e4}me-\u{1f980}", "n%C3%A4me-%F0%9F%A6%80"),
    ("%2e%2e%2f", "%252e%252e%252f"),
];

/// Everything that may be done with the one process of the group of this name.
async fn go_through(host: &Host, user: &CommandLine, node: &str, (name, path): (&str, &str)) -> anyhow::Result<()> {
    // supervisord has a group and a process of this name.
    let id = format!("{path}:{path}");
    let process = host.until_process(node, &id, "running", SOON).await.with_context(|| name.to_owned())?;
    ensure!(process["name"] == name && process["group"] == name, "{process}");
    let log = host.admin.get(&format!("/api/v1/nodes/{node}/processes/{id}/logs/stdout")).await?;
    log.expect_status(200).with_context(|| format!("the log of {name}"))?;
    let topic = format!("log/{node}/{id}/stdout");
    let mut feed = Feed::open(&host.admin, &[&format!("proc/{node}/state")], None).await?;
    feed.say(&json!({ "t": "logs", "log": [topic] }).to_string()).await?;
    let told = feed.frame("logs", SOON).await?;
    ensure!(told["denied"].as_array().is_none_or(Vec::is_empty), "{name}: {told}");
    let result = host.order(node, &id, "stop").await?.expect_status(200)?.json()?;
    ensure!(result["outcome"] == "done", "{name}: {result}");
    let stopped = feed
        .event(&format!("`{name}` is stopped"), SOON, |event| {
            event["process"]["name"] == name && event["process"]["state"] == "stopped"
        })
        .await?;
    ensure!(stopped["process"]["group"] == name, "{stopped}");
    let group = format!("/api/v1/nodes/{node}/groups/{path}/start");
    let started = host.admin.send("POST", &group, &[], Vec::new()).await?;
    if !name.is_ascii() {
        // Not as it should be: supervisord 4.3.0 counts characters for the length of this answer, and cuts it.
        started.problem(502, "node.bad_reply")?;
    } else {
        started.expect_status(200)?;
    }
    let selector = format!("{node}/{name}:{name}");
    let run = user.run(&["restart", &selector]).await?;
    ensure!(run.code == 0, "{name}: {run:?}");
    let run = user.run(&["status", &selector]).await?;
    ensure!(run.code == 0 && run.stdout.contains(name), "{name}: {run:?}");
    let run = user.run(&["tail", "-n", "1", &selector]).await?;
    ensure!(run.code == 0 && run.stdout.contains("told"), "{name}: {run:?}");
    let scope = format!("group:{node}/{name}");
    let account =
        json!({ "name": "kim", "password": "canary-kim-password", "grants": [{ "role": "viewer", "scope": scope }] });
    host.admin.post("/api/v1/users", &account).await?.expect_status(201).with_context(|| name.to_owned())?;
    let kim = host.stranger().login("kim", "canary-kim-password").await?;
    let seen = kim.get(&format!("/api/v1/nodes/{node}/processes")).await?.expect_status(200)?.json()?;
    ensure!(
        seen["items"].as_array().is_some_and(|items| items.len() == 1) && seen["items"][0]["group"] == name,
        "{seen}"
    );
    let removed = host.admin.get("/api/v1/users/kim").await?.expect_status(200)?;
    let tag = removed.header("etag").to_owned();
    host.admin.send("DELETE", "/api/v1/users/kim", &[("if-match", &tag)], Vec::new()).await?.expect_status(204)?;
    Ok(())
}

#[tokio::test]
async fn p22_odd_names_are_addressed_over_the_api_the_feed_and_the_command_line() -> anyhow::Result<()> {
    let long = "x".repeat(100);
    let all = || NAMES.into_iter().chain([(long.as_str(), long.as_str())]);
    let mut nodes = [Node::new("alpha"), Node::new("beta")];
    for (at, (name, _)) in all().enumerate() {
        let (program, script) = (format!("p{at}"), "while :; do echo told; sleep 0.2; done");
        let program_of = Program::script(&program, script).process_name(&name.replace('%', "%%"));
        let [alpha, beta] = nodes;
        let with = |node: Node| node.program(program_of.clone()).group(name, &program);
        nodes = if name.is_ascii() { [with(alpha), beta] } else { [alpha, with(beta)] };
    }
    let [alpha, beta] = nodes;
    let (alpha, beta) = (Supervisord::start(alpha).await?, Supervisord::start(beta).await?);
    let host = Host::start(Settings::new()?.node(&alpha)?.node(&beta)?).await?;
    let user = user(&host).await?;
    let mut failed = Vec::new();
    for (name, path) in all() {
        let node = if name.is_ascii() { "alpha" } else { "beta" };
        if let Err(error) = go_through(&host, &user, node, (name, path)).await {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    host.stop().await
}

#[tokio::test]
async fn p22_odd_names_of_accounts_are_addressed_and_those_that_could_deceive_are_refused() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let long = "\u{e4}".repeat(127);
    for (name, path) in [
        ("..", "%2e%2e"),
        ("..hidden", "..hidden"),
        ("ann+ops@example.org", "ann%2Bops%40example.org"),
        ("\u{6f22}\u{5b57}-\u{e4}", "%E6%BC%A2%E5%AD%97-%C3%A4"),
        ("-x", "-x"),
        (&long, &"%C3%A4".repeat(127)),
    ] {
        let account = json!({ "name": name, "password": "canary-odd-password" });
        host.admin.post("/api/v1/users", &account).await?.expect_status(201).with_context(|| name.to_owned())?;
        let found = host.admin.get(&format!("/api/v1/users/{path}")).await?.expect_status(200)?;
        ensure!(found.json()?["name"] == name, "{name}");
        host.stranger().login(name, "canary-odd-password").await?;
        let tag = found.header("etag").to_owned();
        let path = format!("/api/v1/users/{path}");
        host.admin.send("DELETE", &path, &[("if-match", &tag)], Vec::new()).await?.expect_status(204)?;
    }
    for bad in ["", "a b", "a/b", "a\nb", "a\u{1b}[2Jb", "a\u{202e}b", "a\u{0}b", "=cmd|x", "<b>", &"x".repeat(256)] {
        let account = json!({ "name": bad, "password": "canary-odd-password" });
        let problem = host.admin.post("/api/v1/users", &account).await?.problem(422, "request.invalid")?;
        ensure!(problem["errors"][0]["pointer"] == "/body/name", "{bad:?}: {problem}");
        let role = json!({ "name": bad, "actions": [] });
        host.admin.post("/api/v1/roles", &role).await?.problem(422, "request.invalid")?;
    }
    host.stop().await
}

/// Everything in a folder, by its path, with its length.
fn tree(folder: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.path().display().to_string();
            // What the server writes all the time.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if !name.contains("omnivisor.redb") && !name.contains("/cache/") {
                found.insert(name, entry.metadata()?.len());
            }
        }
    }
    Ok(found)
}

/// A server with plugins of its own, a folder of passwords with a link in it that leads out, and a secret outside.
fn exposed() -> anyhow::Result<Settings> {
    let settings = Settings::new()?;
    let plugins = settings.path("plugins");
    std::fs::create_dir(&plugins)?;
    for entry in std::fs::read_dir(packed()?)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            std::fs::copy(&path, plugins.join(path.file_name().unwrap_or_default()))?;
        }
    }
    std::fs::create_dir(settings.path("node-passwords"))?;
    settings.secret("outside", "canary-outside")?;
    std::os::unix::fs::symlink(settings.path("outside"), settings.path("node-passwords/a link"))?;
    Ok(settings.with("plugins", "directory", &format!("{plugins:?}")))
}

#[tokio::test]
async fn p22_no_name_from_outside_leads_to_a_file() -> anyhow::Result<()> {
    let host = Host::start(exposed()?).await?;
    let component = std::fs::read(host.settings().path("plugins/auth-token.wasm"))?;
    let before = tree(host.settings().folder())?;
    let outside = host.settings().path("outside").display().to_string();
    let absolute = outside.replace('/', "%2f");
    for name in [
        "..%2f..%2fevil",
        "%2e%2e%2fevil",
        "..%5cevil",
        "%2fetc%2fpasswd",
        "auth-local%00",
        "a%0ab",
        "%252e%252e%252fevil",
        ".hidden",
        "auth-local.wasm%2f..%2fevil",
        "a%20b",
        "%c0%ae%c0%ae%2fevil",
        &absolute,
        &"x".repeat(255),
    ] {
        for (method, path) in [
            ("PUT", format!("/api/v1/plugins/{name}")),
            ("GET", format!("/api/v1/plugins/{name}")),
            ("POST", format!("/api/v1/plugins/{name}/rollback")),
            ("GET", format!("/api/v1/login/{name}")),
        ] {
            let headers = [("content-type", "application/wasm")];
            let body = if method == "PUT" { component.clone() } else { Vec::new() };
            let reply = host.admin.send(method, &path, &headers, body).await?;
            ensure!(reply.status.is_client_error(), "{method} {path}: {} {}", reply.status, reply.text());
            ensure!(!reply.text().contains("root:"), "{method} {path}: {}", reply.text());
        }
    }
    for name in [
        "../outside",
        "..",
        ".",
        "",
        "/etc/passwd",
        "a link",
        "x/../../outside",
        "x\u{0}",
        "\u{2025}/outside",
        &outside,
    ] {
        let node = json!({ "name": "n", "url": "http://127.0.0.1:1", "username": "u", "password_file": name });
        let problem = host.admin.post("/api/v1/nodes", &node).await?.problem(422, "request.invalid")?;
        ensure!(problem["errors"][0]["pointer"] == "/body/password_file", "{name:?}: {problem}");
        ensure!(!problem.to_string().contains("canary-outside"), "{problem}");
    }
    // No file is served but what the routes name.
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/../../../etc/passwd",
        "//etc/passwd",
        "/omnivisor.toml",
    ] {
        let reply = host.admin.get(path).await?;
        ensure!(reply.status == 404 || reply.status == 400, "{path}: {} {}", reply.status, reply.text());
    }
    ensure!(tree(host.settings().folder())? == before, "{:?}\nbefore: {before:?}", tree(host.settings().folder())?);
    let nodes: Value = host.admin.get("/api/v1/nodes").await?.json()?;
    ensure!(nodes["items"].as_array().is_some_and(Vec::is_empty), "{nodes}");
    host.stop().await
}
