//! Asking services how they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::CheckTargets;
use super::targets::Current;
use crate::catalog::{CheckKind, CheckStatus, Outcome, Probe};
use crate::in_process::Prober;

/// Consul keeps this much of an answer.
const OUTPUT_BYTES: usize = 4_096;
const DEFAULT_HTTP_PORT: u16 = 80;

/// Runs probes, a limited number at the same time.
pub(super) fn prober(targets: Current, at_once: usize) -> Prober {
    let places = Arc::new(Semaphore::new(at_once.max(1)));
    Box::new(move |probe| {
        let (targets, places) = (targets.rule(), Arc::clone(&places));
        Box::pin(async move {
            // Never closed, so there is always a place at some time.
            let _place = places.acquire().await;
            run(&probe, &targets).await
        })
    })
}

async fn run(probe: &Probe, targets: &CheckTargets) -> Outcome {
    let (asked, timeout) = match &probe.kind {
        CheckKind::Http { url, timeout, .. } => (url, *timeout),
        CheckKind::Tcp {
            address, timeout, ..
        } => (address, *timeout),
        _ => return critical("nothing to ask".into()),
    };
    let answer = tokio::time::timeout(timeout, async {
        match &probe.kind {
            CheckKind::Http { .. } => http(&probe.kind, targets).await,
            _ => connect(asked, targets).await.map(|_| Outcome {
                status: CheckStatus::Passing,
                output: format!("TCP connect {asked}: Success"),
            }),
        }
    });
    match answer.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(why)) => critical(format!("{asked}: {why}")),
        Err(_) => critical(format!("{asked}: no answer within {}", seconds(timeout))),
    }
}

async fn http(kind: &CheckKind, targets: &CheckTargets) -> Result<Outcome, String> {
    let CheckKind::Http {
        url,
        method,
        headers,
        body,
        ..
    } = kind
    else {
        return Err("nothing to ask".into());
    };
    let uri: Uri = url.parse().map_err(|_| "no URL".to_owned())?;
    let host = uri.host().ok_or("no host")?;
    let authority = format!("{host}:{}", uri.port_u16().unwrap_or(DEFAULT_HTTP_PORT));
    let stream = connect(&authority, targets).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method.as_str()).uri(path);
    let defaults = [
        ("host", authority.as_str()),
        ("user-agent", "Consul Health Check"),
        ("accept", "text/plain, text/*, */*"),
    ];
    for (name, value) in defaults {
        if !headers.keys().any(|own| own.eq_ignore_ascii_case(name)) {
            request = request.header(name, value);
        }
    }
    for (name, value) in headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
    {
        request = request.header(name, value);
    }
    let request = request
        .body(Full::new(Bytes::from(body.clone())))
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(async move { drop(connection.await) });
    let _end = crate::watch::AbortOnDrop(connection.abort_handle());
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let text = beginning(response.into_body()).await;
    let output = format!(
        "HTTP {method} {url}: {status} Output: {}",
        String::from_utf8_lossy(&text)
    );
    Ok(Outcome {
        status: graded(status),
        output,
    })
}

/// What does not fit is cut off with the connection; the status alone decides.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut kept = Vec::new();
    while kept.len() < OUTPUT_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        let data = frame.into_data().unwrap_or_default();
        let room = OUTPUT_BYTES - kept.len();
        kept.extend(data.iter().take(room));
    }
    kept
}

fn graded(status: StatusCode) -> CheckStatus {
    match status {
        status if status.is_success() => CheckStatus::Passing,
        StatusCode::TOO_MANY_REQUESTS => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    }
}

/// Resolves on every probe and connects only to what is allowed, so that a name cannot change its mind.
async fn connect(authority: &str, targets: &CheckTargets) -> Result<TcpStream, String> {
    let found = tokio::net::lookup_host(authority)
        .await
        .map_err(|error| error.to_string())?;
    let allowed: Vec<SocketAddr> = targets.allowed(found);
    if allowed.is_empty() {
        return Err("probes there are not allowed on this agent".into());
    }
    TcpStream::connect(allowed.as_slice())
        .await
        .map_err(|error| error.to_string())
}

fn critical(output: String) -> Outcome {
    Outcome {
        status: CheckStatus::Critical,
        output,
    }
}

fn seconds(duration: Duration) -> String {
    crate::duration::format(duration)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Asks a server that answers with this body, and says what was found, and what was sent.
    async fn asked(headers: &[(&str, &str)], body: &str) -> (Outcome, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            // Whoever asks may have read enough before the end.
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8(head).unwrap().to_ascii_lowercase()
        };
        let own = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]));
        let kind = CheckKind::Http {
            url,
            method: "GET".into(),
            headers: own.collect::<BTreeMap<_, _>>(),
            body: String::new(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
        };
        let probe = Probe {
            check: "c".into(),
            kind,
            generation: 0,
        };
        let targets = CheckTargets::default().allow_loopback();
        tokio::join!(run(&probe, &targets), served)
    }

    #[tokio::test]
    async fn a_header_of_the_check_takes_the_place_of_ours() {
        let own = [
            ("Host", "web.internal"),
            ("User-Agent", "mine"),
            ("X-A", "1"),
        ];
        let (outcome, head) = asked(&own, "").await;
        assert_eq!(outcome.status, CheckStatus::Passing);
        for line in [
            "host: web.internal\r\n",
            "user-agent: mine\r\n",
            "x-a: 1\r\n",
        ] {
            assert!(head.contains(line), "{head}");
        }
        let count = |name: &str| head.matches(name).count();
        assert_eq!(
            (count("host:"), count("user-agent:"), count("accept:")),
            (1, 1, 1),
            "{head}"
        );
    }

    #[tokio::test]
    async fn of_a_long_answer_the_beginning_is_kept() {
        let (outcome, _) = asked(&[], &"x".repeat(3 * OUTPUT_BYTES)).await;
        assert_eq!(outcome.status, CheckStatus::Passing);
        assert_eq!(
            outcome.output.matches('x').count(),
            OUTPUT_BYTES,
            "{}",
            outcome.output.len()
        );
    }
}
