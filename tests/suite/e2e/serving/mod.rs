//! Where requests come in: listeners, TLS, HTTP/2, proxies, and clients that are slow on purpose.

mod answers;
mod h2;
mod listeners;
mod outside;
mod room;
mod slow;

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tests::{Reply, Settings};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a busy machine adds to a time that was promised.
const SLACK: Duration = Duration::from_secs(3);

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

/// Puts one of the two certificates, with its key, where the server looks.
fn certify(settings: &Settings, name: &str) -> anyhow::Result<()> {
    for (from, to) in [("pem", "tls.pem"), ("key", "tls.key")] {
        let fresh = settings.path("fresh");
        std::fs::copy(fixture(&format!("{name}.{from}")), &fresh)?;
        std::fs::rename(fresh, settings.path(to))?;
    }
    Ok(())
}

/// With a listener that speaks TLS.
pub(super) fn with_tls(settings: Settings, address: SocketAddr) -> anyhow::Result<Settings> {
    certify(&settings, "first")?;
    let lines = format!("address = \"{address}\"\ncertificate_file = \"tls.pem\"\nkey_file = \"tls.key\"");
    Ok(settings.listen(&lines))
}

/// A connection to whoever has this one of the two certificates.
async fn tls(address: SocketAddr, trusted: &str, protocol: &str) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture(&format!("{trusted}.pem")))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream).await?)
}

/// One request over HTTP/1.1 on a connection of any kind, which ends with it.
async fn ask<S>(stream: S, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Reply>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::builder().uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let reply = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        anyhow::Ok(Reply { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    };
    futures_util::future::join(reply, connection).await.0
}

/// How long it takes until the server ends this connection. What it says before is thrown away.
async fn until_closed(stream: &mut (impl AsyncRead + Unpin), limit: Duration) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut rest = [0; 4096];
    let reads = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    timeout(limit, reads).await.with_context(|| format!("the connection was still open after {limit:?}"))?;
    Ok(began.elapsed())
}
