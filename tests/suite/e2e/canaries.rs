//! P17: a canary in each place where a secret may be, every operation of the API's own document asked in every wrong way,
//! and not one of them in anything that was answered, sent, logged or written.
//!
//! What a caller sends as a *name* (in a path, a query or a member that is a name) may come back to that caller and into the
//! audit: a secret in the place of a name is a name. What he sends where a secret belongs, or where a value of another type
//! was expected, comes back to nobody.

use super::SOON;
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tests::{
    ADMIN, Client, CommandLine, Feed, Node, Program, Reply, Server, Settings, Supervisord, free_address, until,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// What a user puts where it does not belong.
const STRAY: &str = "canary-stray-0f1e2d3c";
const ADMIN_SECRET: &str = "canary-admin-secret-7a";
const KIM_SECRET: &str = "canary-kim-secret-91c";

/// Secrets with all their forms, each under its own name.
struct Canaries(Vec<(String, String)>);

impl Canaries {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add(&mut self, name: &str, secret: &str) {
        self.0.extend(forms(secret.as_bytes()).map(|form| (name.to_owned(), form)));
    }

    fn login(&mut self, name: &str, password: &str) {
        self.add(name, password);
        self.add(name, &format!("{}:{password}", Node::USERNAME));
    }

    /// Nothing of any of them is in these bytes.
    fn none_in(&self, place: &str, bytes: &[u8]) -> anyhow::Result<()> {
        // Every form is of plain characters.
        let text = String::from_utf8_lossy(bytes);
        for (name, form) in &self.0 {
            if let Some(at) = text.find(form) {
                let around = text.as_bytes().get(at.saturating_sub(120)..(at + form.len() + 60).min(text.len()));
                let around = String::from_utf8_lossy(around.unwrap_or_default()).into_owned();
                anyhow::bail!("{place} shows {name} as {form:?}: …{around}…");
            }
        }
        Ok(())
    }

    fn reply(&self, place: &str, reply: &Reply) -> anyhow::Result<()> {
        self.none_in(place, format!("{:?}", reply.headers).as_bytes())?;
        self.none_in(place, &reply.body)
    }
}

/// A text as it is, in hexadecimal digits, percent-encoded, and in base64 whatever stands before and behind it.
fn forms(secret: &[u8]) -> impl Iterator<Item = String> + use<> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = secret.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut forms = vec![hex.to_uppercase(), hex, percent.to_lowercase(), percent];
    forms.extend(std::str::from_utf8(secret).ok().map(str::to_owned));
    for engine in [&base64::prelude::BASE64_STANDARD_NO_PAD, &base64::prelude::BASE64_URL_SAFE_NO_PAD] {
        for before in 0..3_usize {
            let text = engine.encode([&vec![b'x'; before], secret].concat());
            // What the first character's neighbours share is not the secret's own, nor the last character.
            let own = text.get((before * 8).div_ceil(6)..text.len() - 1).unwrap_or_default();
            forms.push(own.to_owned());
        }
    }
    forms.retain(|form| form.len() >= 8);
    forms.into_iter()
}

/// A node that says to whoever asks what he sent: as a fault of XML-RPC, or as the body and the headers of a refusal.
async fn parrot(tasks: &TaskTracker, status: &'static str) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 64 << 10];
            let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut bytes)).await;
            let heard =
                String::from_utf8_lossy(bytes.get(..read.map_or(0, Result::unwrap_or_default)).unwrap_or_default());
            let sent = heard.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
            });
            let sent = sent.unwrap_or_default();
            let pair = sent.strip_prefix("Basic ").and_then(|pair| base64::prelude::BASE64_STANDARD.decode(pair).ok());
            let pair = String::from_utf8_lossy(&pair.unwrap_or_default()).into_owned();
            let words = format!("INCORRECT: you sent {sent}, which is {pair}");
            let fault = |code| {
                format!(
                    "<value><struct><member><name>faultCode</name><value><int>{code}</int></value></member><member>\
                     <name>faultString</name><value><string>{words}</string></value></member></struct></value>"
                )
            };
            // What a supervisor says of files that it cannot read is shown in its own words.
            let content = match heard.matches("<name>methodName</name>").count() {
                calls if heard.contains("reloadConfig") => {
                    let faults = fault(92).repeat(calls);
                    format!("<params><param><value><array><data>{faults}</data></array></value></param></params>")
                }
                _ => format!("<fault>{}</fault>", fault(2)),
            };
            let body = format!("<?xml version='1.0'?><methodResponse>{content}</methodResponse>");
            let reply = format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/xml\r\nx-heard: {words}\r\nwww-authenticate: {words}\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    Ok(address)
}

