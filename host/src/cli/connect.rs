//! Connections to a server: over a port, with or without TLS, or over a socket of this machine.

use super::error::CliError;
use super::server::{ServerUrl, Way};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// A connection has to come about within this, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What bytes go in at and come out of.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection of any kind.
pub(crate) type Stream = Box<dyn Duplex>;

/// A connection to a server.
///
/// # Errors
/// [`CliError::Unreachable`], also for a server whose certificate is not trusted; [`CliError::Data`] for a file with
/// authorities that holds none.
pub(crate) async fn connect(server: &ServerUrl) -> Result<Stream, CliError> {
    let unreachable = |source| CliError::Unreachable { server: server.to_string(), source };
    let tls = match server.way() {
        Way::Tcp { is_tls: true, .. } => Some(client_config(server.authorities())?),
        Way::Tcp { is_tls: false, .. } | Way::Unix { .. } => None,
    };
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, reach(server.way(), tls));
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection within 5 s");
    connecting.await.unwrap_or_else(|_| Err(late())).map_err(unreachable)
}

async fn reach(way: &Way, tls: Option<ClientConfig>) -> io::Result<Stream> {
    let (host, port) = match way {
        Way::Unix { path } => return Ok(Box::new(UnixStream::connect(path).await?)),
        Way::Tcp { host, port, .. } => (host, *port),
    };
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let shaken = TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
    // Its text says what is wrong with the certificate; what to do about it stands beside.
    let with_advice = |error: io::Error| {
        let is_trust = error.get_ref().is_some_and(|inner| {
            inner.downcast_ref::<rustls::Error>().is_some_and(|e| matches!(e, rustls::Error::InvalidCertificate(_)))
        });
        if is_trust { io::Error::other(format!("{error}; `--ca-file` names an authority to trust")) } else { error }
    };
    Ok(Box::new(shaken.map_err(with_advice)?))
}

fn client_config(authorities: Option<&Path>) -> Result<ClientConfig, CliError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let shown = path.display().to_string();
            let text =
                std::fs::read(path).map_err(|source| CliError::File { action: "read", path: shown.clone(), source })?;
            let certificates = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(CliError::Data { message: format!("{shown} holds no certificate as PEM") });
            }
        }
        None => {
            // One that cannot be read is one that is not trusted; the handshake says so.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let unfit = |error| CliError::Data { message: format!("TLS cannot be spoken: {error}") };
    let mut config = builder.map_err(unfit)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
