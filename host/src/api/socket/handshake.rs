use crate::api::headers::words;
use crate::api::origin::Whence;
use crate::api::serve::{Taken, take_apart};
use crate::api::socket::adapter::Adapter;
use crate::api::socket::allowance::Allowance;
use crate::api::socket::renewal::Standing;
use crate::api::socket::{FeedContext, client, secure};
use crate::hub::{Framing, Slot, Wire};
use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use socket2::SockRef;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

const SUBPROTOCOL: &str = "feed.v1";
/// From our answer to the connection being ours.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a client may send: a hello, then now and then a ping.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
const INBOUND_BYTES_PER_SECOND: u64 = 16 * 1024;
const INBOUND_BYTES_BURST: u64 = 64 * 1024;
/// Each client has as much from its first to its last byte; a message that is longer has more while it is read.
const READ_BUFFER_BYTES: usize = 256;
/// What the kernel holds for a client that does not read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// What the kernel holds of that without having sent it: beyond it a connection takes nothing more, so what is due next is
/// decided as late as possible.
const UNSENT_BYTES: u32 = 16 * 1024;
/// How long sent bytes may stay unacknowledged before the kernel gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);

/// Why a request is not made a connection of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedRefusal {
    /// An ordinary request. Answer 426 with `Upgrade: websocket`.
    #[error("the feed is a WebSocket; this request asks for no upgrade to one")]
    NotAnUpgrade,
    /// Another version of the protocol. Answer 426 with `Sec-WebSocket-Version: 13`.
    #[error("only version 13 of the WebSocket protocol is spoken")]
    Version,
    /// A broken handshake. Answer 400.
    #[error("the WebSocket handshake is broken: {problem}")]
    Handshake {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A foreign web page. Answer 403.
    #[error("pages of this origin may not open the feed")]
    Origin,
    /// The principal has all connections that one may have. Answer 429 with `Retry-After`.
    #[error("this principal has {limit} connections to the feed, which is all that one may have")]
    PrincipalFull {
        /// Connections allowed.
        limit: usize,
    },
    /// From this address there are all connections that may come from one. Answer 429 with `Retry-After`.
    #[error("there are {limit} connections to the feed from this address, which is all that may come from one")]
    AddressFull {
        /// Connections allowed.
        limit: usize,
    },
    /// Too many handshakes in the last second. Answer 503 with `Retry-After`.
    #[error("too many clients come to the feed at once")]
    TooFast {
        /// When to come back; for each another time.
        retry_after: Duration,
    },
    /// No slot is free. Answer 503 with `Retry-After`.
    #[error("the feed has as many clients as it may have")]
    Full,
    /// The server is going away. Answer 503.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl FeedRefusal {
    /// Every word of [`FeedRefusal::why`].
    pub const WHY: [&'static str; 9] =
        ["not-an-upgrade", "version", "handshake", "origin", "principal", "address", "rate", "full", "shutting-down"];

    /// The word used in metrics.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::NotAnUpgrade => "not-an-upgrade",
            Self::Version => "version",
            Self::Handshake { .. } => "handshake",
            Self::Origin => "origin",
            Self::PrincipalFull { .. } => "principal",
            Self::AddressFull { .. } => "address",
            Self::TooFast { .. } => "rate",
            Self::Full => "full",
            Self::ShuttingDown => "shutting-down",
        }
    }
}

/// Answers a handshake and starts the task that serves the client. Everything is refused here, before the upgrade.
///
/// # Errors
/// [`FeedRefusal`]; nothing was started and no slot is taken.
pub async fn upgrade(mut request: Request<Body>, context: FeedContext) -> Result<Response, FeedRefusal> {
    let key = check_handshake(&request)?;
    if context.ours.whence(request.headers(), request.uri()) == Whence::Elsewhere {
        return Err(FeedRefusal::Origin);
    }
    let subprotocol = choose_subprotocol(request.headers())?;
    if context.stop.is_cancelled() {
        return Err(FeedRefusal::ShuttingDown);
    }
    let pass = context.door.enter(&context.guest)?;
    let slot = context.hub.reserve().ok_or(FeedRefusal::Full)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| FeedRefusal::Handshake { problem: "the key is bad" })?;
    let upgraded = hyper::upgrade::on(&mut request);
    let tasks = context.tasks.clone();
    tasks.named("reader", async move {
        take_over(upgraded, slot, context).await;
        drop(pass);
    });

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    Ok(response)
}

