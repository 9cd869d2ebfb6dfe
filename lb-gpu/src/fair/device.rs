//! What one device has left.

use super::demand::Demand;
use crate::reading::DeviceId;

/// Capacity of one device and what is taken of it.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) slots: u32,
    /// `None`: memory is not counted here.
    pub(super) memory_bytes: Option<u64>,
    pub(super) fit: bool,
    pub(super) used_slots: u32,
    declared_bytes: u64,
    /// What the device itself says is in use, by us or by others.
    observed_bytes: u64,
}

impl Device {
    pub(super) fn new(id: DeviceId, slots: u32, memory_bytes: Option<u64>) -> Self {
        Self {
            id,
            slots,
            memory_bytes,
            fit: true,
            used_slots: 0,
            declared_bytes: 0,
            observed_bytes: 0,
        }
    }

    /// Room right now?
    pub(super) fn fits(&self, demand: &Demand) -> bool {
        self.fit
            && self.accepts(demand)
            && demand.slots <= self.slots - self.used_slots
            && self
                .free_bytes()
                .is_none_or(|free| demand.memory_bytes <= free)
    }

    /// Room if nothing of ours ran, as the device is today?
    pub(super) fn could_fit(&self, demand: &Demand) -> bool {
        // What others hold does not go away when our permits do.
        let foreign = self.observed_bytes.saturating_sub(self.declared_bytes);
        let room = self.memory_bytes.map(|bytes| bytes.saturating_sub(foreign));
        self.fit
            && self.could_ever_fit(demand)
            && room.is_none_or(|room| demand.memory_bytes <= room)
    }

    /// Room on the best of days?
    pub(super) fn could_ever_fit(&self, demand: &Demand) -> bool {
        self.accepts(demand)
            && demand.slots <= self.slots
            && self
                .memory_bytes
                .is_none_or(|bytes| demand.memory_bytes <= bytes)
    }

    pub(super) fn free_slots(&self) -> u32 {
        self.slots - self.used_slots
    }

    pub(super) fn take(&mut self, demand: &Demand) {
        self.used_slots += demand.slots;
        self.declared_bytes += self.counted_bytes(demand);
    }

    pub(super) fn give_back(&mut self, demand: &Demand) {
        self.used_slots -= demand.slots;
        self.declared_bytes -= self.counted_bytes(demand);
    }

    /// None where memory is not counted: there its sum has no bound.
    fn counted_bytes(&self, demand: &Demand) -> u64 {
        self.memory_bytes.map_or(0, |_| demand.memory_bytes)
    }

    pub(super) fn observe_memory(&mut self, used_bytes: u64) {
        self.observed_bytes = used_bytes;
    }

    /// The larger of what was declared and what was observed is taken.
    fn free_bytes(&self) -> Option<u64> {
        let taken = self.declared_bytes.max(self.observed_bytes);
        self.memory_bytes.map(|bytes| bytes.saturating_sub(taken))
    }

    fn accepts(&self, demand: &Demand) -> bool {
        demand
            .device
            .as_ref()
            .is_none_or(|wanted| *wanted == self.id)
    }
}
