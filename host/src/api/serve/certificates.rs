use crate::config::TlsFiles;
use crate::task::until;
use crate::watch::{Debounce, FileWatch};
use arc_swap::ArcSwap;
use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode as _, Header, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
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
    state: Mutex<CertificateState>,
}

/// How a certificate does.
#[derive(Debug, Clone)]
pub(in crate::api) struct CertificateState {
    /// Its file.
    pub(in crate::api) file: PathBuf,
    /// When the one that serves ends, if that can be read from it.
    pub(in crate::api) expires: Option<SystemTime>,
    /// Why what is in the files does not serve, and the one before does.
    pub(in crate::api) fault: Option<Arc<str>>,
    /// How often another one was taken, and how often what was there could not be.
    pub(in crate::api) reloads: (u64, u64),
}

impl Certificates {
    /// Reads them for the first time.
    pub(super) async fn load(files: TlsFiles) -> Result<Self, CertificateError> {
        let pair = Pair::read(&files).await?;
        let serving = ArcSwap::from_pointee(pair.config(&files)?);
        let leaf = Leaf::of(&pair.certificate);
        leaf.warn(&files.certificate);
        let (file, expires) = (files.certificate.clone(), leaf.expires);
        let state = CertificateState { file, expires, fault: None, reloads: (0, 0) };
        Ok(Self { files, serving, read: Mutex::new(pair.digest()), state: Mutex::new(state) })
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
        // The same as before is as well as it was, unless it could not be read in between.
        if before == digest && self.state().fault.is_none() {
            return;
        }
        match pair.config(&self.files) {
            Ok(config) => {
                self.serving.store(Arc::new(config));
                let leaf = Leaf::of(&pair.certificate);
                leaf.warn(&self.files.certificate);
                self.change(|state| {
                    (state.expires, state.fault) = (leaf.expires, None);
                    state.reloads.0 += 1;
                });
                tracing::info!(certificate = %self.files.certificate.display(), "a new certificate serves");
            }
            Err(error) => self.keep(&error),
        }
    }

    /// How it does.
    pub(super) fn state(&self) -> CertificateState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut CertificateState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn keep(&self, error: &CertificateError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let fault = cause.as_ref().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        // The same fault each time the directory is looked at is one.
        let is_known = self.state().fault.as_deref() == Some(fault.as_str());
        if is_known {
            return;
        }
        self.change(|state| {
            state.fault = Some(fault.into());
            state.reloads.1 += 1;
        });
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

/// What is read of the first certificate of a file besides its key.
#[derive(Debug, Default, PartialEq, Eq)]
struct Leaf {
    expires: Option<SystemTime>,
    is_authority: bool,
}

impl Leaf {
    /// Nothing of what cannot be read: that it serves is for clients to judge.
    fn of(pem: &[u8]) -> Self {
        let first = CertificateDer::pem_slice_iter(pem).next().and_then(Result::ok);
        first.and_then(|certificate| Self::read(&certificate).ok()).unwrap_or_default()
    }

    /// RFC 5280, 4.1: the certificate, what is signed of it, and in it by place, for nothing there has a name.
    fn read(certificate: &[u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(certificate)?;
        Header::decode(&mut reader)?;
        Header::decode(&mut reader)?;
        // Its version may be left out; number, algorithm and issuer may not.
        if reader.peek_tag()?.is_context_specific() {
            AnyRef::decode(&mut reader)?;
        }
        for _ in 0..3 {
            AnyRef::decode(&mut reader)?;
        }
        Header::decode(&mut reader)?;
        AnyRef::decode(&mut reader)?;
        let expires = if reader.peek_tag()? == Tag::UtcTime {
            UtcTime::decode(&mut reader)?.to_unix_duration()
        } else {
            GeneralizedTime::decode(&mut reader)?.to_unix_duration()
        };
        let expires = SystemTime::UNIX_EPOCH.checked_add(expires);
        // Subject and key, and after them what may be left out: identifiers of old, and extensions.
        let mut is_authority = false;
        for part in 0.. {
            let Ok(next) = AnyRef::decode(&mut reader) else { break };
            if part >= 2 && next.tag() == EXTENSIONS {
                is_authority = is_of_an_authority(next.value())?;
                break;
            }
        }
        Ok(Self { expires, is_authority })
    }

    /// Clients that check it as the rules say take no authority's certificate from a server.
    fn warn(&self, file: &Path) {
        if self.is_authority {
            tracing::warn!(
                certificate = %file.display(),
                "this certificate is an authority's (CA:TRUE), which many clients refuse from a server, `omnivisor` among \
                 them: make one with `basicConstraints=CA:FALSE`"
            );
        }
    }
}

/// Where the extensions of a certificate stand.
const EXTENSIONS: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N3 };
/// `basicConstraints`, 2.5.29.19.
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];

/// Whether one of these extensions says `CA:TRUE`.
fn is_of_an_authority(extensions: &[u8]) -> der::Result<bool> {
    let mut reader = SliceReader::new(extensions)?;
    Header::decode(&mut reader)?;
    while !reader.is_finished() {
        let extension = AnyRef::decode(&mut reader)?;
        let mut parts = SliceReader::new(extension.value())?;
        if AnyRef::decode(&mut parts)?.value() != BASIC_CONSTRAINTS {
            continue;
        }
        let mut value = AnyRef::decode(&mut parts)?;
        if value.tag() == Tag::Boolean {
            value = AnyRef::decode(&mut parts)?;
        }
        let mut constraints = SliceReader::new(value.value())?;
        let length = Header::decode(&mut constraints)?.length;
        return Ok(!length.is_zero() && constraints.peek_tag()? == Tag::Boolean && bool::decode(&mut constraints)?);
    }
    Ok(false)
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

    #[test]
    fn what_a_certificate_says_of_itself_is_read_and_what_is_none_says_nothing() {
        let leaf = Leaf::of(&std::fs::read(fixture("first.pem")).unwrap());
        // 2049-12-31T23:59:59Z
        assert_eq!(leaf.expires, Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(2_524_607_999)));
        assert!(!leaf.is_authority);
        assert!(Leaf::of(&std::fs::read(fixture("authority.pem")).unwrap()).is_authority);
        assert_eq!(Leaf::of(b"none"), Leaf::default());
        let whole = CertificateDer::from_pem_file(fixture("first.pem")).unwrap();
        for end in 0..whole.len() {
            drop(Leaf::read(&whole[..end]));
        }
    }
}
