//! Raw bytes in, a recording origin behind: nothing ambiguous gets through.

use std::net::SocketAddr;
use std::time::Duration;

use lb_core::proxy::{ServeOptions, Timeouts, serve_gateway};
use lb_core::{Pool, ReverseProxy};
use proptest::prelude::*;

use crate::corpus::{Case, Expect, cases};
use crate::support::*;

/// What one case led to.
struct Seen {
    statuses: Vec<u16>,
    /// Good answers of the gateway itself: no request stands behind them.
    own: usize,
    forwarded: Vec<String>,
}

/// A gateway in front of one origin.
struct Bench {
    origin: Origin,
    pool: Pool,
    gateway: SocketAddr,
}

impl Bench {
    async fn behind_axum() -> Self {
        let origin = Origin::saying("ok");
        let pool = pool(&[origin.url()]);
        let gateway = serve(Self::proxy(&pool)).await;
        Self {
            origin,
            pool,
            gateway,
        }
    }

    /// A body that stays incomplete is over soon.
    fn proxy(pool: &Pool) -> ReverseProxy {
        let impatient = Timeouts::default().body(Duration::from_millis(50));
        pool.reverse_proxy().timeouts(impatient)
    }

    /// Sends `bytes` and reads all answers. When nothing is under way any more,
    /// this side ends, because the bytes may be half a request.
    async fn run(&self, bytes: &[u8]) -> Seen {
        self.origin.requests.lock().unwrap().clear();
        let mut client = Client::connect(self.gateway).await;
        client.send_or_reset(bytes).await;
        let endpoint = self.pool.endpoints()[0].clone();
        let (mut statuses, mut own) = (Vec::new(), 0);
        let mut note = |answer: Answer| {
            own += usize::from(answer.status == 200 && answer.field("allow").is_some());
            statuses.push(answer.status);
        };
        while !client
            .is_silent_while(|| endpoint.stats().in_flight() == 0)
            .await
        {
            let Some(answer) = client.answer().await else {
                break;
            };
            note(answer);
        }
        client.end().await;
        while let Some(answer) = client.answer().await {
            note(answer);
        }
        Seen {
            statuses,
            own,
            forwarded: self.origin.seen(),
        }
    }
}

fn judge(case: &Case, seen: &Seen) -> Result<(), String> {
    let (count, first) = (seen.forwarded.len(), seen.statuses.first().copied());
    let good = match case.expect {
        Expect::Refused(allowed) => {
            count == 0 && first.is_some_and(|status| allowed.contains(&status))
        }
        Expect::Forwarded(wanted) => {
            count == wanted
                && seen
                    .statuses
                    .iter()
                    .filter(|status| **status == 200)
                    .count()
                    == wanted
        }
    };
    if good {
        Ok(())
    } else {
        Err(format!(
            "{}: answered {:?}, forwarded {count}",
            case.name, seen.statuses
        ))
    }
}

/// What must hold for every request that reaches an origin, whatever was sent.
fn check_forwarded(request: &str) -> Result<(), String> {
    let (head, _) = request.split_once("\r\n\r\n").ok_or("no end of head")?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    if line.split(' ').count() != 3 || !line.ends_with(" HTTP/1.1") {
        return Err(format!("request line {line:?}"));
    }
    let names: Vec<_> = lines
        .map(|line| line.split(':').next().unwrap_or_default())
        .collect();
    let count = |name: &str| names.iter().filter(|one| **one == name).count();
    if count("host") != 1 {
        return Err(format!("{} hosts", count("host")));
    }
    if count("content-length") + count("transfer-encoding") > 1 {
        return Err("two ways of framing".into());
    }
    let forbidden = [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "http2-settings",
        "trailer",
    ];
    if let Some(name) = forbidden.iter().find(|name| count(name) > 0) {
        return Err(format!("{name} was forwarded"));
    }
    if head
        .bytes()
        .any(|byte| byte < b' ' && !b"\r\n\t".contains(&byte))
    {
        return Err("a control byte was forwarded".into());
    }
    if names.iter().any(|name| name.contains([' ', '_', '\t'])) {
        return Err("a doubtful name was forwarded".into());
    }
    Ok(())
}

