mod autobahn;
mod endings;
mod refreshes;

use crate::api::origin::Ours;
use crate::api::serve::Guarded;
use crate::api::socket::handshake::serve;
use crate::api::socket::{Door, FeedContext, FeedRefusal, Guest, upgrade};
use crate::hub::{Access, Change, Close, Hub, HubLimits, LogPublication, Publication};
use crate::model::{Grant, GrantEnd};
use crate::task::{TaskGroup, TaskKind};
use axum::body::Body;
use futures_util::{SinkExt, StreamExt};
use http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use refreshes::Script;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const HELLO: &str = r#"{"t":"hello","sub":["*/*/state"]}"#;
const LIMIT: Duration = Duration::from_secs(20);

fn context(limits: HubLimits) -> FeedContext {
    let (hub, tracker, stop) = (Hub::new(limits), TaskTracker::new(), CancellationToken::new());
    let tasks = TaskGroup::on(TaskKind::Feed, &tracker);
    for _ in 0..2 {
        tasks.named("shard", hub.shard(stop.clone()));
    }
    FeedContext {
        hub,
        tasks,
        stop,
        grant: grant(),
        access: Access { needs: "feed", classes: &[("node", "node"), ("log", "log")] },
        renewal: Arc::new(Script::default()),
        door: Arc::new(Door::new(1)),
        guest: guest(),
        hold: Arc::new(()),
        ours: Ours { listed: Arc::from(["https://console.example".to_owned()]), is_secure: false },
    }
}

fn guest() -> Guest {
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    Guest { principal: "ann".to_owned(), address, per_principal_max: 10_000, per_address_max: 10_000 }
}

fn grant() -> Grant {
    Grant::of(["feed", "node", "log"].into())
}

fn publish(hub: &Hub, node: &str, pad: usize) -> u64 {
    let topic = format!("node/{node}/state");
    let members = format!(r#""node":"{node}","pad":"{}""#, "x".repeat(pad));
    let change = Change::Put { key: topic.clone(), item: format!(r#"{{"topic":"{topic}",{members}}}"#) };
    hub.publish(Publication { topic, kind: "changed", at: "2026-01-01T00:00:00.000Z".to_owned(), members, change })
}

/// A real HTTP server on loopback that has nothing but the feed.
async fn server(context: &FeedContext) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let context = context.clone();
    let connections = TaskTracker::new();
    connections.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let context = context.clone();
            connections.spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| answer(request, context.clone()));
                let guarded = Guarded::new(stream, Duration::from_secs(30));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(guarded), service);
                let _ = connection.with_upgrades().await;
            });
        }
    });
    address
}

async fn answer(request: Request<Incoming>, context: FeedContext) -> Result<Response<Body>, Infallible> {
    let status = match upgrade(request.map(Body::new), context).await {
        Ok(response) => return Ok(response),
        Err(FeedRefusal::NotAnUpgrade | FeedRefusal::Version) => 426,
        Err(FeedRefusal::Handshake { .. }) => 400,
        Err(FeedRefusal::Origin) => 403,
        Err(FeedRefusal::PrincipalFull { .. } | FeedRefusal::AddressFull { .. }) => 429,
        Err(FeedRefusal::Full | FeedRefusal::TooFast { .. } | FeedRefusal::ShuttingDown) => 503,
    };
    Ok(Response::builder().status(status).body(Body::empty()).unwrap())
}

async fn connect(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, _) = client_async(format!("ws://{address}/api/v1/feed"), stream).await.expect("a handshake");
    socket
}

async fn greeted(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let mut socket = connect(address).await;
    socket.send(Message::text(HELLO)).await.unwrap();
    socket
}

/// The next frame as JSON. Each is one document.
async fn frame<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Value {
    loop {
        match timeout(LIMIT, socket.next()).await.expect("a frame in time").expect("not the end").expect("no error") {
            Message::Text(text) => return serde_json::from_str(&text).expect("one document"),
            Message::Ping(_) | Message::Pong(_) => {}
            other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => panic!("unexpected {other:?}"),
        }
    }
}

/// Reads on to the close frame; gives its code.
async fn close_code<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> u16 {
    loop {
        match timeout(Duration::from_mins(5), socket.next()).await.expect("an end in time").expect("a close frame") {
            Ok(Message::Close(Some(frame))) => return frame.code.into(),
            Ok(_) => {}
            Err(error) => panic!("no close frame: {error}"),
        }
    }
}

