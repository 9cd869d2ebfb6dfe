//! Members and picker of one moment.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::{
    candidates::{Candidates, Entry, Rules},
    endpoint::{Cause, EndpointId, SeededNames, stamped::Moment},
    error::PickError,
    pick::{PickCx, Picker},
    policy::{Policy, PolicyConfig, PriorityTiers},
    pool::shadow::ShadowPick,
};

/// Members and the picker built for them. Immutable.
pub(crate) struct Snapshot {
    /// A number of its own: no two snapshots of a process share it.
    pub(crate) version: u64,
    pub(crate) candidates: Candidates,
    pub(crate) picker: Arc<dyn Picker>,
    pub(crate) policy: String,
    /// The picker wants to know how long requests wait.
    pub(crate) timed: bool,
    pub(crate) shadow: Option<ShadowPick>,
    by_id: Arc<HashMap<EndpointId, u32, SeededNames>>,
}

impl Snapshot {
    pub(crate) fn build(
        entries: Arc<[Entry]>,
        rules: Rules,
        policy: &PolicyConfig,
        shadow: Option<ShadowPick>,
    ) -> Self {
        let by_id = entries
            .iter()
            .zip(0u32..)
            .map(|(entry, at)| (entry.endpoint.id().clone(), at))
            .collect();
        let candidates = Candidates::new(entries, rules);
        let random = fastrand::u64(..);
        let picker = if candidates.has_tiers() && !matches!(policy, PolicyConfig::PriorityTiers(_))
        {
            PriorityTiers::of(policy.clone()).build(&candidates, random)
        } else {
            policy.build(&candidates, random)
        };
        let timed = picker.times_requests();
        Self {
            version: fresh_version(),
            candidates,
            picker,
            policy: policy.name().to_owned(),
            timed,
            shadow,
            by_id: Arc::new(by_id),
        }
    }

    /// The same members with their availability as it is now.
    pub(crate) fn refreshed(&self, now: Instant) -> Self {
        let candidates = self.candidates.refreshed();
        let picker = self
            .picker
            .refresh(&candidates)
            .unwrap_or_else(|| Arc::clone(&self.picker));
        Self {
            version: fresh_version(),
            picker,
            policy: self.policy.clone(),
            timed: self.timed,
            shadow: self
                .shadow
                .as_ref()
                .map(|shadow| shadow.refreshed(&candidates, now)),
            candidates,
            by_id: Arc::clone(&self.by_id),
        }
    }

    pub(crate) fn index(&self, id: &EndpointId) -> Option<usize> {
        self.by_id.get(id).map(|at| *at as usize)
    }

    pub(crate) fn entry(&self, id: &EndpointId) -> Option<&Entry> {
        self.index(id).map(|at| &self.candidates.entries[at])
    }

    /// Chooses, and counts the request.
    // Of both ways that call it: as a function of its own it costs a pick a fiftieth.
    #[inline(always)]
    pub(crate) fn pick(&self, cx: &PickCx<'_>) -> Option<usize> {
        let index = self.picker.pick(&self.candidates, cx)?;
        if self.enter(index, cx) {
            Some(index)
        } else {
            self.pick_again(cx)
        }
    }

    /// The choice became impossible in the meantime (full, draining): it is made
    /// again a few times, then any will do.
    #[cold]
    #[inline(never)]
    fn pick_again(&self, cx: &PickCx<'_>) -> Option<usize> {
        const ATTEMPTS: usize = 2;
        for _ in 0..ATTEMPTS {
            let index = self.picker.pick(&self.candidates, cx)?;
            if self.enter(index, cx) {
                return Some(index);
            }
        }
        (0..self.candidates.len())
            .filter(|index| self.candidates.admits_cold(*index, cx))
            .find(|index| self.enter(*index, cx))
    }

    #[inline]
    fn enter(&self, index: usize, cx: &PickCx<'_>) -> bool {
        let timed = self.waits_from(cx);
        let entry = self.candidates.entries.get(index);
        entry.is_some_and(|entry| entry.stats.enter(!Cause::HEALTH, entry.room, timed))
    }

    /// Counts a request at the endpoint at `index`, which it is bound to, see
    /// [`Pool::pick_bound`](super::Pool::pick_bound).
    #[inline]
    pub(crate) fn enter_bound(
        &self,
        index: usize,
        incarnation: Option<u64>,
        cx: &PickCx<'_>,
    ) -> Result<(), PickError> {
        let entry = &self.candidates.entries[index];
        if incarnation.is_some_and(|wanted| wanted != entry.endpoint.incarnation()) {
            return Err(PickError::Unknown);
        }
        let mask = !Cause::Draining.bit();
        let waits_from = self.waits_from(cx);
        let was_tried = cx.tried.contains(entry.endpoint.id());
        if was_tried || !entry.stats.enter(mask, entry.room, waits_from) {
            let known = self.candidates.len();
            return Err(PickError::NoneAvailable { known });
        }
        Ok(())
    }

    /// When the request began to wait, if the picker wants to know.
    #[inline]
    fn waits_from(&self, cx: &PickCx<'_>) -> Option<Moment> {
        self.timed.then(|| self.moment(cx))
    }

    /// Whether response times are to be learned of this request at the endpoint at `index`:
    /// if the picker asks for them, else by lot. Where the pool reads the clock itself it
    /// need not do so again for more requests than teach anything.
    #[inline]
    pub(crate) fn times(&self, index: usize, cx: &PickCx<'_>) -> bool {
        let is_worth = |now| {
            let entry = self.candidates.entries.get(index);
            entry.is_some_and(|entry| entry.stats.is_to_be_timed(now))
        };
        (self.timed || cx.is_sampled()) && cx.own_moment().is_none_or(is_worth)
    }

    /// Not in the way of those that do not ask.
    #[inline(never)]
    fn moment(&self, cx: &PickCx<'_>) -> Moment {
        self.candidates.moment(cx)
    }

    /// Endpoints that nothing but an open circuit keeps from this request.
    pub(crate) fn trials<'a>(&'a self, cx: &'a PickCx<'_>) -> impl Iterator<Item = usize> + 'a {
        let waits = |entry: &Entry| entry.stats.has(Cause::CircuitOpen);
        (0..self.candidates.len()).filter(move |index| {
            waits(&self.candidates.entries[*index]) && self.candidates.admits_trial(*index, cx)
        })
    }

    /// Counts the one request that tries an open endpoint.
    pub(crate) fn enter_trial(&self, index: usize, cx: &PickCx<'_>) -> bool {
        let entry = &self.candidates.entries[index];
        let mask = !(Cause::HEALTH | Cause::CircuitOpen.bit());
        let timed = self.waits_from(cx);
        entry.stats.enter(mask, entry.room, timed)
    }
}

/// Versions are multiples of this: the bits below are for the marks of
/// [`Current`](super::current::Current).
pub(crate) const VERSION_STEP: u64 = 8;

fn fresh_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Relaxed: only that the numbers differ matters.
    NEXT.fetch_add(VERSION_STEP, Ordering::Relaxed)
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
