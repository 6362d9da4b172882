//! The byte exchange with one node: the only place of this room that speaks HTTP.
//!
//! One kept connection. A connection with a request in flight belongs to that request alone: it goes back into its slot
//! after a complete reply and is closed in every other case, a dropped future included.

use crate::config::{Endpoint, NodeConfig, NodeLogin, PoolConfig};
use crate::node::socket::Socket;
use crate::plugin::{BoxFuture, Exchange, ExchangeFailure, ExchangeRequest, ExchangeResponse, StreamRequest};
use base64::Engine;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderName, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The way to one node. Shared by the calls that are about it; at most one of them uses the kept connection.
pub(super) struct Link {
    endpoint: Endpoint,
    headers: Result<Headers, ExchangeFailure>,
    connect_timeout: Duration,
    response_bytes_max: usize,
    kept: Mutex<Option<Wire>>,
    failure: Mutex<Option<ExchangeFailure>>,
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
    /// The kept connection was closed by the node before it sent a byte.
    StaleConnection,
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
            failure: Mutex::new(None),
        }
    }

    /// The last transport failure since this was asked, if any. An adapter cannot hide it.
    pub(super) fn take_failure(&self) -> Option<ExchangeFailure> {
        lock(&self.failure).take()
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
        let response = timeout_at(deadline, wire.send(request)).await.map_err(|_| ExchangeFailure::TimedOut)??;
        if response.status() != http::StatusCode::OK {
            return Err(ExchangeFailure::Protocol(format!(
                "the stream was answered with status {}",
                response.status()
            )));
        }
        Ok(NodeStream { wire, body: response.into_body() })
    }

    async fn exchange(&self, request: ExchangeRequest, deadline: Instant) -> Result<ExchangeResponse, ExchangeFailure> {
        let kept = lock(&self.kept).take();
        if let Some(wire) = kept {
            match self.attempt(wire, self.http_request(request.clone())?, deadline, true).await? {
                Attempt::Done(response) => return Ok(response),
                Attempt::StaleConnection => tracing::debug!("the node had closed the kept connection; connecting anew"),
            }
        }
        let wire = self.connect(deadline).await?;
        match self.attempt(wire, self.http_request(request)?, deadline, false).await? {
            Attempt::Done(response) => Ok(response),
            Attempt::StaleConnection => Err(unreachable("the node closed the connection without an answer")),
        }
    }

    async fn attempt(
        &self,
        mut wire: Wire,
        request: http::Request<Full<Bytes>>,
        deadline: Instant,
        is_kept: bool,
    ) -> Result<Attempt, ExchangeFailure> {
        // A kept connection that is closed, or that has bytes nobody asked for, shows it before anything is sent. What
        // follows a request on it can not be told from its execution, so it is never sent twice after that.
        if is_kept && !wire.is_quiet().await {
            return Ok(Attempt::StaleConnection);
        }
        let limit = self.response_bytes_max;
        let exchange = async {
            let response = wire.send(request).await?;
            wire.read(response, limit).await
        };
        let response = timeout_at(deadline, exchange).await.map_err(|_| ExchangeFailure::TimedOut)??;
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

impl Exchange for Link {
    fn send<'a>(
        &'a self,
        request: ExchangeRequest,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<ExchangeResponse, ExchangeFailure>> {
        Box::pin(async move {
            let result = self.exchange(request, deadline).await;
            if let Err(failure) = &result {
                *lock(&self.failure) = Some(failure.clone());
            }
            result
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
    async fn send(&mut self, request: http::Request<Full<Bytes>>) -> Result<http::Response<Incoming>, ExchangeFailure> {
        let response = self.sender.send_request(request);
        drive(&mut self.driver, response).await.map_err(|error| broken(&error))
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
