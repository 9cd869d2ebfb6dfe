//! Affinity on the way through the proxy: which endpoint a request is bound to,
//! and whether the answer binds it anew.

use http::{HeaderMap, header};

use super::ProxyError;
use super::service::Inner;
use crate::affinity::{Affinity, Binding, OnDown};
use crate::clock;
use crate::endpoint::{Cause, Endpoint, EndpointId};
use crate::error::PickError;
use crate::pick::PickCx;
use crate::pool::{Lease, Pool};

/// What a request's cookie says, and what its answer has to say.
#[derive(Debug)]
pub(crate) struct Session {
    binding: Option<Binding>,
    issue: bool,
}

impl Session {
    pub(crate) fn read(affinity: Option<&Affinity>, headers: &HeaderMap) -> Self {
        let binding = affinity
            .filter(|_| headers.contains_key(header::COOKIE))
            .and_then(|affinity| affinity.binding(headers, clock::unix_seconds()));
        let issue = affinity.is_some() && binding.is_none();
        Self { binding, issue }
    }

    /// The endpoint of the binding, or another one when that is allowed.
    pub(crate) fn pick(
        &mut self,
        affinity: Option<&Affinity>,
        pool: &Pool,
        cx: &PickCx<'_>,
    ) -> Result<Lease, ProxyError> {
        if let (Some(binding), Some(affinity)) = (&self.binding, affinity) {
            let id = &binding.id;
            match pool.pick_bound(id, Some(binding.incarnation), cx) {
                Ok(lease) => return Ok(lease),
                Err(_) if affinity.when_down() == OnDown::Fail => {
                    return Err(ProxyError::SessionEndpointDown);
                }
                Err(error) => self.issue |= !is_away_for_now(pool, id, error),
            }
        }
        pool.pick(cx).map_err(|_| ProxyError::NoEndpoint)
    }

    /// Adds the cookie to an answer of `endpoint`, if there is something new.
    pub(crate) fn write(&self, inner: &Inner, endpoint: &Endpoint, fields: &mut HeaderMap) {
        let Some(affinity) = inner.affinity() else {
            return;
        };
        if !self.issue && self.binding.is_none() {
            return;
        }
        let now = clock::unix_seconds();
        let is_home = |binding: &Binding| binding.id == *endpoint.id();
        let due = |binding: &Binding| is_home(binding) && affinity.is_due(binding, now);
        if (self.issue || self.binding.as_ref().is_some_and(due))
            && !endpoint.stats().has(Cause::Draining)
            && let Some(cookie) = affinity.bind(endpoint, now, inner.config.tls)
        {
            fields.append(header::SET_COOKIE, cookie);
        }
    }
}

/// The endpoint is still a member and will be back: full, ejected for a while,
/// or it failed this very request. Its sessions stay bound to it.
fn is_away_for_now(pool: &Pool, id: &EndpointId, error: PickError) -> bool {
    let down = [Cause::Unhealthy, Cause::Disabled, Cause::Removed];
    matches!(error, PickError::NoneAvailable { .. })
        && pool
            .endpoint(id)
            .is_some_and(|endpoint| !down.into_iter().any(|cause| endpoint.stats().has(cause)))
}
