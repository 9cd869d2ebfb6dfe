//! Asking one device many questions, and minding how it answers.

use nvml_wrapper::error::NvmlError;

use super::error::{Meaning, while_sampling};
use crate::probe::ProbeError;
use crate::reading::DeviceFault;

/// The questions, as bit numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Name,
    Pci,
    Utilization,
    Memory,
    Temperature,
    Power,
    PowerLimit,
    Energy,
    SmClock,
    SmClockMax,
    MemoryClock,
    Throttle,
    Encoder,
    Decoder,
    EccCorrectedVolatile,
    EccUncorrectedVolatile,
    EccCorrectedAggregate,
    EccUncorrectedAggregate,
    Fields,
    Compute,
    Graphics,
    MigMode,
    MigCount,
    Attributes,
}

/// Questions that a device will never answer: a set that lives as long as the session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsupported(u32);

/// One round of questions to one device.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    unsupported: &'a mut Unsupported,
    fault: Option<DeviceFault>,
    session: Option<ProbeError>,
    answered: bool,
    unintelligible: bool,
}

/// How a round went.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) fault: Option<DeviceFault>,
    /// Nothing but unknown errors.
    pub(super) unintelligible: bool,
}

impl<'a> Asking<'a> {
    pub(super) fn new(unsupported: &'a mut Unsupported) -> Self {
        Self {
            unsupported,
            fault: None,
            session: None,
            answered: false,
            unintelligible: false,
        }
    }

    /// Asks, unless the answer is known to be none. After a device or the
    /// library was found broken, nothing more is asked: every further call
    /// could block.
    pub(super) fn ask<T>(
        &mut self,
        question: Question,
        call: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Option<T> {
        let bit = 1 << question as u32;
        if self.unsupported.0 & bit != 0 || self.fault.is_some() || self.session.is_some() {
            return None;
        }
        match call() {
            Ok(answer) => {
                self.answered = true;
                return Some(answer);
            }
            Err(error) => match while_sampling(&error) {
                Meaning::Unsupported => self.unsupported.0 |= bit,
                Meaning::Unavailable => {
                    tracing::trace!(?question, %error, "no answer from the GPU");
                }
                Meaning::Unintelligible => self.unintelligible = true,
                Meaning::Device(fault) => self.fault = Some(fault),
                Meaning::Session(error) => self.session = Some(error),
            },
        }
        None
    }

    pub(super) fn finish(self) -> Result<Round, ProbeError> {
        match self.session {
            Some(error) => Err(error),
            None => Ok(Round {
                fault: self.fault,
                unintelligible: self.unintelligible && !self.answered,
            }),
        }
    }
}
