use super::{SLACK, until_closed, with_tls};
use anyhow::Context as _;
use std::time::Duration;
use tests::{Host, Settings, free_address};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

const HEAD: Duration = Duration::from_millis(1_500);
const ANSWER: Duration = Duration::from_secs(1);
const HANDSHAKE: Duration = Duration::from_millis(700);

async fn host() -> anyhow::Result<(Host, std::net::SocketAddr)> {
    let secure = free_address()?;
    let settings = with_tls(Settings::new()?, secure)?
        .with("server", "request_timeout_ms", "1500")
        .with("server", "answer_timeout_ms", "1000")
        .with("server", "handshake_timeout_ms", "700");
    Ok((Host::start(settings).await?, secure))
}

#[tokio::test]
async fn a_silent_client_loses_its_connection_with_and_without_tls() -> anyhow::Result<()> {
    let (host, secure) = host().await?;
    for (address, promised) in [(host.address(), HEAD), (secure, HANDSHAKE)] {
        let mut silent = TcpStream::connect(address).await?;
        let took = until_closed(&mut silent, promised + SLACK).await?;
        assert!(took + Duration::from_millis(100) >= promised, "{took:?} of {promised:?}");
    }
    // After an answer too: nobody keeps a connection for nothing.
    let mut idle = TcpStream::connect(host.address()).await?;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    until_closed(&mut idle, HEAD + SLACK).await?;
    host.stop().await
}

#[tokio::test]
async fn a_head_that_drips_in_is_cut_off_in_time() -> anyhow::Result<()> {
    let (host, _) = host().await?;
    let (mut reads, mut writes) = TcpStream::connect(host.address()).await?.into_split();
    let drips = async {
        for byte in b"GET /livez HTTP/1.1\r\nhost: x\r\nx-".iter().chain(std::iter::repeat(&b'a')) {
            if writes.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let closed = until_closed(&mut reads, HEAD + SLACK);
    let took = tokio::select! {
        () = drips => anyhow::bail!("the head ended"),
        took = closed => took?,
    };
    assert!(took + Duration::from_millis(100) >= HEAD, "{took:?}");
    host.stop().await
}

#[tokio::test]
async fn a_body_that_drips_in_is_answered_408() -> anyhow::Result<()> {
    let (host, _) = host().await?;
    let (mut reads, mut writes) = TcpStream::connect(host.address()).await?.into_split();
    writes
        .write_all(b"POST /api/v1/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{")
        .await?;
    let drips = async {
        loop {
            if writes.write_all(b" ").await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let answer = async {
        let mut head = vec![0; 64];
        let count = reads.read(&mut head).await?;
        anyhow::Ok(String::from_utf8_lossy(head.get(..count).unwrap_or_default()).into_owned())
    };
    let answer = timeout(HEAD + SLACK, async {
        tokio::select! {
            () = drips => anyhow::bail!("it never ends"),
            answer = answer => answer,
        }
    });
    let answer = answer.await.context("no answer in time")??;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    host.stop().await
}

/// Asks for much and reads a byte a second; says how long the server bore it.
#[tokio::test]
async fn a_client_that_takes_a_byte_a_second_cannot_hold_a_connection() -> anyhow::Result<()> {
    let (host, _) = host().await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(host.address()).await?;
    let asked = "GET /api/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    stream.write_all(asked.as_bytes()).await?;
    let began = Instant::now();
    let mut byte = [0];
    loop {
        anyhow::ensure!(began.elapsed() < ANSWER * 3 + SLACK * 2, "it is served for ever");
        // What lies in our own buffer is still ours after the server is gone; writing shows whether it is.
        if stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.is_err() {
            break;
        }
        let _ = stream.read(&mut byte).await;
        sleep(Duration::from_millis(500)).await;
    }
    assert!(began.elapsed() >= ANSWER, "{:?}", began.elapsed());
    host.stop().await
}
