//! What to believe when a registry's answers are bad, missing, or too bad to be true.
//!
//! A registry that goes away must not take the service with it. [`FailStatic`] takes in answers and says which
//! set to publish. It is a value: no clock, no socket, `now` comes in.
//!
//! | the registry…                                       | the set                                            |
//! |-----------------------------------------------------|----------------------------------------------------|
//! | does not answer, answers 5xx, denies access         | stays, marked stale, for [`Settings::stale_max`]   |
//! | says "nobody" after there was somebody              | stays until it says so again [`Settings::empty_grace`] later |
//! | loses more than [`Settings::max_drop`] at once      | keeps the lost ones as warning for [`Settings::drop_grace`] |
//! | has lost its memory ([`FailStatic::lost_memory`])    | keeps whatever it loses then as warning for [`Settings::drop_grace`] |
//! | brings an instance back again and again             | leaves it out until it has calmed down ([`flap`])  |
//! | says anything else                                  | follows at once                                    |
//!
//! Every protection ends: kept sets expire, a second empty answer is believed, lost instances go after their
//! grace, penalties halve. Protection that never ends would be its own outage (Netflix/eureka#1073).
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_registry::Instance;
//! use lb_registry::fail_static::{Answer, FailStatic, Settings};
//!
//! # #[allow(clippy::disallowed_methods, reason = "an example needs some moment")]
//! let start = Instant::now();
//! let mut guard = FailStatic::new(Settings::default());
//! guard.observe(Answer::Instances(vec![Instance::new("s", "a", "10.0.0.1", 80)]), start);
//! guard.observe(Answer::Failed, start);
//! guard.observe(Answer::Instances(vec![]), start);
//! assert_eq!(guard.view(start).instances.len(), 1);
//!
//! guard.observe(Answer::Instances(vec![]), start + Duration::from_secs(10)); // confirmed
//! assert!(guard.view(start).instances.is_empty());
//! ```

pub mod flap;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use self::flap::Flaps;
pub use self::settings::Settings;
use crate::{Instance, Status, clock};

/// What came from the registry.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// A list.
    Instances(Vec<Instance>),
    /// No list: no answer, an error, nonsense.
    Failed,
    /// No list for us: the token is missing, wrong or not enough.
    Denied,
}

/// What to publish.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct View {
    /// The set, ordered by id.
    pub instances: Arc<[Arc<Instance>]>,
    /// Since when the registry's answers are missing or not believed.
    pub doubted_since: Option<Instant>,
    /// The registry denies access.
    pub denied: bool,
    /// How many instances the registry has lost and we keep.
    pub held: usize,
}

/// Takes in answers and says what to publish. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct FailStatic {
    settings: Settings,
    accepted: BTreeMap<String, Arc<Instance>>,
    held: BTreeMap<String, Held>,
    empty_since: Option<Instant>,
    doubted_since: Option<Instant>,
    denied: bool,
    forgetful_until: Option<Instant>,
    flaps: Flaps,
}

#[derive(Clone, Debug)]
struct Held {
    instance: Arc<Instance>,
    until: Instant,
}

// === impl FailStatic ===

