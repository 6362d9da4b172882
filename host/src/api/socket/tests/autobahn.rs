//! The cases of the Autobahn suite against the adapter that reads the feed's clients and the shard that writes to them.
//!
//! The feed itself answers no message with the same message, so what stands behind the adapter here is an echo: each
//! connection has a hub of its own, and what it says is published there as it stands on the wire.

use super::*;
use crate::api::socket::adapter::Adapter;
use crate::api::socket::allowance::Allowance;
use crate::api::socket::client::{End, end_of, hang_up};
use crate::hub::{Framing, Hello, Patterns, Wire};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::Upgraded;
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

const TOPIC: &str = "node/echo/state";
/// The largest message of the suite, and room.
const ECHO_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Sections 12 and 13 are about compression, which is not spoken.
const CASES: usize = 301;

/// A connection whose client is not shown the welcome and the snapshot, which no echo would send.
struct Muted {
    wire: OwnedWriteHalf,
    left: Arc<AtomicUsize>,
}

impl tokio::io::AsyncWrite for Muted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (left, all) = (self.left.load(Ordering::SeqCst), slices.iter().map(|slice| slice.len()).sum());
        if left == 0 {
            return Pin::new(&mut self.wire).poll_write_vectored(cx, slices);
        }
        let muted = left.min(all);
        self.left.store(left - muted, Ordering::SeqCst);
        Poll::Ready(Ok(muted))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

impl Wire for Muted {
    fn cut(&mut self) {
        self.wire.cut();
    }
}

/// Bytes of the first two frames of a client of a hub that holds nothing.
fn greeting(hub: &Hub) -> usize {
    let epoch = format!("{}-{:016x}", hub.epoch(), 0);
    let welcome = format!(r#"{{"t":"welcome","epoch":"{epoch}","o":0,"mode":"snapshot"}}"#);
    let snapshot = r#"{"t":"snap","o":0,"i":0,"last":true,"items":[]}"#;
    assert!(welcome.len() < 126 && snapshot.len() < 126, "a header has two bytes then");
    welcome.len() + snapshot.len() + 4
}

async fn echo(read: OwnedReadHalf, write: OwnedWriteHalf, already: Vec<u8>, tasks: TaskGroup) {
    let (hub, stop) = (Hub::new(HubLimits::default()), CancellationToken::new());
    let _end = stop.clone().drop_guard();
    tasks.named("shard", hub.shard(stop));
    let left = Arc::new(AtomicUsize::new(greeting(&hub)));
    let access = Access { needs: "feed", classes: &[("node", "node")] };
    let wire = Box::new(Muted { wire: write, left: left.clone() });
    let (link, closed) = hub.reserve().unwrap().join(wire, Framing::WebSocket, grant(), access).unwrap();
    link.subscribe(Hello { patterns: Patterns::parse(&[TOPIC]).unwrap(), since: None, logs: Vec::new() });
    until("the greeting is behind us", || left.load(Ordering::SeqCst) == 0).await;
    let adapter = Adapter::new(read, link, Allowance::new(1 << 40, 1 << 40));
    let config = WebSocketConfig::default()
        .read_buffer_size(64 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(ECHO_BYTES_MAX)
        .max_message_size(Some(ECHO_BYTES_MAX))
        .max_frame_size(Some(ECHO_BYTES_MAX));
    let mut socket = WebSocketStream::from_partially_read(adapter, already, Role::Server, Some(config)).await;
    tokio::select! {
        _ = closed => {}
        () = converse(&mut socket, &hub) => {}
    }
}

async fn converse(socket: &mut WebSocketStream<Adapter<OwnedReadHalf>>, hub: &Hub) {
    let end = loop {
        let (data, bytes): (Data, Bytes) = match socket.next().await {
            Some(Ok(Message::Text(text))) => (Data::Text, text.into()),
            Some(Ok(Message::Binary(bytes))) => (Data::Binary, bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => break End::left(),
            Some(Err(error)) => break end_of(&error),
        };
        let mut framed = Vec::with_capacity(bytes.len() + 10);
        Frame::message(bytes, OpCode::Data(data), true).format(&mut framed).unwrap();
        hub.publish_frame(TOPIC, framed.into());
    };
    hang_up(socket, end).await;
}

/// Answers every handshake.
async fn serve_echoes(listener: TcpListener, tasks: TaskGroup) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tasks, connections) = (tasks.clone(), tasks.clone());
        connections.named("connection", async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                let key = request.headers()[SEC_WEBSOCKET_KEY].clone();
                let (upgraded, tasks) = (hyper::upgrade::on(&mut request), tasks.clone());
                let group = tasks.clone();
                tasks.named("echo", async move {
                    let Ok(upgraded) = upgraded.await else { return };
                    let parts = Upgraded::downcast::<TokioIo<TcpStream>>(upgraded).unwrap();
                    let (read, write) = parts.io.into_inner().into_split();
                    echo(read, write, parts.read_buf.to_vec(), group).await;
                });
                let response = Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header(CONNECTION, "upgrade")
                    .header(UPGRADE, "websocket")
                    .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
                    .body(Body::empty());
                async { Ok::<_, Infallible>(response.unwrap()) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cases_of_autobahn_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let kosoku = std::env::var_os("OMNIVISOR_KOSOKU")
        .map_or_else(|| root.join("target/tools/kosoku-venv/bin/kosoku"), std::path::PathBuf::from);
    let reports = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tracker = TaskTracker::new();
    let tasks = TaskGroup::on(TaskKind::Feed, &tracker);
    tasks.clone().named("listener", serve_echoes(listener, tasks));
    let ran = tokio::process::Command::new(&kosoku)
        .arg(address.to_string())
        .args(["-x", "12.*", "-x", "13.*", "-p", "4", "-o"])
        .arg(reports.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = timeout(Duration::from_mins(5), ran).await.expect("in time").expect("kosoku: make setup");
    let (out, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{errors}");
    assert!(out.contains(&format!("{CASES} cases passed")), "{out}\n{errors}");
}
