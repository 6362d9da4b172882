use super::cursor::Cursor;
use super::frame::{Frame, Hello};
use crate::cli::age::Clock;
use crate::cli::api::refusal;
use crate::cli::connect::{CONNECT_TIMEOUT, Stream, connect};
use crate::cli::error::{self, CliError};
use crate::cli::http::bearer;
use crate::cli::server::ServerUrl;
use futures_util::{SinkExt, StreamExt};
use http::header::{AUTHORIZATION, DATE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, Response};
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

/// A server that has nothing to tell says so every 25 s; after twice that and some more, nobody is there.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The first wait before coming back; doubles with each failure in a row.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The longest such wait.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<Stream>;

/// What to read, and as whom.
pub(crate) struct Link {
    pub(crate) server: ServerUrl,
    pub(crate) token: Option<String>,
    pub(crate) sub: Vec<String>,
    /// Logs to follow, by their topics.
    pub(crate) log: Vec<String>,
}

/// What happens on a link.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Connected; frames follow.
    Opened(Clock),
    /// One frame, in order.
    Frame(Box<Frame>),
    /// The connection ended; the next attempt comes after this time.
    Lost { reason: String, retry: Duration },
    /// It is over, and coming back would not help. The last notice.
    Ended(CliError),
}

/// How one connection ended.
enum End {
    /// We were asked to stop, or nobody listens any more.
    Stopped,
    /// It is worth coming back.
    Lost(String),
    /// It is not.
    Final(CliError),
}