/// Ends a context's grant; gives when every connection of it is closed for new events.
async fn revoke(context: &FeedContext, why: GrantEnd) {
    assert!(context.grant.end(why));
    let (done, applied) = tokio::sync::oneshot::channel();
    context.hub.revoke(done);
    timeout(LIMIT, applied).await.expect("in time").expect("applied");
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn disconnects(hub: &Hub, close: Close) -> u64 {
    hub.figures().disconnects.iter().find(|(reason, _)| *reason == close).map_or(0, |(_, count)| *count)
}

// Handshake.

#[tokio::test]
async fn a_snapshot_comes_first_and_then_the_changes() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    publish(&context.hub, "a", 0);
    let mut socket = greeted(address).await;
    assert_eq!(frame(&mut socket).await["t"], "welcome");
    assert_eq!(frame(&mut socket).await["items"][0]["node"], "a");
    publish(&context.hub, "b", 0);
    let event = frame(&mut socket).await;
    assert_eq!((&event["t"], &event["o"], &event["node"]), (&"ev".into(), &2.into(), &"b".into()));
    socket.close(None).await.unwrap();
    assert!(matches!(timeout(LIMIT, socket.next()).await.unwrap(), None | Some(Ok(Message::Close(_)))));
    until("the slot is free", || context.hub.figures().clients == 0).await;
    assert_eq!(disconnects(&context.hub, Close::Left), 1);
}

#[tokio::test]
async fn the_subprotocol_is_chosen_and_the_token_beside_it_never_shown() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let mut request = format!("ws://{address}/").into_client_request().unwrap();
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("bearer.s3cret, feed.v1"));
    request.headers_mut().insert(ORIGIN, HeaderValue::from_static("https://console.example"));
    let stream = TcpStream::connect(address).await.unwrap();
    let (_socket, response) = client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "feed.v1");
    assert!(!format!("{response:?}").contains("s3cret"));
}

/// Sends a request as it stands and gives the status of the answer.
async fn status_of(address: SocketAddr, request: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    timeout(LIMIT, stream.read_exact(&mut head)).await.unwrap().unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_no_proper_handshake_is_refused() {
    let context = context(HubLimits { clients_max: 1, ..HubLimits::default() });
    let address = server(&context).await;
    let good = "GET /api/v1/feed HTTP/1.1\r\nHost: a:1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let with = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replace(from, to)
    };
    for (request, status) in [
        (with("Upgrade: WebSocket\r\n", ""), 426),
        (with("keep-alive, Upgrade", "keep-alive"), 426),
        (with("HTTP/1.1", "HTTP/1.0"), 426),
        (with("GET", "POST"), 426),
        (with("Version: 13", "Version: 12"), 426),
        (with("Sec-WebSocket-Version: 13\r\n", ""), 426),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), 400),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="), 400),
        (with("Host: a:1\r\n", "Host: a:1\r\nContent-Length: 3\r\n"), 400),
        (with("Host: a:1\r\n", "Host: a:1\r\nTransfer-Encoding: chunked\r\n"), 400),
        (with("Host: a:1\r\n", "Host: a:1\r\nSec-WebSocket-Protocol: other\r\n"), 400),
        (with("Host: a:1\r\n", "Host: a:1\r\nOrigin: http://evil.example\r\n"), 403),
        (with("Host: a:1\r\n", "Host: a:1\r\nOrigin: null\r\n"), 403),
        (with("Host: a:1\r\n", "Host: a:1\r\nOrigin: http://a:1\r\n"), 101),
    ] {
        assert_eq!(status_of(address, &request).await, status, "{request}");
    }
    until("the last one's slot is free", || context.hub.figures().clients == 0).await;
}

#[tokio::test]
async fn beyond_the_limit_the_handshake_is_refused_and_a_free_slot_is_used_again() {
    let context = context(HubLimits { clients_max: 2, ..HubLimits::default() });
    let address = server(&context).await;
    let (first, _second) = (greeted(address).await, greeted(address).await);
    for _ in 0..50 {
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(format!("ws://{address}/"), stream).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 503),
            other => panic!("{other:?}"),
        }
    }
    drop(first);
    until("a slot is free", || context.hub.figures().clients == 1).await;
    frame(&mut greeted(address).await).await;
}

