//! Reading the list of everything, over connections that are kept.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tests::Client;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

/// Every node with its processes.
pub(crate) const LIST: &str = "/api/v1/nodes?include=processes";

/// How long each request took, over so many connections at once.
pub(crate) async fn read(client: &Client, connections: usize, requests: usize) -> anyhow::Result<Vec<Duration>> {
    let tracker = TaskTracker::new();
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let client = client.clone();
            tracker.spawn(async move {
                let mut connection = connect(&client).await?;
                let mut took = Vec::new();
                for _ in 0..requests {
                    let began = Instant::now();
                    get(&mut connection, &client).await?;
                    took.push(began.elapsed());
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await??);
    }
    Ok(all)
}

pub(crate) async fn connect(client: &Client) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    connect_to(client.address()).await
}

pub(crate) async fn connect_to(address: SocketAddr) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    TaskTracker::new().spawn(connection);
    Ok(sender)
}

/// Reads it once. Gives the bytes that it has.
pub(crate) async fn get(connection: &mut SendRequest<Empty<Bytes>>, client: &Client) -> anyhow::Result<usize> {
    let who = client.authorization().context("logged in")?;
    get_as(connection, &client.address().to_string(), who).await
}

/// The same with a proof of one's own.
pub(crate) async fn get_as(
    connection: &mut SendRequest<Empty<Bytes>>,
    host: &str,
    authorization: &str,
) -> anyhow::Result<usize> {
    let request =
        http::Request::get(LIST).header("host", host).header("authorization", authorization).body(Empty::new())?;
    connection.ready().await?;
    let response = connection.send_request(request).await?;
    ensure!(response.status() == 200, "{}", response.status());
    Ok(response.into_body().collect().await?.to_bytes().len())
}
