use crate::api::socket::allowance::Allowance;
use crate::hub::Link;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The client sent more bytes than it may. Raised while reading, because a flood of empty fragments never becomes a
/// message that could be counted.
#[derive(Debug, thiserror::Error)]
#[error("more bytes were sent than are allowed")]
pub(super) struct Flood;

/// A connection as the library sees it: it reads the socket, with an allowance; what the library writes (pongs and answers
/// to a close, whole frames each) goes to whoever does the writing.
#[derive(Debug)]
pub(super) struct Adapter<R> {
    pub(super) read: R,
    pub(super) link: Link,
    bytes: Allowance,
}

impl<R> Adapter<R> {
    pub(super) fn new(read: R, link: Link, bytes: Allowance) -> Self {
        Self { read, link, bytes }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Adapter<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.read).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 && !self.bytes.take(read as u64) {
            return Poll::Ready(Err(io::Error::other(Flood)));
        }
        polled
    }
}

impl<R: Unpin> AsyncWrite for Adapter<R> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // All or nothing, so that a frame stays whole.
        Poll::Ready(self.link.control(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
