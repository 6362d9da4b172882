//! The commands against a real peer on loopback.

use super::api::{LogAddress, LogPart};
use super::args::{LoginArgs, OrderArgs, SetupArgs, StatusArgs, TailArgs, WatchArgs};
use super::console::captured::{Written, console};
use super::error::CliError;
use super::feed::frame::Frame;
use super::follow::Follow;
use super::peer::{Answer, FeedPeer, Peer, json, listen, problem};
use super::rows::samples;
use super::session::SessionFile;
use super::{PasswordArgs, account, order, status, tail, watch};
use crate::api::wire::{CommandResult, NodeList, NodeView};
use crate::model::{LogChannel, Operation};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use serde_json::json as value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longer than anything here takes; a limit for a test that hangs.
const LIMIT: Duration = Duration::from_secs(20);

fn node(name: &str, processes: &[(&str, &str)]) -> NodeView {
    let processes: Vec<_> = processes.iter().map(|(id, state)| samples::process(id, state)).collect();
    let running_count = processes.iter().filter(|process| process.state == "running").count();
    NodeView {
        process_count: Some(processes.len()),
        running_count: Some(running_count),
        processes: Some(processes),
        ..samples::node(name)
    }
}

fn fleet() -> NodeList {
    NodeList {
        items: vec![
            node("web-1", &[("app:a", "running"), ("app:b", "running"), ("app:c", "running")]),
            node("web-2", &[("a b:x/y", "stopped")]),
        ],
        next: None,
    }
}

fn command(request: &Request<Bytes>, outcome: &str) -> Answer {
    let parts: Vec<&str> = request.uri().path().split('/').collect();
    let result = CommandResult {
        node: parts[4].into(),
        process: parts[6].into(),
        operation: parts[7].into(),
        outcome: outcome.into(),
        state: "running".into(),
        message: String::new(),
        took_ms: 40,
    };
    json(if outcome == "in-progress" { 202 } else { 200 }, &result)
}

fn order_args(selectors: &[&str]) -> OrderArgs {
    let selectors = selectors.iter().map(|text| (*text).to_owned()).collect();
    OrderArgs {
        selectors,
        dry_run: false,
        yes: true,
        wait: None,
        at_once: None,
        timeout: None,
        rolling: None,
        healthy: None,
        pause: None,
        failures_max: None,
        r#override: None,
    }
}

/// Waits until a console shows something.
async fn until(written: &Written, what: &str) {
    let shown = async {
        while !written.text().contains(what) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, shown).await.unwrap_or_else(|_| panic!("{what:?} never came: {}", written.text()));
}

#[tokio::test]
async fn status_asks_once_and_prints_json_when_asked() {
    let peer = Peer::start(|request| {
        assert_eq!(request.headers()["authorization"], "Bearer TOKEN");
        json(200, &fleet())
    })
    .await;
    let (mut console, out, _) = console(true);
    let args = StatusArgs { selectors: vec!["web-2".into()] };
    status::run(&peer.api(), &mut console, &args).await.expect("it is there");
    let list: NodeList = serde_json::from_str(&out.text()).expect("one document");
    assert_eq!(list.items, [fleet().items.remove(1)]);
    assert_eq!(peer.seen(), ["GET /api/v1/nodes?include=processes "]);
}

/// A server that plans what it is asked for and answers with these lines.
async fn planner(lines: Vec<serde_json::Value>) -> Peer {
    Peer::start(move |request| {
        if request.method() == "GET" {
            return json(200, &fleet());
        }
        let wish: serde_json::Value = serde_json::from_slice(request.body()).expect("JSON");
        let items = wish["select"].as_array().into_iter().flatten().map(|select| {
            let id = format!("{}:{}", select["group"].as_str().unwrap_or("*"), select["name"].as_str().unwrap_or("*"));
            value!({ "node": select["node"], "process": id, "state": "running" })
        });
        let plan = value!({ "id": "f".repeat(32), "operation": wish["operation"], "items": items.collect::<Vec<_>>() });
        if wish["dry_run"] == true {
            return json(200, &plan);
        }
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        Response::builder().status(202).body(Full::new(body.into())).expect("an answer")
    })
    .await
}

