//! One request's affinity: which endpoint it is bound to, and whether its answer
//! binds it anew. The same for the proxy and for in-process services.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, Uri};

use super::{Affinity, Binding, OnDown, Source};
use crate::clock::bounded;
use crate::endpoint::{Cause, Endpoint, EndpointId};
use crate::error::PickError;
use crate::pick::PickCx;
use crate::pool::{Lease, Picked, Pool};

/// What of a request affinity looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: Option<IpAddr>,
}

/// Why a request has no endpoint now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLease {
    /// Nobody can take it.
    Nobody(PickError),
    /// It may only go where it is bound, and that endpoint is gone.
    Down,
    /// The same, but it may wait this long for the endpoint to return.
    Wait(Duration),
    /// The policy panicked.
    #[cfg(feature = "proxy")]
    Panicked,
}

/// What a request's token or key says, and what its answer has to say.
#[derive(Debug, Default)]
pub(crate) struct Session {
    binding: Option<Binding>,
    key: Option<u64>,
    /// Whoever answers is bound to.
    issue: bool,
    /// The token is written again if its endpoint answers.
    renew: bool,
}

impl Session {
    /// `unix_seconds` is asked only when there is something to compare with it.
    pub(crate) fn read(
        affinity: Option<&Affinity>,
        asked: &Asked<'_>,
        unix_seconds: impl Fn() -> u64,
    ) -> Self {
        let Some(affinity) = affinity else {
            return Self::default();
        };
        match &affinity.source {
            Source::Token { .. } => {
                let valid = affinity.first_valid(asked.headers, unix_seconds);
                let due = |(binding, now): &(Binding, u64)| affinity.is_due(binding, *now);
                Self {
                    issue: valid.is_none(),
                    renew: valid.as_ref().is_some_and(due),
                    binding: valid.map(|(binding, _)| binding),
                    key: None,
                }
            }
            Source::Key { key, memory, .. } => {
                let key = key.of(asked);
                let known = memory.as_ref().zip(key);
                let binding = known.and_then(|(memory, key)| {
                    memory.get(key, unix_seconds(), affinity.lifetime.as_secs())
                });
                Self {
                    issue: known.is_some() && binding.is_none(),
                    renew: false,
                    binding,
                    key,
                }
            }
        }
    }

    /// The way of most requests; `None` leaves everything to [`pick`](Self::pick).
    #[inline]
    pub(crate) fn pick_quickly(&self, pool: &Pool, cx: &PickCx<'_>) -> Option<Picked> {
        match &self.binding {
            Some(binding) => pool.pick_bound_quickly(&binding.id, Some(binding.incarnation), cx),
            None => pool.pick_quickly(&self.key.map_or(*cx, |key| cx.hash(key))),
        }
    }

    /// The endpoint of the binding, or another one when that is allowed.
    pub(crate) fn pick(
        &mut self,
        affinity: Option<&Affinity>,
        pool: &Pool,
        cx: &PickCx<'_>,
    ) -> Result<Lease, NoLease> {
        if let (Some(binding), Some(affinity)) = (&self.binding, affinity) {
            match pool.pick_bound(&binding.id, Some(binding.incarnation), cx) {
                Ok(lease) => return Ok(lease),
                Err(error) => match affinity.when_down() {
                    OnDown::Fail => return Err(NoLease::Down),
                    OnDown::Wait(longest) => return Err(NoLease::Wait(bounded(longest))),
                    OnDown::Rebind => self.issue |= !is_away_for_now(pool, &binding.id, error),
                },
            }
        }
        let cx = self.key.map_or(*cx, |key| cx.hash(key));
        pool.pick(&cx).map_err(NoLease::Nobody)
    }

    /// The same. A policy of the user's that panics costs this request only, and not
    /// whatever else the client's connection carries.
    #[cfg(feature = "proxy")]
    pub(crate) fn pick_guarded(
        &mut self,
        affinity: Option<&Affinity>,
        pool: &Pool,
        cx: &PickCx<'_>,
    ) -> Result<Lease, NoLease> {
        let mut picked = Err(NoLease::Panicked);
        crate::observe::guarded("policy", || picked = self.pick(affinity, pool, cx));
        picked
    }

    /// Binds the client to `endpoint`, which answered, if there is something new:
    /// by a field of the answer, or in memory.
    pub(crate) fn write(
        &self,
        affinity: Option<&Affinity>,
        endpoint: &Endpoint,
        tls: bool,
        fields: &mut HeaderMap,
        unix_seconds: impl FnOnce() -> u64,
    ) {
        let Some(affinity) = affinity else { return };
        let is_news = self.issue || self.renew && self.holds(endpoint);
        if !is_news || endpoint.stats().has(Cause::Draining) {
            return;
        }
        let now = unix_seconds();
        if let Source::Key {
            memory: Some(memory),
            ..
        } = &affinity.source
        {
            if let Some(key) = self.key {
                memory.put(key, endpoint, now);
            }
        } else if let Some((name, value)) = affinity.bind(endpoint, now, tls) {
            fields.append(name, value);
        }
    }

    /// The answer may have something to say; [`write`](Self::write) knows.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.issue || self.renew
    }

    /// It waits for its endpoint rather than go elsewhere.
    #[cfg(feature = "proxy")]
    pub(crate) fn waits(&self, affinity: Option<&Affinity>) -> bool {
        let waits = |affinity: &Affinity| matches!(affinity.when_down(), OnDown::Wait(_));
        self.binding.is_some() && affinity.is_some_and(waits)
    }

    /// The request was bound to this endpoint when it came.
    pub(crate) fn holds(&self, endpoint: &Endpoint) -> bool {
        let binding = self.binding.as_ref();
        binding.is_some_and(|binding| binding.id == *endpoint.id())
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
