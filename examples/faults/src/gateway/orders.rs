//! What the judge may order a gateway to do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow};
use axum::Router;
use axum::body::Body;
use http::Request;
use lb_core::balance::Balance;
use lb_core::limit::{Quota, RateLimiter};
use lb_core::{Affinity, EndpointId, Pool};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt;

use super::panics::Place;
use super::plan::Member;
use super::{Gateway, members};

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum Order {
    /// The pool's status.
    Status,
    /// The metrics as text.
    Metrics,
    /// Drains an endpoint; answers when it is idle or the time is over.
    Drain { id: String, seconds: f64 },
    /// Takes an endpoint back.
    Undrain { id: String },
    /// Replaces the members.
    Members { members: Vec<Member> },
    /// The next call of this callback panics.
    Panic { place: Place },
    /// Whether that has not happened yet.
    Armed { place: Place },
    /// Lets that many distinct clients through a limiter that remembers `capacity`.
    FillLimiter { clients: u64, capacity: usize },
    /// Remembers where that many sessions went.
    FillSessions { sessions: u64 },
}

/// What was filled, kept for its size.
#[derive(Debug, Default)]
pub(super) struct Fill(Mutex<Vec<Filled>>);

#[derive(Debug)]
#[expect(dead_code, reason = "held for its size")]
enum Filled {
    Limiter(RateLimiter<u64>),
    Sessions(Balance<Router>),
}

impl Fill {
    fn keep(&self, filled: Filled) -> Result<()> {
        let mut kept = self.0.lock().map_err(|_| anyhow!("a fill panicked"))?;
        kept.push(filled);
        Ok(())
    }
}

pub(super) async fn act(gateway: Arc<Gateway>, order: Order) -> Result<Value> {
    let pool = &gateway.pool;
    match order {
        Order::Status => Ok(serde_json::to_value(pool.status())?),
        Order::Metrics => Ok(json!(gateway.metrics.render())),
        Order::Drain { id, seconds } => {
            let drained = pool.drain(&EndpointId::from(id.as_str()));
            let idle = timeout(Duration::from_secs_f64(seconds), drained)
                .await
                .is_ok();
            Ok(json!(idle))
        }
        Order::Undrain { id } => Ok(json!(
            pool.set_draining(&EndpointId::from(id.as_str()), false)
        )),
        Order::Members { members: wanted } => {
            pool.set_endpoints(members(&wanted))?;
            Ok(json!(gateway.proxy.tunnels()))
        }
        Order::Panic { place } => {
            gateway.panics.arm(place);
            Ok(json!(true))
        }
        Order::Armed { place } => Ok(json!(gateway.panics.is_armed(place))),
        Order::FillLimiter { clients, capacity } => {
            let limiter = limiter(clients, capacity)?;
            let keys = limiter.keys();
            gateway.fill.keep(Filled::Limiter(limiter))?;
            Ok(json!(keys))
        }
        Order::FillSessions { sessions: wanted } => {
            let sessions = sessions(wanted).await?;
            gateway.fill.keep(Filled::Sessions(sessions))?;
            Ok(json!(wanted))
        }
    }
}

/// A limiter that has seen that many clients.
fn limiter(clients: u64, capacity: usize) -> Result<RateLimiter<u64>> {
    let quota = Quota::new(10, Duration::from_secs(60))?;
    let limiter = RateLimiter::with_capacity(quota, capacity)?;
    for client in 0..clients {
        let _ = limiter.check(&client);
    }
    Ok(limiter)
}

/// A balancer that remembers that many sessions, by a header.
async fn sessions(count: u64) -> Result<Balance<Router>> {
    const USER: &str = "x-user";
    // Half of what is asked for is kept for certain.
    let affinity = Affinity::header(USER).remember(2 * count as usize);
    let pool = Pool::builder("sessions")
        .endpoints(["http://127.0.0.1:1", "http://127.0.0.1:2"])
        .affinity(affinity)
        .build()?;
    let balance = Balance::new(pool, |_| Router::new());
    for user in 0..count {
        let request = Request::builder().header(USER, user).body(Body::empty())?;
        balance.clone().oneshot(request).await?;
    }
    Ok(balance)
}
