//! The client half of HTTP/1.1: one exchange at a time on a connection, connections kept for the next.

use super::api::refusal;
use super::connect::connect;
use super::download::Download;
use super::error::CliError;
use super::server::ServerUrl;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, IF_MATCH};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Bytes that an answer may have.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Connections kept for the next exchange; as many as there are orders at once.
const IDLE_MAX: usize = 8;

/// A request before it is on its way; may be sent again on another connection.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) accept: &'static str,
    pub(crate) body: Option<Bytes>,
    /// The type of the body, if there is one.
    pub(crate) media_type: &'static str,
    /// The tag that what is changed has to have.
    pub(crate) condition: Option<String>,
}

/// A complete answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A client of one server.
pub(crate) struct Http {
    server: ServerUrl,
    authorization: Option<HeaderValue>,
    connections: TaskTracker,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

enum Attempt {
    Answered(Reply),
    /// The connection was closed before the request went out: sending it again does no harm.
    NotSent,
    Broke(hyper::Error),
}

impl Http {
    /// A client that shows `token` with every request.
    ///
    /// # Errors
    /// [`CliError::Data`] when the token cannot stand in a header.
    pub(crate) fn new(server: ServerUrl, token: Option<&str>) -> Result<Self, CliError> {
        let authorization = token.map(bearer).transpose()?;
        Ok(Self { server, authorization, connections: TaskTracker::new(), idle: Mutex::default() })
    }

    /// The server.
    pub(crate) const fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// One request and its whole answer.
    ///
    /// # Errors
    /// [`CliError::Unreachable`], [`CliError::TimedOut`] after `limit`, [`CliError::Broken`], or
    /// [`CliError::NotOmnivisor`] when the answer is too large. A status is no error here.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; the server may have the request and carry it out.
    pub(crate) async fn exchange(&self, call: &Call, limit: Duration) -> Result<Reply, CliError> {
        let timed_out = || CliError::TimedOut { server: self.server.to_string(), limit };
        tokio::time::timeout(limit, self.exchange_now(call)).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// One request on a connection of its own; the answer is read piece by piece if it is a success.
    ///
    /// # Errors
    /// As for [`Http::exchange`], where `limit` is for the head of the answer; [`CliError::Refused`].
    pub(crate) async fn download(&self, call: &Call, limit: Duration) -> Result<Download, CliError> {
        let timed_out = || CliError::TimedOut { server: self.server.to_string(), limit };
        let answered = async {
            let mut sender = self.connect().await?;
            sender.send_request(self.request(call)?).await.map_err(|source| self.broken(source))
        };
        let response = tokio::time::timeout(limit, answered).await.unwrap_or_else(|_| Err(timed_out()))?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(Download { server: self.server.to_string(), headers: head.headers, body });
        }
        let body = tokio::time::timeout(limit, self.whole(body)).await.unwrap_or_else(|_| Err(timed_out()))?;
        Err(refusal(&self.server, head.status, &head.headers, &body))
    }

    /// Closes what is open and waits for it, briefly.
    pub(crate) async fn close(&self) {
        self.take_idle(|idle| idle.clear());
        self.connections.close();
        // A peer that does not close its side is no reason to keep the user waiting.
        let _ = tokio::time::timeout(Duration::from_millis(200), self.connections.wait()).await;
    }

    async fn exchange_now(&self, call: &Call) -> Result<Reply, CliError> {
        while let Some(sender) = self.take_idle(Vec::pop) {
            match self.attempt(sender, call).await? {
                Attempt::Answered(reply) => return Ok(reply),
                Attempt::NotSent => {}
                // A kept connection may end just when it is used. Reading again is harmless, ordering again is not.
                Attempt::Broke(_) if call.method == Method::GET => {}
                Attempt::Broke(source) => return Err(self.broken(source)),
            }
        }
        match self.attempt(self.connect().await?, call).await? {
            Attempt::Answered(reply) => Ok(reply),
            Attempt::NotSent => Err(self.broken("it was closed at once")),
            Attempt::Broke(source) => Err(self.broken(source)),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, CliError> {
        let stream = connect(&self.server).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|source| self.broken(source))?;
        // How the connection ended is told to whoever waits for an answer on it.
        self.connections.spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    async fn attempt(&self, mut sender: SendRequest<Full<Bytes>>, call: &Call) -> Result<Attempt, CliError> {
        if sender.ready().await.is_err() {
            return Ok(Attempt::NotSent);
        }
        let response = match sender.try_send_request(self.request(call)?).await {
            Ok(response) => response,
            Err(mut failed) => {
                let is_unsent = failed.take_message().is_some();
                return Ok(if is_unsent { Attempt::NotSent } else { Attempt::Broke(failed.into_error()) });
            }
        };
        let (head, body) = response.into_parts();
        let body = self.whole(body).await?;
        if !sender.is_closed() {
            self.take_idle(|idle| {
                if idle.len() < IDLE_MAX {
                    idle.push(sender);
                }
            });
        }
        Ok(Attempt::Answered(Reply { status: head.status, headers: head.headers, body }))
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, CliError> {
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                let what = format!("its answer is longer than {BODY_BYTES_MAX} bytes");
                Err(CliError::NotOmnivisor { server: self.server.to_string(), what })
            }
            Err(source) => Err(CliError::Broken { server: self.server.to_string(), source }),
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, CliError> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.target)
            .header(HOST, self.server.authority())
            .header(ACCEPT, call.accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(condition) = &call.condition {
            request = request.header(IF_MATCH, condition);
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, call.media_type);
        }
        request.body(Full::new(call.body.clone().unwrap_or_default())).map_err(|error| CliError::Data {
            message: format!("the request to {} cannot be written: {error}", self.server),
        })
    }

    fn take_idle<T>(&self, take: impl FnOnce(&mut Vec<SendRequest<Full<Bytes>>>) -> T) -> T {
        take(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CliError {
        CliError::Broken { server: self.server.to_string(), source: source.into() }
    }
}

/// The header that shows a token; marked so that it is not printed.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, CliError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| CliError::Data { message: "the token holds characters that a token cannot have".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}
