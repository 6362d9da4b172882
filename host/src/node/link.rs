//! The byte exchange with one node: the only place of this room that speaks HTTP.
//!
//! One kept connection. A connection with a request in flight belongs to that request alone: it goes back into its slot
//! after a complete reply and is closed in every other case, a dropped future included.

use crate::config::{Endpoint, NodeConfig, NodeLogin, PoolConfig};
use crate::node::redaction::Redaction;
use crate::node::socket::Socket;
use crate::plugin::{ExchangeFailure, ExchangeRequest, ExchangeResponse, StreamRequest};
use base64::Engine;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, SET_COOKIE, TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Answers of the kind 1xx before the one that counts. A supervisor sends none at all.
const INFORMATIONAL_MAX: u32 = 8;

/// What the calls of one adapter did to the wire, seen from outside the adapter, which cannot hide it.
#[derive(Debug, Default)]
pub(super) struct Trace(Mutex<Traced>);

/// See [`Trace`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Traced {
    /// The last failure, if any.
    pub(super) failure: Option<ExchangeFailure>,
    /// Requests that left, or may have.
    pub(super) sent: u32,
    /// The last of them has no complete answer: nobody knows what the node did.
    pub(super) is_open: bool,
    /// From requests to their answers, all together: what the node had to do, without our own waiting.
    pub(super) spent: Duration,
}

impl Traced {
    pub(super) fn is_sent(&self) -> bool {
        self.sent > 0
    }
}

impl Trace {
    pub(super) fn take(&self) -> Traced {
        std::mem::take(&mut lock(&self.0))
    }

    fn note(&self, change: impl FnOnce(&mut Traced)) {
        change(&mut lock(&self.0));
    }
}

/// Whether a request may be sent again when the kept connection broke under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes something: never.
    Never,
    /// It only reads: once, on a new connection.
    Once,
}

/// The way to one node. Shared by the calls that are about it; at most one of them uses the kept connection.
pub(super) struct Link {
    endpoint: Endpoint,
    headers: Result<Headers, ExchangeFailure>,
    connect_timeout: Duration,
    response_bytes_max: usize,
    kept: Mutex<Option<Wire>>,
    /// What is not shown of what the node says.
    pub(super) redaction: Redaction,
}

/// What every request of a link carries.
struct Headers {
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

/// An HTTP/1.1 connection together with the future that drives it. Nothing is spawned: who holds it drives it, and who
/// drops it closes the socket.
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<Connection<TokioIo<Socket>, Full<Bytes>>>>,
}

/// How far an attempt came, which decides whether another is allowed.
enum Attempt {
    Done(ExchangeResponse),
    /// The connection was closed before the request was written.
    NotSent,
    /// It broke afterwards.
    Broken(ExchangeFailure),
}

/// A request without a complete reply.
struct Unanswered {
    failure: ExchangeFailure,
    was_sent: bool,
}

impl Unanswered {
    /// It may have been carried out.
    fn after(failure: ExchangeFailure) -> Self {
        Self { failure, was_sent: true }
    }
}

impl Link {
    /// A way to this node. Nothing is connected yet. If user name or host cannot be a header, every exchange is
    /// [`ExchangeFailure::Refused`].
    pub(super) fn new(node: &NodeConfig, pool: &PoolConfig) -> Self {
        Self {
            endpoint: node.endpoint.clone(),
            headers: Headers::new(node),
            connect_timeout: pool.connect_timeout,
            response_bytes_max: pool.response_bytes_max,
            kept: Mutex::new(None),
            redaction: Redaction::new(node.login.as_ref()),
        }
    }

    /// Closes the kept connection.
    pub(super) fn close(&self) {
        drop(lock(&self.kept).take());
    }