/// The server with a secret in each place.
struct Scene {
    canaries: Canaries,
    server: Server,
    _nodes: Vec<Supervisord>,
    _tasks: TaskTracker,
    admin: Client,
    key: Client,
}

impl Scene {
    async fn set() -> anyhow::Result<Self> {
        let mut canaries = Canaries::new();
        let program = || Program::quiet("quiet");
        let file = Supervisord::start(Node::new("by-file").program(program())).await?;
        let variable = Supervisord::start(Node::new("by-variable").program(program())).await?;
        let given = Supervisord::start(Node::new("by-api").program(program())).await?;
        let wrong = Supervisord::start(Node::new("wrong")).await?;
        for node in [&file, &variable, &given] {
            canaries.login(node.name(), node.password());
        }
        for (name, secret) in [
            ("a wrong password", "canary-wrong-node-password"),
            ("a parrot's password", "canary-parrot-fault"),
            ("the other parrot's", "canary-parrot-refusal"),
        ] {
            canaries.login(name, secret);
        }
        for (name, secret) in
            [("what strayed", STRAY), ("the admin's password", ADMIN_SECRET), ("kim's password", KIM_SECRET)]
        {
            canaries.add(name, secret);
        }
        let server = Server::start_without_accounts(settings(&mut canaries, &file, &variable, &wrong)?).await?;
        let stranger = server.client();
        let setup = server.log();
        let setup = setup.split("valid once and until this server ends: ").nth(1).context("no setup token")?;
        let setup = setup.lines().next().context("a token")?.trim().to_owned();
        let first = json!({ "token": setup, "username": ADMIN, "password": ADMIN_SECRET });
        let made = stranger.post("/api/v1/setup", &first).await?;
        ensure!(made.status.is_success(), "{}", made.text());
        canaries.reply("the first administrator", &made)?;
        let login = stranger.post("/api/v1/login", &json!({ "username": ADMIN, "password": ADMIN_SECRET })).await?;
        let login = login.expect_status(200)?.json()?;
        let token = login["token"].as_str().context("a token")?;
        let admin = stranger.bearer(token);
        let kim =
            json!({ "name": "kim", "password": KIM_SECRET, "grants": [{ "role": "viewer", "scope": "everything" }] });
        canaries.reply("kim's account", &admin.post("/api/v1/users", &kim).await?.expect_status(201)?)?;
        let key = admin.post("/api/v1/api-keys", &json!({ "label": "driver" })).await?.expect_status(201)?.json()?;
        let key = key["text"].as_str().context("a key")?;
        for (name, secret) in [("a session's token", token), ("an API key", key)] {
            canaries.add(name, secret);
        }
        let mut this = Self {
            key: stranger.bearer(key),
            canaries,
            server,
            _nodes: vec![file, variable, given],
            _tasks: TaskTracker::new(),
            admin,
        };
        this.add_nodes().await?;
        // Told once, on standard error, to whoever started it; from here on it is a secret like the others.
        ensure!(this.server.log().matches(&setup).count() == 1, "the setup token is told once");
        this.canaries.add("the setup token", &setup);
        Ok(this)
    }

