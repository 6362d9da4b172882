use crate::fetch::error::FetchError;
use crate::plugin::{BoxFuture, ExchangeFailure, ExchangeResponse, HttpClient, WebRequest};
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderValue, SET_COOKIE, USER_AGENT,
};
use http::uri::Scheme;
use http::{HeaderMap, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tower::ServiceExt;

/// Requests under way, of all plugins together.
const REQUESTS_MAX: usize = 64;
/// Resolving, connecting and agreeing on keys, inside the request's own deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 64 << 10;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// The host's way to the web.
pub struct Fetch {
    pub(super) slots: Semaphore,
    plain: HttpConnector,
    /// Made when it is first needed: reading the machine's authorities takes some milliseconds.
    secure: OnceCell<HttpsConnector<HttpConnector>>,
}

impl Fetch {
    /// A client that trusts the machine's certificate authorities, or those in the file that the environment variable
    /// `SSL_CERT_FILE` names.
    #[must_use]
    pub fn new() -> Self {
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_nodelay(true);
        Self { slots: Semaphore::new(REQUESTS_MAX), plain, secure: OnceCell::new() }
    }

    /// A client that trusts these authorities alone.
    #[cfg(test)]
    pub(super) fn trusting(authorities: rustls::RootCertStore) -> Self {
        let this = Self::new();
        let config =
            client_config().expect("a configuration").with_root_certificates(authorities).with_no_client_auth();
        this.secure.set((this.plain.clone(), config).into()).expect("it is empty");
        this
    }

    async fn fetch(&self, request: WebRequest, deadline: Instant) -> Result<ExchangeResponse, FetchError> {
        let Ok(_slot) = self.slots.try_acquire() else { return Err(FetchError::Busy { limit: REQUESTS_MAX }) };
        timeout_at(deadline, self.exchange(request)).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn exchange(&self, request: WebRequest) -> Result<ExchangeResponse, FetchError> {
        let limit = request.response_bytes_max;
        let (url, request) = http_request(request)?;
        let stream = timeout(CONNECT_TIMEOUT, self.connect(url)).await.map_err(|_| FetchError::ConnectTimedOut)??;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
        let (mut sender, connection) =
            builder.handshake::<Stream, Full<Bytes>>(stream).await.map_err(|error| FetchError::of_exchange(&error))?;
        let work = async {
            let response = sender.send_request(request).await.map_err(|error| FetchError::of_exchange(&error))?;
            read(response, limit).await
        };
        // Nothing is spawned: whoever drops this closes the socket. A connection that has ended leaves what it read.
        match select(pin!(work), pin!(connection)).await {
            Either::Left((result, _)) => result,
            Either::Right((_, work)) => work.await,
        }
    }

    async fn connect(&self, url: Uri) -> Result<Stream, FetchError> {
        if url.scheme() == Some(&Scheme::HTTPS) {
            let secure = self.secure.get_or_try_init(|| self.load()).await?;
            return secure.clone().oneshot(url).await.map_err(|error| FetchError::of_connect(&*error));
        }
        let stream = self.plain.clone().oneshot(url).await.map_err(|error| FetchError::of_connect(&error))?;
        Ok(MaybeHttpsStream::Http(stream))
    }

    async fn load(&self) -> Result<HttpsConnector<HttpConnector>, FetchError> {
        let plain = self.plain.clone();
        let load = tokio::task::spawn_blocking(move || {
            let authorities = client_config()?.with_native_roots().map_err(FetchError::NoAuthorities)?;
            Ok((plain, authorities.with_no_client_auth()).into())
        });
        load.await.unwrap_or_else(|error| {
            tracing::error!(target: "omnivisor::fetch", %error, "reading the certificate authorities did not end well");
            Err(FetchError::Host)
        })
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpClient for Fetch {
    fn send(&self, request: WebRequest, deadline: Instant) -> BoxFuture<'_, Result<ExchangeResponse, ExchangeFailure>> {
        Box::pin(async move {
            let started = Instant::now();
            let result = self.fetch(request, deadline).await;
            let (status, error) = (result.as_ref().ok().map(|response| response.status), result.as_ref().err());
            let error = error.map(tracing::field::display);
            tracing::debug!(target: "omnivisor::fetch", status, error, elapsed = ?started.elapsed(), "a plugin's request");
            result.map_err(ExchangeFailure::from)
        })
    }
}

fn client_config() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, FetchError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(FetchError::Tls)
}

fn http_request(request: WebRequest) -> Result<(Uri, http::Request<Full<Bytes>>), FetchError> {
    let WebRequest { method, url, headers, body, .. } = request;
    let url: Uri = url.parse().map_err(|error: http::uri::InvalidUri| FetchError::Request(error.into()))?;
    let target = url.path_and_query().map_or("/", |path| path.as_str());
    let host = url.authority().map_or("", |authority| authority.as_str());
    let mut builder = http::Request::builder().method(method.as_str()).uri(target).header(HOST, host);
    for (name, value) in &headers {
        builder = builder.header(name, value);
    }
    let mut request = builder.body(Full::from(body)).map_err(FetchError::Request)?;
    let own = request.headers_mut();
    own.insert(CONNECTION, HeaderValue::from_static("close"));
    own.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // Some servers answer nobody who does not say what they are.
    own.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("omnivisor/", env!("CARGO_PKG_VERSION"))));
    Ok((url, request))
}

async fn read(response: http::Response<Incoming>, bytes_max: usize) -> Result<ExchangeResponse, FetchError> {
    let too_large = || FetchError::TooLarge { limit: bytes_max as u64 };
    let (head, mut body) = response.into_parts();
    if head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(FetchError::Protocol("the answer is compressed, which nobody asked for".to_owned()));
    }
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|error| FetchError::of_exchange(&error))?.into_data() else { continue };
        if bytes.len() + piece.len() > bytes_max {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(ExchangeResponse { status: head.status.as_u16(), headers: readable(&head.headers), body: bytes })
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let seen = headers.iter().filter(|(name, _)| *name != SET_COOKIE);
    seen.map(|(name, value)| (name.to_string(), text(value))).collect()
}
