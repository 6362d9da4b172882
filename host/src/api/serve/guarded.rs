use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// So much has to be taken of a long answer within the time for answers.
const WINDOW_BYTES: usize = 64 * 1024;

/// A connection whose peer has to take what it is sent: the rest of it, or 64 KiB, within a time.
///
/// The clock runs from when the peer takes no more until all was taken; a peer that takes a byte now and then is as late as
/// one that takes none.
#[derive(Debug)]
pub(in crate::api) struct Guarded<S> {
    io: S,
    limit: Option<Duration>,
    due: Option<Pin<Box<Sleep>>>,
    taken: usize,
}

impl<S> Guarded<S> {
    pub(in crate::api) fn new(io: S, limit: Duration) -> Self {
        Self { io, limit: Some(limit), due: None, taken: 0 }
    }

    pub(in crate::api) fn into_inner(self) -> S {
        self.io
    }

    pub(in crate::api) fn get_ref(&self) -> &S {
        &self.io
    }

    /// Somebody else minds the time from now on.
    pub(in crate::api) fn disarm(&mut self) {
        self.limit = None;
        self.due = None;
    }

    fn judge(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Some(limit) = self.limit else { return polled };
        match polled {
            Poll::Ready(Ok(count)) => {
                self.taken += count;
                if self.taken >= WINDOW_BYTES {
                    self.due = None;
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if self.due.is_none() {
                    self.taken = 0;
                }
                let due = self.due.get_or_insert_with(|| Box::pin(sleep(limit)));
                ready!(due.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not take its answer")))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.judge(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.judge(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever flushes has nothing left that was not taken.
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        if polled.is_ready() {
            self.due = None;
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::Instant;

    const LIMIT: Duration = Duration::from_secs(30);

    fn pair() -> (Guarded<DuplexStream>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        (Guarded::new(ours, LIMIT), theirs)
    }

    /// Writes so much while the peer takes so much each second; gives how long it took and how it ended.
    async fn write(bytes: usize, per_second: usize) -> (Duration, io::Result<()>) {
        let (mut ours, mut theirs) = pair();
        let began = Instant::now();
        let writing = async {
            ours.write_all(&vec![0; bytes]).await?;
            ours.flush().await
        };
        let reading = async {
            let mut piece = vec![0; per_second];
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                theirs.read_exact(&mut piece).await.expect("more");
            }
        };
        tokio::select! {
            written = writing => (began.elapsed(), written),
            () = reading => unreachable!("it reads for ever"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_byte_a_second_is_as_late_as_one_that_takes_none() {
        let (took, ended) = write(100_000, 1).await;
        assert_eq!((took.as_secs(), ended.unwrap_err().kind()), (LIMIT.as_secs(), io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_that_goes_on_taking_is_served_to_the_end() {
        // 64 KiB in 22 s, twenty times: longer than the limit in all, and never too slow.
        let (took, ended) = write(20 * WINDOW_BYTES, 3_000).await;
        assert!(ended.is_ok() && took > 10 * LIMIT, "{took:?}");
        let (took, ended) = write(20 * WINDOW_BYTES, 2_000).await;
        assert_eq!((took.as_secs(), ended.unwrap_err().kind()), (LIMIT.as_secs(), io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_answers_does_not_count() {
        let (mut ours, mut theirs) = pair();
        for _ in 0..5 {
            let reader = async {
                tokio::time::sleep(LIMIT / 2).await;
                theirs.read_exact(&mut vec![0; 4096]).await.expect("all");
            };
            let writer = async {
                ours.write_all(&[0; 4096]).await.expect("taken in time");
                ours.flush().await.expect("flushed");
            };
            tokio::join!(reader, writer);
            tokio::time::sleep(LIMIT * 3).await;
        }
        ours.disarm();
        assert!(tokio::time::timeout(LIMIT * 5, ours.write_all(&[0; 4096])).await.is_err(), "nobody minds the time");
    }
}
