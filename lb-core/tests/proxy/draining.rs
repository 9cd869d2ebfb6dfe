//! Draining keeps old sessions and takes no new ones, by whatever a client is known.

use std::net::SocketAddr;

use lb_core::policy::{ConsistentHash, PolicyConfig, RoundRobin};
use lb_core::{Affinity, Cause, EndpointId, EndpointSpec, Pool};

use crate::support::*;

const KEY: &str = "a secret of sixteen bytes";
/// Sessions before the change, and as many after it.
const SESSIONS: usize = 18;

/// What a client is known by.
#[derive(Clone, Copy, Debug)]
enum Known {
    Cookie,
    SignedHeader,
    /// A hashed header, which the gateway remembers.
    Hash,
}

const ALL: [Known; 3] = [Known::Cookie, Known::SignedHeader, Known::Hash];

impl Known {
    fn pool(self, origins: &[Origin]) -> Pool {
        let (affinity, policy): (_, PolicyConfig) = match self {
            Self::Cookie => (Affinity::cookie("lb", KEY), RoundRobin::default().into()),
            Self::SignedHeader => (
                Affinity::signed_header("x-session", KEY),
                RoundRobin::default().into(),
            ),
            Self::Hash => (
                Affinity::header("x-tenant").remember(1_000),
                ConsistentHash::default().into(),
            ),
        };
        let spec =
            |(at, origin): (usize, &Origin)| EndpointSpec::new(format!("sim-{at}"), origin.url());
        let pool = Pool::builder("test").endpoints(origins.iter().enumerate().map(spec));
        pool.policy(policy).affinity(affinity).build().unwrap()
    }

    /// What the client of this number sends first.
    fn first(self, client: usize) -> String {
        match self {
            Self::Cookie | Self::SignedHeader => String::new(),
            Self::Hash => format!("X-Tenant: {client}\r\n"),
        }
    }

    /// What it sends from then on.
    fn later(self, first: &str, head: &str) -> String {
        let field = |name: &str| {
            let value = head.split("\r\n").find_map(|line| line.strip_prefix(name));
            let value = value.unwrap_or_else(|| panic!("{self:?}: no token in {head}"));
            value.split(';').next().unwrap().to_owned()
        };
        match self {
            Self::Cookie => format!("Cookie: {}\r\n", field("set-cookie: ")),
            Self::SignedHeader => format!("X-Session: {}\r\n", field("x-session: ")),
            Self::Hash => first.to_owned(),
        }
    }
}

async fn ask(gateway: SocketAddr, fields: &str) -> (String, String) {
    let mut client = Client::connect(gateway).await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
        .await;
    client.answer_as_sent().await
}

/// What `change` at the endpoint of the first session did.
#[derive(Debug, PartialEq)]
struct Seen {
    old_sessions_stay: bool,
    new_ones_arrive: bool,
}

async fn after(known: Known, change: impl Fn(&Pool, &EndpointId)) -> Seen {
    let origins = ["sim-0", "sim-1", "sim-2"].map(Origin::saying);
    let pool = known.pool(&origins);
    let gateway = serve(pool.reverse_proxy()).await;
    let mut sessions = Vec::new();
    for client in 0..SESSIONS {
        let first = known.first(client);
        let (home, head) = ask(gateway, &first).await;
        sessions.push((home, known.later(&first, &head)));
    }
    let leaving = sessions[0].0.clone();
    change(&pool, &leaving.as_str().into());
    let mut seen = Seen {
        old_sessions_stay: true,
        new_ones_arrive: false,
    };
    for (home, fields) in &sessions {
        seen.old_sessions_stay &= ask(gateway, fields).await.0 == *home;
    }
    for client in SESSIONS..2 * SESSIONS {
        seen.new_ones_arrive |= ask(gateway, &known.first(client)).await.0 == leaving;
    }
    seen
}

#[tokio::test]
async fn old_sessions_stay_on_a_draining_endpoint_and_no_new_one_arrives() {
    for known in ALL {
        let drained = after(known, |pool, id| assert!(pool.set_draining(id, true))).await;
        let expected = Seen {
            old_sessions_stay: true,
            new_ones_arrive: false,
        };
        assert_eq!(drained, expected, "{known:?}");
    }
}

#[tokio::test]
async fn without_a_drain_new_sessions_arrive_and_a_disabled_endpoint_keeps_none() {
    for known in ALL {
        let untouched = after(known, |_, _| ()).await;
        let open = Seen {
            old_sessions_stay: true,
            new_ones_arrive: true,
        };
        assert_eq!(untouched, open, "{known:?}: the judge takes anything");
        let disabled = after(known, |pool, id| {
            assert!(pool.mark(id, Cause::Disabled, true));
        });
        let closed = Seen {
            old_sessions_stay: false,
            new_ones_arrive: false,
        };
        assert_eq!(
            disabled.await,
            closed,
            "{known:?}: the judge takes anything"
        );
    }
}
