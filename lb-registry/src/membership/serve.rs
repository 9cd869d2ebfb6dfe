//! Serving an axum application for as long as one is a member.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};

use super::{Member, Membership};
use crate::{HealthRoutes, Registry};

/// Connections that are still open after the drain get this long to end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Requests that wait for their answer.
#[derive(Debug, Default)]
struct InFlight {
    count: AtomicUsize,
    less: Notify,
}

struct Counted(Arc<InFlight>);

impl Membership {
    /// Serves `app` until SIGTERM or SIGINT, registered all the while, and leaves in order. Every request
    /// knows the address of its connection (axum's `ConnectInfo<SocketAddr>`).
    ///
    /// # Errors
    ///
    /// What the listener or the signal handler report. A registry that does not answer is no error: the
    /// application serves and registering goes on.
    pub async fn serve<R: Registry>(
        self,
        registry: &R,
        listener: TcpListener,
        app: Router,
    ) -> std::io::Result<()> {
        // Installed first: a signal during the start must not kill the process.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        self.serve_until(registry, listener, app, asked).await
    }

    /// As [`serve`](Self::serve), until `end` completes instead of a signal.
    ///
    /// # Errors
    ///
    /// What the listener reports.
    pub async fn serve_until<R: Registry>(
        self,
        registry: &R,
        listener: TcpListener,
        app: Router,
        end: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let registration = self.registration(Some(listener.local_addr()?.port()));
        let in_flight = Arc::new(InFlight::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let app = self
            .with_health(app, &in_flight)
            .into_make_service_with_connect_info::<SocketAddr>();
        let server =
            axum::serve(listener, app).with_graceful_shutdown(async move { drop(stopped.await) });
        let server = tokio::spawn(async move { server.await });
        let mut server = AbortOnDropJoin(server);
        let member = Member::start(registry.clone(), registration, &self);
        if let Some(health) = &self.health {
            health.set_started();
        }
        tokio::select! {
            ended = &mut server.0 => return ended.unwrap_or_else(|error| Err(std::io::Error::other(error))),
            () = end => {}
        }
        self.drain(&member, &in_flight).await;
        member.leave().await;
        // Fails only if the server has ended already.
        let _ = stop.send(());
        // An idle keep-alive connection must not hold the process up.
        match tokio::time::timeout(LAST_ANSWERS, &mut server.0).await {
            Ok(ended) => ended.unwrap_or_else(|error| Err(std::io::Error::other(error))),
            Err(_) => Ok(()),
        }
    }

    /// Readiness falls, the registry hears of it, everybody else too, and what runs is finished.
    async fn drain(&self, member: &Member, in_flight: &InFlight) {
        if let Some(health) = &self.health {
            health.set_draining();
        }
        member.drain().await;
        tokio::time::sleep(self.propagation).await;
        let finish = async {
            if let Some(finish) = &self.on_drain {
                finish().await;
            }
            in_flight.none().await;
        };
        if tokio::time::timeout(self.drain_deadline, finish)
            .await
            .is_err()
        {
            // Relaxed: only for the log.
            let left = in_flight.count.load(Ordering::Relaxed);
            tracing::warn!(
                left,
                "the drain deadline has passed; what still runs is cut off"
            );
        }
    }

    fn with_health(&self, app: Router, in_flight: &Arc<InFlight>) -> Router {
        let app = app.layer(axum::middleware::from_fn_with_state(
            Arc::clone(in_flight),
            count,
        ));
        match &self.health {
            // In front: the application may have routes of these names, these win.
            Some(health) => HealthRoutes::router(health).fallback_service(app),
            None => app,
        }
    }
}

/// A server task that ends with whoever waits for it.
struct AbortOnDropJoin(tokio::task::JoinHandle<std::io::Result<()>>);

impl Drop for AbortOnDropJoin {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn count(State(in_flight): State<Arc<InFlight>>, request: Request, next: Next) -> Response {
    let counted = Counted::enter(in_flight);
    let response = next.run(request).await;
    response.map(|body| {
        // The answer is given when its body ends, so the count goes with the body.
        use http_body_util::BodyExt;
        axum::body::Body::new(body.map_frame(move |frame| {
            let _ = &counted;
            frame
        }))
    })
}

// === impl InFlight ===

impl InFlight {
    async fn none(&self) {
        loop {
            let less = self.less.notified();
            // Acquire: pairs with the Release of `Counted::drop`.
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            less.await;
        }
    }
}

impl Counted {
    fn enter(in_flight: Arc<InFlight>) -> Self {
        // Relaxed: the drain begins after the announcement, no memory depends on it.
        in_flight.count.fetch_add(1, Ordering::Relaxed);
        Self(in_flight)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Release: whoever sees zero sees what the request did.
        self.0.count.fetch_sub(1, Ordering::Release);
        self.0.less.notify_waiters();
    }
}
