//! A canary's clients stay with the canary: over requests and WebSocket handshakes, when their
//! instance goes, and while the weights change.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::{any, get};
use lb_core::policy::RoundRobin;
use lb_core::split::Split;
use lb_core::{Affinity, EndpointSpec, Pool, ReverseProxy};
use tokio::net::TcpListener;

use crate::support::*;

const KEY: &str = "a secret of sixteen bytes";
/// What a client asks between two changes, half of it handshakes.
const ROUNDS: usize = 8;

/// An instance that says its name over HTTP and over WebSocket.
async fn instance(name: &'static str) -> EndpointSpec {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let greet = move |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(move |mut socket| async move {
            // The client may have left already.
            let _gone = socket.send(name.into()).await;
        })
    };
    let app = Router::new()
        .route("/", get(move || async move { name }))
        .route("/ws", any(greet));
    tokio::spawn(async move { axum::serve(listener, app).await });
    EndpointSpec::new(name, url)
}

/// Two versions behind one gateway, half of the new clients to each.
struct Rollout {
    split: Split<ReverseProxy>,
    canary: Pool,
    members: [EndpointSpec; 2],
    gateway: SocketAddr,
}

impl Rollout {
    async fn start(sticky: bool) -> Self {
        let stable = [instance("stable-1").await, instance("stable-2").await];
        let members = [instance("canary-1").await, instance("canary-2").await];
        let version = |specs: &[EndpointSpec]| {
            let pool = Pool::builder("version").endpoints(specs.to_vec());
            let pool = pool.policy(RoundRobin::default());
            pool.affinity(Affinity::cookie("lb", KEY)).build().unwrap()
        };
        let canary = version(&members);
        let split = Split::builder("rollout")
            .arm("stable", 1, version(&stable).reverse_proxy())
            .arm("canary", 1, canary.reverse_proxy());
        let split = match sticky {
            true => split.sticky(Affinity::cookie("group", KEY)),
            false => split,
        };
        let split = split.build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap();
        let app = Router::new().fallback_service(split.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            split,
            canary,
            members,
            gateway,
        }
    }

    /// A client that was drawn into the canary by its first request.
    async fn client_in_canary(&self, first: How) -> (Jar, String) {
        for _ in 0..100 {
            let mut jar = Jar::default();
            let name = jar.ask(self.gateway, first).await;
            if name.starts_with("canary") {
                return (jar, name);
            }
        }
        panic!("half of the clients should get there");
    }

    /// Does the client stay with the canary, whatever happens around it?
    async fn keeps(&self, first: How) -> bool {
        let (mut jar, home) = self.client_in_canary(first).await;
        let gone = usize::from(home == "canary-2");
        for change in 0..3 {
            match change {
                0 => {}
                // Its instance leaves: it is bound to the other canary, not to the other version.
                1 => {
                    let rest = self.members[1 - gone].clone();
                    self.canary.set_endpoints([rest]).unwrap();
                }
                _ => {
                    self.canary.set_endpoints(self.members.clone()).unwrap();
                    assert!(self.split.set_weight("stable", 1_000));
                }
            }
            for round in 0..ROUNDS {
                let how = [How::Http, How::WebSocket][round % 2];
                let name = jar.ask(self.gateway, how).await;
                let stayed = name.starts_with("canary") && (change != 0 || name == home);
                if !stayed {
                    return false;
                }
            }
        }
        true
    }
}

#[derive(Clone, Copy)]
enum How {
    Http,
    WebSocket,
}

/// The cookies of one client.
#[derive(Default)]
struct Jar(BTreeMap<String, String>);

impl Jar {
    /// Who answers, in one way or the other. Cookies of the answer are kept, a 101's too.
    async fn ask(&mut self, gateway: SocketAddr, how: How) -> String {
        let cookies = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let (path, fields) = match how {
            How::Http => ("/", ""),
            How::WebSocket => (
                "/ws",
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
        };
        let mut client = Client::connect(gateway).await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\nCookie: {cookies}\r\n{fields}\r\n");
        client.send(head).await;
        let (text, head) = client.answer_as_sent().await;
        for line in head.split("\r\n") {
            if let Some(cookie) = line.strip_prefix("set-cookie: ") {
                let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
        match how {
            How::Http => text,
            How::WebSocket => {
                let frame = client.raw(2).await;
                let name = client.raw(usize::from(frame[1])).await;
                String::from_utf8(name).unwrap()
            }
        }
    }
}

#[tokio::test]
async fn a_client_of_the_canary_stays_there_over_rebinds_and_handshakes() {
    for first in [How::Http, How::WebSocket] {
        let rollout = Rollout::start(true).await;
        assert!(rollout.keeps(first).await);
    }
}

#[tokio::test]
async fn without_the_group_in_a_cookie_clients_move_between_the_versions() {
    let rollout = Rollout::start(false).await;
    assert!(!rollout.keeps(How::Http).await, "the judge takes anything");
}

#[tokio::test]
async fn a_rollback_moves_the_clients_of_the_canary_at_once() {
    let rollout = Rollout::start(true).await;
    let (mut jar, _) = rollout.client_in_canary(How::Http).await;
    assert!(rollout.split.set_weight("canary", 0));
    for how in [How::WebSocket, How::Http] {
        let name = jar.ask(rollout.gateway, how).await;
        assert!(name.starts_with("stable"), "{name}");
    }
}