fn item(process: &str, outcome: &str) -> serde_json::Value {
    value!({ "t": "item", "node": "web-1", "process": process, "operation": "restart", "outcome": outcome, "state": "running",
        "message": "", "took_ms": 40 })
}

fn refused(process: &str, outcome: &str, code: &str) -> serde_json::Value {
    value!({ "t": "item", "node": "web-1", "process": process, "operation": "restart", "outcome": outcome, "code": code,
        "message": "so it is" })
}

#[tokio::test]
async fn several_are_planned_agreed_to_and_told_as_one_batch() {
    let lines = vec![
        item("app:a", "done"),
        value!({ "t": "wait", "open": 3 }),
        refused("app:b", "refused", "node.queue_full"),
        item("app:c", "in-progress"),
        refused("x:y", "not-sent", "bulk.aborted"),
        value!({ "t": "end", "total": 4, "done": 1, "unchanged": 0, "in_progress": 1, "failed": 0, "refused": 1, "unknown": 0,
            "not_sent": 1 }),
    ];
    let peer = planner(lines).await;
    let (mut console, out, said) = console(false);
    let args = OrderArgs { rolling: Some(2), healthy: Some(10), wait: Some(0), at_once: Some(3), ..order_args(&["*"]) };
    let error = order::run(&peer.api(), &mut console, Operation::Restart, &args).await.expect_err("two failed");
    assert_eq!((error.exit_code(), error.to_string().as_str()), (1, "2 of 4 failed"));
    assert_eq!(
        out.text(),
        "web-1/app:a: restarted in 0.0 s\nweb-1/app:b: FAILED: so it is (node.queue_full)\n\
         web-1/app:c: still running after 0.0 s, goes on\nweb-1/x:y: not sent: so it is (bulk.aborted)\n\
         1 restarted, 1 in progress, 1 failed, 1 not sent\n"
    );
    assert_eq!(said.text(), "waiting; 3 of 4 are open\n");
    let posts: Vec<serde_json::Value> = peer
        .seen()
        .iter()
        .filter_map(|line| line.strip_prefix("POST /api/v1/bulk "))
        .map(|body| serde_json::from_str(body).expect("JSON"))
        .collect();
    let [plan, order] = posts.as_slice() else { panic!("one plan and one order: {posts:?}") };
    assert_eq!((&plan["dry_run"], &plan["plan"]), (&value!(true), &value!(null)));
    assert_eq!((&order["dry_run"], &order["plan"]), (&value!(false), &value!("f".repeat(32))), "what was agreed to");
    assert_eq!(order["select"][3], value!({ "node": "web-2", "group": "a b", "name": "x/y" }));
    assert_eq!(order["rolling"], value!({ "size": 2, "healthy_ms": 10_000 }));
    assert_eq!((&order["wait_ms"], &order["at_once"]), (&value!(500), &value!(3)));
}

#[tokio::test]
async fn a_batch_whose_answer_breaks_off_is_not_taken_for_done() {
    let peer = planner(vec![item("app:a", "done")]).await;
    let (mut console, out, _) = console(false);
    let ended = order::run(&peer.api(), &mut console, Operation::Restart, &order_args(&["web-1"])).await;
    assert!(ended.expect_err("there is no end").to_string().contains("ended before the batch did"));
    assert_eq!(out.text(), "web-1/app:a: restarted in 0.0 s\n");
}

