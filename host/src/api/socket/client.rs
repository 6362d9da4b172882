use crate::api::socket::FeedContext;
use crate::api::socket::allowance::{Allowance, Flood, Metered};
use crate::api::wire::FeedRequest;
use crate::hub::{Close, Delivery, Patterns, Position, Slot, Subscription};
use futures_util::{SinkExt, StreamExt};
use std::borrow::Cow;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// One batch of frames has to be taken within it.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);
/// A client answers pings, so one that is silent for two of them is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// For our close frame, the client's answer, and the end of the stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const MESSAGES_PER_SECOND: u64 = 20;
const MESSAGES_BURST: u64 = 64;
/// A control frame has 125 bytes, and two of them are the code.
const REASON_BYTES_MAX: usize = 123;

type Socket<S> = WebSocketStream<Metered<S>>;

/// Why we stop, with words for the client.
#[derive(Debug)]
struct End {
    close: Close,
    reason: Cow<'static, str>,
}

impl End {
    fn new(close: Close, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { close, reason: reason.into() }
    }

    fn left() -> Self {
        Self::new(Close::Left, "")
    }

    fn misuse(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Close::Misuse, reason)
    }
}

/// Serves one client until it leaves, breaks the rules, or must go. The slot is held until the connection is closed.
pub(super) async fn serve<S>(mut socket: Socket<S>, slot: Slot, context: &FeedContext)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let greeted = tokio::select! {
        biased;
        end = told_to_end(context) => Err(end),
        greeted = greet(&mut socket) => greeted,
    };
    match greeted {
        Ok((patterns, since)) => {
            let mut subscription = slot.subscribe(patterns, since.as_ref());
            let end = pump(&mut socket, &mut subscription, context).await;
            finish(&mut socket, end, context).await;
        }
        Err(end) => finish(&mut socket, end, context).await,
    }
}

async fn told_to_end(context: &FeedContext) -> End {
    tokio::select! {
        biased;
        () = context.ended.cancelled() => End::new(Close::SessionEnded, "the session ended"),
        () = context.stop.cancelled() => End::new(Close::GoingAway, "the server is going away"),
    }
}

async fn greet<S>(socket: &mut Socket<S>) -> Result<(Patterns, Option<Position>), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut allowance = Allowance::new(MESSAGES_PER_SECOND, MESSAGES_BURST);
    let hello = async {
        loop {
            if let Some(text) = judge(socket.next().await, &mut allowance)? {
                return Ok(text);
            }
        }
    };
    let text = tokio::time::timeout(HELLO_TIMEOUT, hello)
        .await
        .unwrap_or_else(|_| Err(End::misuse("no hello came within 5 seconds")))?;
    let FeedRequest::Hello { sub, since } =
        serde_json::from_str(&text).map_err(|error| End::misuse(format!("the hello cannot be read: {error}")))?;
    let patterns = Patterns::parse(&sub).map_err(|error| End::misuse(format!("the hello is refused: {error}")))?;
    // A position that cannot be read is one of another log: the client gets a snapshot either way.
    let unreadable = |_| Position { epoch: String::new(), offset: 0 };
    Ok((patterns, since.map(|text| text.parse().unwrap_or_else(unreadable))))
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

fn end_of(error: &Error) -> End {
    match error {
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Flood>()) => End::misuse(Flood.to_string()),
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

enum Step {
    End(End),
    Heard(Option<Result<Message, Error>>),
    Due(Delivery),
    Heartbeat,
}

async fn pump<S>(socket: &mut Socket<S>, subscription: &mut Subscription, context: &FeedContext) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut allowance = Allowance::new(MESSAGES_PER_SECOND, MESSAGES_BURST);
    let mut heard_at = Instant::now();
    let mut heartbeat = tokio::time::interval_at(heard_at + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Made once: to wait anew for every event would take the lock of a token that all clients share.
    let mut told_to_end = std::pin::pin!(told_to_end(context));
    loop {
        let step = tokio::select! {
            biased;
            end = &mut told_to_end => Step::End(end),
            message = socket.next() => Step::Heard(message),
            delivery = subscription.next() => Step::Due(delivery),
            _ = heartbeat.tick() => Step::Heartbeat,
        };
        let messages = match step {
            Step::End(end) => return end,
            Step::Heard(message) => match judge(message, &mut allowance) {
                Ok(None) => {
                    heard_at = Instant::now();
                    continue;
                }
                Ok(Some(_)) => return End::misuse("nothing is expected behind the hello"),
                Err(end) => return end,
            },
            Step::Due(Delivery::Frames(frames)) => frames.into_iter().map(Message::Text).collect(),
            Step::Due(Delivery::End(close)) => return End::new(close, close.as_str()),
            Step::Heartbeat if heard_at.elapsed() > SILENCE_MAX => {
                return End::new(Close::TooSlow, "nothing was heard for a minute");
            }
            Step::Heartbeat => vec![Message::Ping(bytes::Bytes::new())],
        };
        let sent = tokio::select! {
            biased;
            end = &mut told_to_end => Err(end),
            sent = send(socket, messages) => sent,
        };
        if let Err(end) = sent {
            return end;
        }
    }
}

/// Hands all messages over and flushes once: the number of writes decides what a client costs.
async fn send<S>(socket: &mut Socket<S>, messages: Vec<Message>) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sending = async {
        for message in messages {
            socket.feed(message).await?;
        }
        socket.flush().await
    };
    match tokio::time::timeout(PROGRESS_TIMEOUT, sending).await {
        Ok(sent) => sent.map_err(|error| end_of(&error)),
        Err(_) => Err(End::new(Close::TooSlow, "nothing was taken for 20 seconds")),
    }
}

/// Tells the client why, answers its own close, and reads on until it has hung up: a connection that is closed with
/// unread bytes is reset, and the client might never see the reason.
async fn finish<S>(socket: &mut Socket<S>, end: End, context: &FeedContext)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    context.hub.note_close(end.close);
    tracing::debug!(close = end.close.as_str(), reason = %end.reason, "a feed connection ends");
    let closing = async {
        if let Some(code) = end.close.code() {
            let frame = CloseFrame { code: code.into(), reason: short(&end.reason).into() };
            if socket.close(Some(frame)).await.is_err() {
                return;
            }
        }
        while let Some(Ok(_)) = socket.next().await {}
        let stream = &mut socket.get_mut().stream;
        if stream.shutdown().await.is_err() {
            return;
        }
        // Not an array: it would be part of every client's task from the start.
        let mut rest = vec![0; 1024];
        while stream.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
    };
    // A client that does not read never sees the reason; it is dropped all the same.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
}

fn short(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(REASON_BYTES_MAX)).unwrap_or_default()
}
