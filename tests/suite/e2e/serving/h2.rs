use super::{SLACK, tls, until_closed, with_tls};
use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tests::{Host, Settings, free_address};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Requests one after the other over HTTP/2; gives status and body of each.
async fn ask_all<S>(stream: S, paths: &[&str], authorization: &str) -> anyhow::Result<Vec<(u16, String)>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let tracker = TaskTracker::new();
    tracker.spawn(connection);
    let mut answers = Vec::new();
    for path in paths {
        let request = Request::builder().uri(format!("http://localhost{path}")).version(Version::HTTP_2);
        let request = request.header("authorization", authorization).body(Empty::<Bytes>::new())?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        answers.push((head.status.as_u16(), String::from_utf8_lossy(&body).into_owned()));
    }
    Ok(answers)
}

#[tokio::test]
async fn http2_is_spoken_by_agreement_and_to_those_who_know_and_the_feed_is_not_served_over_it() -> anyhow::Result<()> {
    let secure = free_address()?;
    let host = Host::start(with_tls(Settings::new()?, secure)?).await?;
    let authorization = host.admin.authorization().context("logged in")?;
    let paths = ["/api/v1/me", "/api/openapi.json", "/api/v1/feed", "/nothing"];
    let agreed = ask_all(tls(secure, "first", "h2").await?, &paths, authorization).await?;
    let known = ask_all(TcpStream::connect(host.address()).await?, &paths, authorization).await?;
    for answers in [agreed, known] {
        assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 200, 400, 404]);
        assert!(answers.get(1).is_some_and(|(_, body)| body.len() > 50_000), "a long answer arrives whole");
        assert!(answers.get(2).is_some_and(|(_, body)| body.contains("HTTP/2")), "{answers:?}");
    }
    host.stop().await
}

/// A connection that has said hello.
async fn raw(host: &Host) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(host.address()).await?;
    stream.write_all(&[PREFACE, &SETTINGS].concat()).await?;
    Ok(stream)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET /livez` as HPACK writes it without a table.
fn head() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, 6];
    block.extend(b"/livez");
    block.extend([0x01, 1, b'x']);
    block
}

#[tokio::test]
async fn requests_that_are_given_up_at_once_end_the_connection() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let (mut reads, mut writes) = raw(&host).await?.into_split();
    let floods = async {
        for number in 0..50_000_u32 {
            let stream = number * 2 + 1;
            let both = [frame(1, 0x5, stream, &head()), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
            if writes.write_all(&both).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = floods => {}
        took = until_closed(&mut reads, SLACK * 3) => drop(took?),
    }
    host.stranger().get("/livez").await?.expect_status(200)?;
    host.stop().await
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?).await?;
    let (mut reads, mut writes) = raw(&host).await?.into_split();
    let floods = async {
        // A header of 8 KiB again and again, which no end of the head ever follows.
        let mut block = vec![0x00, 1, b'a', 0x7f, 0x81, 0x3f];
        block.extend([b'x'; 8192]);
        let mut sent = writes.write_all(&frame(1, 0, 1, &head())).await;
        for _ in 0..10_000 {
            if sent.is_err() {
                return;
            }
            sent = writes.write_all(&frame(9, 0, 1, &block)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = floods => {}
        took = until_closed(&mut reads, SLACK * 3) => drop(took?),
    }
    host.stranger().get("/livez").await?.expect_status(200)?;
    host.stop().await
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_ends() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?.with("server", "request_timeout_ms", "1000")).await?;
    let mut silent = raw(&host).await?;
    until_closed(&mut silent, Duration::from_secs(1) + SLACK).await?;
    let mut idle = raw(&host).await?;
    idle.write_all(&frame(1, 0x5, 1, &head())).await?;
    until_closed(&mut idle, Duration::from_secs(2) + SLACK).await?;
    host.stop().await
}

#[tokio::test]
async fn a_client_that_opens_no_window_loses_its_connection() -> anyhow::Result<()> {
    let settings = Settings::new()?.with("server", "answer_timeout_ms", "1000");
    let host = Host::start(settings).await?;
    let (mut reads, mut writes) = raw(&host).await?.into_split();
    let mut block = vec![0x82, 0x86, 0x04, 17];
    block.extend(b"/api/openapi.json");
    block.extend([0x01, 1, b'x']);
    writes.write_all(&frame(1, 0x5, 1, &block)).await?;
    // Its windows of 65,535 bytes are never opened again, and the document is longer.
    let took = until_closed(&mut reads, Duration::from_secs(1) + SLACK).await?;
    assert!(took >= Duration::from_millis(900), "{took:?}");
    host.stop().await
}
