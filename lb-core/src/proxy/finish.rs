//! The answer has come: hand it to the client.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;

use super::attempt::Link;
use super::body::{ProxyBody, Stream};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::handover::Handover;
use super::rules::response::{Answer, strip};
use super::upstream::body::BodyReader;
use super::upstream::connection::Connection;
use crate::clock;
use crate::endpoint::{Endpoint, Outcome};
use crate::pool::{HeadLease, Lease};
use crate::retry::record_answer;

impl<B> Exchange<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    /// What the client gets for this answer of the attempt.
    pub(super) fn finish(&mut self, answer: &Answer) -> Result<Response<ProxyBody>, ProxyError> {
        let now = clock::now();
        let link = std::mem::replace(&mut self.attempt.link, Link::None);
        let (Link::Open(connection), Some(lease)) = (link, self.attempt.lease.take()) else {
            return Err(ProxyError::UpstreamClosed);
        };
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.hand_over(*connection, lease, now);
        }
        let mut fields = std::mem::take(&mut self.attempt.fields);
        let after = now.saturating_duration_since(lease.started());
        let lease = record_head(lease, answer.status, &fields, now);
        self.inner.metrics.answered(answer.status, after);
        if let Some(hedge) = &self.route_policy().hedge {
            // A hedge's own time would hide how late the first is: each minute would then be
            // hedged earlier than the last.
            let late = self
                .hedged_since
                .map(|since| now.saturating_duration_since(since));
            hedge.learn(late.unwrap_or(after), now);
        }
        strip(&mut fields, answer, self.plan.te_trailers);
        if answer.report {
            lease.get().take_report(&mut fields, || now);
        }
        self.bind(lease.get().endpoint(), &mut fields);
        let body = self.body(answer, connection, lease, now);
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = fields;
        Ok(response)
    }

    fn bind(&self, endpoint: &Endpoint, fields: &mut HeaderMap) {
        let tls = self.inner.config.tls;
        let (affinity, seconds) = (self.inner.affinity(), clock::unix_seconds);
        self.session.write(affinity, endpoint, tls, fields, seconds);
        if let Some(explanation) = &self.explanation {
            explanation.tell(endpoint, Some(&self.session), &self.inner.pool, fields);
        }
    }

    fn body(
        &mut self,
        answer: &Answer,
        connection: Box<Connection>,
        mut lease: HeadLease,
        now: Instant,
    ) -> ProxyBody {
        let attempt = &mut self.attempt;
        let mut reader = BodyReader::new(answer.framing, attempt.take_rest());
        let reusable = answer.reusable && !attempt.deaf;
        if let Some(data) = reader.take_whole() {
            lease.body_ended(now);
            if reusable && attempt.upload.is_finished() && reader.is_clean() {
                self.inner.keep(lease.get().endpoint(), connection, now);
            }
            return ProxyBody::whole(data, Some(lease));
        }
        let unfinished = !attempt.deaf && !attempt.upload.is_finished();
        let upload = unfinished.then(|| attempt.upload.split());
        ProxyBody::stream(Stream {
            reader,
            connection,
            lease,
            reusable,
            upload: upload.map(|upload| Box::new(upload) as _),
            inner: Arc::clone(&self.inner),
            stall_limit: self.timeouts().body,
            stall: None,
        })
    }

    /// The endpoint speaks another protocol now: raw bytes from here on.
    fn hand_over(
        &mut self,
        connection: Connection,
        mut lease: Lease,
        now: Instant,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let valid = |handover: &Handover| handover.is_completed_by(&self.attempt.fields);
        let Some(handover) = self.handover.take().filter(valid) else {
            lease.record(Outcome::Failure, now);
            return Err(ProxyError::InvalidResponse);
        };
        lease.record(Outcome::Success, now);
        let after = now.saturating_duration_since(lease.started());
        self.inner
            .metrics
            .answered(StatusCode::SWITCHING_PROTOCOLS, after);
        let mut response = Response::new(ProxyBody::whole(Bytes::new(), None));
        let mut fields = std::mem::take(&mut self.attempt.fields);
        lease.take_report(&mut fields, || now);
        self.bind(lease.endpoint(), &mut fields);
        *response.headers_mut() = fields;
        *response.status_mut() = handover.answer(response.headers_mut());
        let (stream, place) = connection.into_stream();
        let (idle, counted) = (self.timeouts().tunnel, self.inner.metrics.tunnel());
        let early = self.attempt.take_rest();
        let tunnel = handover.run(stream, early, lease, idle, counted);
        self.inner.tunnels.spawn(async move {
            // The connection counts until the tunnel ends.
            let _place = place;
            tunnel.await;
        });
        Ok(response)
    }
}

/// Tells what the head says of an answer that the client gets: a failure at once, a
/// success when its body has come too.
fn record_head(
    mut lease: Lease,
    status: StatusCode,
    fields: &HeaderMap,
    now: Instant,
) -> HeadLease {
    let outcome = Outcome::from_status(status);
    if outcome.is_failure() {
        record_answer(&mut lease, status, fields, now);
        HeadLease::told(lease)
    } else {
        HeadLease::new(lease, outcome, now)
    }
}
