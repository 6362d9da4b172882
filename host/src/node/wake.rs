//! Waking a supervisor that looks at its children only when bytes come in.
//!
//! supervisord sleeps in `poll` for up to a second, and reaps and tells what ended when it wakes. One byte wakes it, and
//! costs it a third of what the smallest request does. So a request that nothing is asked with is sent a byte at a time,
//! and ended once a second: its answer, whatever it is, says that the node is there.

use crate::node::link::{Link, broken_off};
use crate::node::socket::Socket;
use crate::plugin::ExchangeFailure;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

/// How often the request is ended: a node that froze is noticed so much later at most.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of an answer, body included. A longer one costs the connection.
const ANSWER_BYTES_MAX: usize = 8 << 10;
/// Header lines of an answer.
const HEADERS_MAX: usize = 32;

/// A connection of its own, with half a request on it.
pub(super) struct Wake {
    open: Option<Open>,
    checked_at: Instant,
}

struct Open {
    socket: Socket,
    /// True once the head of a request was begun on it.
    is_begun: bool,
    /// True if it has served a request: such a connection may have been closed by the node in between.
    is_used: bool,
}

impl Wake {
    /// Nothing is connected yet.
    pub(super) fn new() -> Self {
        Self { open: None, checked_at: Instant::now() }
    }

    /// Closes the connection.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Sends a byte, or ends the request and waits for its answer when that is due.
    ///
    /// # Errors
    /// [`ExchangeFailure`]. The connection is closed then.
    ///
    /// # Cancel safety
    /// A dropped future closes the connection.
    pub(super) async fn poke(&mut self, link: &Link, deadline: Instant) -> Result<(), ExchangeFailure> {
        let is_due = self.checked_at.elapsed() >= CHECK_INTERVAL;
        let open = self.open.take();
        let may_be_stale = open.as_ref().is_some_and(|open| open.is_used);
        let open = match open {
            Some(open) => open,
            None => Open::connect(link, deadline).await?,
        };
        let poked = match open.poke(link, deadline, is_due).await {
            Err(ExchangeFailure::Unreachable(_)) if may_be_stale => {
                Open::connect(link, deadline).await?.poke(link, deadline, is_due).await?
            }
            poked => poked?,
        };
        if is_due {
            self.checked_at = Instant::now();
        }
        self.open = poked;
        Ok(())
    }
}

impl Open {
    async fn connect(link: &Link, deadline: Instant) -> Result<Self, ExchangeFailure> {
        Ok(Self { socket: link.connect_socket(deadline).await?, is_begun: false, is_used: false })
    }

    /// Gives the connection back if it can be used again.
    async fn poke(mut self, link: &Link, deadline: Instant, is_due: bool) -> Result<Option<Self>, ExchangeFailure> {
        let host = link.host()?;
        let work = async {
            if !self.is_begun {
                self.socket.write_all(b"GET /omnivisor-wake HTTP/1.1\r\nHost: ").await?;
                self.socket.write_all(host.as_bytes()).await?;
                self.socket.write_all(b"\r\nX-Wake: ").await?;
                self.is_begun = true;
            }
            if !is_due {
                self.socket.write_all(b"w").await?;
                return Ok(true);
            }
            self.socket.write_all(b"w\r\n\r\n").await?;
            self.is_begun = false;
            self.is_used = true;
            self.read_answer().await
        };
        let done = timeout_at(deadline, work).await.map_err(|_| ExchangeFailure::TimedOut)?;
        Ok(done.map_err(|error| broken_off(&error))?.then_some(self))
    }