fn check_handshake(request: &Request<Body>) -> Result<String, FeedRefusal> {
    let headers = request.headers();
    let has_word = |name, wanted: &str| words(headers, &name).any(|word| word.eq_ignore_ascii_case(wanted));
    let is_upgrade = has_word(CONNECTION, "upgrade") && has_word(UPGRADE, "websocket");
    if request.version() == Version::HTTP_2 {
        let problem =
            "it came over HTTP/2, which is not upgraded here; ask over HTTP/1.1, or read `/api/v1/feed/events`";
        return Err(FeedRefusal::Handshake { problem });
    }
    if !is_upgrade || request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err(FeedRefusal::NotAnUpgrade);
    }
    if !words(headers, &SEC_WEBSOCKET_VERSION).eq(["13"]) {
        return Err(FeedRefusal::Version);
    }
    let has_length = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if has_length || headers.contains_key(TRANSFER_ENCODING) {
        return Err(FeedRefusal::Handshake { problem: "a body is given" });
    }
    let mut keys = words(headers, &SEC_WEBSOCKET_KEY);
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(FeedRefusal::Handshake { problem: "one `Sec-WebSocket-Key` is needed" });
    };
    if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) {
        return Ok(key.to_owned());
    }
    Err(FeedRefusal::Handshake { problem: "`Sec-WebSocket-Key` is not 16 bytes in base64" })
}

/// Of what is offered only our own is ever named: the offer may hold a token.
fn choose_subprotocol(headers: &HeaderMap) -> Result<Option<&'static str>, FeedRefusal> {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    if words(headers, &SEC_WEBSOCKET_PROTOCOL).any(|word| word == SUBPROTOCOL) {
        return Ok(Some(SUBPROTOCOL));
    }
    Err(FeedRefusal::Handshake { problem: "of the subprotocols only `feed.v1` is spoken here" })
}

/// A copy, for what was read already keeps the whole buffer of the HTTP connection: 8 KiB for each client.
fn copied(rest: Bytes) -> Vec<u8> {
    rest.to_vec()
}

async fn take_over(upgraded: OnUpgrade, slot: Slot, context: FeedContext) {
    let upgraded = tokio::select! {
        biased;
        () = context.stop.cancelled() => return slot.left(),
        upgraded = tokio::time::timeout(UPGRADE_TIMEOUT, upgraded) => upgraded,
    };
    let Ok(Ok(upgraded)) = upgraded else { return slot.left() };
    match take_apart(upgraded) {
        Taken::Tcp(stream, rest) => {
            bound_kernel_buffers(&stream);
            let (read, write) = stream.into_split();
            serve(read, Box::new(write), copied(rest), slot, context).await;
        }
        Taken::Unix(stream, rest) => {
            bound_send_buffer(&SockRef::from(&stream));
            let (read, write) = stream.into_split();
            serve(read, Box::new(write), copied(rest), slot, context).await;
        }
        Taken::Tls(tls, rest) => {
            bound_kernel_buffers(tls.get_ref().0.get_ref());
            let (read, write) = secure::split(*tls);
            serve(read, Box::new(write), copied(rest), slot, context).await;
        }
        Taken::Other(stream) => {
            let (read, write) = tokio::io::split(stream);
            serve(read, Box::new(write), Vec::new(), slot, context).await;
        }
    }
}

/// The task of a client. Its grant's hold is kept to the end, or until it stands on another one.
pub(super) async fn serve<R: AsyncRead + Unpin>(
    read: R,
    write: Box<dyn Wire>,
    already_read: Vec<u8>,
    slot: Slot,
    context: FeedContext,
) {
    let FeedContext { grant, access, renewal, hold, .. } = context;
    let Some((link, closed)) = slot.join(write, Framing::WebSocket, grant, access) else { return };
    let adapter = Adapter::new(read, link, Allowance::new(INBOUND_BYTES_PER_SECOND, INBOUND_BYTES_BURST));
    let socket = WebSocketStream::from_partially_read(adapter, already_read, Role::Server, Some(socket_config())).await;
    let mut standing = Standing::new(renewal, hold);
    // Boxed: a future keeps what is handed on once for each function that it goes through.
    client::serve(&mut Box::new(socket), &mut standing, closed).await;
}

/// The library's defaults are 128 KiB for each buffer of each client. It writes through at once, and its answers alone.
fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// Best effort: a connection works without, and only costs more when its client does not read.
fn bound_kernel_buffers(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    bound_send_buffer(&socket);
    let outcomes = [
        socket.set_tcp_nodelay(true),
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(UNSENT_BYTES),
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)),
    ];
    for error in outcomes.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "an option of a feed connection was not taken");
    }
}

fn bound_send_buffer(socket: &SockRef<'_>) {
    if let Err(error) = socket.set_send_buffer_size(SEND_BUFFER_BYTES) {
        tracing::debug!(%error, "an option of a feed connection was not taken");
    }
}
