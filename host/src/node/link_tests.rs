//! The link against scripted peers on real sockets.

use crate::config::{Endpoint, NodeConfig, NodeLogin, PoolConfig};
use crate::model::{NodeId, Secret};
use crate::node::link::{Link, Repeat, Trace, Traced};
use crate::plugin::{ExchangeFailure, ExchangeRequest, ExchangeResponse, StreamRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const LIMIT: usize = 1_000;

pub(super) async fn rig() -> (TcpListener, Arc<Link>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let node = NodeConfig {
        name: NodeId::parse("n").expect("a name"),
        environment: None,
        adapter: "any".into(),
        endpoint: Endpoint::Tcp { host: address.ip().to_string(), port: address.port() },
        login: Some(NodeLogin { username: "ann".into(), password: Secret::new("pw".into()) }),
        is_enabled: true,
    };
    let pool = PoolConfig {
        poll_interval: Duration::from_secs(1),
        nudge_interval: Duration::ZERO,
        connect_timeout: Duration::from_secs(5),
        call_timeout: Duration::from_secs(5),
        order_timeout: Duration::from_secs(5),
        log_timeout: Duration::from_secs(5),
        response_bytes_max: LIMIT,
        failures_max: 2,
        breaker_failures_max: 5,
        breaker_cooldown: Duration::from_secs(1),
        commands_max: 4,
    };
    (listener, Arc::new(Link::new(&node, &pool)))
}

async fn ask(link: &Link, path: &str, limit: Duration) -> Result<ExchangeResponse, ExchangeFailure> {
    traced(link, path, limit, Repeat::Never).await.0
}

/// The same, with what can be said of it from outside.
async fn traced(
    link: &Link,
    path: &str,
    limit: Duration,
    repeat: Repeat,
) -> (Result<ExchangeResponse, ExchangeFailure>, Traced) {
    let request = ExchangeRequest { method: "POST".into(), path: path.into(), headers: vec![], body: b"?".to_vec() };
    let trace = Trace::default();
    let result = link.exchange(request, Instant::now() + limit, repeat, &trace).await;
    (result, trace.take())
}

/// Reads one request with the one-byte body that `ask` sends.
async fn request(peer: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n?") {
        let byte = peer.read_u8().await.expect("a request");
        text.push(byte);
        assert!(text.len() < 4_096, "no end of request: {}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).expect("text")
}

fn reply(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn one_connection_serves_many_requests_and_carries_the_credentials() {
    let (listener, link) = rig().await;
    let peer = async {
        let (mut peer, _) = listener.accept().await.expect("a connection");
        for path in ["/a", "/b", "/c"] {
            let text = request(&mut peer).await.to_lowercase();
            assert!(text.starts_with(&format!("post {path} http/1.1")), "{text}");
            assert!(text.contains("authorization: basic yw5uonb3"), "{text}");
            peer.write_all(reply(path).as_bytes()).await.expect("sent");
        }
    };
    let client = async {
        for path in ["/a", "/b", "/c"] {
            let response = ask(&link, path, SOON).await.expect("answered");
            assert_eq!((response.status, response.body), (200, path.as_bytes().to_vec()));
        }
    };
    timeout(SOON, async { tokio::join!(peer, client) }).await.expect("one connection was enough");
}

#[tokio::test]
async fn a_silent_peer_sees_the_socket_closed_at_the_deadline() {
    let (listener, link) = rig().await;
    let peer = async {
        let (mut peer, _) = listener.accept().await.expect("a connection");
        request(&mut peer).await;
        let mut rest = Vec::new();
        timeout(SOON, peer.read_to_end(&mut rest)).await.expect("closed").expect("by an orderly end")
    };
    let client = async {
        let (failed, traced) = traced(&link, "/", Duration::from_millis(100), Repeat::Once).await;
        assert_eq!(failed, Err(ExchangeFailure::TimedOut));
        assert_eq!(traced.failure, Some(ExchangeFailure::TimedOut));
        // Counted from when the request was on its way, a little after the deadline was set.
        assert!(traced.is_open && traced.spent >= Duration::from_millis(80), "{traced:?}");
    };
    let (rest, ()) = tokio::join!(peer, client);
    assert_eq!(rest, 0);
}

#[tokio::test]
async fn a_dropped_call_closes_its_socket_and_the_next_uses_a_new_one() {
    let (listener, link) = rig().await;
    let peer = async {
        let (mut first, _) = listener.accept().await.expect("a connection");
        request(&mut first).await;
        let mut rest = Vec::new();
        timeout(SOON, first.read_to_end(&mut rest)).await.expect("closed").expect("in order");
        let (mut second, _) = listener.accept().await.expect("another connection");
        request(&mut second).await;
        second.write_all(reply("two").as_bytes()).await.expect("sent");
        second
    };
    let client = async {
        let dropped = timeout(Duration::from_millis(100), ask(&link, "/1", SOON)).await;
        assert!(dropped.is_err(), "{dropped:?}");
        assert_eq!(ask(&link, "/2", SOON).await.expect("answered").body, b"two");
    };
    timeout(SOON, async { tokio::join!(peer, client) }).await.expect("in time");
}

#[tokio::test]
async fn bytes_nobody_asked_for_are_never_the_next_answer() {
    let (listener, link) = rig().await;
    let (pushed, wait) = tokio::sync::oneshot::channel();
    let peer = async {
        let (mut first, _) = listener.accept().await.expect("a connection");
        request(&mut first).await;
        first.write_all(reply("one").as_bytes()).await.expect("sent");
        first.write_all(reply("evil").as_bytes()).await.expect("sent");
        pushed.send(()).expect("listening");
        let (mut second, _) = listener.accept().await.expect("another connection");
        request(&mut second).await;
        second.write_all(reply("two").as_bytes()).await.expect("sent");
        (first, second)
    };
    let client = async {
        assert_eq!(ask(&link, "/1", SOON).await.expect("answered").body, b"one");
        wait.await.expect("pushed");
        assert_eq!(ask(&link, "/2", SOON).await.expect("answered").body, b"two");
    };
    timeout(SOON, async { tokio::join!(peer, client) }).await.expect("in time");
}

#[tokio::test]
async fn what_breaks_the_rules_is_a_typed_failure() {
    let long = reply(&"x".repeat(LIMIT + 1));
    let endless = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
        "200\r\n".to_owned() + &"y".repeat(512) + "\r\n"
    ) + &("200\r\n".to_owned() + &"y".repeat(512) + "\r\n").repeat(2);
    type Verdict = fn(&ExchangeFailure) -> bool;
    let news = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(50);
    let cases: [(&str, Verdict); 11] = [
        (&long, |f| matches!(f, ExchangeFailure::TooLarge { limit: 1_000 })),
        (&endless, |f| matches!(f, ExchangeFailure::TooLarge { limit: 1_000 })),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx", |f| {
            matches!(f, ExchangeFailure::Protocol(_))
        }),
        ("SSH-2.0-OpenSSH\r\n", |f| matches!(f, ExchangeFailure::Protocol(_))),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbroken", |f| matches!(f, ExchangeFailure::Unreachable(_))),
        ("", |f| matches!(f, ExchangeFailure::Unreachable(_))),
        (&news, |f| matches!(f, ExchangeFailure::Protocol(why) if why.contains("1xx"))),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", |f| {
            matches!(f, ExchangeFailure::Protocol(_))
        }),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", |f| {
            matches!(f, ExchangeFailure::Protocol(_))
        }),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy", |f| {
            matches!(f, ExchangeFailure::Protocol(_))
        }),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", |f| {
            matches!(f, ExchangeFailure::Protocol(_))
        }),
    ];
    for (bytes, is_right) in cases {
        let (listener, link) = rig().await;
        let peer = async {
            let (mut peer, _) = listener.accept().await.expect("a connection");
            request(&mut peer).await;
            peer.write_all(bytes.as_bytes()).await.expect("sent");
            peer.shutdown().await.expect("shut");
            peer
        };
        let (_peer, failed) = tokio::join!(peer, ask(&link, "/", SOON));
        let failure = failed.expect_err(bytes);
        assert!(is_right(&failure), "{bytes:.60}: {failure:?}");
    }
}