impl Link {
    /// Reads the feed until it is over or `stop` is cancelled; comes back by itself, with growing waits, from where it
    /// was. A first connection that does not come about ends it: the user has probably mistyped something.
    ///
    /// A slow reader of `notices` slows down the socket, and nothing else.
    pub(crate) async fn run(self, notices: mpsc::Sender<Notice>, stop: CancellationToken) {
        let mut cursor = Cursor::default();
        let mut backoff = BACKOFF_FIRST;
        let mut was_open = false;
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                opened = self.open(cursor.since()) => opened,
            };
            let end = match opened {
                Ok((socket, clock)) => {
                    was_open = true;
                    backoff = BACKOFF_FIRST;
                    if notices.send(Notice::Opened(clock)).await.is_err() {
                        return;
                    }
                    self.read(socket, &mut cursor, &notices, &stop).await
                }
                Err(error) if !was_open || is_final(&error) => End::Final(error),
                // The server's address stands beside the reason anyway.
                Err(CliError::Unreachable { source, .. }) => End::Lost(error::plain(&source)),
                Err(error) => End::Lost(error.one_line()),
            };
            let notice = match end {
                End::Stopped => return,
                End::Final(error) => Notice::Ended(error),
                End::Lost(reason) => Notice::Lost { reason, retry: with_jitter(backoff) },
            };
            let pause = if let Notice::Lost { retry, .. } = &notice { Some(*retry) } else { None };
            if notices.send(notice).await.is_err() {
                return;
            }
            let Some(pause) = pause else { return };
            backoff = (backoff * 2).min(BACKOFF_MAX);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn open(&self, since: Option<String>) -> Result<(Socket, Clock), CliError> {
        let timed_out = |limit| CliError::TimedOut { server: self.server.to_string(), limit };
        let stream = connect(&self.server).await?;
        let url = format!("ws://{}{}", self.server.authority(), self.server.target(&["api", "v1", "feed"], ""));
        let mut request = url.into_client_request().map_err(|error| self.broken(error))?;
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        }
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("feed.v1"));
        let config = WebSocketConfig::default().read_buffer_size(32 << 10);
        let shaking = client_async_with_config(request, stream, Some(config));
        let (mut socket, response) = match timeout(CONNECT_TIMEOUT, shaking).await {
            Err(_) => return Err(timed_out(CONNECT_TIMEOUT)),
            Ok(Err(SocketError::Http(response))) => return Err(self.refused(&response)),
            Ok(Err(error)) => return Err(self.broken(error)),
            Ok(Ok(opened)) => opened,
        };
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let clock = Clock::from_date(date, Timestamp::now());
        let hello = serde_json::to_string(&Hello { sub: self.sub.clone(), log: self.log.clone(), since })
            .map_err(|error| self.broken(error))?;
        match timeout(CONNECT_TIMEOUT, socket.send(Message::text(hello))).await {
            Err(_) => Err(timed_out(CONNECT_TIMEOUT)),
            Ok(Err(error)) => Err(self.broken(error)),
            Ok(Ok(())) => Ok((socket, clock)),
        }
    }

    async fn read(
        &self,
        mut socket: Socket,
        cursor: &mut Cursor,
        notices: &mpsc::Sender<Notice>,
        stop: &CancellationToken,
    ) -> End {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    // Leaving politely is worth a moment, not more.
                    let _ = timeout(Duration::from_millis(200), socket.close(None)).await;
                    return End::Stopped;
                }
                next = timeout(SILENCE_MAX, socket.next()) => next,
            };
            let text = match next {
                Err(_) => return End::Lost(format!("nothing was heard for {} s", SILENCE_MAX.as_secs())),
                Ok(None) => return End::Lost("the connection ended".to_owned()),
                Ok(Some(Err(error))) => return End::Lost(error.to_string()),
                Ok(Some(Ok(Message::Text(text)))) => text,
                Ok(Some(Ok(Message::Close(close)))) => {
                    return self.closed(close.map(|c| (c.code.into(), c.reason.to_string())));
                }
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => continue,
                Ok(Some(Ok(Message::Binary(_)))) => return self.odd("it sent a binary frame"),
            };
            let frame: Frame = match serde_json::from_str(&text) {
                Ok(frame) => frame,
                Err(error) => return self.odd(&format!("a frame cannot be read: {error}")),
            };
            if let Err(broken) = cursor.advance(&frame) {
                // What we know may have a hole now, so the next connection begins with a snapshot.
                cursor.forget();
                return End::Lost(broken.to_string());
            }
            if notices.send(Notice::Frame(Box::new(frame))).await.is_err() {
                return End::Stopped;
            }
        }
    }

    /// Close codes 4500 to 4999 mean that coming back would not help; all others that it may.
    fn closed(&self, close: Option<(u16, String)>) -> End {
        let Some((code, reason)) = close else { return End::Lost("the server closed the feed".to_owned()) };
        let reason = if reason.is_empty() { meaning(code).to_owned() } else { reason };
        if (4500..5000).contains(&code) {
            return End::Final(CliError::FeedClosed { server: self.server.to_string(), code, reason });
        }
        End::Lost(format!("{reason} ({code})"))
    }

    fn refused(&self, response: &Response<Option<Vec<u8>>>) -> CliError {
        let body = response.body().as_deref().unwrap_or_default();
        refusal(&self.server, response.status(), response.headers(), body)
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CliError {
        CliError::Broken { server: self.server.to_string(), source: source.into() }
    }

    fn odd(&self, what: &str) -> End {
        End::Final(CliError::NotOmnivisor { server: self.server.to_string(), what: what.to_owned() })
    }
}

/// True when a server that was there before now says something that time does not heal.
fn is_final(error: &CliError) -> bool {
    matches!(error, CliError::Refused { problem, .. } if matches!(problem.status, 401 | 403 | 404 | 426))
}

const fn meaning(code: u16) -> &'static str {
    match code {
        1001 | 4001 => "the server is going away",
        4003 => "the session or key has expired",
        4004 => "the rights have changed",
        4008 => "this client was too slow",
        4010 => "this client had to start over too often",
        4013 => "the server is full",
        4500 => "the token is not valid",
        4501 => "the session has ended",
        4502 => "this client broke the protocol",
        4503 => "not allowed",
        _ => "the server closed the feed",
    }
}

/// Up to a fifth more, so that many clients do not come back in one moment.
fn with_jitter(wait: Duration) -> Duration {
    let share = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
    wait.mul_f64(1.0 + share / 5.0)
}