    /// Opens a stream on a connection of its own and waits for the reply's head.
    ///
    /// # Errors
    /// [`ExchangeFailure`], among them `Protocol` for any status but 200.
    pub(super) async fn open_stream(
        &self,
        request: StreamRequest,
        deadline: Instant,
    ) -> Result<NodeStream, ExchangeFailure> {
        let request =
            ExchangeRequest { method: "GET".into(), path: request.path, headers: request.headers, body: vec![] };
        let request = self.http_request(request)?;
        let mut wire = self.connect(deadline).await?;
        let sent = timeout_at(deadline, wire.send(request)).await.map_err(|_| ExchangeFailure::TimedOut)?;
        let response = sent.map_err(|unanswered| unanswered.failure)?;
        if response.status() != http::StatusCode::OK {
            return Err(ExchangeFailure::Protocol(format!(
                "the stream was answered with status {}",
                response.status()
            )));
        }
        Ok(NodeStream { wire, body: response.into_body() })
    }

    /// Sends a request and reads the whole reply before `deadline`. What happened is noted in `trace`.
    ///
    /// # Errors
    /// [`ExchangeFailure`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection: one with a request in flight is never used again. `trace` says whether
    /// the request may have left.
    pub(super) async fn exchange(
        &self,
        request: ExchangeRequest,
        deadline: Instant,
        repeat: Repeat,
        trace: &Trace,
    ) -> Result<ExchangeResponse, ExchangeFailure> {
        let result = self.attempts(request, deadline, repeat, trace).await;
        if let Err(failure) = &result {
            trace.note(|traced| traced.failure = Some(failure.clone()));
        }
        result
    }

    async fn attempts(
        &self,
        request: ExchangeRequest,
        deadline: Instant,
        repeat: Repeat,
        trace: &Trace,
    ) -> Result<ExchangeResponse, ExchangeFailure> {
        let kept = lock(&self.kept).take();
        if let Some(mut wire) = kept {
            // A kept connection that is closed, or that has bytes nobody asked for, shows it before anything is sent.
            // What follows a request on it can not be told from its execution.
            if wire.is_quiet().await {
                match self.attempt(wire, self.http_request(request.clone())?, deadline, trace).await? {
                    Attempt::Done(response) => return Ok(response),
                    Attempt::NotSent => {}
                    Attempt::Broken(_) if repeat == Repeat::Once => {}
                    Attempt::Broken(failure) => return Err(failure),
                }
            }
            tracing::debug!("the node had closed the kept connection; connecting anew");
        }
        let wire = self.connect(deadline).await?;
        match self.attempt(wire, self.http_request(request)?, deadline, trace).await? {
            Attempt::Done(response) => Ok(response),
            Attempt::Broken(failure) => Err(failure),
            Attempt::NotSent => Err(unreachable("the node closed the connection before anything was sent")),
        }
    }

    async fn attempt(
        &self,
        mut wire: Wire,
        request: http::Request<Full<Bytes>>,
        deadline: Instant,
        trace: &Trace,
    ) -> Result<Attempt, ExchangeFailure> {
        let limit = self.response_bytes_max;
        let began = Instant::now();
        // From here on it may have left, also when this future is dropped.
        trace.note(|traced| (traced.sent, traced.is_open) = (traced.sent + 1, true));
        let exchange = async {
            let response = wire.send(request).await?;
            wire.read(response, limit).await.map_err(Unanswered::after)
        };
        let ended = timeout_at(deadline, exchange).await;
        trace.note(|traced| traced.spent += began.elapsed());
        let response = match ended.map_err(|_| ExchangeFailure::TimedOut)? {
            Ok(response) => response,
            Err(Unanswered { was_sent: false, .. }) => {
                trace.note(|traced| (traced.sent, traced.is_open) = (traced.sent - 1, false));
                return Ok(Attempt::NotSent);
            }
            Err(Unanswered { failure, .. }) if matches!(failure, ExchangeFailure::Unreachable(_)) => {
                return Ok(Attempt::Broken(failure));
            }
            Err(Unanswered { failure, .. }) => return Err(failure),
        };
        trace.note(|traced| traced.is_open = false);
        if wire.sender.is_ready() || wire.becomes_ready().await {
            *lock(&self.kept) = Some(wire);
        }
        Ok(Attempt::Done(response))
    }

