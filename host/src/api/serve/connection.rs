use crate::api::serve::certificates;
use crate::api::serve::figures::{ServeFigures, Turned};
use crate::api::serve::guarded::Guarded;
use crate::api::serve::guests::Guest;
use crate::api::serve::listen::Accepted;
use crate::api::serve::outside::Peer;
use crate::api::serve::streams::{Patience, Streams, Verdict};
use crate::config::Snapshot;
use crate::task::{Places, TaskGroup};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Bytes of a request's head. hyper answers 431 beyond it, over HTTP/2 the connection ends.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How HTTP/2 begins; no method of HTTP/1.1 does that is known here.
const PREFACE: &[u8] = b"PRI";
/// What one client may have under way over HTTP/2, and what of it is held.
const STREAMS_MAX: u32 = 64;
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// Streams that a client gave up before they were looked at, and errors of its that we answered: then the connection ends.
const PENDING_RESETS_MAX: usize = 20;
const ERRORS_MAX: usize = 64;
/// A peer that is gone without a word is found out by a ping.
const PING_EACH: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Between the last answer and the end of a connection that is closed in order.
const FAREWELL: Duration = Duration::from_secs(1);

/// All that is known of a connection before it says anything.
pub(super) struct Visit {
    pub(super) peer: Peer,
    pub(super) guest: Arc<Guest>,
    pub(super) router: Router,
    /// As it was when the connection came.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) handshakes: Places,
    pub(super) acceptor: Option<TlsAcceptor>,
    /// Where the requests of HTTP/2 are tasks.
    pub(super) requests: TaskGroup,
    pub(super) figures: Arc<ServeFigures>,
    pub(super) stop: CancellationToken,
}

/// Serves a connection to its end.
pub(super) async fn serve(accepted: Accepted, visit: Visit) {
    let (guest, stop) = (Arc::clone(&visit.guest), visit.stop.clone());
    let figures = Arc::clone(&visit.figures);
    let deadline = Instant::now() + visit.snapshot.config.server.request_timeout;
    let answers = visit.snapshot.config.server.answer_timeout;
    // Until it is known what is spoken there is nothing to finish.
    let shaken = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = guest.dismissed() => return figures.turn(Turned::MadeRoom),
        shaken = shake(accepted, &visit, deadline, answers) => shaken,
    };
    match shaken {
        None => {}
        Some(Shaken::Plain(io, false)) => http1(io, visit, deadline).await,
        Some(Shaken::Plain(io, true)) => http2(io, visit, deadline).await,
        Some(Shaken::Socket(io)) => http1(io, visit, deadline).await,
        Some(Shaken::Tls(io, false)) => http1(*io, visit, deadline).await,
        Some(Shaken::Tls(io, true)) => http2(*io, visit, deadline).await,
    }
}

pub(in crate::api) type Tls = TlsStream<Guarded<TcpStream>>;

/// A connection of which is known what is spoken on it: true for HTTP/2.
enum Shaken {
    Plain(Guarded<TcpStream>, bool),
    Socket(Guarded<UnixStream>),
    Tls(Box<Tls>, bool),
}

async fn shake(accepted: Accepted, visit: &Visit, deadline: Instant, answers: Duration) -> Option<Shaken> {
    let stream = match accepted {
        Accepted::Unix(stream) => return Some(Shaken::Socket(Guarded::new(stream, answers))),
        Accepted::Tcp(stream) => stream,
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers of this connection may be late");
    }
    let peer = visit.peer.address;
    let Some(acceptor) = &visit.acceptor else {
        let mut first = [0; PREFACE.len()];
        let seen = timeout_at(deadline, stream.peek(&mut first)).await.ok()?.ok()?;
        return Some(Shaken::Plain(Guarded::new(stream, answers), first.get(..seen) == Some(PREFACE)));
    };
    let Some(_place) = visit.handshakes.try_take() else {
        visit.figures.turn(Turned::HandshakesFull);
        tracing::debug!(%peer, "too many handshakes are under way");
        return None;
    };
    let by = Instant::now() + visit.snapshot.config.server.handshake_timeout;
    match timeout_at(by, acceptor.accept_with(Guarded::new(stream, answers), certificates::bound)).await {
        Ok(Ok(tls)) => {
            let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            Some(Shaken::Tls(Box::new(tls), is_h2))
        }
        Ok(Err(error)) => {
            visit.figures.turn(Turned::HandshakeFailed);
            tracing::debug!(%peer, %error, "a handshake failed");
            None
        }
        Err(_) => {
            visit.figures.turn(Turned::HandshakeTimedOut);
            tracing::debug!(%peer, "a handshake took too long");
            None
        }
    }
}

/// What a request goes through on its way to the router.
struct Way {
    router: Router,
    peer: Peer,
    guest: Arc<Guest>,
    snapshot: Arc<Snapshot>,
}

impl Way {
    fn of(visit: &Visit) -> Self {
        let (guest, snapshot) = (Arc::clone(&visit.guest), Arc::clone(&visit.snapshot));
        Self { router: visit.router.clone(), peer: visit.peer, guest, snapshot }
    }

