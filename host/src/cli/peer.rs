//! The other side for tests: a small real server on a port of its own, which answers as a test tells it to.

use super::api::Api;
use super::http::Http;
use super::server::ServerUrl;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::task::TaskTracker;

pub(crate) type Answer = Response<Full<Bytes>>;

/// A server that answers requests, and remembers them as `METHOD TARGET`, a space, and the body.
pub(crate) struct Peer {
    pub(crate) url: ServerUrl,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
    _tasks: TaskTracker,
}

impl Peer {
    pub(crate) async fn start(answer: impl Fn(&Request<Bytes>) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let (listener, url) = listen().await;
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let tasks = TaskTracker::new();
        let (log, count, inner) = (seen.clone(), connections.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().expect("not poisoned") += 1;
                let (answer, log) = (answer.clone(), log.clone());
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (answer, log) = (answer.clone(), log.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.expect("a whole request").to_bytes();
                        let line = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
                        log.lock().expect("not poisoned").push(line);
                        Ok::<_, Infallible>(answer(&Request::from_parts(head, body)))
                    }
                });
                inner.spawn(async move {
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await)
                });
            }
        });
        Self { url, seen, connections, _tasks: tasks }
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(Http::new(self.url.clone(), Some("TOKEN")).expect("a plain token"))
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

/// A listener on a free port of this machine.
pub(crate) async fn listen() -> (TcpListener, ServerUrl) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, ServerUrl::parse(&format!("http://{address}")).expect("an address"))
}

/// An answer with a JSON document.
pub(crate) fn json(status: u16, document: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(document).expect("JSON");
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

/// A problem document.
pub(crate) fn problem(status: u16, code: &str, detail: &str) -> Answer {
    let document = serde_json::json!({
        "type": format!("https://omnivisor.dev/problems/{code}"), "title": "t", "status": status, "code": code,
        "detail": detail, "request_id": "r-7",
    });
    json(status, &document)
}

/// The server's end of one feed connection.
pub(crate) struct FeedPeer {
    socket: WebSocketStream<TcpStream>,
    /// What the client said first.
    pub(crate) hello: serde_json::Value,
}

impl FeedPeer {
    /// Takes the next connection and reads its hello.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, CheckHead).await.expect("a handshake");
        let hello = socket.next().await.expect("a message").expect("a whole one").into_text().expect("a text");
        Self { socket, hello: serde_json::from_str(&hello).expect("JSON") }
    }

    pub(crate) async fn say(&mut self, frame: serde_json::Value) {
        self.socket.send(Message::text(frame.to_string())).await.expect("sent");
    }

    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.close(Some(frame)).await.expect("closed");
    }
}

/// Answers with the subprotocol, as the real server does, and insists on the token.
struct CheckHead;

type Head = tokio_tungstenite::tungstenite::handshake::server::Response;
type Refusal = tokio_tungstenite::tungstenite::handshake::server::ErrorResponse;

impl tokio_tungstenite::tungstenite::handshake::server::Callback for CheckHead {
    fn on_request(
        self,
        request: &tokio_tungstenite::tungstenite::handshake::server::Request,
        mut response: Head,
    ) -> Result<Head, Refusal> {
        assert_eq!(request.uri().path(), "/api/v1/feed");
        assert_eq!(request.headers()["sec-websocket-protocol"], "feed.v1");
        assert_eq!(request.headers()["authorization"], "Bearer TOKEN");
        response.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static("feed.v1"));
        Ok(response)
    }
}
