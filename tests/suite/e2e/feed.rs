use super::{SOON, one};
use anyhow::Context as _;
use serde_json::json;
use std::time::Duration;
use tests::{Client, Feed, Host, Node, Program, Server, Signal, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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

/// A host with a node and API keys, and a key that has these scopes: its text and its id.
async fn with_key(scopes: &[&str]) -> anyhow::Result<(tests::Supervisord, Host, String, String)> {
    let node = tests::Supervisord::start(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    let settings = tests::Settings::new()?.node(&node)?.with("plugins", "auth", r#"["auth-token", "auth-local"]"#);
    let host = Host::start(settings).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let wish = json!({ "label": "reader", "scopes": scopes });
    let created = host.admin.post("/api/v1/api-keys", &wish).await?.expect_status(201)?.json()?;
    let text = created["text"].as_str().unwrap_or_default().to_owned();
    let id = created["key"]["id"].as_str().unwrap_or_default().to_owned();
    Ok((node, host, text, id))
}

const EVERYTHING: &[&str] = &["*/*", "*/*/*"];

#[tokio::test]
async fn a_key_sees_on_the_feed_what_it_may_read_through_the_api_and_nothing_else() -> anyhow::Result<()> {
    let (_node, host, text, _) = with_key(&["feed.read", "process.read"]).await?;
    let reader = host.stranger().bearer(&text);
    reader.get("/api/v1/nodes").await?.problem(403, "auth.forbidden")?;
    let feed = Feed::open(&reader, EVERYTHING, None).await?;
    assert!(!feed.items.is_empty());
    assert!(feed.items.iter().all(|item| item["topic"] == "proc/alpha/state"), "{:?}", feed.items);
    let wish = json!({ "label": "nothing", "scopes": ["feed.read"] });
    let created = host.admin.post("/api/v1/api-keys", &wish).await?.expect_status(201)?.json()?;
    let nobody = host.stranger().bearer(created["text"].as_str().unwrap_or_default());
    let mut nothing = Feed::open(&nobody, EVERYTHING, None).await?;
    assert_eq!(nothing.items, [json!(null); 0]);
    host.order("alpha", "quiet:quiet", "stop").await?.expect_status(200)?;
    let stray = nothing.event("anything", Duration::from_secs(1), |_| true).await;
    assert!(stray.is_err(), "{stray:?}");
    let all = Feed::open(&host.admin, EVERYTHING, None).await?;
    assert!(all.items.iter().any(|item| item["topic"] == "node/alpha/state"), "whoever may, sees");
    Ok(())
}

#[tokio::test]
async fn a_feed_ends_with_its_key_before_the_answer_to_whoever_revoked_it() -> anyhow::Result<()> {
    let (_node, host, text, id) = with_key(&[]).await?;
    let mut feed = Feed::open(&host.stranger().bearer(&text), EVERYTHING, None).await?;
    let mut other = host.feed().await?;
    host.admin.send("DELETE", &format!("/api/v1/api-keys/{id}"), &[], Vec::new()).await?.expect_status(204)?;
    assert_eq!(feed.closed(Duration::from_secs(1)).await?, 4501);
    host.order("alpha", "quiet:quiet", "stop").await?.expect_status(200)?;
    other.process_state("alpha", "quiet:quiet", "stopped", SOON).await?;
    let metrics = host.admin.get("/metrics").await?.text();
    assert!(metrics.contains("omnivisor_feed_disconnects_total{why=\"session-ended\",code=\"4501\"} 1"), "{metrics}");
    assert!(metrics.contains("omnivisor_feed_revokes_total 1"), "{metrics}");
    Ok(())
}

/// Reads an event stream until it holds `wanted`, or to its end.
async fn read_stream(host: &Host, path: &str, headers: &str, wanted: &str) -> anyhow::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(host.address()).await?;
    let authorization = host.admin.authorization().unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&text).contains(wanted) {
            anyhow::ensure!(stream.read_buf(&mut text).await? > 0, "it ended: {}", String::from_utf8_lossy(&text));
        }
        Ok(())
    };
    tokio::time::timeout(SOON, reading).await??;
    Ok((stream, String::from_utf8_lossy(&text).into_owned()))
}

