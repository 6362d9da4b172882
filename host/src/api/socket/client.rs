use crate::api::faults::without_value;
use crate::api::socket::adapter::{Adapter, Flood};
use crate::api::socket::allowance::Allowance;
use crate::api::socket::renewal::Standing;
use crate::api::wire::FeedRequest;
use crate::hub::{Close, Hello, LOGS_MAX, Link, LogWish, OutboxFull, Patterns, Position};
use crate::model::LogTopic;
use futures_util::{SinkExt, StreamExt};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// A client answers pings, so one that is silent for two of them is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const MESSAGES_PER_SECOND: u64 = 20;
const MESSAGES_BURST: u64 = 64;

pub(super) type Socket<R> = WebSocketStream<Adapter<R>>;

/// Why we stop, with words for the client.
#[derive(Debug)]
pub(super) struct End {
    close: Close,
    reason: Cow<'static, str>,
}

impl End {
    pub(super) fn new(close: Close, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { close, reason: reason.into() }
    }

    pub(super) fn left() -> Self {
        Self::new(Close::Left, "")
    }

    pub(super) fn misuse(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Close::Misuse, reason)
    }
}

/// Listens to one client until it leaves, breaks the rules, or has been let go by whoever writes to it.
pub(super) async fn serve<R>(socket: &mut Socket<R>, standing: &mut Standing, closed: oneshot::Receiver<()>)
where
    R: AsyncRead + Unpin,
{
    tokio::select! {
        biased;
        _ = closed => {}
        () = listen(socket, standing) => {}
    }
}

async fn listen<R>(socket: &mut Socket<R>, standing: &mut Standing)
where
    R: AsyncRead + Unpin,
{
    let end = converse(socket, standing).await;
    hang_up(socket, end).await;
}

/// Tells the client that this is the end, and waits until it has hung up.
pub(super) async fn hang_up<R>(socket: &mut Socket<R>, end: End)
where
    R: AsyncRead + Unpin,
{
    // The library's own answer to a close comes first, then ours, if there is one.
    let _ = socket.flush().await;
    let adapter = socket.get_mut();
    adapter.link.end(end.close, end.reason);
    // Reads on until the client has hung up: a connection that is closed with unread bytes is reset, and the client might
    // never see the reason. How long that may take is not decided here. Not an array: it would be part of every client's
    // task from the start.
    let mut rest = vec![0; 1024];
    while adapter.read.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
}

async fn converse<R>(socket: &mut Socket<R>, standing: &mut Standing) -> End
where
    R: AsyncRead + Unpin,
{
    let mut allowance = Allowance::new(MESSAGES_PER_SECOND, MESSAGES_BURST);
    match greet(socket, &mut allowance).await {
        Ok(hello) => socket.get_ref().link.subscribe(hello),
        Err(end) => return end,
    }
    loop {
        let Ok(message) = tokio::time::timeout(SILENCE_MAX, socket.next()).await else {
            return End::new(Close::TooSlow, "nothing was heard for a minute");
        };
        match judge(message, &mut allowance) {
            Ok(None) => {}
            Ok(Some(text)) => {
                if let Err(end) = answer(&text, &socket.get_ref().link, standing).await {
                    return end;
                }
            }
            Err(end) => return end,
        }
    }
}

async fn greet<R>(socket: &mut Socket<R>, allowance: &mut Allowance) -> Result<Hello, End>
where
    R: AsyncRead + Unpin,
{
    let hello = async {
        loop {
            if let Some(text) = judge(socket.next().await, allowance)? {
                return Ok(text);
            }
        }
    };
    let text = tokio::time::timeout(HELLO_TIMEOUT, hello)
        .await
        .unwrap_or_else(|_| Err(End::misuse("no hello came within 5 seconds")))?;
    match request(&text)? {
        FeedRequest::Hello { sub, log, log_from, since } => {
            let refused = |why: String| End::misuse(format!("the hello is refused: {why}"));
            let patterns = Patterns::parse(&sub).map_err(|error| refused(error.to_string()))?;
            let logs = wishes(&log, &log_from).map_err(refused)?;
            Ok(Hello { patterns, since: since.map(|text| Position::parse_or_unknown(&text)), logs })
        }
        FeedRequest::Logs { .. } | FeedRequest::Refresh { .. } => {
            Err(End::misuse("the first message has to be the hello"))
        }
    }
}

fn request(text: &str) -> Result<FeedRequest, End> {
    serde_json::from_str(text)
        .map_err(|error| End::misuse(format!("the message cannot be read: {}", without_value(&error.to_string()))))
}

/// Does what a message behind the hello asks for.
async fn answer(text: &str, link: &Link, standing: &mut Standing) -> Result<(), End> {
    match request(text)? {
        FeedRequest::Logs { log } => link.follow(wishes(&log, &BTreeMap::new()).map_err(End::misuse)?),
        FeedRequest::Refresh { token } => standing.refresh(link, token).await?,
        FeedRequest::Hello { .. } => return Err(End::misuse("there was a hello before")),
    }
    Ok(())
}

/// Reads the names of logs, each with the line to go on from where one is given. The error is for the client.
pub(in crate::api) fn wishes(log: &[String], from: &BTreeMap<String, u64>) -> Result<Vec<LogWish>, String> {
    if log.len() > LOGS_MAX {
        return Err(format!("{} logs are asked for, at most {LOGS_MAX} are allowed", log.len()));
    }
    let read = |text: &str| text.parse::<LogTopic>().map_err(|error| format!("log `{text}`: {error}"));
    let wish = |text: &String| {
        let topic = read(text)?.to_string().into();
        Ok(LogWish { topic, from: from.get(text).copied() })
    };
    if let Some(stray) = from.keys().find(|topic| !log.contains(topic)) {
        return Err(format!("`log_from` names `{stray}`, which is not in `log`"));
    }
    log.iter().map(wish).collect()
}

/// A text, `None` for what needs no answer of ours, or the reason to stop. The library answers pings by itself.
fn judge(message: Option<Result<Message, Error>>, allowance: &mut Allowance) -> Result<Option<Utf8Bytes>, End> {
    let message = match message {
        None => return Err(End::left()),
        Some(Err(error)) => return Err(end_of(&error)),
        Some(Ok(message)) => message,
    };
    if !allowance.take(1) {
        return Err(End::misuse("more than 20 messages a second"));
    }
    match message {
        Message::Text(text) => Ok(Some(text)),
        Message::Ping(_) | Message::Pong(_) => Ok(None),
        Message::Close(_) => Err(End::left()),
        Message::Binary(_) | Message::Frame(_) => Err(End::misuse("only text is spoken here")),
    }
}

pub(super) fn end_of(error: &Error) -> End {
    match error {
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Flood>()) => End::misuse(Flood.to_string()),
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<OutboxFull>()) => {
            End::misuse(error.to_string())
        }
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::new(Close::TooLong, "a message has over 16 KiB"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::left(),
        Error::Protocol(error) => End::new(Close::BadFrame, error.to_string()),
        Error::Utf8(_) => End::new(Close::BadText, "a text is not UTF-8"),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::Capacity(CapacityError::TooManyHeaders)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => End::left(),
    }
}
