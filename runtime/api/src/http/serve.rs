//! Accepting connections and draining them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::Edge;

/// Bounds on connections (configuration.md §4, server).
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    pub max_connections: usize,
    /// Longest wait for the head of a request, idle keep-alive included.
    pub idle: Duration,
    /// How long requests in flight may finish once draining.
    pub grace: Duration,
}

/// Longest head of an HTTP/1 request, in bytes; beyond it the answer is 431. Four times what HTTP/2 takes here and
/// twice what nginx does, so that no client notices; a token in the largest `Authorization` has 16 KiB.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A bound socket that does not accept yet.
pub struct Listening {
    listener: TcpListener,
    pub address: SocketAddr,
}

pub async fn bind(address: SocketAddr) -> std::io::Result<Listening> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok(Listening { listener, address })
}

/// Serves until `stop`; then takes no new connections, lets requests in flight finish within the
/// grace period, and returns.
pub async fn serve(listening: Arc<Listening>, edge: Edge, limits: HttpLimits, stop: CancellationToken) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // No `pipeline_flush`: it copies every body into one buffer before it is written, and no client pipelines.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(MAX_HEAD_BYTES);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(limits.idle).max_concurrent_streams(256);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    loop {
        let slot = tokio::select! {
            () = stop.cancelled() => break,
            slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listening.listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors or a connection reset before we got to it.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // Only latency suffers where the option is not available.
        let _ = socket.set_nodelay(true);
        let service = hyper_util::service::TowerToHyperService::new(edge.clone().for_peer(peer));
        let connection = builder.serve_connection(TokioIo::new(socket), service).into_owned();
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // Broken connections are the client's business.
            let _ = watched.await;
            drop(slot);
        });
    }
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish within the grace period");
    }
}