async fn judge_all(bench: &Bench) {
    let mut failures = Vec::new();
    for case in cases() {
        let seen = bench.run(&case.bytes).await;
        failures.extend(judge(&case, &seen).err());
        for request in &seen.forwarded {
            failures.extend(
                check_forwarded(request)
                    .err()
                    .map(|why| format!("{}: {why}", case.name)),
            );
        }
        let server_faults = seen
            .statuses
            .iter()
            .filter(|status| (502..=504).contains(*status));
        failures.extend(
            server_faults.map(|status| format!("{}: a client's fault became {status}", case.name)),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn the_corpus_is_refused_or_made_unambiguous_behind_axum() {
    judge_all(&Bench::behind_axum().await).await;
}

#[tokio::test]
async fn the_corpus_is_refused_or_made_unambiguous_behind_our_own_server() {
    let origin = Origin::saying("ok");
    let pool = pool(&[origin.url()]);
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(1);
    let server = serve_gateway(&Bench::proxy(&pool), &options).unwrap();
    let gateway = server.local_addr();
    judge_all(&Bench {
        origin,
        pool,
        gateway,
    })
    .await;
}

#[tokio::test]
async fn what_is_forwarded_is_exact() {
    let bench = Bench::behind_axum().await;
    let by_name = |name: &str| {
        cases()
            .into_iter()
            .find(|case| case.name == name)
            .unwrap()
            .bytes
    };
    let own = "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: ";
    for (name, expected) in [
        (
            "absolute form, other host",
            format!("GET /x HTTP/1.1\r\nhost: right\r\n{own}right\r\n\r\n"),
        ),
        (
            "fields of the hop",
            format!("GET /g HTTP/1.1\r\nhost: h\r\n{own}h\r\n\r\n"),
        ),
        (
            "h2c",
            format!("GET /g HTTP/1.1\r\nhost: h\r\n{own}h\r\n\r\n"),
        ),
        (
            "hostile forwarding fields",
            format!("GET /g HTTP/1.1\r\nhost: h\r\n{own}h\r\n\r\n"),
        ),
        (
            "underscore",
            format!("GET /g HTTP/1.1\r\nhost: h\r\n{own}h\r\n\r\n"),
        ),
        (
            "dot segments as sent",
            format!("GET /public/../admin HTTP/1.1\r\nhost: h\r\n{own}h\r\n\r\n"),
        ),
        (
            "Connection names a protected field",
            format!("GET /g HTTP/1.1\r\nhost: h\r\ncookie: a=1\r\n{own}h\r\n\r\n"),
        ),
        (
            "framing in trailers",
            format!(
                "POST /p HTTP/1.1\r\nhost: h\r\n{own}h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
        ),
        (
            "length then chunked",
            format!(
                "POST /p HTTP/1.1\r\nhost: h\r\n{own}h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
        ),
    ] {
        let seen = bench.run(&by_name(name)).await;
        assert_eq!(seen.forwarded, [expected], "{name}");
    }
}

#[tokio::test]
async fn an_expectation_in_vain_is_not_forwarded() {
    let bench = Bench::behind_axum().await;
    for case in cases() {
        if case.name.starts_with("an expectation") {
            let seen = bench.run(&case.bytes).await;
            let fields = seen.forwarded.concat();
            assert!(!fields.is_empty() && !fields.contains("expect"), "{fields}");
        }
    }
}

#[tokio::test]
async fn paths_that_hide_something_are_refused_on_demand() {
    let origin = Origin::saying("ok");
    let gateway = serve(pool(&[origin.url()]).reverse_proxy().only_normal_paths()).await;
    for (path, status) in [
        ("/a/../b", 400),
        ("/%2e%2e/b", 400),
        ("/a%2fb", 400),
        ("/a/b", 200),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(
            Client::connect(gateway).await.ask(request).await.status,
            status,
            "{path}"
        );
    }
}

/// A corpus case with a few bytes replaced, removed or doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let count = cases().len();
    let edit = (
        any::<prop::sample::Index>(),
        0_u8..3,
        prop::sample::select(b"\r\n\t\0 :;,0aZ_\x7f\xff".to_vec()),
    );
    (0..count, prop::collection::vec(edit, 1..4)).prop_map(|(case, edits)| {
        let mut bytes = cases().swap_remove(case).bytes;
        bytes.truncate(600);
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 200, ..ProptestConfig::default() })]
    /// Whatever arrives: what reaches the origin is unambiguous, as many
    /// requests as were answered for it, and no client's fault becomes a 502 to 504.
    #[test]
    fn mutations_never_make_it_through(bytes in mutated()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let seen = Bench::behind_axum().await.run(&bytes).await;
            for request in &seen.forwarded {
                if let Err(why) = check_forwarded(request) {
                    prop_assert!(false, "{why}: {request:?}");
                }
            }
            let answered = seen.statuses.iter().filter(|status| **status == 200).count();
            prop_assert_eq!(answered - seen.own, seen.forwarded.len(), "{:?}", seen.statuses);
            prop_assert!(!seen.statuses.iter().any(|status| (502..=504).contains(status)));
            Ok(())
        })?;
    }
}
