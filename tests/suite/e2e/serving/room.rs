use super::{SLACK, until_closed};
use crate::e2e::SOON;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::time::Duration;
use tests::{Host, Server, Settings, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

async fn from(source: &str, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source.parse()?, 0))?;
    Ok(socket.connect(to).await?)
}

/// Asks something and keeps the connection. False if it was closed instead.
async fn settle(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 256];
    let asked = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    asked.is_ok() && stream.read(&mut answer).await.is_ok_and(|count| count > 0)
}

#[tokio::test]
async fn silent_connections_make_room_for_one_that_asks() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?.with("server", "connections_max", "8")).await?;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(host.address()).await?);
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        host.stranger().get("/livez").await?.expect_status(200)?;
        slowest = slowest.max(began.elapsed());
    }
    // Those who are silent would go by themselves only after ten seconds.
    assert!(slowest < SLACK, "{slowest:?}");
    until_closed(silent.first_mut().context("the first")?, SLACK).await?;
    drop(silent);
    host.stop().await
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_the_others_have_theirs() -> anyhow::Result<()> {
    let host = Host::start(Settings::new()?.with("server", "connections_per_address_max", "5")).await?;
    let mut kept = Vec::new();
    for number in 0..5 {
        let mut stream = from("127.0.0.7", host.address()).await?;
        anyhow::ensure!(settle(&mut stream).await, "connection {number}");
        kept.push(stream);
    }
    assert!(!settle(&mut from("127.0.0.7", host.address()).await?).await, "the sixth");
    assert!(settle(&mut from("127.0.0.8", host.address()).await?).await);
    kept.pop();
    until("there is room again", SOON, async || {
        Ok(settle(&mut from("127.0.0.7", host.address()).await?).await.then_some(()))
    })
    .await?;
    drop(kept);
    host.stop().await
}

/// Processor time of a process so far, in ticks.
fn ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("its name")?.split_whitespace().collect();
    Ok(fields.get(11).context("utime")?.parse::<u64>()? + fields.get(12).context("stime")?.parse::<u64>()?)
}

#[tokio::test]
async fn without_descriptors_the_server_waits_without_spinning_and_serves_again() -> anyhow::Result<()> {
    let server = Server::start(Settings::new()?.with("log", "level", "\"info\"")).await?;
    let pid = server.pid().context("it runs")?;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let limit = std::process::Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={}", open + 8)])
        .status()
        .context("`prlimit` cannot be run")?;
    anyhow::ensure!(limit.success(), "the limit was not taken");
    let address = server.client().address();
    let mut holders = Vec::new();
    for _ in 0..64 {
        // Each has asked for something, so none of them makes room.
        let mut holder = TcpStream::connect(address).await?;
        let _ = timeout(Duration::from_millis(100), settle(&mut holder)).await;
        holders.push(holder);
    }
    let before = ticks(pid)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = ticks(pid)? - before;
    assert!(spent < 40, "{spent} ticks of 200: it spins");
    let told = server.log().lines().filter(|line| line.contains("connections cannot be accepted")).count();
    assert!((1..=3).contains(&told), "told {told} times");
    drop(holders);
    until("it serves again", SOON, async || {
        Ok(server.client().get("/livez").await.ok().filter(|reply| reply.status == 200).map(drop))
    })
    .await
}
