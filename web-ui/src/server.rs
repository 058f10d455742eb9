//! The listening socket and the server around the router.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::app::App;
use crate::limits::{CONNECTIONS_MAX, HEAD_TIMEOUT};
use crate::routes;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anybody in the network could reach it, in the clear.
    #[error("{0} is not a loopback address: Kith's page is served to this machine only. Use 127.0.0.1")]
    NotLoopback(SocketAddr),
    /// Somebody else listens there.
    #[error("the port of {0} is in use: choose another with --listen, or 127.0.0.1:0 for any free one")]
    InUse(SocketAddr),
    /// The system does not let us listen there.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
}

/// A bound socket, not serving yet.
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Server {
    /// Listens on a loopback address; port 0 means any free one.
    pub async fn bind(addr: SocketAddr) -> Result<Self, ServeError> {
        if !addr.ip().is_loopback() {
            return Err(ServeError::NotLoopback(addr));
        }
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse(addr),
            _ => ServeError::Listen(addr, e),
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// The address as browsers write it: without port 80.
    #[must_use]
    pub fn host(&self) -> String {
        match self.addr {
            SocketAddr::V4(v4) if v4.port() == 80 => v4.ip().to_string(),
            SocketAddr::V6(v6) if v6.port() == 80 => format!("[{}]", v6.ip()),
            addr => addr.to_string(),
        }
    }
    /// Serves until `stop` resolves, then lets requests in progress finish.
    pub async fn serve<F>(self, app: Arc<App>, stop: F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let router = routes::router(Arc::clone(&app));
        let listener = Bounded { listener: self.listener, slots, head_timeout: HEAD_TIMEOUT };
        let stopping = async move {
            stop.await;
            app.stop();
        };
        axum::serve(listener, router).with_graceful_shutdown(stopping).await
    }
}

/// Accepts a connection only while fewer than `CONNECTIONS_MAX` are open.
struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    head_timeout: Duration,
}

/// A connection and its slot. Whoever connects and does not ask for anything is
/// let go, or a few hundred of them would leave no slot for anybody.
struct Connection {
    stream: TcpStream,
    first: Option<FirstRequest>,
    _slot: OwnedSemaphorePermit,
}

/// Waits for the head of the first request.
struct FirstRequest {
    until: Pin<Box<Sleep>>,
    /// How much of the empty line that ends it has come.
    matched: usize,
}

impl FirstRequest {
    fn new(within: Duration) -> Self {
        Self { until: Box::pin(tokio::time::sleep(within)), matched: 0 }
    }
    /// Whether the head is complete with these bytes.
    fn ends_with(&mut self, bytes: &[u8]) -> bool {
        const END: &[u8; 4] = b"\r\n\r\n";
        bytes.iter().any(|byte| {
            let expected = END.get(self.matched);
            self.matched = match byte {
                _ if expected == Some(byte) => self.matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            self.matched == END.len()
        })
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, addr)) => {
                    let _only_slower = stream.set_nodelay(true);
                    let first = Some(FirstRequest::new(self.head_timeout));
                    return (Connection { stream, first, _slot: slot }, addr);
                }
                Err(error) => {
                    // Out of file descriptors, most likely: let some close.
                    tracing::warn!(kind = %error.kind(), "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, first, .. } = &mut *self;
        let Some(request) = first else { return Pin::new(stream).poll_read(cx, buf) };
        let before = buf.filled().len();
        match Pin::new(stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if request.ends_with(buf.filled().get(before..).unwrap_or_default()) {
                    *first = None;
                }
                Poll::Ready(read)
            }
            Poll::Pending => match request.until.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Long enough for loopback, short enough to be waited for.
    const SHORT: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn the_end_of_a_head_is_found_in_any_split() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\r\n\r\n";
        for step in 1..head.len() {
            let mut first = FirstRequest::new(SHORT);
            let mut found = 0;
            for chunk in head.chunks(step) {
                found += usize::from(first.ends_with(chunk));
            }
            assert_eq!(found, 1, "step {step}");
        }
        assert!(!FirstRequest::new(SHORT).ends_with(b"GET / HTTP/1.1\r\nHost: x\r\n"));
    }

    async fn pair() -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let slots = Arc::new(Semaphore::new(1));
        let (near, _) = Bounded { listener, slots, head_timeout: SHORT }.accept().await;
        (far, near)
    }

    #[tokio::test]
    async fn who_asks_for_nothing_is_let_go_and_who_has_asked_is_not() {
        let mut buf = [0; 64];
        let (mut far, mut near) = pair().await;
        far.write_all(b"GET / HT").await.unwrap();
        assert_eq!(near.read(&mut buf).await.unwrap(), 8);
        let error = near.read(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (mut far, mut near) = pair().await;
        far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(near.read(&mut buf).await.unwrap(), 18);
        let idle = tokio::time::timeout(SHORT * 2, near.read(&mut buf)).await;
        assert!(idle.is_err(), "an idle connection stays");
    }
}