#[tokio::test]
async fn one_process_is_ordered_by_itself() {
    let peer = Peer::start(|request| match request.method().as_str() {
        "GET" => json(200, &fleet()),
        _ => command(request, "done"),
    })
    .await;
    let (mut console, out, _) = console(false);
    let args = OrderArgs { wait: Some(0), ..order_args(&["web-2/*:*"]) };
    order::run(&peer.api(), &mut console, Operation::Restart, &args).await.expect("done");
    assert_eq!(out.text(), "web-2/a b:x/y: restarted in 0.0 s\n");
    assert_eq!(peer.seen()[1], r#"POST /api/v1/nodes/web-2/processes/a%20b:x%2Fy/restart {"wait_ms":0}"#);
    assert_eq!(*peer.connections.lock().expect("not poisoned"), 1, "the first connection is used again");
}

#[tokio::test]
async fn a_dry_run_sends_nothing() {
    let peer = planner(Vec::new()).await;
    let (mut console, out, _) = console(false);
    let args = OrderArgs { dry_run: true, yes: false, ..order_args(&["web-1"]) };
    order::run(&peer.api(), &mut console, Operation::Stop, &args).await.expect("shown");
    assert_eq!(out.text(), "would stop web-1/app:a\nwould stop web-1/app:b\nwould stop web-1/app:c\n");
    let posts = peer.seen().into_iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(posts, 1, "the plan alone");
}

#[tokio::test]
async fn orders_as_json_are_one_document_each_failures_too() {
    let end = value!({ "t": "end", "total": 3, "done": 0, "unchanged": 2, "in_progress": 0, "failed": 0, "refused": 1,
        "unknown": 0, "not_sent": 0 });
    let lines =
        vec![refused("app:a", "refused", "process.busy"), item("app:b", "unchanged"), item("app:c", "unchanged"), end];
    let peer = planner(lines).await;
    let (mut console, out, _) = console(true);
    let ended = order::run(&peer.api(), &mut console, Operation::Start, &order_args(&["web-1/app:*"])).await;
    assert_eq!(ended.expect_err("one failed").exit_code(), 1);
    let text = out.text();
    let documents: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a document a line")).collect();
    let refused = documents.iter().find(|document| document["process"] == "app:a").expect("told");
    assert_eq!((&refused["outcome"], &refused["code"]), (&value!("refused"), &value!("process.busy")));
    assert_eq!(documents.iter().filter(|document| document["outcome"] == "unchanged").count(), 2);
}

#[tokio::test]
async fn what_is_not_an_omnivisor_server_is_said_to_be_none() {
    for answer in ["<html>", "{}"] {
        let peer = Peer::start(move |_| Response::new(Full::new(answer.into()))).await;
        let (mut console, _, _) = console(false);
        let ended = status::run(&peer.api(), &mut console, &StatusArgs { selectors: vec![] }).await;
        assert_eq!(ended.expect_err(answer).exit_code(), 76);
    }
    let (listener, url) = listen().await;
    drop(listener);
    let api = super::Api::new(super::Http::new(url.clone(), None).expect("a client"));
    let error = api.nodes().await.expect_err("nobody is there");
    assert_eq!(error.exit_code(), 69);
    assert!(error.render().contains(&url.to_string()) && error.render().contains("omnivisor serve"));
}

#[tokio::test]
async fn a_kept_connection_that_ended_is_replaced() {
    let peer = Peer::start(|_| {
        let mut answer = json(200, &fleet());
        answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
        answer
    })
    .await;
    let api = peer.api();
    for _ in 0..3 {
        api.nodes().await.expect("each call finds its connection");
    }
    assert_eq!(*peer.connections.lock().expect("not poisoned"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let (listener, url) = listen().await;
    let api = super::Api::new(super::Http::new(url, None).expect("a client"));
    let error = api.nodes().await.expect_err("no answer");
    assert!(matches!(error, CliError::TimedOut { .. }), "{error}");
    assert_eq!(error.exit_code(), 75);
    drop(listener);
}

fn signed_in() -> serde_json::Value {
    value!({ "token": "secret-token", "expires_at": "2026-01-08T00:00:00Z",
        "principal": { "name": "ann", "role": "admin", "strategy": "auth-local" } })
}

fn password() -> (tempfile::TempDir, PasswordArgs, SessionFile) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("password");
    std::fs::write(&path, "correct horse battery\n").expect("written");
    let file = SessionFile::at(directory.path().join("session.json"));
    (directory, PasswordArgs { password_stdin: false, password_file: Some(path) }, file)
}

#[tokio::test]
async fn login_keeps_the_token_and_prints_it_nowhere_and_logout_forgets_it() {
    let peer = Peer::start(|request| match request.uri().path() {
        "/api/v1/login" => json(200, &signed_in()),
        _ => problem(401, "auth.required", "no session"),
    })
    .await;
    let (_directory, password, file) = password();
    let (mut console, out, err) = console(true);
    let args = LoginArgs { username: Some("ann".into()), password };
    account::login(&peer.api(), &mut console, &file, &args).await.expect("logged in");
    let sessions = file.load().expect("saved");
    let server = peer.url.to_string();
    assert_eq!((sessions.default.as_ref(), sessions.servers[&server].token.as_str()), (Some(&server), "secret-token"));
    assert!(!out.text().contains("secret-token") && !err.text().contains("secret-token"));
    assert_eq!(peer.seen(), [r#"POST /api/v1/login {"username":"ann","password":"correct horse battery"}"#]);
    account::logout(&peer.api(), &mut console, Some(&file)).await.expect("a session that is over is no fault");
    assert!(file.load().expect("saved").servers.is_empty());
}

#[tokio::test]
async fn a_refused_login_leaves_the_old_one() {
    let peer = Peer::start(|request| match request.uri().path() {
        "/api/v1/setup" => json(201, &signed_in()),
        _ => problem(401, "auth.failed", "the name or the password is wrong"),
    })
    .await;
    let (_directory, password, file) = password();
    let (mut console, _, _) = console(false);
    let setup = SetupArgs { token: Some(" T-1\n".into()), username: "ann".into(), password: password.clone() };
    account::setup(&peer.api(), &mut console, &file, &setup).await.expect("created");
    assert!(peer.seen()[0].contains(r#""token":"T-1""#));
    let args = LoginArgs { username: Some("ann".into()), password };
    let error = account::login(&peer.api(), &mut console, &file, &args).await.expect_err("refused");
    assert_eq!(error.exit_code(), 77);
    assert_eq!(file.load().expect("there").servers.len(), 1);
}

fn log(start: u64, has_gap: bool, size: u64, bytes: &[u8]) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(bytes)));
    let next = start + bytes.len() as u64;
    let facts =
        [("x-log-start", start.to_string()), ("x-log-next", next.to_string()), ("x-log-size", size.to_string())];
    for (name, fact) in facts {
        answer.headers_mut().insert(name, HeaderValue::try_from(fact).expect("a number"));
    }
    answer.headers_mut().insert("x-log-gap", HeaderValue::from_static(if has_gap { "true" } else { "false" }));
    answer
}

fn tail_args(follow: bool) -> TailArgs {
    TailArgs { process: "n/a b:x".into(), follow, lines: 10, bytes: Some(100), stderr: true, raw: false }
}

#[tokio::test]
async fn without_the_feed_a_followed_log_goes_on_by_offset_marks_gaps_and_outlives_a_busy_node() {
    let calls = Arc::new(AtomicUsize::new(0));
    let peer = Peer::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => problem(503, "feed.full", "no more clients"),
        1 => log(10, false, 20, b"one\x1b[0m\n\xff"),
        2 => log(19, false, 20, b"2"),
        3 => problem(503, "node.breaker_open", "not called for a while"),
        4 => log(120, true, 124, b"late"),
        5 => log(0, true, 3, b"new"),
        _ => problem(404, "process.not_found", "gone"),
    })
    .await;
    let (mut console, out, err) = console(false);
    let ended = tail::run(&peer.api(), Some("TOKEN"), &mut console, &tail_args(true)).await;
    assert_eq!(ended.expect_err("a process that is gone ends it").exit_code(), 66);
    assert_eq!(out.text(), "one\x1b[0m\n\u{fffd}2latenew", "a pipe gets the bytes as they are");
    let err = err.text();
    assert!(err.contains("--- 100 bytes lost ---") && err.contains("rotated or cleared"), "{err}");
    assert!(err.contains("not called for a while") && err.contains("the log goes on"), "{err}");
    let seen = peer.seen();
    assert_eq!(seen[0], "GET /api/v1/feed ");
    assert_eq!(seen[1], "GET /api/v1/nodes/n/processes/a%20b:x/logs/stderr?tail=100 ");
    assert!(seen[2].contains("offset=19&") && seen[3].contains("offset=20&") && seen[4].contains("offset=20&"));
    assert!(seen[5].contains("offset=124&") && seen[6].contains("offset=3&"), "{seen:?}");
}

#[tokio::test]
async fn a_terminal_is_shown_control_characters_and_does_not_obey_them() {
    let peer = Peer::start(|_| log(0, false, 8, b"a\x1b[2J\n\xc3")).await;
    let (mut console, out, _) = console(false);
    console.is_terminal = true;
    tail::run(&peer.api(), Some("TOKEN"), &mut console, &tail_args(false)).await.expect("read");
    assert_eq!(out.text(), "a\\x1b[2J\n\\xc3");
    let args = TailArgs { process: "n/a:*".into(), ..tail_args(false) };
    assert_eq!(tail::run(&peer.api(), Some("TOKEN"), &mut console, &args).await.expect_err("not one").exit_code(), 64);
}

#[tokio::test]
async fn lines_are_looked_for_until_there_are_enough() {
    let peer = Peer::start(|request| {
        let wanted: usize =
            request.uri().query().and_then(|q| q.strip_prefix("tail=")).expect("a tail").parse().expect("a number");
        // A file of 20,000 bytes whose last line but one is 18,000 long.
        let file = [vec![b'x'; 1_000], b"\n".to_vec(), vec![b'y'; 18_000], b"\nlast\n".to_vec()].concat();
        let start = file.len().saturating_sub(wanted);
        log(start as u64, false, file.len() as u64, &file[start..])
    })
    .await;
    let (mut console, out, _) = console(false);
    let args = TailArgs { lines: 2, bytes: None, ..tail_args(false) };
    tail::run(&peer.api(), Some("TOKEN"), &mut console, &args).await.expect("read");
    assert_eq!(out.text(), format!("{}\nlast\n", "y".repeat(18_000)));
    let tails: Vec<String> =
        peer.seen().iter().map(|line| line.rsplit('=').next().expect("a number").trim().to_owned()).collect();
    assert_eq!(tails, ["16384", "131072"]);
}

fn snap(o: u64) -> serde_json::Value {
    value!({ "t": "snap", "o": o, "i": 0, "last": true, "items": [
        { "topic": "node/web-1/state", "node": "web-1", "state": samples::node("web-1") },
        { "topic": "proc/web-1/state", "node": "web-1", "process": samples::process("app:a", "running") },
        { "topic": "proc/web-1/state", "node": "web-1", "process": samples::process("app:b", "running") },
    ] })
}

fn event(o: u64, s: u64, id: &str, state: &str) -> serde_json::Value {
    value!({ "t": "ev", "o": o, "s": s, "topic": "proc/web-1/state", "at": "2026-01-01T12:00:00.000Z",
        "kind": "changed", "node": "web-1", "process": samples::process(id, state) })
}

#[tokio::test]
async fn watch_comes_back_from_where_it_was() {
    let (listener, url) = listen().await;
    let (mut console, out, err) = console(false);
    let args = WatchArgs { selectors: vec!["web-*/app:a".into()] };
    let server = async {
        let mut peer = FeedPeer::accept(&listener).await;
        assert_eq!(peer.hello, value!({ "t": "hello", "sub": ["node/web-*/state", "proc/web-*/state"] }));
        peer.say(value!({ "t": "welcome", "epoch": "e", "o": 5, "mode": "snapshot" })).await;
        peer.say(snap(5)).await;
        peer.say(event(6, 1, "app:b", "stopping")).await;
        peer.say(event(8, 2, "app:a", "stopping")).await;
        peer.close(4001, "").await;
        let mut peer = FeedPeer::accept(&listener).await;
        assert_eq!(peer.hello["since"], "e:8");
        peer.say(value!({ "t": "welcome", "epoch": "e", "o": 8, "mode": "replay" })).await;
        peer.say(event(9, 3, "app:a", "stopped")).await;
        until(&out, "stopping -> stopped").await;
        peer.close(4501, "the session has ended").await;
    };
    let (ended, ()) = tokio::join!(watch::run(&url, Some("TOKEN"), &mut console, &args), server);
    let error = ended.expect_err("a session that ended is final");
    assert_eq!(error.exit_code(), 77);
    assert_eq!(
        out.text(),
        "2026-01-01T12:00:00.000Z web-1/app:a running -> stopping\n2026-01-01T12:00:00.000Z web-1/app:a stopping -> stopped\n"
    );
    assert!(err.text().contains("the server is going away (4001); trying again"), "{}", err.text());
}

#[tokio::test]
async fn a_hole_in_the_feed_is_noticed_and_healed_with_a_snapshot() {
    let (listener, url) = listen().await;
    let (mut console, out, _) = console(true);
    let args = WatchArgs { selectors: vec![] };
    let server = async {
        let mut peer = FeedPeer::accept(&listener).await;
        peer.say(value!({ "t": "welcome", "epoch": "e", "o": 5, "mode": "snapshot" })).await;
        peer.say(snap(5)).await;
        peer.say(event(6, 1, "app:a", "stopping")).await;
        peer.say(event(7, 3, "app:a", "starting")).await;
        let peer = FeedPeer::accept(&listener).await;
        assert!(peer.hello.get("since").is_none(), "what we have may have a hole");
        peer.close(4503, "not for you").await;
    };
    let (ended, ()) = tokio::join!(watch::run(&url, Some("TOKEN"), &mut console, &args), server);
    assert_eq!(ended.expect_err("final").exit_code(), 77);
    let text = out.text();
    let kinds: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a document a line")["t"].to_string())
        .collect();
    assert_eq!(kinds, [r#""opened""#, r#""item""#, r#""item""#, r#""item""#, r#""ready""#, r#""ev""#, r#""lost""#]);
    assert!(text.contains("lost events of proc/web-1/state"), "{text}");
}

#[tokio::test]
async fn a_feed_that_never_opens_ends_at_once_with_the_reason() {
    let peer = Peer::start(|_| problem(401, "auth.required", "log in first")).await;
    let (mut console, _, _) = console(false);
    let args = WatchArgs { selectors: vec![] };
    let error = watch::run(&peer.url, None, &mut console, &args).await.expect_err("refused");
    assert_eq!(error.exit_code(), 77);
    assert!(error.render().contains("omnivisor login"), "{}", error.render());
    let (listener, url) = listen().await;
    drop(listener);
    let error = watch::run(&url, None, &mut console, &args).await.expect_err("nobody is there");
    assert_eq!(error.exit_code(), 69);
}

fn told(members: serde_json::Value) -> Frame {
    let mut frame = serde_json::json!({ "t": "log", "o": 1, "topic": "log/n/a:b/stdout", "n": 1, "lines": 1,
        "node": "n", "process": "a:b", "channel": "stdout", "at": "x" });
    frame.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    serde_json::from_value(frame).expect("a frame")
}

fn piece(start: u64, text: &str) -> Frame {
    told(serde_json::json!({ "start": start, "next": start + text.len() as u64, "text": text }))
}

/// Whatever the feed says twice, leaves out or says of a file that is gone: each byte is printed once, in its order.
#[tokio::test]
async fn what_the_feed_tells_is_joined_to_what_was_read_without_a_seam() {
    // The file: ten bytes are there at first, twenty when the hole is read; then it is rotated and has three.
    let peer = Peer::start(|request| match request.uri().query().unwrap_or_default() {
        "tail=4" => log(6, false, 10, b"6789"),
        query if query.starts_with("offset=10&") => log(10, false, 12, b"ab"),
        query if query.starts_with("offset=12&") => log(12, false, 20, b"cdefghij"),
        query if query.starts_with("offset=21&") => log(0, true, 3, b"new"),
        query => panic!("nobody asks for {query}"),
    })
    .await;
    let (api, (mut console, out, err)) = (peer.api(), console(false));
    let log = LogAddress { node: "n".into(), process: "a:b".into(), channel: LogChannel::Stdout };
    let mut page = tail::Page::new(true);
    let mut follow = Follow::new(&api, None, &mut console, &log, LogPart::Tail(4), &mut page);
    for frame in [
        serde_json::from_value(serde_json::json!({ "t": "logs", "log": [] })).expect("a frame"),
        piece(4, "456789"),
        piece(8, "89ab"),
        piece(16, "ghij"),
        told(serde_json::json!({ "start": 20, "next": 21, "base64": "/w==" })),
        // What the feed read of the old file, after the new one was seen here.
        piece(30, "old"),
        told(serde_json::json!({ "gap": "rotated", "next": 0 })),
        piece(0, "new\n"),
        told(serde_json::json!({ "gap": "unreadable", "lost": 2, "next": 6 })),
        piece(6, "end\n"),
    ] {
        assert!(follow.frame(frame, "log/n/a:b/stdout").await.expect("printed").is_none());
    }
    assert_eq!(out.text(), "6789abcdefghij\u{fffd}new\nend\n");
    let err = err.text();
    assert!(err.contains("rotated or cleared") && err.contains("2 bytes that cannot be read"), "{err}");
    assert_eq!(err.matches("rotated").count(), 1, "one rotation is told once: {err}");
}