#[tokio::test]
async fn the_event_stream_tells_the_same_and_goes_on_from_its_last_event_id() -> anyhow::Result<()> {
    let (node, host) = one(Node::new("alpha").program(Program::quiet("quiet"))).await?;
    host.until_process("alpha", "quiet:quiet", "running", SOON).await?;
    let path = "/api/v1/feed/events?sub=proc/*/state";
    let (stream, text) = read_stream(&host, path, "", "\"last\":true").await?;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert!(text.contains("\"mode\":\"snapshot\"") && text.contains("\"id\":\"quiet:quiet\""), "{text}");
    let id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or_default().to_owned();
    drop(stream);
    node.kill_process("quiet:quiet").await?;
    let headers = format!("Last-Event-ID: {id}\r\n");
    let (_stream, text) = read_stream(&host, path, &headers, "\"kind\":\"changed\"").await?;
    assert!(text.contains("\"mode\":\"replay\"") && !text.contains("\"t\":\"snap\""), "{text}");
    let stranger = host.stranger();
    stranger.get(path).await?.problem(401, "auth.required")?;
    host.admin.get("/api/v1/feed/events?sub=").await?.problem(422, "request.invalid")?;
    host.admin.get("/api/v1/feed/events?colour=red").await?.problem(422, "request.invalid")?;
    // The end of the session ends the stream, and says why.
    let (mut stream, mut text) = read_stream(&host, path, "", "\"last\":true").await?;
    host.admin.post("/api/v1/logout", &json!({})).await?.expect_status(204)?;
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await??;
    text.push_str(&String::from_utf8_lossy(&rest));
    assert!(text.contains("event: close\ndata: {\"code\":4501,"), "{text}");
    Ok(())
}

/// The kinds of the frames about processes that a client is given which comes back with `position`, up to the mark.
async fn replayed(client: &Client, position: &str, mark: &str) -> anyhow::Result<(String, Vec<String>)> {
    let mut feed = Feed::open(client, &["proc/*/state"], Some(position)).await?;
    let mode = feed.welcome["mode"].as_str().unwrap_or_default().to_owned();
    let mut kinds = Vec::new();
    if mode == "replay" {
        feed.event(mark, SOON, |event| {
            let word = event["transition"].as_str().unwrap_or(event["kind"].as_str().unwrap_or_default());
            kinds.push(format!("{} {word}", event["process"]["id"].as_str().unwrap_or_default()));
            event["process"]["id"] == mark
        })
        .await?;
    }
    Ok((mode, kinds))
}

/// Failure case 12, and a kill: a client that was there before a restart in order is given what it missed and nothing else.
#[tokio::test]
async fn a_restart_in_order_is_replayed_and_a_kill_is_not() -> anyhow::Result<()> {
    let names = ["steady", "fails", "mark"];
    let node = names.iter().fold(Node::new("alpha"), |node, name| node.program(Program::quiet(name)));
    let node = tests::Supervisord::start(node).await?;
    let mut server = Server::start(tests::Settings::new()?.node(&node)?).await?;
    let admin = server.client().login(tests::ADMIN, tests::ADMIN_PASSWORD).await?;
    let mut feed = Feed::open(&admin, &["proc/*/state"], None).await?;
    for name in names {
        let id = format!("{name}:{name}");
        let is_there =
            feed.items.iter().any(|item| item["process"]["id"] == id && item["process"]["state"] == "running");
        if !is_there {
            feed.process_state("alpha", &id, "running", SOON).await?;
        }
    }
    let position = feed.position();
    drop(feed);
    let stop = |name: &str| format!("/api/v1/nodes/alpha/processes/{name}:{name}/stop");
    admin.post(&stop("mark"), &json!({})).await?.expect_status(200)?;
    assert!(server.terminate(SOON).await?.success(), "{}", server.log());
    // Something happens while nobody looks.
    node.call("supervisor.stopProcess", &[tests::text("fails:fails")]).await?;
    server = server.start_again().await?;
    let (mode, seen) = replayed(&admin, &position, "fails:fails").await?;
    assert_eq!(mode, "replay");
    let seen: Vec<&str> = seen.iter().map(String::as_str).filter(|kind| !kind.ends_with("stopping")).collect();
    assert_eq!(seen, ["mark:mark stopped", "fails:fails stopped"], "what was missed, once, and nothing of what stayed");
    let metrics = admin.get("/metrics").await?.text();
    assert!(metrics.contains("omnivisor_feed_successions_total{result=\"resumed\"} 1"), "{metrics}");
    assert!(metrics.contains("omnivisor_feed_resumes_total{result=\"replay\"} 1"), "{metrics}");
    // The past belongs to one process alone.
    tests::send_signal(Signal::Kill, server.pid().context("it runs")?)?;
    until("it is dead", SOON, async || Ok(server.client().get("/livez").await.is_err().then_some(()))).await?;
    server = server.start_again().await?;
    let (mode, _) = replayed(&admin, &position, "").await?;
    assert_eq!(mode, "snapshot");
    let metrics = admin.get("/metrics").await?.text();
    assert!(metrics.contains("omnivisor_feed_successions_total{result=\"missing\"} 1"), "{metrics}");
    server.terminate(SOON).await?;
    Ok(())
}