#[tokio::test]
async fn after_the_stop_the_handshake_is_refused() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    context.stop.cancel();
    let stream = TcpStream::connect(address).await.unwrap();
    assert!(
        matches!(client_async(format!("ws://{address}/"), stream).await, Err(Error::Http(response)) if response.status() == 503)
    );
}

#[tokio::test]
async fn a_hello_in_the_segment_of_the_request_is_not_lost() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let mut bytes =
        b"GET / HTTP/1.1\r\nHost: a:1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
    bytes.extend(masked(0x81, HELLO.as_bytes()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(r#""t":"welcome""#) {
        let read = timeout(LIMIT, stream.read_buf(&mut seen)).await.unwrap().unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
    }
}

/// A frame as a client sends it, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

// Order, resuming and slow clients.

/// Reads to offset `head`; checks that no event is missing and none is doubled. Gives the resyncs.
async fn read_to<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, head: u64) -> u64 {
    let (mut offset, mut resyncs) = (0, 0);
    while offset < head {
        let frame = frame(socket).await;
        let at = frame["o"].as_u64().unwrap();
        match frame["t"].as_str().unwrap() {
            "ev" => assert_eq!(at, offset + 1),
            // Not reached before the last frame of the snapshot.
            "resync" => {
                resyncs += 1;
                continue;
            }
            "snap" if frame["last"] != true => continue,
            _ => {}
        }
        offset = at;
    }
    resyncs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_see_every_event_in_order_and_those_that_never_read_hold_nobody_up() {
    const EVENTS: u64 = 20_000;
    let context = context(HubLimits { events_max: 65_536, bytes_max: 64 * 1024 * 1024, ..HubLimits::default() });
    let address = server(&context).await;
    let mut stalled = Vec::new();
    for _ in 0..5 {
        stalled.push(greeted(address).await);
    }
    let readers = TaskTracker::new();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            readers.spawn(async move {
                let mut socket = greeted(address).await;
                read_to(&mut socket, EVENTS).await
            })
        })
        .collect();
    until("all are there", || context.hub.figures().clients == 15).await;
    for event in 0..EVENTS {
        publish(&context.hub, &format!("n{}", event % 5), 300);
        if event % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for task in tasks {
        assert_eq!(timeout(Duration::from_mins(1), task).await.expect("in time").expect("no panic"), 0);
    }
    assert_eq!(context.hub.figures().ring_events, 20_000);
    // What a stalled client was handed is bounded by the buffers between us, far below what was published.
    drop(stalled);
    until("all slots are free", || context.hub.figures().clients == 0).await;
}

