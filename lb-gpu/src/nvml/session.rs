//! One stretch of time with the library open.

use std::collections::HashMap;

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, EventSet, Nvml};

use super::ask::{Asking, Question, Unsupported};
use super::collect;
use super::error::{Meaning, while_sampling};
use crate::clock;
use crate::probe::{AbsentReason, Fault, ProbeError};
use crate::reading::{DeviceId, DeviceReading, DriverInfo, Event, EventKind, MigInstance, Reading};

/// Looks with nothing but unknown errors before the library is opened anew.
const UNINTELLIGIBLE_LOOKS: u32 = 3;
/// Events fetched from one device in one look. A storm is counted over several looks.
const EVENTS_PER_LOOK: usize = 64;
/// XID number that stands for "the driver does not know which".
const UNKNOWN_XID: u64 = 999;

/// The open library, and what it taught us about each device.
#[derive(Debug)]
pub(super) struct Session<'nvml> {
    nvml: &'nvml Nvml,
    driver: DriverInfo,
    processes: bool,
    known: HashMap<DeviceId, Known<'nvml>>,
    unintelligible_looks: u32,
}

/// What does not change while the library is open.
#[derive(Debug, Default)]
struct Known<'nvml> {
    unsupported: Unsupported,
    name: Option<String>,
    pci_bus_id: Option<String>,
    events: Option<EventSet<'nvml>>,
}

impl<'nvml> Session<'nvml> {
    pub(super) fn new(nvml: &'nvml Nvml, processes: bool) -> Self {
        let cuda = nvml.sys_cuda_driver_version().ok();
        let driver = DriverInfo {
            driver_version: nvml.sys_driver_version().ok(),
            library_version: nvml.sys_nvml_version().ok(),
            cuda_version: cuda.map(|v| {
                (
                    nvml_wrapper::cuda_driver_version_major(v),
                    nvml_wrapper::cuda_driver_version_minor(v),
                )
            }),
        };
        Self {
            nvml,
            driver,
            processes,
            known: HashMap::new(),
            unintelligible_looks: 0,
        }
    }

    /// One look at everything. Handles are fetched anew each time and devices
    /// are known by UUID: indices shift when a neighbour falls off the bus.
    pub(super) fn look(&mut self) -> Result<Reading, ProbeError> {
        let started = clock::now();
        let count = self.device_count()?;
        let mut reading = Reading {
            driver: self.driver.clone(),
            ..Reading::default()
        };
        let mut intelligible = false;
        for index in 0..count {
            match self
                .nvml
                .device_by_index(index)
                .and_then(|device| Ok((device.uuid()?, device)))
            {
                Ok((uuid, device)) => {
                    intelligible |= self.look_at(&device, &uuid.into(), index, &mut reading)?;
                }
                Err(error) => {
                    intelligible |= nameless(&error, &mut reading)?;
                }
            }
        }
        self.count_unintelligible(intelligible)?;
        self.forget_the_broken(&reading);
        reading.took = clock::now().saturating_duration_since(started);
        Ok(reading)
    }

    fn device_count(&self) -> Result<u32, ProbeError> {
        match self.nvml.device_count() {
            Ok(0) => Err(ProbeError::Absent(AbsentReason::NoDevices)),
            Ok(count) => Ok(count),
            Err(error) => Err(match while_sampling(&error) {
                Meaning::Session(error) => error,
                _ => ProbeError::Faulted(Fault::Init(error.to_string())),
            }),
        }
    }

    /// Adds a device, its instances and its events. `false` if it answered with
    /// nothing but unknown errors.
    fn look_at(
        &mut self,
        device: &Device<'nvml>,
        id: &DeviceId,
        index: u32,
        reading: &mut Reading,
    ) -> Result<bool, ProbeError> {
        let processes = self.processes;
        let known = self
            .known
            .entry(id.clone())
            .or_insert_with(|| Known::new(self.nvml, device));
        let mut asking = Asking::new(&mut known.unsupported);
        if known.name.is_none() {
            known.name = asking.ask(Question::Name, || device.name());
        }
        if known.pci_bus_id.is_none() {
            known.pci_bus_id = asking
                .ask(Question::Pci, || device.pci_info())
                .map(|pci| pci.bus_id);
        }
        let metrics = collect::metrics(device, &mut asking, processes);
        let mode = asking.ask(Question::MigMode, || device.mig_mode());
        let slices = match mode {
            Some(mode) if mode.current == 1 => asking
                .ask(Question::MigCount, || device.mig_device_count())
                .unwrap_or(0),
            _ => 0,
        };
        let round = asking.finish()?;
        let mut seen = DeviceReading::new(id.clone());
        seen.index = Some(index);
        seen.name.clone_from(&known.name);
        seen.pci_bus_id.clone_from(&known.pci_bus_id);
        seen.fault = round.fault;
        seen.metrics = metrics;
        reading.devices.push(seen);
        known.drain_events(id, &mut reading.events);
        for slice in 0..slices {
            self.look_at_slice(device, id, slice, reading)?;
        }
        Ok(!round.unintelligible)
    }