    /// Reads one answer to its end. False if the connection cannot be used again.
    async fn read_answer(&mut self) -> std::io::Result<bool> {
        let mut bytes = Vec::with_capacity(512);
        loop {
            if self.socket.read_buf(&mut bytes).await? == 0 {
                let is_answered = bytes.starts_with(b"HTTP/1.");
                return if is_answered { Ok(false) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) };
            }
            match Answer::read(&bytes) {
                Answer::Partial if bytes.len() < ANSWER_BYTES_MAX => {}
                Answer::Whole => return Ok(true),
                Answer::Partial | Answer::Endless => return Ok(false),
                Answer::Foreign => return Err(std::io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// What has come of an answer so far.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Partial,
    Whole,
    /// An answer, and its end is not told or is past the limit.
    Endless,
    /// Not HTTP.
    Foreign,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let head_bytes = match response.parse(bytes) {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) => return Self::Partial,
            Err(httparse::Error::TooManyHeaders) => return Self::Endless,
            Err(_) => return Self::Foreign,
        };
        let is_closing = response.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close")
        });
        let mut lengths = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = lengths.next().and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
        match length {
            Some(_) if is_closing || lengths.next().is_some() => Self::Endless,
            None => Self::Endless,
            Some(length) => match bytes.len().checked_sub(head_bytes) {
                Some(body) if body == length => Self::Whole,
                Some(body) if body < length && length < ANSWER_BYTES_MAX => Self::Partial,
                // Too long, or bytes nobody asked for.
                _ => Self::Endless,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::link_tests::rig;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn an_answer_ends_where_it_says() {
        let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n".as_slice();
        for (text, expected) in [
            (b"HTTP/1.1 404 Not".as_slice(), Answer::Partial),
            (head, Answer::Partial),
            (&[head, b"abc"].concat(), Answer::Whole),
            (&[head, b"abcd"].concat(), Answer::Endless),
            (b"HTTP/1.1 200 OK\r\n\r\n", Answer::Endless),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Answer::Endless),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", Answer::Endless),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", Answer::Endless),
            (b"220 mail.example ESMTP\r\n", Answer::Foreign),
        ] {
            assert_eq!(Answer::read(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    async fn head(peer: &mut tokio::net::TcpStream, end: &[u8]) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end) {
            bytes.push(peer.read_u8().await.expect("more"));
        }
        String::from_utf8(bytes).expect("text")
    }

    /// Makes the next poke one that ends the request.
    fn make_due(wake: &mut Wake) {
        wake.checked_at = Instant::now().checked_sub(CHECK_INTERVAL).expect("an hour after the boot");
    }

    #[tokio::test]
    async fn bytes_come_one_by_one_and_one_connection_serves_every_request() {
        let (listener, link) = rig().await;
        let mut wake = Wake::new();
        let node = async {
            let (mut peer, _) = listener.accept().await.expect("a connection");
            for _ in 0..3 {
                let text = head(&mut peer, b"\r\n\r\n").await;
                assert!(text.starts_with("GET /omnivisor-wake HTTP/1.1\r\nHost: 127.0.0.1:"), "{text}");
                assert!(text.ends_with("\r\nX-Wake: www\r\n\r\n"), "{text}");
                assert!(!text.to_lowercase().contains("authorization"), "what wakes needs no credentials");
                peer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").await.expect("sent");
            }
            peer
        };
        let host = async {
            for _ in 0..3 {
                for _ in 0..2 {
                    wake.poke(&link, Instant::now() + SOON).await.expect("sent");
                }
                make_due(&mut wake);
                wake.poke(&link, Instant::now() + SOON).await.expect("answered");
            }
        };
        let ended = tokio::time::timeout(SOON, async { tokio::join!(node, host) }).await.expect("in time");
        drop(ended);
    }

    #[tokio::test]
    async fn a_node_that_does_not_answer_is_told_in_time_and_the_next_poke_connects_anew() {
        let (listener, link) = rig().await;
        let mut wake = Wake::new();
        wake.poke(&link, Instant::now() + SOON).await.expect("sent");
        let (silent, _) = listener.accept().await.expect("a connection");
        make_due(&mut wake);
        let limit = Duration::from_millis(100);
        assert_eq!(wake.poke(&link, Instant::now() + limit).await, Err(ExchangeFailure::TimedOut));
        assert!(wake.open.is_none(), "what timed out is never used again");
        let node = async {
            let (mut peer, _) = listener.accept().await.expect("a new connection");
            head(&mut peer, b"\r\n\r\n").await;
            peer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").await.expect("sent");
            peer
        };
        let host = wake.poke(&link, Instant::now() + SOON);
        let (_peer, poked) = tokio::time::timeout(SOON, async { tokio::join!(node, host) }).await.expect("in time");
        assert_eq!(poked, Ok(()), "it is asked again at once");
        drop(silent);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_in_between_is_no_failure() {
        let (listener, link) = rig().await;
        let mut wake = Wake::new();
        make_due(&mut wake);
        let node = async {
            for _ in 0..2 {
                let (mut peer, _) = listener.accept().await.expect("a connection");
                head(&mut peer, b"\r\n\r\n").await;
                peer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").await.expect("sent");
            }
        };
        let host = async {
            for _ in 0..2 {
                make_due(&mut wake);
                wake.poke(&link, Instant::now() + SOON).await.expect("answered");
                // Until the close has arrived.
                if let Some(open) = &mut wake.open {
                    assert_eq!(
                        open.socket.read_u8().await.map_err(|e| e.kind()),
                        Err(std::io::ErrorKind::UnexpectedEof)
                    );
                }
            }
        };
        tokio::time::timeout(SOON, async { tokio::join!(node, host) }).await.expect("in time");
    }

    #[tokio::test]
    async fn what_is_no_web_server_is_a_failure() {
        let (listener, link) = rig().await;
        let mut wake = Wake::new();
        make_due(&mut wake);
        let node = async {
            let (mut peer, _) = listener.accept().await.expect("a connection");
            head(&mut peer, b"\r\n\r\n").await;
            peer.write_all(b"220 mail.example ESMTP\r\n").await.expect("sent");
            peer
        };
        let host = wake.poke(&link, Instant::now() + SOON);
        let (_peer, poked) = tokio::time::timeout(SOON, async { tokio::join!(node, host) }).await.expect("in time");
        assert!(matches!(poked, Err(ExchangeFailure::Unreachable(_))), "{poked:?}");
        drop::<TcpListener>(listener);
    }
}