#[tokio::test]
async fn a_client_that_reads_again_after_the_ring_went_by_is_told_and_given_the_state() {
    let context = context(HubLimits { events_max: 100, ..HubLimits::default() });
    let address = server(&context).await;
    let mut socket = greeted(address).await;
    frame(&mut socket).await;
    let mut head = 0;
    // Far more than all buffers on the way hold.
    for _ in 0..20_000 {
        head = publish(&context.hub, "a", 1_000);
        if head % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(context.hub.figures().deliveries < 20_000, "it was not sent all");
    let resyncs = read_to(&mut socket, head).await;
    assert!(resyncs >= 1);
    assert_eq!(context.hub.figures().resyncs, resyncs);
    head = publish(&context.hub, "b", 0);
    assert_eq!(frame(&mut socket).await["o"], head);
}

#[tokio::test]
async fn a_client_that_comes_back_is_given_what_it_missed() {
    let context = context(HubLimits { events_max: 10, ..HubLimits::default() });
    let address = server(&context).await;
    for _ in 0..20 {
        publish(&context.hub, "a", 0);
    }
    // Positions are what a welcome says, for those who ask for the same.
    let mut first = connect(address).await;
    first.send(Message::text(r#"{"t":"hello","sub":["node/*/state"]}"#)).await.unwrap();
    let welcome = frame(&mut first).await;
    let epoch = welcome["epoch"].as_str().unwrap();
    for (since, mode, first) in [
        (format!("{epoch}:15"), "replay", 16),
        (format!("{epoch}:10"), "replay", 11),
        (format!("{epoch}:9"), "changes", 20),
        (format!("{epoch}:21"), "snapshot", 20),
        (format!("{epoch}:{}", u64::MAX), "snapshot", 20),
        (format!("{}:15", context.hub.epoch()), "snapshot", 20),
        ("other:15".to_owned(), "snapshot", 20),
        ("garbage".to_owned(), "snapshot", 20),
    ] {
        let mut socket = connect(address).await;
        let hello = format!(r#"{{"t":"hello","sub":["node/*/state"],"since":"{since}"}}"#);
        socket.send(Message::text(hello)).await.unwrap();
        assert_eq!(frame(&mut socket).await["mode"], mode, "{since}");
        assert_eq!(frame(&mut socket).await["o"], first, "{since}");
    }
}

// Misuse, over loopback.

#[tokio::test]
async fn frames_that_break_the_protocol_are_answered_with_its_own_codes() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let too_long: &[u8] = &[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    for (bytes, code, close) in [
        (b"\x81\x02{}".as_slice(), 1002, Close::BadFrame),
        (&[0xc1, 0x80, 0, 0, 0, 0], 1002, Close::BadFrame),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002, Close::BadFrame),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002, Close::BadFrame),
        (b"\x81\x82\x00\x00\x00\x00\xc3\x28", 1007, Close::BadText),
        (b"\x01\x81\x00\x00\x00\x00\xc3\x80\x81\x00\x00\x00\x00\x28", 1007, Close::BadText),
        (too_long, 1009, Close::TooLong),
    ] {
        let before = disconnects(&context.hub, close);
        let mut socket = connect(address).await;
        socket.get_mut().write_all(bytes).await.unwrap();
        assert_eq!(close_code(&mut socket).await, code, "{bytes:x?}");
        assert_eq!(disconnects(&context.hub, close), before + 1);
    }
    until("all slots are free", || context.hub.figures().clients == 0).await;
}

#[tokio::test]
async fn what_is_no_hello_is_misuse() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let many = format!(r#"{{"t":"hello","sub":[{}]}}"#, vec![r#""a""#; 257].join(","));
    for hello in [
        "",
        "{}",
        "[]",
        "nonsense",
        r#"{"t":"hello"}"#,
        r#"{"t":"hello","sub":[]}"#,
        r#"{"t":"hello","sub":["a"],"colour":1}"#,
        r#"{"t":"hello","sub":["*********"]}"#,
        r#"{"t":"welcome","sub":["a"]}"#,
        &many,
    ] {
        let mut socket = connect(address).await;
        socket.send(Message::text(hello)).await.unwrap();
        assert_eq!(close_code(&mut socket).await, 4502, "{hello}");
    }
    let mut socket = connect(address).await;
    socket.send(Message::binary(HELLO.as_bytes())).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 4502);
    let mut socket = greeted(address).await;
    socket.send(Message::text(HELLO)).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 4502, "a second hello");
}