impl FailStatic {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            flaps: Flaps::new(settings.flap),
            settings: Settings {
                empty_grace: clock::bounded(settings.empty_grace),
                drop_grace: clock::bounded(settings.drop_grace),
                ..settings
            },
            accepted: BTreeMap::new(),
            held: BTreeMap::new(),
            empty_since: None,
            doubted_since: None,
            denied: false,
            forgetful_until: None,
        }
    }

    /// Starts with a set from elsewhere, such as the disk, until the registry answers.
    pub fn assume(&mut self, instances: impl IntoIterator<Item = Arc<Instance>>, now: Instant) {
        self.accepted = keyed(instances);
        self.doubted_since = Some(now);
    }

    /// The registry has lost its memory: it was started anew or restored from a backup, and its members have yet to
    /// register again. For the drop grace from now on, nothing that it loses is believed to be gone.
    pub fn lost_memory(&mut self, now: Instant) {
        self.forgetful_until = Some(now + self.settings.drop_grace);
    }

    /// Takes in an answer.
    pub fn observe(&mut self, answer: Answer, now: Instant) {
        self.tick(now);
        match answer {
            Answer::Failed => self.doubt(now),
            Answer::Denied => {
                self.denied = true;
                self.doubt(now);
            }
            Answer::Instances(instances) => {
                self.denied = false;
                let next = keyed(instances.into_iter().map(Arc::new));
                if self.is_believed(next.is_empty(), now) {
                    self.accept(next, now);
                }
            }
        }
    }

    /// Lets time pass: ends what has lasted long enough.
    pub fn tick(&mut self, now: Instant) {
        self.held.retain(|_, held| now < held.until);
        self.flaps.tick(now);
        if self.expires_at().is_some_and(|at| now >= at) {
            self.accepted.clear();
            self.held.clear();
        }
    }

    /// What to publish at `now`. O(n).
    #[must_use]
    pub fn view(&self, now: Instant) -> View {
        let held = self
            .held
            .values()
            .filter(|held| now < held.until)
            .map(|held| {
                Arc::new(Instance {
                    status: held.instance.status.max(Status::Warning),
                    ..(*held.instance).clone()
                })
            });
        let held: Vec<_> = held.collect();
        let suppressed = |one: &Arc<Instance>| self.flaps.is_suppressed(&one.id, now);
        let calm = self
            .accepted
            .values()
            .filter(|one| !suppressed(one))
            .count();
        // Better a flapping instance than too few.
        let all = calm < self.settings.min_instances;
        let shown = self
            .accepted
            .values()
            .filter(|one| all || !suppressed(one))
            .cloned();
        let held_count = held.len();
        View {
            instances: crate::snapshot::by_id(shown.chain(held)),
            doubted_since: self.doubted_since,
            denied: self.denied,
            held: held_count,
        }
    }

    /// When [`tick`](Self::tick) or another question to the registry will change something, if nothing else does.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let held = self.held.values().map(|held| held.until).min();
        [
            self.confirm_at(),
            self.expires_at(),
            held,
            self.flaps.next_change(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When to ask whether "nobody" still holds; `None` if that is not in question.
    #[must_use]
    pub fn confirm_at(&self) -> Option<Instant> {
        self.empty_since
            .map(|since| since + self.settings.empty_grace)
    }

    fn expires_at(&self) -> Option<Instant> {
        let since = self
            .doubted_since
            .filter(|_| !self.accepted.is_empty() || !self.held.is_empty())?;
        since.checked_add(self.settings.stale_max)
    }

    fn doubt(&mut self, now: Instant) {
        self.doubted_since.get_or_insert(now);
    }

    /// An empty list is believed if nobody was there, or if it was said twice with the grace in between.
    fn is_believed(&mut self, empty: bool, now: Instant) -> bool {
        if !empty || (self.accepted.is_empty() && self.held.is_empty()) {
            return true;
        }
        let since = *self.empty_since.get_or_insert(now);
        let confirmed = now.saturating_duration_since(since) >= self.settings.empty_grace;
        if !confirmed {
            self.doubt(now);
        }
        confirmed
    }

    fn accept(&mut self, next: BTreeMap<String, Arc<Instance>>, now: Instant) {
        let confirmed_empty = next.is_empty();
        let lost: Vec<&Arc<Instance>> = self
            .accepted
            .values()
            .filter(|one| !next.contains_key(&one.id))
            .collect();
        let too_many = lost.len() >= self.settings.min_drop
            && lost.len() as f64 > self.accepted.len() as f64 * self.settings.max_drop;
        let suspicious = too_many || self.forgetful_until.is_some_and(|until| now < until);
        let until = now + self.settings.drop_grace;
        for instance in lost {
            self.flaps.left(&instance.id, now);
            if suspicious && !confirmed_empty {
                self.held.insert(
                    instance.id.clone(),
                    Held {
                        instance: Arc::clone(instance),
                        until,
                    },
                );
            }
        }
        for id in next.keys().filter(|id| !self.accepted.contains_key(*id)) {
            self.flaps.came(id, now);
        }
        self.held
            .retain(|id, _| !next.contains_key(id) && !confirmed_empty);
        self.accepted = next;
        self.empty_since = None;
        self.doubted_since = None;
    }
}

fn keyed(instances: impl IntoIterator<Item = Arc<Instance>>) -> BTreeMap<String, Arc<Instance>> {
    instances
        .into_iter()
        .map(|one| (one.id.clone(), one))
        .collect()
}
