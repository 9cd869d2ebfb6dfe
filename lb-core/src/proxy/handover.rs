//! From a handshake to a tunnel, over HTTP/1.1 and over HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::ProxyError;
use super::observe::TunnelGuard;
use super::rules::head::handshake_fields;
use super::rules::names::is_hop_by_hop;
use super::rules::upgrade::Handshake;
use super::tunnel::Tunnel;
use super::upstream::transport::Transport;
use crate::pool::Lease;

/// The client's side of a tunnel that may come to be.
pub(crate) struct Handover {
    handshake: Handshake,
    client: OnUpgrade,
    /// The client speaks HTTP/2 and asked with `CONNECT`.
    extended: bool,
}

impl Handover {
    /// A WebSocket over HTTP/2 (RFC 8441).
    pub(crate) fn is_extended_connect(head: &request::Parts) -> bool {
        head.method == Method::CONNECT
            && head
                .extensions
                .get::<hyper::ext::Protocol>()
                .is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"))
    }

    /// Takes the client's side out of `head`; over HTTP/2, adds what the
    /// handshake of HTTP/1.1 needs.
    pub(crate) fn prepare(head: &mut request::Parts, extended: bool) -> Result<Self, ProxyError> {
        let client = head
            .extensions
            .remove::<OnUpgrade>()
            .ok_or(ProxyError::InvalidUpgrade)?;
        if extended {
            head.headers.extend(handshake_fields(fastrand::u128(..)));
        }
        Ok(Self {
            handshake: Handshake::of(&head.headers),
            client,
            extended,
        })
    }

    /// The endpoint's 101 is one that this handshake can end with.
    pub(crate) fn is_completed_by(&self, fields: &HeaderMap) -> bool {
        self.handshake
            .is_completed_by(StatusCode::SWITCHING_PROTOCOLS, fields)
    }

    /// Turns the endpoint's fields into the client's, and says the status.
    pub(crate) fn answer(&self, fields: &mut HeaderMap) -> StatusCode {
        let names: Vec<_> = fields
            .keys()
            .filter(|name| is_hop_by_hop(name.as_str()))
            .cloned()
            .collect();
        for name in names {
            fields.remove(name);
        }
        fields.remove(header::CONTENT_LENGTH);
        if self.extended {
            fields.remove(header::SEC_WEBSOCKET_ACCEPT);
            return StatusCode::OK;
        }
        fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        StatusCode::SWITCHING_PROTOCOLS
    }

    /// Joins both sides once the client has its answer. Holds the lease until
    /// the tunnel ends.
    pub(crate) async fn run(
        self,
        endpoint: Transport,
        early: Bytes,
        lease: Lease,
        idle: Duration,
        mut counted: TunnelGuard,
    ) {
        if let Ok(client) = self.client.await {
            let end = Tunnel::new(TokioIo::new(client), endpoint, early, idle).await;
            counted.end = Some(end);
            tracing::debug!(endpoint = %lease.endpoint().id(), ?end, "tunnel ended");
        }
        drop(lease);
    }
}
