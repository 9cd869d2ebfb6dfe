//! An open loop: request number n leaves at n / rate seconds, whether the others
//! have come back or not, and is measured from that moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::Common;
use crate::clock::{now, unix_micros};
use crate::ledger::{self, End, Sent};
use crate::message::{ANSWER_BYTES, DELAY, ID, ORIGIN, UPLOAD_BYTES, pattern};

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    rate: f64,
    /// Methods in turn.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "GET,POST,GET,POST,GET,PUT,POST,DELETE,GET,POST"
    )]
    methods: Vec<Method>,
    /// Distinguishes the requests of several clients.
    #[arg(long, default_value = "r")]
    prefix: String,
    /// Given up after this time.
    #[arg(long, default_value_t = 10_000)]
    patience_ms: u64,
    /// Asks the origins for another service time.
    #[arg(long)]
    delay_ms: Option<u64>,
    /// A header of every request, as `name: value`.
    #[arg(long)]
    header: Option<String>,
}

struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    arguments: Arguments,
}

/// How an answer ended: its status, its end, who gave it, whether it says when to come back.
struct Outcome {
    status: u16,
    end: End,
    origin: Option<String>,
    retry_after: bool,
}

impl Outcome {
    fn none(end: End) -> Self {
        Self {
            status: 0,
            end,
            origin: None,
            retry_after: false,
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    ensure!(arguments.rate > 0.0, "the rate must be above zero");
    let total = (arguments.rate * arguments.common.seconds) as u32;
    let between = Duration::from_secs_f64(1.0 / arguments.rate);
    // A request that the gateway refused must stay one request.
    let client = Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .build_http();
    let ledger = arguments.common.ledger.clone();
    let sender = Arc::new(Sender { client, arguments });
    let (start, start_micros) = (now(), unix_micros());
    let mut under_way = JoinSet::new();
    let mut sent = Vec::with_capacity(total as usize);
    for number in 0..total {
        let after = between * number;
        sleep_until((start + after).into()).await;
        let at = start_micros + after.as_micros() as u64;
        under_way.spawn(Arc::clone(&sender).send(number, start + after, at));
        while let Some(done) = under_way.try_join_next() {
            sent.push(done?);
        }
    }
    while let Some(done) = under_way.join_next().await {
        sent.push(done?);
    }
    ledger::write_all(&ledger, &sent)
}

impl Sender {
    async fn send(self: Arc<Self>, number: u32, intended: Instant, at: u64) -> Sent {
        let methods = &self.arguments.methods;
        let method = methods[number as usize % methods.len()].clone();
        let id = format!("{}{number}", self.arguments.prefix);
        let patience = Duration::from_millis(self.arguments.patience_ms);
        let asked = timeout(patience, self.ask(&method, &id)).await;
        let outcome = asked.unwrap_or_else(|_| Outcome::none(End::TimedOut));
        Sent {
            id,
            method: method.to_string(),
            at,
            took: now().saturating_duration_since(intended).as_micros() as u64,
            status: outcome.status,
            end: outcome.end,
            origin: outcome.origin,
            retry_after: outcome.retry_after,
        }
    }

    async fn ask(&self, method: &Method, id: &str) -> Outcome {
        match self.client.request(self.request(method, id)).await {
            Ok(response) => judge(response, id).await,
            Err(_) => Outcome::none(End::Failed),
        }
    }

    fn request(&self, method: &Method, id: &str) -> Request<Full<Bytes>> {
        let Arguments {
            common,
            delay_ms,
            header,
            ..
        } = &self.arguments;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}/work/{id}", common.gateway))
            .header(ID, id);
        if let Some(delay) = delay_ms {
            request = request.header(DELAY, *delay);
        }
        if let Some((name, value)) = header.as_ref().and_then(|field| field.split_once(": ")) {
            request = request.header(name, value);
        }
        let body = match *method {
            Method::POST | Method::PUT => pattern(id, UPLOAD_BYTES).into(),
            _ => Bytes::new(),
        };
        request
            .body(Full::new(body))
            .expect("invariant: the parts come from this program")
    }
}

/// HTTP says complete: is it?
fn compare(body: &[u8], id: &str) -> End {
    if body == pattern(id, ANSWER_BYTES) {
        End::Whole
    } else {
        End::Corrupt
    }
}

/// Reads the answer to its end and compares it with what belongs to this request.
async fn judge(response: Response<Incoming>, id: &str) -> Outcome {
    let (head, body) = response.into_parts();
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let end = match body.collect().await {
        Err(_) => End::Aborted,
        Ok(_) if !head.status.is_success() => End::Whole,
        Ok(body) => compare(&body.to_bytes(), id),
    };
    Outcome {
        status: head.status.as_u16(),
        end,
        origin: text(ORIGIN).map(str::to_owned),
        retry_after: head.headers.contains_key(header::RETRY_AFTER),
    }
}
