//! All instances of one service at one moment, with the answer to "how sure are we?".
//!
//! A [`Snapshot`] is immutable and shared. Its [`Origin`] tells whether it comes from the registry now,
//! was kept because the registry does not answer, or was read from disk at start.
//!
//! ```
//! use lb_registry::{Instance, Origin, Snapshot};
//!
//! let snapshot = Snapshot::live("simulation", 7, [Instance::new("simulation", "a", "10.0.0.1", 80)]);
//! assert_eq!(snapshot.origin, Origin::Live);
//! assert_eq!(snapshot.get("a").map(|instance| instance.port), Some(80));
//! ```

use std::sync::Arc;

use serde::Serialize;

use crate::Instance;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize,
)]
pub struct UnixMillis(pub u64);

/// Where a snapshot comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Origin {
    /// Nothing is known yet; the empty set means nothing.
    Pending,
    /// The registry said so, and still does as far as we know.
    Live,
    /// The registry said so once; since then its answers are missing or not believed.
    Stale {
        /// When the doubt began.
        since: UnixMillis,
    },
    /// Read from disk at start, until the first live answer.
    Disk {
        /// When it was written.
        written: UnixMillis,
    },
}

/// All instances of one service at one moment, ordered by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The service.
    pub service: String,
    /// Grows with every published change; zero while nothing is known. Only meaningful within one watch.
    pub revision: u64,
    /// How sure we are.
    pub origin: Origin,
    /// The instances, ordered by id.
    pub instances: Arc<[Arc<Instance>]>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Nothing is known yet.
    #[must_use]
    pub fn pending(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            revision: 0,
            origin: Origin::Pending,
            instances: Arc::new([]),
        }
    }

    /// What the registry says now. Of several instances with one id the last one stays.
    #[must_use]
    pub fn live(
        service: impl Into<String>,
        revision: u64,
        instances: impl IntoIterator<Item = Instance>,
    ) -> Self {
        Self {
            service: service.into(),
            revision,
            origin: Origin::Live,
            instances: by_id(instances.into_iter().map(Arc::new)),
        }
    }

    /// The instance with this id. O(log n).
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Instance>> {
        let index = self
            .instances
            .binary_search_by(|one| one.id.as_str().cmp(id))
            .ok()?;
        self.instances.get(index)
    }

    /// `true` until the first answer.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.origin == Origin::Pending
    }
}

/// Ordered by id, one per id; the last one given wins.
pub(crate) fn by_id(instances: impl IntoIterator<Item = Arc<Instance>>) -> Arc<[Arc<Instance>]> {
    let ordered: std::collections::BTreeMap<String, Arc<Instance>> = instances
        .into_iter()
        .map(|instance| (instance.id.clone(), instance))
        .collect();
    ordered.into_values().collect()
}
