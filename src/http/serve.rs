//! Listening: a bounded number of connections, none of which is kept while nothing comes and goes on it, and an end that
//! does not wait for ever.
//!
//! Left out: a timeout for request headers that trickle in, which comes with the listener for other addresses than loopback.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep};

use crate::clock;

/// Open connections, at most; the next ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// A connection on which nothing came and went for that long is closed: far longer than any call takes.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// How long calls under way may take to finish once `shutdown` is there: a little longer than a change may take.
const STOP_WITHIN: Duration = Duration::from_secs(17);

/// Serves until `shutdown` resolves and the calls under way are answered.
///
/// # Errors
/// What the listener cannot recover from.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_with(listener, router, IDLE_MAX, shutdown).await
}

/// [`serve`], with connections closed after another time without use.
///
/// # Errors
/// As for [`serve`].
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    idle_max: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stop, mut stopped) = watch::channel(false);
    let signal = async move {
        shutdown.await;
        let _ = stop.send(true);
    };
    let bounded = Bounded {
        inner: listener,
        free: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        idle_max,
    };
    let served = axum::serve(bounded, router).with_graceful_shutdown(signal);
    let too_late = async move {
        // An error means that the signal's future is gone, which is the end all the same.
        let _ = stopped.wait_for(|stop| *stop).await;
        sleep(STOP_WITHIN).await;
    };
    tokio::select! {
        outcome = served => outcome,
        () = too_late => {
            tracing::warn!("some calls were still under way when the HTTP listener stopped");
            Ok(())
        }
    }
}

struct Bounded {
    inner: TcpListener,
    free: Arc<Semaphore>,
    idle_max: Duration,
}

impl Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        // The semaphore is never closed; without a permit the connection would merely not be counted.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let (stream, from) = Listener::accept(&mut self.inner).await;
        (
            Held {
                stream,
                idle: Box::pin(sleep(self.idle_max)),
                idle_max: self.idle_max,
                _permit: permit,
            },
            from,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that gives its place back when it is dropped.
struct Held {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    idle_max: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// What was polled, unless nothing has come or gone for too long.
    fn unless_idle<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            let until = clock::instant() + self.idle_max;
            self.idle.as_mut().reset(until.into());
            return polled;
        }
        let idle = self.idle.as_mut().poll(cx);
        idle.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.unless_idle(polled, cx)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unless_idle(polled, cx)
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
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_idle(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
