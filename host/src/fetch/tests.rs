mod certificate;

use crate::fetch::Fetch;
use crate::plugin::{ExchangeFailure, ExchangeResponse, HttpClient, WebRequest};
use rustls::{RootCertStore, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(10);
const BYTES_MAX: usize = 10_000;

/// A server on a thread of its own that does this with every connection, and tells what it did.
fn serve<T: Send + 'static>(answer: impl Fn(TcpStream) -> T + Send + 'static) -> (SocketAddr, Receiver<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = sync_channel(16);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if tell.send(answer(stream)).is_err() {
                return;
            }
        }
    });
    (address, told)
}

/// Reads a request's head and answers with these bytes.
fn answer(mut stream: impl Read + Write, reply: &[u8]) -> String {
    let head = read_head(&mut stream);
    let _ = stream.write_all(reply);
    let _ = stream.flush();
    head
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.extend(byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn get(url: String) -> WebRequest {
    WebRequest { method: "GET".to_owned(), url, headers: vec![], body: vec![], response_bytes_max: BYTES_MAX }
}

/// What comes of a `GET` answered with these bytes.
async fn got(reply: impl Into<Vec<u8>>) -> Result<ExchangeResponse, ExchangeFailure> {
    let reply = reply.into();
    let (address, _told) = serve(move |stream| answer(stream, &reply));
    Fetch::new().send(get(format!("http://{address}/")), Instant::now() + SOON).await
}

#[tokio::test]
async fn a_request_arrives_as_it_was_given_with_the_headers_of_the_host() {
    let (address, told) = serve(|mut stream| {
        let head = read_head(&mut stream);
        let mut body = [0; 3];
        stream.read_exact(&mut body).expect("the body");
        let _ = stream.write_all(b"HTTP/1.1 201 Created\r\nX-A: b\r\nset-cookie: c=d\r\ncontent-length: 2\r\n\r\nok");
        (head, body)
    });
    let request = WebRequest {
        method: "POST".to_owned(),
        headers: vec![("authorization".to_owned(), "Basic eA==".to_owned())],
        body: b"a=b".to_vec(),
        ..get(format!("http://{address}/token?x=%20y"))
    };
    let response = Fetch::new().send(request, Instant::now() + SOON).await.expect("an answer");
    assert_eq!((response.status, response.body.as_slice()), (201, b"ok".as_slice()));
    let headers = [("x-a".to_owned(), "b".to_owned()), ("content-length".to_owned(), "2".to_owned())];
    assert_eq!(response.headers, headers, "there are no cookies");
    let (head, body) = told.recv().expect("it was asked");
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!((lines[0], &body), ("POST /token?x=%20y HTTP/1.1", b"a=b"));
    let host = format!("host: {address}");
    for line in [&*host, "authorization: Basic eA==", "connection: close", "content-length: 3"] {
        assert!(lines.contains(&line), "{line:?} is missing in {head}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (elsewhere, asked) = serve(|stream| answer(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let reply = format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let response = got(reply).await.expect("an answer");
    assert_eq!(response.status, 302);
    assert!(response.headers.contains(&("location".to_owned(), format!("http://{elsewhere}/"))));
    assert!(asked.try_recv().is_err(), "nobody went there");
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_refused_announced_or_not() {
    let too_large = Err(ExchangeFailure::TooLarge { limit: BYTES_MAX as u64 });
    assert_eq!(got("HTTP/1.1 200 OK\r\ncontent-length: 10001\r\n\r\n").await, too_large);
    let body = "x".repeat(BYTES_MAX + 1);
    assert_eq!(got(format!("HTTP/1.1 200 OK\r\n\r\n{body}")).await, too_large);
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(got(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}")).await, too_large);
    let whole = got(format!("HTTP/1.1 200 OK\r\n\r\n{}", &body[1..])).await.expect("just as much as is allowed");
    assert_eq!(whole.body.len(), BYTES_MAX);
}

#[tokio::test]
async fn what_is_not_proper_http_is_told_so() {
    assert!(matches!(got("nonsense\r\n\r\n").await, Err(ExchangeFailure::Protocol(_))));
    let many = "a: b\r\n".repeat(200);
    assert!(matches!(got(format!("HTTP/1.1 200 OK\r\n{many}\r\n")).await, Err(ExchangeFailure::Protocol(_))));
    let compressed = got("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx").await;
    assert!(matches!(compressed, Err(ExchangeFailure::Protocol(_))));
    let broken = got("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert!(matches!(broken, Err(ExchangeFailure::Unreachable(_))), "{broken:?}");
    assert!(matches!(got("").await, Err(ExchangeFailure::Unreachable(_))));
}

#[tokio::test]
async fn who_does_not_answer_is_left_at_the_deadline_and_the_connection_closed() {
    let (address, told) = serve(|mut stream| {
        let _ = read_head(&mut stream);
        // Ends when the other side has closed.
        stream.read(&mut [0]).map_err(|error| error.kind())
    });
    let started = Instant::now();
    let result = Fetch::new().send(get(format!("http://{address}/")), started + Duration::from_millis(200)).await;
    assert_eq!(result, Err(ExchangeFailure::TimedOut));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(told.recv_timeout(SOON), Ok(Ok(0)), "it is closed");
}

#[tokio::test]
async fn who_is_not_there_is_told_at_once_and_without_the_url() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a free port");
    let url = format!("http://{address}/?client_secret=hunter2");
    let failure = Fetch::new().send(get(url), Instant::now() + SOON).await.expect_err("nobody is there");
    assert_eq!(failure, ExchangeFailure::Unreachable("no connection: connection refused".to_owned()));
}

#[tokio::test]
async fn beyond_the_requests_allowed_the_answer_is_busy_at_once() {
    let (address, _told) = serve(|mut stream| read_head(&mut stream));
    let fetch = Fetch::new();
    let _all = fetch.slots.try_acquire_many(64).expect("nothing is under way");
    let failure = fetch.send(get(format!("http://{address}/")), Instant::now() + SOON).await.expect_err("no place");
    assert!(matches!(&failure, ExchangeFailure::Unreachable(text) if text.contains("64 requests")), "{failure}");
}

/// A server with a certificate for `localhost`, and a client that trusts these authorities.
async fn securely(host: &str, is_trusted: bool) -> Result<ExchangeResponse, ExchangeFailure> {
    let (config, authorities) = certificate::localhost();
    let (address, _told) = serve(move |stream| {
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        let head = answer(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret");
        stream.conn.send_close_notify();
        stream.flush().map(|()| head)
    });
    let fetch = Fetch::trusting(if is_trusted { authorities } else { RootCertStore::empty() });
    fetch.send(get(format!("https://{host}:{}/", address.port())), Instant::now() + SOON).await
}

#[tokio::test]
async fn https_reaches_who_has_a_certificate_that_is_trusted_for_its_name() {
    let response = securely("localhost", true).await.expect("an answer");
    assert_eq!(response.body, b"secret");
    let stranger = securely("localhost", false).await.expect_err("an unknown authority");
    assert!(
        matches!(&stranger, ExchangeFailure::Unreachable(text) if text.contains("UnknownIssuer") && text.contains("SSL_CERT_FILE")),
        "{stranger}"
    );
    let other = securely("127.0.0.1", true).await.expect_err("another name");
    assert!(matches!(&other, ExchangeFailure::Unreachable(text) if text.contains("no proper certificate")), "{other}");
}

#[tokio::test]
async fn https_with_one_who_speaks_plain_http_is_an_error() {
    let (address, _told) = serve(|stream| answer(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let (_, authorities) = certificate::localhost();
    let url = format!("https://localhost:{}/", address.port());
    let failure = Fetch::trusting(authorities).send(get(url), Instant::now() + Duration::from_millis(500)).await;
    assert!(failure.is_err(), "{failure:?}");
}