    async fn add_nodes(&mut self) -> anyhow::Result<()> {
        let given = self._nodes.last().context("a node")?;
        let fault = parrot(&self._tasks, "200 OK").await?;
        let refusal = parrot(&self._tasks, "500 Internal Server Error").await?;
        for (name, address, password) in [
            ("by-api", given.address(), given.password()),
            ("parrot-fault", fault, "canary-parrot-fault"),
            ("parrot-refusal", refusal, "canary-parrot-refusal"),
        ] {
            let url = format!("http://{address}");
            let node = json!({ "name": name, "url": url, "username": Node::USERNAME, "password": password });
            let added = self.admin.post("/api/v1/nodes", &node).await?.expect_status(201)?;
            self.canaries.reply(name, &added)?;
        }
        for name in ["by-file", "by-variable", "by-api"] {
            until(&format!("{name} is live"), SOON, async || {
                let view = self.admin.get(&format!("/api/v1/nodes/{name}")).await?.expect_status(200)?.json()?;
                Ok(view["state"].as_str().is_some_and(|state| state.starts_with("live")).then_some(()))
            })
            .await?;
        }
        for name in ["parrot-fault", "parrot-refusal", "wrong"] {
            until(&format!("{name} has said no"), SOON, async || {
                let view = self.admin.get(&format!("/api/v1/nodes/{name}")).await?.expect_status(200)?;
                self.canaries.reply(name, &view)?;
                Ok(view.json()?["reason"].is_string().then_some(()))
            })
            .await?;
        }
        Ok(())
    }
}

fn settings(
    canaries: &mut Canaries,
    file: &Supervisord,
    variable: &Supervisord,
    wrong: &Supervisord,
) -> anyhow::Result<Settings> {
    let settings = Settings::new()?;
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    for (from, to) in [("first.pem", "tls.pem"), ("first.key", "tls.key")] {
        std::fs::copy(tls.join(from), settings.path(to))?;
    }
    let pem = std::fs::read_to_string(settings.path("tls.key"))?;
    for line in pem.lines().filter(|line| !line.starts_with('-')) {
        canaries.0.push(("the TLS key".to_owned(), line.into()));
    }
    let storage: Vec<u8> = (0..32_u8).map(|at| at.wrapping_mul(37).wrapping_add(11)).collect();
    canaries.0.extend(forms(&storage).map(|form| ("the storage key".to_owned(), form)));
    settings.secret("storage.key", &base64::prelude::BASE64_STANDARD.encode(&storage))?;
    let client = settings.secret("granted.secret", "canary-granted-secret")?;
    canaries.add("a granted secret", "canary-granted-secret");
    canaries.add("a signing secret", "canary-hmac-secret-of-more-than-32-bytes");
    let address = free_address()?;
    let listen = format!("address = \"{address}\"\ncertificate_file = \"tls.pem\"\nkey_file = \"tls.key\"");
    let by_variable = format!(
        "[[node]]\nname = \"by-variable\"\nurl = \"http://{}\"\nusername = \"{}\"\npassword_env = \"CANARY_NODE\"",
        variable.address(),
        Node::USERNAME
    );
    Ok(settings
        .listen(&listen)
        .node(file)?
        .node_with_password(wrong, "canary-wrong-node-password")?
        .lines(&by_variable)
        .variable("CANARY_NODE", variable.password())
        .variable("CANARY_HMAC", "canary-hmac-secret-of-more-than-32-bytes")
        .with("storage", "key_file", "\"storage.key\"")
        .with("plugins", "compile_timeout_ms", "120000")
        .with("plugins", "auth", r#"["auth-local", "auth-token", "auth-jwt"]"#)
        .with("plugin.auth-jwt.secrets", "hmac", "{ env = \"CANARY_HMAC\" }")
        .with("plugin.auth-jwt.settings", "issuer", "\"https://idp.example\"")
        .with("plugin.auth-jwt.settings", "audience", "\"omnivisor\"")
        .with("plugin.auth-jwt.settings", "algorithms", "[\"HS256\"]")
        .with("plugin.auth-jwt.settings", "role", "\"viewer\"")
        .with("plugin.auth-local.secrets", "unasked", &format!("{{ file = {client:?} }}")))
}

/// Bodies for a schema: what is asked for with a stray secret where a secret belongs, and one of the wrong type everywhere.
fn bodies(document: &Value, operation: &Value) -> Vec<Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let schema = match schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        Some(path) => document.pointer(path).cloned().unwrap_or_default(),
        None => schema.clone(),
    };
    let (mut asked, mut wrong, mut secrets) = (Map::new(), Map::new(), Map::new());
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let is_secret = member["format"] == "password" || ["token", "password", "old", "new"].contains(&name.as_str());
        wrong.insert(name.clone(), json!([{ "x": STRAY }]));
        secrets.insert(name.clone(), if is_secret { json!(STRAY) } else { json!("x") });
        asked.insert(name.clone(), json!(STRAY.repeat(if is_secret { 200 } else { 0 })));
    }
    let mut bodies = vec![json!({}), json!({ "unknown": STRAY }), json!(STRAY), json!([STRAY])];
    bodies.extend([asked, wrong, secrets].into_iter().filter(|body| !body.is_empty()).map(Value::Object));
    bodies
}

