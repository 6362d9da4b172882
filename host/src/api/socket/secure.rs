use crate::api::serve::{Guarded, Tls};
use crate::hub::Wire;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection with TLS in two halves.
///
/// TLS takes in more than the socket does: what is left is flushed by the reading half, whose task always waits, since
/// whoever writes is done and may not come back for long. Only when all of it is out more is taken in, so that a peer that
/// does not read is seen to block as it is without TLS.
pub(super) fn split(tls: Tls) -> (Reader, Writer) {
    let shared = Arc::new(Mutex::new(Shared { tls, reader: None, writer: None, is_behind: false }));
    (Reader(Arc::clone(&shared)), Writer(shared))
}

struct Shared {
    tls: Tls,
    reader: Option<Waker>,
    /// Waits until more is taken in. The socket knows one waker for its writes, which may be the reader's meanwhile.
    writer: Option<Waker>,
    /// Something that was taken in is not out.
    is_behind: bool,
}

impl Shared {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.tls).poll_flush(cx);
        self.is_behind = flushed.is_pending();
        flushed
    }

    fn socket(&self) -> &TcpStream {
        Guarded::get_ref(self.tls.get_ref().0)
    }
}

type Half = Arc<Mutex<Shared>>;

fn lock(half: &Half) -> MutexGuard<'_, Shared> {
    half.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The half that reads.
pub(super) struct Reader(Half);

/// The half that writes.
pub(super) struct Writer(Half);

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        if shared.is_behind {
            // An error of the writing half is found by whoever writes.
            let flushed = shared.poll_flush(cx);
            if flushed.is_ready()
                && let Some(writer) = shared.writer.take()
            {
                writer.wake();
            }
        }
        if shared.reader.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            shared.reader = Some(cx.waker().clone());
        }
        Pin::new(&mut shared.tls).poll_read(cx, buf)
    }
}

impl Writer {
    fn take_in(
        &self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Tls>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.0);
        if shared.is_behind
            && let Poll::Ready(flushed) = shared.poll_flush(cx)
        {
            flushed?;
        }
        if shared.is_behind {
            shared.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Poll::Ready(written) = write(Pin::new(&mut shared.tls), cx) else {
            shared.is_behind = true;
            shared.writer = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let written = written?;
        if let Poll::Ready(flushed) = shared.poll_flush(cx) {
            flushed?;
        } else if let Some(reader) = shared.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(written))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take_in(cx, |tls, cx| tls.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.take_in(cx, |tls, cx| tls.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).tls).poll_shutdown(cx)
    }
}

impl Wire for Writer {
    fn cut(&mut self) {
        if let Err(error) = SockRef::from(lock(&self.0).socket()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a feed connection lingers");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};
    use tokio_util::task::TaskTracker;

    const CERTIFICATE: &[u8] = include_bytes!("../../../../tests/fixtures/tls/first.pem");
    const KEY: &[u8] = include_bytes!("../../../../tests/fixtures/tls/first.key");

    /// Both ends of a connection with TLS over a real socket that holds little.
    async fn pair() -> (Tls, client::TlsStream<TcpStream>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from_pem_slice(KEY).unwrap())
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ours = async {
            let (stream, _) = listener.accept().await.unwrap();
            SockRef::from(&stream).set_send_buffer_size(8 << 10).unwrap();
            let guarded = Guarded::new(stream, Duration::from_secs(30));
            TlsAcceptor::from(Arc::new(server)).accept(guarded).await.unwrap()
        };
        let theirs = async {
            let stream = TcpStream::connect(address).await.unwrap();
            SockRef::from(&stream).set_recv_buffer_size(8 << 10).unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap()
        };
        tokio::join!(ours, theirs)
    }

    #[tokio::test]
    async fn what_was_taken_in_reaches_the_peer_although_nobody_writes_again() {
        const BYTES: usize = 1 << 20;
        let (ours, mut theirs) = pair().await;
        let (mut reader, mut writer) = split(ours);
        let writes = async move {
            let whole: Vec<u8> = (0..BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut rest = whole.as_slice();
            while !rest.is_empty() {
                let count = writer.write(rest.get(..rest.len().min(50_000)).unwrap()).await.unwrap();
                rest = rest.get(count..).unwrap();
            }
            // As a shard does: it has nothing to say for a long time, and flushes nothing.
            tokio::time::sleep(Duration::from_secs(600)).await;
            drop(writer);
        };
        let listens = async {
            let mut nothing = [0; 16];
            reader.read(&mut nothing).await
        };
        let reads = async {
            let mut whole = vec![0; BYTES];
            // It begins late, so that the connection is full.
            tokio::time::sleep(Duration::from_millis(50)).await;
            theirs.read_exact(&mut whole).await.unwrap();
            assert!(whole.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251));
        };
        // A task of its own, as a shard is: its waker is of no use to the reader.
        let writes = TaskTracker::new().spawn(writes);
        let all = async {
            tokio::select! {
                _ = writes => panic!("it rests"),
                read = listens => panic!("nothing is said: {read:?}"),
                () = reads => {}
            }
        };
        timeout(Duration::from_secs(20), all).await.expect("what was taken in is stuck");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_blocks_the_writer_and_what_is_cut_is_reset() {
        let (ours, mut theirs) = pair().await;
        let (reader, mut writer) = split(ours);
        let mut taken = 0;
        while let Ok(written) = timeout(Duration::from_millis(200), writer.write(&[7; 50_000])).await {
            taken += written.unwrap();
            assert!(taken < 8 << 20, "it takes whatever there is");
        }
        writer.cut();
        drop((reader, writer));
        let mut rest = Vec::new();
        assert!(theirs.read_to_end(&mut rest).await.is_err(), "a reset");
    }
}
