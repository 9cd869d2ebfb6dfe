//! What a loop remembers between two turns.

use std::collections::VecDeque;
use std::sync::Arc;

use super::control::Audit;
use crate::policy::Override;
use crate::record::Record;
use crate::{Decision, Spec, State};

/// The specification, the state, and what was seen and done.
pub(super) struct Core {
    pub(super) spec: Spec,
    pub(super) state: State,
    pub(super) decisions: VecDeque<Arc<Decision>>,
    pub(super) keep: usize,
    /// Latest first.
    pub(super) records: VecDeque<Arc<Record>>,
    pub(super) keep_records: usize,
    pub(super) error: Option<String>,
    pub(super) failures_in_a_row: u32,
    pub(super) wake: bool,
    pub(super) audit: VecDeque<Audit>,
    /// The latest word about overrides since the last turn; a turn works on a copy of the state.
    pub(super) order: Option<Order>,
}

/// What was ordered since the last turn.
pub(super) enum Order {
    Set(Override),
    Clear,
}

impl Core {
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            spec,
            state: State::default(),
            decisions: VecDeque::new(),
            keep: 100,
            records: VecDeque::new(),
            keep_records: 10,
            error: None,
            failures_in_a_row: 0,
            wake: false,
            audit: VecDeque::new(),
            order: None,
        }
    }

    /// Carries out what was ordered last since the last turn.
    pub(super) fn obey(&mut self) {
        match self.order.take() {
            Some(Order::Set(manual)) => self.state.force_override(manual),
            Some(Order::Clear) => drop(self.state.clear_override()),
            None => {}
        }
    }

    pub(super) fn finish(&mut self, state: State, record: Record, decision: Decision) {
        self.state = state;
        self.records.push_front(Arc::new(record));
        self.records.truncate(self.keep_records);
        self.decisions.push_front(Arc::new(decision));
        self.decisions.truncate(self.keep);
    }
}