#[tokio::test]
async fn no_listener_is_unreachable_and_names_no_address() {
    let (listener, link) = rig().await;
    let port = listener.local_addr().expect("bound").port().to_string();
    drop(listener);
    let Err(ExchangeFailure::Unreachable(why)) = ask(&link, "/", SOON).await else { panic!("reached") };
    assert!(why.contains("refused") && !why.contains(&port), "{why}");
}

#[tokio::test]
async fn a_stream_gives_its_pieces_as_they_come_and_ends() {
    let (listener, link) = rig().await;
    let peer = async {
        let (mut peer, _) = listener.accept().await.expect("a connection");
        let mut head = [0; 1_024];
        let read = peer.read(&mut head).await.expect("a request");
        assert!(head[..read].starts_with(b"GET /mainlogtail"));
        peer.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await.expect("sent");
        peer.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.expect("sent");
        peer
    };
    let client = async {
        let request = StreamRequest { path: "/mainlogtail".into(), headers: vec![] };
        let mut stream = link.open_stream(request, Instant::now() + SOON).await.expect("opened");
        let mut all = Vec::new();
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece);
        }
        assert_eq!(all, b"onetwo");
    };
    timeout(SOON, async { tokio::join!(peer, client) }).await.expect("in time");
}

/// The kept connection is there when the request goes out, and breaks under it.
async fn broken_under_the_second_request(
    repeat: Repeat,
    accepts_again: bool,
) -> (Result<Vec<u8>, ExchangeFailure>, Traced) {
    let (listener, link) = rig().await;
    let peer = async {
        let (mut first, _) = listener.accept().await.expect("a connection");
        request(&mut first).await;
        first.write_all(reply("one").as_bytes()).await.expect("sent");
        request(&mut first).await;
        drop(first);
        if accepts_again {
            let (mut second, _) = listener.accept().await.expect("another connection");
            request(&mut second).await;
            second.write_all(reply("two").as_bytes()).await.expect("sent");
        }
    };
    let client = async {
        ask(&link, "/1", SOON).await.expect("answered");
        let (result, traced) = traced(&link, "/2", SOON, repeat).await;
        (result.map(|response| response.body), traced)
    };
    timeout(SOON, async { tokio::join!(peer, client) }).await.expect("in time").1
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_not_sent_twice_and_a_read_is() {
    let (read, traced) = broken_under_the_second_request(Repeat::Once, true).await;
    assert_eq!((read.expect("answered"), traced.sent, traced.is_open), (b"two".to_vec(), 2, false));
    let (order, traced) = broken_under_the_second_request(Repeat::Never, false).await;
    assert!(matches!(order, Err(ExchangeFailure::Unreachable(_))), "{order:?}");
    assert_eq!((traced.sent, traced.is_open), (1, true), "nobody knows what became of it");
}

#[tokio::test]
async fn what_never_left_is_known_not_to_have_left() {
    let (listener, link) = rig().await;
    drop(listener);
    let (result, traced) = traced(&link, "/", SOON, Repeat::Never).await;
    assert!(matches!(result, Err(ExchangeFailure::Unreachable(_))));
    assert_eq!((traced.sent, traced.is_open, traced.spent), (0, false, Duration::ZERO));
}