    async fn connect(&self, deadline: Instant) -> Result<Wire, ExchangeFailure> {
        let deadline = deadline.min(Instant::now() + self.connect_timeout);
        let connect = async {
            let socket = self.connect_socket(deadline).await?;
            let mut builder = http1::Builder::new();
            builder.max_buf_size(64 << 10).max_headers(100);
            let (sender, driver) = builder.handshake(TokioIo::new(socket)).await.map_err(|e| protocol(&e))?;
            Ok(Wire { sender, driver: Box::pin(driver) })
        };
        timeout_at(deadline, connect).await.map_err(|_| unreachable("no connection in time"))?
    }

    /// A connection of its own, on which nothing was sent.
    ///
    /// # Errors
    /// [`ExchangeFailure::Unreachable`].
    pub(super) async fn connect_socket(&self, deadline: Instant) -> Result<Socket, ExchangeFailure> {
        let deadline = deadline.min(Instant::now() + self.connect_timeout);
        let socket = timeout_at(deadline, Socket::connect(&self.endpoint)).await;
        socket.map_err(|_| unreachable("no connection in time"))?.map_err(|error| unreachable(&describe(&error)))
    }

    /// What stands in the header `Host`.
    ///
    /// # Errors
    /// [`ExchangeFailure::Refused`] when nothing can.
    pub(super) fn host(&self) -> Result<&HeaderValue, ExchangeFailure> {
        self.headers.as_ref().map(|headers| &headers.host).map_err(Clone::clone)
    }

    fn http_request(&self, request: ExchangeRequest) -> Result<http::Request<Full<Bytes>>, ExchangeFailure> {
        let mut builder = http::Request::builder().method(request.method.as_str()).uri(&request.path);
        let Headers { host, authorization } = self.headers.as_ref().map_err(Clone::clone)?;
        builder = builder.header(HOST, host.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::from(request.body)).map_err(|error| refused(&error.to_string()))
    }
}

impl Headers {
    fn new(node: &NodeConfig) -> Result<Self, ExchangeFailure> {
        let host = match &node.endpoint {
            Endpoint::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Endpoint::Tcp { host, port } => format!("{host}:{port}"),
            Endpoint::Unix { .. } => "localhost".to_owned(),
        };
        Ok(Self {
            host: HeaderValue::from_str(&host).map_err(|_| refused("the host name cannot stand in a header"))?,
            authorization: node.login.as_ref().map(basic).transpose()?,
        })
    }
}

/// A reply without an end, read piece by piece.
pub(super) struct NodeStream {
    wire: Wire,
    body: Incoming,
}