/// Values of the parameters in a path: what there is, and what there is not.
fn paths(path: &str) -> [String; 2] {
    let known = BTreeMap::from([
        // The file's own, so that it stays: removing one of the API's is one of the operations.
        ("node", "by-file"),
        ("process", "quiet:quiet"),
        ("group", "quiet"),
        ("channel", "stdout"),
        ("name", "nobody"),
        ("id", "0123456789abcdef"),
        ("plugin", "auth-local"),
        ("strategy", "auth-jwt"),
        ("generation", "999"),
    ]);
    let fill = |value: &dyn Fn(&str) -> String| {
        path.split('/')
            .map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => value(name),
                None => part.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("/")
    };
    [fill(&|name| known.get(name).unwrap_or(&"x").to_string()), fill(&|_| "nothing".to_owned())]
}

/// Every operation of the document, and every method that a path does not have.
async fn drive(scene: &Scene) -> anyhow::Result<usize> {
    const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "options", "trace"];
    // Read on their own below, or without an end.
    const LEFT_OUT: [&str; 2] = ["/api/v1/feed", "/api/v1/feed/events"];
    let document = scene.key.get("/api/openapi.json").await?.expect_status(200)?.json()?;
    let mut asked = 0;
    let stray_pair = base64::prelude::BASE64_STANDARD.encode(format!("{ADMIN}:{STRAY}"));
    let (bearer, basic, cookie) =
        (format!("Bearer {STRAY}"), format!("Basic {stray_pair}"), format!("omnivisor_session={STRAY}; x={STRAY}"));
    for (path, operations) in document["paths"].as_object().context("paths")? {
        if LEFT_OUT.contains(&path.as_str()) {
            continue;
        }
        for method in METHODS {
            let name = method.to_uppercase();
            for path in paths(path) {
                if operations[method].is_null() {
                    let query = format!("{path}?password={STRAY}");
                    let body = json!({ "password": STRAY }).to_string().into_bytes();
                    let reply = scene.key.send(&name, &query, &[("content-type", "application/json")], body).await?;
                    scene.canaries.reply(&format!("{name} {query}"), &reply)?;
                    asked += 1;
                    continue;
                }
                for body in bodies(&document, &operations[method]) {
                    let json = [("content-type", "application/json"), ("if-match", "\"1\"")];
                    let reply = scene.key.send(&name, &path, &json, body.to_string().into_bytes()).await?;
                    scene.canaries.reply(&format!("{name} {path} {body}"), &reply)?;
                    asked += 1;
                }
                let text = [("content-type", "text/plain")];
                let reply = scene.key.send(&name, &path, &text, STRAY.as_bytes().to_vec()).await?;
                scene.canaries.reply(&format!("{name} {path} as text"), &reply)?;
                let query = format!("{path}?password={STRAY}&token={STRAY}");
                let reply = scene.key.send(&name, &query, &[], Vec::new()).await?;
                scene.canaries.reply(&format!("{name} {query}"), &reply)?;
                // From elsewhere, for whoever shows what is no credential is soon answered 429.
                let source = IpAddr::from([
                    127,
                    0,
                    u8::try_from(asked / 200 % 200).unwrap_or_default(),
                    2 + u8::try_from(asked % 200).unwrap_or_default(),
                ]);
                let stranger = scene.server.client().from_source(source);
                for header in
                    [("authorization", &bearer), ("authorization", &basic), ("cookie", &cookie), ("x-api-key", &bearer)]
                {
                    let reply = stranger.send(&name, &path, &[(header.0, header.1.as_str())], Vec::new()).await?;
                    scene.canaries.reply(&format!("{name} {path} with {}", header.0), &reply)?;
                    asked += 1;
                }
            }
        }
    }
    Ok(asked)
}