    /// Adds one MIG instance. The driver counts possible instances, not present
    /// ones: a gap is normal.
    fn look_at_slice(
        &mut self,
        parent: &Device<'nvml>,
        parent_id: &DeviceId,
        slice: u32,
        reading: &mut Reading,
    ) -> Result<(), ProbeError> {
        let Ok(device) = parent.mig_device_by_index(slice) else {
            return Ok(());
        };
        let Ok(uuid) = device.uuid() else {
            return Ok(());
        };
        let id = DeviceId::from(uuid);
        let known = self.known.entry(id.clone()).or_default();
        let mut asking = Asking::new(&mut known.unsupported);
        let mut seen = DeviceReading::new(id);
        seen.name = asking.ask(Question::Name, || device.name());
        let attributes = asking.ask(Question::Attributes, || device.attributes());
        seen.mig = Some(MigInstance {
            parent: parent_id.clone(),
            index: slice,
            multiprocessors: attributes.map(|attributes| attributes.multiprocessor_count),
        });
        seen.metrics = collect::shared_metrics(&device, &mut asking, self.processes);
        seen.fault = asking.finish()?.fault;
        reading.devices.push(seen);
        Ok(())
    }

    /// A device that comes back is met anew: its event queue died with it.
    fn forget_the_broken(&mut self, reading: &Reading) {
        self.known.retain(|id, _| {
            reading
                .devices
                .iter()
                .any(|device| device.id == *id && device.fault.is_none())
        });
    }

    fn count_unintelligible(&mut self, intelligible: bool) -> Result<(), ProbeError> {
        self.unintelligible_looks = if intelligible {
            0
        } else {
            self.unintelligible_looks + 1
        };
        if self.unintelligible_looks < UNINTELLIGIBLE_LOOKS {
            return Ok(());
        }
        Err(ProbeError::Faulted(Fault::Unintelligible))
    }
}

/// Notes a device that cannot tell its UUID. A lost one is missed by name in
/// the tracker. `false` if the answer was an unknown error.
fn nameless(error: &NvmlError, reading: &mut Reading) -> Result<bool, ProbeError> {
    match while_sampling(error) {
        Meaning::Session(error) => Err(error),
        meaning => {
            reading.nameless_devices += 1;
            Ok(meaning != Meaning::Unintelligible)
        }
    }
}

// === impl Known ===

impl<'nvml> Known<'nvml> {
    /// Subscribes to the device's events, if it has any. Each device has a set
    /// of its own: registering one that refuses would destroy a shared set.
    fn new(nvml: &'nvml Nvml, device: &Device<'nvml>) -> Self {
        let events = nvml.create_event_set().ok().and_then(|set| {
            device
                .register_events(EventTypes::CRITICAL_XID_ERROR, set)
                .ok()
        });
        Self {
            events,
            ..Self::default()
        }
    }

    fn drain_events(&mut self, id: &DeviceId, events: &mut Vec<Event>) {
        let Some(set) = &self.events else { return };
        for _ in 0..EVENTS_PER_LOOK {
            match set.wait(0) {
                Ok(data) => events.extend(data.event_data.map(|xid| Event {
                    device: id.clone(),
                    kind: EventKind::Xid(match xid {
                        XidError::Value(number) => number,
                        XidError::Unknown => UNKNOWN_XID,
                    }),
                })),
                Err(NvmlError::Timeout) => return,
                Err(_) => {
                    self.events = None;
                    return;
                }
            }
        }
    }
}