    async fn go(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        self.guest.settle();
        let mut request = request.map(Body::new);
        if let Some(uri) = below(request.uri(), &self.snapshot.config.server.base_path) {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(self.peer);
        self.router.clone().oneshot(request).await
    }
}

/// The address without the path that a proxy shows this server below; `None` if it is not below it, as where the proxy takes
/// that path away itself.
fn below(uri: &Uri, base: &str) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    let rest = whole.strip_prefix(base).filter(|_| !base.is_empty())?;
    let path = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        None | Some(b'?') => format!("/{rest}"),
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// Ends at the deadline if nothing was asked before.
async fn unless_asked(guest: &Guest, deadline: Instant) {
    tokio::select! {
        () = guest.settled() => std::future::pending().await,
        () = sleep_until(deadline) => {}
    }
}

async fn http1<S>(io: S, visit: Visit, deadline: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let way = Arc::new(Way::of(&visit));
    let Visit { peer, guest, snapshot, stop, .. } = visit;
    let service = service_fn(move |request| {
        let way = Arc::clone(&way);
        async move { way.go(request).await }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(snapshot.config.server.request_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(true);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = guest.dismissed() => return,
        () = unless_asked(&guest, deadline) => return,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "a connection broke");
    }
}

async fn http2<S>(io: S, visit: Visit, deadline: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let way = Arc::new(Way::of(&visit));
    let Visit { peer, guest, snapshot, stop, requests, .. } = visit;
    let server = &snapshot.config.server;
    let patience = Patience { idle: server.request_timeout, answer: server.answer_timeout };
    let streams = Streams::new(patience);
    let asked = Arc::clone(&streams);
    let service = service_fn(move |request| {
        let (way, asked) = (Arc::clone(&way), asked.begin());
        async move { Ok::<_, Infallible>(way.go(request).await?.map(|body| asked.answer(body))) }
    });
    let builder = http2_builder(requests);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let verdict = tokio::select! {
        ended = served.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(peer = %peer.address, %error, "a connection broke");
            }
            return;
        }
        () = guest.dismissed() => return,
        () = unless_asked(&guest, deadline) => return,
        () = stop.cancelled() => None,
        verdict = streams.judged() => Some(verdict),
    };
    if let Some(verdict) = verdict {
        tracing::debug!(peer = %peer.address, why = verdict.as_str(), "a connection is closed");
    }
    match verdict {
        Some(Verdict::Stalled | Verdict::Flood) => {}
        // What is under way may finish.
        Some(Verdict::Idle) | None => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                _ = served.as_mut() => return,
                () = streams.quiet() => {}
            }
            // A peer that does not say goodbye is not waited for.
            let _ = tokio::time::timeout(FAREWELL, served).await;
        }
    }
}

/// Every bound of the protocol is set here, whatever the library's own would be. An endless head (CONTINUATION) ends with
/// the size of a head.
fn http2_builder(requests: TaskGroup) -> http2::Builder<InGroup> {
    let mut builder = http2::Builder::new(InGroup(requests));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .keep_alive_interval(PING_EACH)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}

/// Starts the requests of HTTP/2 where they are counted and waited for.
#[derive(Clone)]
struct InGroup(TaskGroup);

impl<F> Executor<F> for InGroup
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// A connection that HTTP has left to somebody else, with what was read of it already.
pub(in crate::api) enum Taken {
    Tcp(TcpStream, Bytes),
    Unix(UnixStream, Bytes),
    Tls(Box<Tls>, Bytes),
    /// One of another kind, as tests have.
    Other(TokioIo<Upgraded>),
}

/// Takes a connection apart that was upgraded. Nobody minds whether its peer takes what is sent any more.
pub(in crate::api) fn take_apart(upgraded: Upgraded) -> Taken {
    let upgraded = match upgraded.downcast::<TokioIo<Guarded<TcpStream>>>() {
        Ok(parts) => return Taken::Tcp(parts.io.into_inner().into_inner(), parts.read_buf),
        Err(upgraded) => upgraded,
    };
    let upgraded = match upgraded.downcast::<TokioIo<Tls>>() {
        Ok(parts) => {
            let mut tls = parts.io.into_inner();
            tls.get_mut().0.disarm();
            return Taken::Tls(Box::new(tls), parts.read_buf);
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<Guarded<UnixStream>>>() {
        Ok(parts) => Taken::Unix(parts.io.into_inner().into_inner(), parts.read_buf),
        Err(upgraded) => Taken::Other(TokioIo::new(upgraded)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_proxy_is_taken_away_where_it_is() {
        let below = |uri: &str, base: &str| below(&uri.parse().unwrap(), base).map(|uri| uri.to_string());
        assert_eq!(below("/fleet/api/v1/nodes?x=%2F", "/fleet").as_deref(), Some("/api/v1/nodes?x=%2F"));
        assert_eq!(below("/fleet", "/fleet").as_deref(), Some("/"));
        assert_eq!(below("/fleet?a=b", "/fleet").as_deref(), Some("/?a=b"));
        assert_eq!(below("https://h:1/fleet/livez", "/fleet").as_deref(), Some("https://h:1/livez"));
        assert_eq!(below("/fleets/livez", "/fleet"), None);
        assert_eq!(below("/livez", "/fleet"), None, "the proxy has taken it away");
        assert_eq!(below("/livez", ""), None);
        assert_eq!(below("/fleet//evil", "/fleet").as_deref(), Some("//evil"));
    }
}
