//! Accepts connections: how many, with TLS or without, and how long each may take to say what it wants.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::dispatch::Peer;

/// A request's head is a few kilobytes at most: tokens and short paths.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// After an error of accepting, such as too many open files: others may close theirs meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Answers that are being written when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Cuts one connection, however much is still to be written.
#[derive(Debug, Clone)]
pub struct Hangup(Arc<Notify>);

impl Hangup {
    pub fn cut(&self) {
        self.0.notify_one();
    }
}

pub struct Listening {
    pub listener: TcpListener,
    pub tls: Option<TlsAcceptor>,
    pub router: Router,
    pub connections_max: usize,
    /// Of the TLS handshake, and of a request's head.
    pub read_timeout: Duration,
    /// Becomes true when no more requests are to be taken.
    pub ending: watch::Receiver<bool>,
}

impl Listening {
    /// Serves until `ending`, and then until all answers are written or the patience is over.
    pub async fn run(self) {
        let permits = Arc::new(Semaphore::new(self.connections_max));
        let shared = Arc::new(self);
        let mut ending = shared.ending.clone();
        loop {
            let permit = tokio::select! {
                permit = Arc::clone(&permits).acquire_owned() => permit,
                () = ended(&mut ending) => break,
            };
            let accepted = tokio::select! {
                accepted = shared.listener.accept() => accepted,
                () = ended(&mut ending) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = Arc::clone(&shared);
            tokio::spawn(async move {
                connection.serve(stream, Peer(peer)).await;
                drop(permit);
            });
        }
        let all = u32::try_from(shared.connections_max).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, permits.acquire_many(all)).await;
    }

    async fn serve(&self, stream: tokio::net::TcpStream, peer: Peer) {
        // Small answers go out at once.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.serve_http(stream, peer).await };
        match tokio::time::timeout(self.read_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%error, peer = %peer.0, "a TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %peer.0, "a TLS handshake took too long"),
        }
    }

    async fn serve_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, peer: Peer) {
        let cut = Arc::new(Notify::new());
        let router = self.router.clone().layer(Extension(peer)).layer(Extension(Hangup(Arc::clone(&cut))));
        let service = TowerToHyperService::new(router);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.read_timeout).max_buf_size(HEAD_BYTES_MAX);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let mut ending = self.ending.clone();
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = cut.notified() => return tracing::debug!(peer = %peer.0, "a client that does not read was cut off"),
            () = ended(&mut ending) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, peer = %peer.0, "a connection broke off");
        }
    }
}

/// Also when whoever would say so is gone.
async fn ended(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}