/// What is not in the document's own operations: the feed, logins, orders that go well, the command line.
async fn live(scene: &mut Scene) -> anyhow::Result<()> {
    // The session before was ended: that is one of the operations.
    let login = json!({ "username": ADMIN, "password": ADMIN_SECRET });
    let login = scene.server.client().post("/api/v1/login", &login).await?.expect_status(200)?.json()?;
    let token = login["token"].as_str().context("a token")?;
    scene.canaries.add("a later session's token", token);
    scene.admin = scene.server.client().bearer(token);
    let mut feed = Feed::open(&scene.admin, &["*/*", "*/*/*"], None).await?;
    for node in ["by-file", "by-api", "parrot-fault", "parrot-refusal", "wrong"] {
        let path = format!("/api/v1/nodes/{node}/processes/quiet:quiet/restart");
        scene.canaries.reply(&path, &scene.key.send("POST", &path, &[], Vec::new()).await?)?;
    }
    for node in ["parrot-fault", "parrot-refusal"] {
        let path = format!("/api/v1/nodes/{node}/reread");
        let reply = scene.key.send("POST", &path, &[], Vec::new()).await?;
        scene.canaries.reply(&path, &reply)?;
        ensure!(node != "parrot-fault" || reply.text().contains("you sent"), "the words of the node: {}", reply.text());
    }
    feed.process_state("by-api", "quiet:quiet", "running", SOON).await?;
    let refreshed = feed.refresh(STRAY, SOON).await?;
    ensure!(refreshed["t"] == "error", "{refreshed}");
    feed.say(&json!({ "t": STRAY, "token": STRAY }).to_string()).await?;
    let _ = feed.closed(SOON).await;
    scene.canaries.none_in("the feed", serde_json::to_string(&feed.frames)?.as_bytes())?;
    for hello in [json!({ "sub": [["x", STRAY]] }), json!({ "sub": ["*/*"], "token": STRAY })] {
        if let Err(error) = Feed::open_with(&scene.admin, &hello).await {
            scene.canaries.none_in("a refused hello", format!("{error:#}").as_bytes())?;
        }
    }
    let events = scene.server.client().from_source(IpAddr::from([127, 0, 250, 1])).bearer(STRAY);
    scene.canaries.reply("the event stream", &events.get("/api/v1/feed/events?sub=*/*").await?)?;
    let stranger = scene.server.client().from_source(IpAddr::from([127, 0, 250, 2]));
    for login in [
        json!({ "username": ADMIN, "password": STRAY }),
        json!({ "username": ADMIN, "password": ADMIN_SECRET, "extra": KIM_SECRET }),
        json!({ "username": [KIM_SECRET], "password": ADMIN_SECRET }),
    ] {
        scene.canaries.reply("a login", &stranger.post("/api/v1/login", &login).await?)?;
    }
    let changed = json!({ "old": ADMIN_SECRET, "new": "canary" });
    scene.canaries.reply("a password that is too short", &scene.admin.post("/api/v1/me/password", &changed).await?)?;
    let user = CommandLine::new(scene.server.client().address())?;
    let file = user.home().join("password");
    std::fs::write(&file, ADMIN_SECRET)?;
    let file = file.to_string_lossy().into_owned();
    for arguments in [
        vec!["login", "--username", ADMIN, "--password-file", &file],
        vec!["status", "--json"],
        vec!["node", "add", "another", "http://127.0.0.1:1", "--username", "u", "--password-file", &file],
        vec!["node", "add", "another", "http://127.0.0.1:2", "--username", "u", "--replace"],
        vec!["node", "remove", "another"],
        vec!["config", "generations", "--json"],
        vec!["audit", "list", "--json"],
    ] {
        let run = user.run(&arguments).await?;
        scene.canaries.none_in(&arguments.join(" "), format!("{run:?}").as_bytes())?;
    }
    Ok(())
}

