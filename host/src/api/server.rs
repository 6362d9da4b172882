//! The accept loop: connection places, head timeouts, graceful end.

use crate::config::Snapshot;
use crate::task::{Place, Places, TaskGroup};
use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Bytes of a request's head. hyper answers 431 beyond it.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// After a failed accept, most likely for want of descriptors: neither spin nor exit.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of a request's peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Serves connections until `stop` is cancelled, then lets the requests under way finish.
///
/// Each connection is a task of `connections`; the caller waits for them. A connection takes its place before it is
/// accepted, so beyond `connections_max` peers wait in the kernel's queue. `places` are as many as that key says at each
/// moment.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    mut config: watch::Receiver<Arc<Snapshot>>,
    places: Places,
    connections: &TaskGroup,
    stop: CancellationToken,
) {
    loop {
        places.resize(config.borrow_and_update().config.server.connections_max);
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Ok(()) = config.changed() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let head_timeout = config.borrow().config.server.request_timeout;
        let connection = connection(stream, peer, router.clone(), head_timeout, stop.clone());
        connections.named(&peer.to_string(), async move {
            connection.await;
            drop(place);
        });
    }
}

async fn accept(listener: &TcpListener, places: &Places) -> Option<(TcpStream, SocketAddr, Place)> {
    let place = places.take().await?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    head_timeout: Duration,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers of this connection may be late");
    }
    let service = router.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(HEAD_BYTES_MAX).keep_alive(true);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).with_upgrades();
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}
