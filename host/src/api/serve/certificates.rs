use crate::config::TlsFiles;
use crate::watch::{Debounce, FileWatch};
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Bytes that a file with certificates or a key may have.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes that wait inside TLS for a peer that takes none.
const BUFFER_BYTES_MAX: usize = 16 << 10;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds nothing of the kind. What it holds is not told.
    #[error("`{}` holds no {what} as PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The two do not go together, or are of a kind that is not spoken.
    #[error("`{}` and `{}` cannot be used together", certificate.display(), key.display())]
    Unfit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// The certificate and the key of a listener. Connections that come take those that were read last and are good.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    serving: ArcSwap<rustls::ServerConfig>,
    /// What was read last, good or bad.
    read: Mutex<[u8; 32]>,
}

impl Certificates {
    /// Reads them for the first time.
    pub(super) async fn load(files: TlsFiles) -> Result<Self, CertificateError> {
        let pair = Pair::read(&files).await?;
        let serving = ArcSwap::from_pointee(pair.config(&files)?);
        Ok(Self { files, serving, read: Mutex::new(pair.digest()) })
    }

    /// What a connection is answered with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.serving.load_full())
    }

    /// Reads them again. What cannot be used changes nothing.
    pub(super) async fn refresh(&self) {
        let pair = match Pair::read(&self.files).await {
            Ok(pair) => pair,
            Err(error) => return self.keep(&error),
        };
        let digest = pair.digest();
        let before = std::mem::replace(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner), digest);
        if before == digest {
            return;
        }
        match pair.config(&self.files) {
            Ok(config) => {
                self.serving.store(Arc::new(config));
                tracing::info!(certificate = %self.files.certificate.display(), "a new certificate serves");
            }
            Err(error) => self.keep(&error),
        }
    }

    fn keep(&self, error: &CertificateError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, cause, "the certificate is not changed; the one before goes on serving");
    }

    /// Reads them again whenever a file beside them changes and whenever `again` says so, until `stop`.
    pub(super) async fn keep_fresh(&self, mut again: watch::Receiver<u64>, stop: CancellationToken) {
        let directory = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
        let (first, second) = (directory(&self.files.certificate), directory(&self.files.key));
        let watched = watch_directory(&first);
        let also = if first == second { None } else { watch_directory(&second) };
        let mut debounce = Debounce::default();
        // They may have changed between their reading and the start of the watch.
        debounce.note(Instant::now());
        loop {
            let due = debounce.due();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = again.changed() => match changed {
                    Ok(()) => self.refresh().await,
                    Err(_) => return,
                },
                () = FileWatch::changed(watched.as_ref()) => debounce.note(Instant::now()),
                () = FileWatch::changed(also.as_ref()) => debounce.note(Instant::now()),
                () = until(due) => {
                    if debounce.take(Instant::now()) {
                        self.refresh().await;
                    }
                }
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn watch_directory(directory: &Path) -> Option<FileWatch> {
    let failed = |error: &_| {
        tracing::warn!(%error, directory = %directory.display(), "certificates are read again at SIGHUP alone");
    };
    FileWatch::start(directory).inspect_err(failed).ok()
}

/// The texts of both files.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    async fn read(files: &TlsFiles) -> Result<Self, CertificateError> {
        Ok(Self { certificate: read(&files.certificate).await?, key: read(&files.key).await? })
    }

    fn digest(&self) -> [u8; 32] {
        let digest = Sha256::new().chain_update(Sha256::digest(&self.certificate));
        digest.chain_update(Sha256::digest(&self.key)).finalize().into()
    }

    fn config(&self, files: &TlsFiles) -> Result<rustls::ServerConfig, CertificateError> {
        let empty = |path: &Path, what| CertificateError::Empty { path: path.to_owned(), what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| empty(&files.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| empty(&files.key, "private key"))?;
        let unfit =
            |source| CertificateError::Unfit { certificate: files.certificate.clone(), key: files.key.clone(), source };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let mut config = builder.map_err(unfit)?.with_no_client_auth().with_single_cert(chain, key).map_err(unfit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
    // Asked before opening: opening a pipe would wait for its writer.
    if !tokio::fs::metadata(path).await.map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a regular file")));
    }
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).await.map_err(unreadable)?;
    Ok(bytes)
}

/// A connection's own part of TLS, before its handshake.
pub(super) fn bound(session: &mut rustls::ServerConnection) {
    session.set_buffer_limit(Some(BUFFER_BYTES_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls").join(name)
    }

    async fn refused(certificate: &Path, key: &Path) -> String {
        let files = TlsFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        Certificates::load(files).await.expect_err("it is no pair").to_string()
    }

    #[tokio::test]
    async fn what_is_no_pair_is_told_with_the_file_and_never_with_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let (odd, none) = (folder.path().join("odd"), folder.path().join("none"));
        std::fs::write(&odd, "canary").unwrap();
        let (certificate, key) = (fixture("first.pem"), fixture("first.key"));
        assert!(Certificates::load(TlsFiles { certificate: certificate.clone(), key: key.clone() }).await.is_ok());
        for (told, expected) in [
            (refused(&certificate, &fixture("second.key")).await, "cannot be used together"),
            (refused(&odd, &key).await, "holds no certificate"),
            (refused(&certificate, &odd).await, "holds no private key"),
            (refused(&certificate, &certificate).await, "holds no private key"),
            (refused(&none, &key).await, "cannot be read"),
            (refused(folder.path(), &key).await, "cannot be read"),
        ] {
            assert!(told.contains(expected) && !told.contains("canary"), "{told}");
        }
    }
}