impl NodeStream {
    /// The next bytes; `None` when the stream has ended or broken.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = self.wire.drive(self.body.frame()).await?;
            match frame.ok()?.into_data() {
                Ok(bytes) if !bytes.is_empty() => return Some(bytes),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

impl Wire {
    /// Sends a request and waits for the head of its reply.
    async fn send(&mut self, mut request: http::Request<Full<Bytes>>) -> Result<http::Response<Incoming>, Unanswered> {
        let said = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&said);
        hyper::ext::on_informational(&mut request, move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let response = self.sender.try_send_request(request);
        let too_many = poll_fn(|_| match said.load(Ordering::Relaxed) > INFORMATIONAL_MAX {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let answer = async {
            tokio::select! {
                biased;
                () = too_many => Err(Unanswered::after(ExchangeFailure::Protocol("answers of the kind 1xx without an end".into()))),
                response = response => response.map_err(|mut error| {
                    let was_sent = error.take_message().is_none();
                    Unanswered { failure: broken(error.error()), was_sent }
                }),
            }
        };
        let response = drive(&mut self.driver, answer).await?;
        check_framing(&response).map_err(Unanswered::after)?;
        Ok(response)
    }

    async fn read(
        &mut self,
        response: http::Response<Incoming>,
        bytes_max: usize,
    ) -> Result<ExchangeResponse, ExchangeFailure> {
        let (head, mut body) = response.into_parts();
        if head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(ExchangeFailure::Protocol("the reply is compressed, which nobody asked for".into()));
        }
        let mut bytes = Vec::new();
        while let Some(frame) = self.drive(body.frame()).await {
            let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
            if bytes.len() + data.len() > bytes_max {
                return Err(ExchangeFailure::TooLarge { limit: bytes_max as u64 });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(ExchangeResponse { status: head.status.as_u16(), headers: readable(&head.headers), body: bytes })
    }

    /// Drives the connection while `work` waits for it.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        drive(&mut self.driver, work).await
    }

    /// True if the idle connection is still open and the node has sent nothing on it.
    async fn is_quiet(&mut self) -> bool {
        let is_over = poll_fn(|cx| Poll::Ready(self.driver.as_mut().poll(cx).is_ready())).await;
        !is_over && !self.sender.is_closed()
    }

    /// The sender is free again one turn of the driver after the reply's end.
    async fn becomes_ready(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.driver.as_mut().poll(cx).is_pending())).await && self.sender.is_ready()
    }
}

async fn drive<T>(driver: &mut Pin<Box<Connection<TokioIo<Socket>, Full<Bytes>>>>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut is_over = false;
    poll_fn(|cx| {
        // Once before, so that what has arrived is seen; once after, so that what was written goes out.
        for _ in 0..2 {
            if !is_over {
                is_over = driver.as_mut().poll(cx).is_ready();
            }
            if let Poll::Ready(value) = work.as_mut().poll(cx) {
                return Poll::Ready(value);
            }
        }
        Poll::Pending
    })
    .await
}

/// A reply whose end can be read in two ways is nobody's reply.
fn check_framing(response: &http::Response<Incoming>) -> Result<(), ExchangeFailure> {
    let count = |name| response.headers().get_all(name).iter().count();
    let (lengths, codings) = (count(CONTENT_LENGTH), count(TRANSFER_ENCODING));
    if lengths > 1 || codings > 1 || lengths + codings > 1 {
        return Err(ExchangeFailure::Protocol("the reply gives its length more than once".into()));
    }
    if response.status().is_informational() {
        return Err(ExchangeFailure::Protocol("the reply would change the protocol".into()));
    }
    Ok(())
}

fn basic(login: &NodeLogin) -> Result<HeaderValue, ExchangeFailure> {
    let pair = format!("{}:{}", login.username, login.password.reveal());
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = HeaderValue::from_str(&text).map_err(|_| refused("the credentials cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn readable(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let is_kept = |name: &HeaderName| name != SET_COOKIE && name != WWW_AUTHENTICATE;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().filter(|(name, _)| is_kept(name)).map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// In words and without the address, which a plugin must not learn.
fn describe(error: &std::io::Error) -> String {
    format!("no connection to the node: {}", error.kind())
}

fn broken(error: &hyper::Error) -> ExchangeFailure {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        protocol(error)
    } else {
        unreachable("the connection broke")
    }
}

fn protocol(error: &hyper::Error) -> ExchangeFailure {
    ExchangeFailure::Protocol(format!("not proper HTTP: {error}"))
}

/// In words and without the address, which a plugin must not learn.
pub(super) fn broken_off(error: &std::io::Error) -> ExchangeFailure {
    unreachable(&format!("the connection broke: {}", error.kind()))
}

fn unreachable(why: &str) -> ExchangeFailure {
    ExchangeFailure::Unreachable(why.to_owned())
}

fn refused(why: &str) -> ExchangeFailure {
    ExchangeFailure::Refused(why.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