/// What is kept: whole answers, the log, and each file that the server wrote.
async fn kept(mut scene: Scene) -> anyhow::Result<()> {
    for path in [
        "/metrics",
        "/api/v1/health",
        "/api/v1/config",
        "/api/v1/config/generations",
        "/api/v1/nodes?include=processes",
        "/api/v1/audit?limit=1000",
        "/api/v1/audit/export",
        "/api/v1/audit/export?format=csv",
        "/api/v1/backup",
        "/api/v1/plugins",
        "/api/v1/users",
        "/api/v1/users/kim/sessions",
        "/api/v1/api-keys",
        "/api/v1/me/sessions",
    ] {
        let reply = scene.admin.get(path).await?.expect_status(200)?;
        scene.canaries.reply(path, &reply)?;
    }
    scene.server.terminate(SOON).await?;
    // The setup token is told once, to whoever started it: see there.
    let log = scene.server.log();
    let (before, after) = log.split_once("valid once and until this server ends: ").context("the setup token")?;
    let after = after.split_once('\n').map_or("", |(_, after)| after);
    ensure!(log.contains("TRACE") && log.contains("DEBUG"), "the log holds nothing back");
    scene.canaries.none_in("the log", before.as_bytes())?;
    scene.canaries.none_in("the log", after.as_bytes())?;
    let ours = ["omnivisor.toml", "storage.key", "tls.key", "tls.pem", "granted.secret", "server.log"];
    let mut folders = vec![scene.server.settings().folder().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !ours.contains(&name.as_str()) && !name.ends_with(".password") {
                scene.canaries.none_in(&name, &std::fs::read(&path)?)?;
                files += 1;
            }
        }
    }
    ensure!(files >= 3, "the database, the feed's file and compiled plugins are looked into, not {files} files");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p17_no_secret_leaves_the_server_by_any_way() -> anyhow::Result<()> {
    let mut scene = Scene::set().await?;
    let asked = drive(&scene).await?;
    println!("{asked} requests");
    assert!(asked > 1_000, "every operation is asked: {asked}");
    live(&mut scene).await?;
    kept(scene).await
}

#[test]
fn a_canary_is_found_in_each_of_its_forms_and_nothing_else_is() {
    let mut canaries = Canaries::new();
    canaries.add("x", "canary-0f1e2d");
    for shown in [
        "a canary-0f1e2d b".to_owned(),
        "63616E6172792D306631653264".to_owned(),
        "%63%61%6e%61%72%79%2d%30%66%31%65%32%64".to_owned(),
        base64::prelude::BASE64_STANDARD.encode("fleet:canary-0f1e2d"),
        base64::prelude::BASE64_STANDARD.encode("a:canary-0f1e2d and more"),
        base64::prelude::BASE64_URL_SAFE.encode("\u{fffd}ab canary-0f1e2d"),
    ] {
        assert!(canaries.none_in("here", shown.as_bytes()).is_err(), "{shown}");
    }
    canaries.none_in("here", b"canary-0f1e2 canary-0f1e2e").expect("another");
}
