//! Asking services how they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
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
    let mut request = Request::builder()
        .method(method.as_str())
        .uri(path)
        .header("host", &authority);
    request = request
        .header("user-agent", "Consul Health Check")
        .header("accept", "text/plain, text/*, */*");
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
    // What does not fit is cut off with the connection; the status alone decides.
    let text = Limited::new(response.into_body(), OUTPUT_BYTES)
        .collect()
        .await;
    let text = text
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let output = format!(
        "HTTP {method} {url}: {status} Output: {}",
        String::from_utf8_lossy(&text)
    );
    Ok(Outcome {
        status: graded(status),
        output,
    })
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
