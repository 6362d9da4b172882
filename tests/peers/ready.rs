//! The floor of an answer: a server of the same HTTP library that has the bytes ready, knows nobody and asks nobody. In a
//! process of its own, so that its processor time can be told.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::task::TaskTracker;

/// What this program is called with as a child.
pub(crate) const PART: &str = "ready";

/// The child: says where it listens, and answers everything with so many bytes, until it is killed.
pub(crate) async fn serve(bytes: usize) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    std::io::stdout().flush()?;
    let (body, tracker) = (Bytes::from(vec![b'x'; bytes]), TaskTracker::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        let answer = service_fn(move |_| {
            let answer = http::Response::new(Full::new(body.clone()));
            async move { Ok::<_, Infallible>(answer) }
        });
        tracker.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

/// Starts the child. It ends with the answer.
pub(crate) async fn start(bytes: usize) -> anyhow::Result<(Child, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe().context("the bench has no path")?);
    command.args([PART, &bytes.to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line).await?;
    ensure!(read > 0, "the server that has all ready did not start");
    Ok((child, line.trim().parse()?))
}
