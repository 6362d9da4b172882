use anyhow::{Context as _, ensure};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Longer than any answer may take, a command's longest wait included.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);

/// A plain HTTP client: one connection a request, nothing retried, nothing followed.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    source: IpAddr,
    authorization: Option<String>,
    lines: Vec<(String, String)>,
}

impl Client {
    /// A client that nobody knows.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, source: Ipv4Addr::LOCALHOST.into(), authorization: None, lines: Vec::new() }
    }

    /// The same from another address of loopback, as another machine would be seen.
    #[must_use]
    pub fn from_source(&self, source: IpAddr) -> Self {
        Self { source, ..self.clone() }
    }

    /// The same with a session's token.
    #[must_use]
    pub fn bearer(&self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self.clone() }
    }

    /// The same with a name and a password.
    #[must_use]
    pub fn basic(&self, username: &str, password: &str) -> Self {
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("{username}:{password}"));
        Self { authorization: Some(format!("Basic {pair}")), ..self.clone() }
    }

    /// The same with a header more in each request.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut this = self.clone();
        this.lines.push((name.to_owned(), value.to_owned()));
        this
    }

    /// The headers that it adds to each request, its `Authorization` left out.
    #[must_use]
    pub fn lines(&self) -> &[(String, String)] {
        &self.lines
    }

    /// Where it goes.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `Authorization` that it sends.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Sends any request.
    ///
    /// # Errors
    /// There was no complete reply in time.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Reply> {
        let exchange = self.exchange(method, path, headers, body);
        let reply = tokio::time::timeout(ANSWER_WITHIN, exchange).await;
        reply.map_err(anyhow::Error::from).flatten().with_context(|| format!("{method} {path} at {}", self.address))
    }

    /// `GET`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.send("GET", path, &[], Vec::new()).await
    }

    /// `POST` of a JSON document.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Reply> {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().into_bytes()).await
    }

    /// Logs in and gives a client with the session's token.
    ///
    /// # Errors
    /// No reply, or not 200.
    pub async fn login(&self, username: &str, password: &str) -> anyhow::Result<Self> {
        let body = serde_json::json!({ "username": username, "password": password });
        let reply = self.post("/api/v1/login", &body).await?.expect_status(200)?.json()?;
        Ok(self.bearer(reply["token"].as_str().context("a login without a token")?))
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        if self.source == Ipv4Addr::LOCALHOST {
            return TcpStream::connect(self.address).await;
        }
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.source, 0))?;
        socket.connect(self.address).await
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Reply> {
        let stream = self.connect().await?;
        let mut request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in &self.lines {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let reply = async move {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Reply { status: head.status, headers: head.headers, body })
        };
        // The connection ends by itself once its sender is gone.
        let (reply, _) = futures_util::future::join(reply, connection).await;
        reply
    }
}

/// A complete reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text, for texts and for messages about it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// One header as text, empty where it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as a JSON document.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The reply itself, if it has this status.
    ///
    /// # Errors
    /// It has another; the text shows the body.
    pub fn expect_status(self, status: u16) -> anyhow::Result<Self> {
        ensure!(self.status.as_u16() == status, "{} instead of {status}: {}", self.status, self.text());
        Ok(self)
    }

    /// The problem document, once every promise about its form has been checked.
    ///
    /// # Errors
    /// It breaks one of them, or has another status or code.
    pub fn problem(&self, status: u16, code: &str) -> anyhow::Result<Value> {
        let text = self.text();
        ensure!(self.status.as_u16() == status, "{} instead of {status} `{code}`: {text}", self.status);
        let kind = self.header("content-type");
        ensure!(kind == "application/problem+json", "content type `{kind}` of {text}");
        let problem = self.json()?;
        ensure!(problem["status"] == status, "the document's own status differs from {status}: {text}");
        ensure!(problem["code"] == code, "another code than `{code}`: {text}");
        ensure!(problem["type"] == format!("https://omnivisor.dev/problems/{code}"), "type: {text}");
        for member in ["title", "detail", "request_id"] {
            ensure!(problem[member].as_str().is_some_and(|words| !words.is_empty()), "no `{member}`: {text}");
        }
        ensure!(problem["request_id"] == self.header("x-request-id"), "the request's id differs: {text}");
        Ok(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn reply(body: &str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/problem+json"));
        headers.insert("x-request-id", HeaderValue::from_static("r1"));
        Reply { status: StatusCode::NOT_FOUND, headers, body: body.to_owned().into() }
    }

    #[test]
    fn a_problem_document_has_to_keep_every_promise() {
        let good = r#"{"type":"https://omnivisor.dev/problems/node.not_found","title":"t","status":404,"code":"node.not_found","detail":"d","request_id":"r1"}"#;
        assert!(reply(good).problem(404, "node.not_found").is_ok());
        for (from, to) in [
            (r#""status":404"#, r#""status":400"#),
            (r#""request_id":"r1""#, r#""request_id":"r2""#),
            (r#""detail":"d""#, r#""detail":"""#),
            ("problems/node.not_found", "problems/other"),
        ] {
            assert!(reply(&good.replace(from, to)).problem(404, "node.not_found").is_err(), "{to}");
        }
        assert!(reply(good).problem(404, "process.not_found").is_err());
        assert!(reply(good).problem(400, "node.not_found").is_err());
    }
}