/// Traps M-08 and M-25: what is followed is what was asked for last, on the open connection and after it came back.
#[tokio::test]
async fn the_logs_followed_are_those_asked_for_last_and_each_is_told() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let (hub, demand) = (&context.hub, context.hub.log_demand());
    let followed = || demand.borrow().iter().map(ToString::to_string).collect::<Vec<_>>();
    let tell = |topic: &str| {
        hub.publish_log(LogPublication { topic: topic.into(), lines: 2, members: r#""text":"x""#.to_owned() })
    };
    let hello = r#"{"t":"hello","sub":["*/*/state"],"log":["log/a/g%3Ap/stdout","log/b/g:p/stdout"]}"#;
    let mut socket = connect(address).await;
    socket.send(Message::text(hello)).await.unwrap();
    while frame(&mut socket).await["t"] != "logs" {}
    assert_eq!(followed(), ["log/a/g:p/stdout", "log/b/g:p/stdout"]);
    while frame(&mut socket).await["t"] != "snap" {}
    tell("log/a/g:p/stdout");
    let line = frame(&mut socket).await;
    assert_eq!(
        (line["topic"].as_str().unwrap(), &line["n"], &line["lines"], &line["text"]),
        ("log/a/g:p/stdout", &1.into(), &2.into(), &"x".into())
    );
    socket.send(Message::text(r#"{"t":"logs","log":["log/b/g:p/stdout","log/c/g:p/stderr"]}"#)).await.unwrap();
    assert_eq!(frame(&mut socket).await["log"].as_array().unwrap().len(), 2);
    assert_eq!(followed(), ["log/b/g:p/stdout", "log/c/g:p/stderr"]);
    // It comes back with what it was told, while lines went by.
    let since = format!("{}:0", hub.epoch());
    drop(socket);
    until("the demand ends with the client", || followed().is_empty()).await;
    tell("log/a/g:p/stdout");
    let mut socket = connect(address).await;
    let hello = format!(
        r#"{{"t":"hello","sub":["*/*/state"],"log":["log/a/g:p/stdout"],"log_from":{{"log/a/g:p/stdout":3}},"since":"{since}"}}"#
    );
    socket.send(Message::text(hello)).await.unwrap();
    let mut line = frame(&mut socket).await;
    while line["t"] != "log" {
        line = frame(&mut socket).await;
    }
    assert_eq!(line["n"], 3, "what went by meanwhile");
    assert_eq!(followed(), ["log/a/g:p/stdout"], "and nothing is remembered from before");
    for misuse in [
        r#"{"t":"logs","log":["log/a/*:p/stdout"]}"#.to_owned(),
        r#"{"t":"hello","sub":["*/*/state"]}"#.to_owned(),
        format!(r#"{{"t":"logs","log":{:?}}}"#, vec!["log/a/g:p/stdout"; 65]),
    ] {
        let mut socket = greeted(address).await;
        socket.send(Message::text(misuse.clone())).await.unwrap();
        assert_eq!(close_code(&mut socket).await, 4502, "{misuse}");
    }
    let mut first = connect(address).await;
    first.send(Message::text(r#"{"t":"logs","log":[]}"#)).await.unwrap();
    assert_eq!(close_code(&mut first).await, 4502, "the hello comes first");
}

#[tokio::test]
async fn floods_are_misuse_and_pings_are_answered() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let mut socket = greeted(address).await;
    socket.send(Message::Ping("x".into())).await.unwrap();
    while timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap() != Message::Pong("x".into()) {}
    let pings: Vec<u8> = (0..200).flat_map(|_| masked(0x89, b"")).collect();
    socket.get_mut().write_all(&pings).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 4502);

    // Fragments without an end and without content: no message, no length, nothing to count but bytes.
    let mut socket = greeted(address).await;
    let mut fragments = masked(0x01, b"");
    fragments.extend((0..20_000).flat_map(|_| masked(0x00, b"")));
    let _ = socket.get_mut().write_all(&fragments).await;
    until("it is put out", || disconnects(&context.hub, Close::Misuse) == 2).await;
    until("all slots are free", || context.hub.figures().clients <= 1).await;
}

// The end, over loopback.

#[tokio::test]
async fn a_stop_ends_every_connection_soon_whatever_its_client_does() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let mut silent = connect(address).await;
    // One that never reads, with bytes waiting for it, may not hold the shutdown up.
    let stalled = greeted(address).await;
    until("both are there", || context.hub.figures().clients == 2).await;
    for _ in 0..10_000 {
        publish(&context.hub, "a", 1_000);
        tokio::task::yield_now().await;
    }
    context.stop.cancel();
    context.tasks.tracker().close();
    let begun = Instant::now();
    assert_eq!(close_code(&mut silent).await, 4001, "also before its hello");
    timeout(Duration::from_secs(5), context.tasks.tracker().wait()).await.expect("every task ended");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(context.hub.figures().clients, 0);
    assert_eq!(disconnects(&context.hub, Close::GoingAway), 2);
    drop(stalled);
}

#[tokio::test]
async fn a_client_that_reads_is_told_that_the_server_goes_away() {
    let context = context(HubLimits::default());
    let address = server(&context).await;
    let mut socket = greeted(address).await;
    frame(&mut socket).await;
    context.stop.cancel();
    assert_eq!(close_code(&mut socket).await, 4001);
    assert!(timeout(LIMIT, socket.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_connection_and_no_other() {
    let first = context(HubLimits::default());
    let second = FeedContext { grant: grant(), ..first.clone() };
    let (address, other) = (server(&first).await, server(&second).await);
    let mut socket = greeted(address).await;
    let mut stays = greeted(other).await;
    for socket in [&mut socket, &mut stays] {
        frame(socket).await;
        frame(socket).await;
    }
    revoke(&first, GrantEnd::Revoked).await;
    assert_eq!(close_code(&mut socket).await, 4501);
    publish(&first.hub, "a", 0);
    assert_eq!(frame(&mut stays).await["t"], "ev");
    let mut late = connect(address).await;
    assert_eq!(close_code(&mut late).await, 4501, "a session that ended before the upgrade did");
}

// Timers, with the clock held and a pipe for a connection.

fn pipe(context: &FeedContext, buffer: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(buffer);
    let slot = context.hub.reserve().unwrap();
    let context = context.clone();
    let tasks = context.tasks.clone();
    tasks.spawn(async move {
        let (read, write) = tokio::io::split(ours);
        serve(read, Box::new(write), Vec::new(), slot, context).await;
    });
    theirs
}

async fn piped(context: &FeedContext) -> WebSocketStream<DuplexStream> {
    WebSocketStream::from_raw_socket(pipe(context, 64 * 1024), Role::Client, None).await
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_hello_is_put_out_after_five_seconds() {
    let context = context(HubLimits::default());
    let begun = Instant::now();
    let mut socket = piped(&context).await;
    assert_eq!(close_code(&mut socket).await, 4502);
    assert_eq!(begun.elapsed().as_secs(), 5);
    // Pings do not stand for a hello.
    let begun = Instant::now();
    let mut socket = piped(&context).await;
    for _ in 0..4 {
        socket.send(Message::Ping("x".into())).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(close_code(&mut socket).await, 4502);
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_for_ten_seconds_is_dropped_and_holds_no_slot() {
    let context = context(HubLimits::default());
    let mut stream = pipe(&context, 1024);
    stream.write_all(&masked(0x81, HELLO.as_bytes())).await.unwrap();
    let begun = Instant::now();
    for _ in 0..100 {
        publish(&context.hub, "a", 1_000);
    }
    until("it is gone", || context.hub.figures().clients == 0).await;
    assert_eq!(begun.elapsed().as_secs(), 11, "10 without a byte, and one for the farewell");
    assert_eq!(disconnects(&context.hub, Close::TooSlow), 1);
    assert_eq!(context.hub.figures().clients, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_keeps_reading_stays() {
    let context = context(HubLimits::default());
    let mut stream = pipe(&context, 1024);
    stream.write_all(&masked(0x81, HELLO.as_bytes())).await.unwrap();
    let mut bytes = vec![0; 512];
    let mut total = stream.read(&mut bytes).await.unwrap();
    for _ in 0..20 {
        publish(&context.hub, "a", 1_000);
    }
    while total < 20_000 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        total += timeout(LIMIT, stream.read(&mut bytes)).await.expect("more").unwrap();
    }
    assert_eq!(disconnects(&context.hub, Close::TooSlow), 0);
    assert_eq!(context.hub.figures().clients, 1);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_too_slow_when_one_frame_takes_half_a_minute() {
    let context = context(HubLimits::default());
    let mut stream = pipe(&context, 1024);
    stream.write_all(&masked(0x81, HELLO.as_bytes())).await.unwrap();
    let mut bytes = [0; 1];
    stream.read_exact(&mut bytes).await.unwrap();
    for _ in 0..20 {
        publish(&context.hub, "a", 1_000);
    }
    let begun = Instant::now();
    while stream.read_exact(&mut bytes).await.is_ok() && context.hub.figures().clients > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(65), "{:?}", begun.elapsed());
    assert_eq!(disconnects(&context.hub, Close::TooSlow), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_but_is_never_heard_is_gone() {
    let context = context(HubLimits::default());
    let mut stream = pipe(&context, 64 * 1024);
    stream.write_all(&masked(0x81, HELLO.as_bytes())).await.unwrap();
    let begun = Instant::now();
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
    assert_eq!(begun.elapsed().as_secs(), 60, "a minute without a word");
    assert_eq!(disconnects(&context.hub, Close::TooSlow), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_stays_and_is_given_bookmarks() {
    let context = context(HubLimits::default());
    let mut socket = piped(&context).await;
    socket.send(Message::text(HELLO)).await.unwrap();
    let begun = Instant::now();
    let mut bookmarks = 0;
    while bookmarks < 20 {
        let message = timeout(Duration::from_secs(26), socket.next()).await.expect("never silent").unwrap().unwrap();
        bookmarks += u32::from(message.to_text().is_ok_and(|text| text.contains(r#""t":"bm""#)));
    }
    assert_eq!(begun.elapsed().as_secs(), 500);
    assert_eq!(context.hub.figures().clients, 1);
}
