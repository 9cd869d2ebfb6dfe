//! What changed between two sets of instances?
//!
//! Whole instances are compared, so a changed weight, tag or status is `changed` and not silently lost.
//! Watches publish whole sets; whoever needs steps computes them here, which is why a slow reader never
//! misses the end state.
//!
//! Cost: O(old + new), both sets being ordered by id.
//!
//! ```
//! use lb_registry::{Instance, Snapshot, diff::diff};
//!
//! let old = Snapshot::live("s", 1, [Instance::new("s", "a", "10.0.0.1", 80)]);
//! let mut heavier = Instance::new("s", "a", "10.0.0.1", 80);
//! heavier.weight = 5;
//! let new = Snapshot::live("s", 2, [heavier, Instance::new("s", "b", "10.0.0.2", 80)]);
//!
//! let diff = diff(&old.instances, &new.instances);
//! assert_eq!((diff.added.len(), diff.changed.len(), diff.removed.len()), (1, 1, 0));
//! ```

use std::cmp::Ordering;
use std::sync::Arc;

use crate::Instance;

/// The steps that lead from one set to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Only in the new set.
    pub added: Vec<Arc<Instance>>,
    /// In both, with different facts; the new ones.
    pub changed: Vec<Arc<Instance>>,
    /// Only in the old set.
    pub removed: Vec<Arc<Instance>>,
}

/// One step from one set to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new instance, or new facts about a known one.
    Insert(Arc<Instance>),
    /// The instance with this id is gone.
    Remove(String),
}

/// Compares two sets that are ordered by id, as every [`Snapshot`](crate::Snapshot) is.
#[must_use]
pub fn diff(old: &[Arc<Instance>], new: &[Arc<Instance>]) -> Diff {
    let mut diff = Diff::default();
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return diff,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.id.cmp(&b.id),
        };
        match order {
            Ordering::Less => diff.removed.extend(left.next().cloned()),
            Ordering::Greater => diff.added.extend(right.next().cloned()),
            Ordering::Equal => {
                let (a, b) = (left.next(), right.next());
                // The same allocation is the common case and needs no look inside.
                let same = matches!((a, b), (Some(a), Some(b)) if Arc::ptr_eq(a, b) || a == b);
                if !same {
                    diff.changed.extend(b.cloned());
                }
            }
        }
    }
}

// === impl Diff ===

impl Diff {
    /// `true` if nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// As steps: removals first, so that a moved address is free before it is taken again.
    #[must_use]
    pub fn into_changes(self) -> Vec<Change> {
        let removed = self
            .removed
            .into_iter()
            .map(|instance| Change::Remove(instance.id.clone()));
        let inserted = self
            .added
            .into_iter()
            .chain(self.changed)
            .map(Change::Insert);
        removed.chain(inserted).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::by_id;

    fn set() -> impl Strategy<Value = Arc<[Arc<Instance>]>> {
        prop::collection::btree_map(0u8..12, 1u32..4, 0..10).prop_map(|weights| {
            by_id(weights.into_iter().map(|(id, weight)| {
                let mut instance = Instance::new("s", format!("i{id}"), "10.0.0.1", 80);
                instance.weight = weight;
                Arc::new(instance)
            }))
        })
    }

    proptest! {
        /// Applying the steps to the old set gives the new set.
        #[test]
        fn the_steps_lead_to_the_new_set(old in set(), new in set()) {
            let mut have: BTreeMap<String, Arc<Instance>> =
                old.iter().map(|one| (one.id.clone(), Arc::clone(one))).collect();
            for change in diff(&old, &new).into_changes() {
                match change {
                    Change::Insert(instance) => { have.insert(instance.id.clone(), instance); }
                    Change::Remove(id) => { prop_assert!(have.remove(&id).is_some()); }
                }
            }
            prop_assert_eq!(have.into_values().collect::<Vec<_>>(), new.to_vec());
        }

        /// A set does not differ from itself.
        #[test]
        fn a_set_does_not_differ_from_itself(one in set()) {
            prop_assert!(diff(&one, &one).is_empty());
        }
    }
}
