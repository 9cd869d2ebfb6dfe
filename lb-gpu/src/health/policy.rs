//! Which signal leads to which verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Verdict;

/// XIDs after which the device cannot be trusted with anything.
const UNFIT_XIDS: [u64; 8] = [48, 62, 64, 74, 79, 95, 119, 120];
/// XIDs that announce a repair which needs a reset.
const DEGRADING_XIDS: [u64; 3] = [63, 92, 94];

/// What an XID number says about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XidClass {
    /// The device gets nothing any more.
    Unfit,
    /// The device should be drained.
    Degraded,
    /// A program's own fault; only many in a short time say something.
    Application,
    /// Nothing at all.
    Ignored,
}

/// Which signal leads to which verdict. The defaults are in the module docs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HealthPolicy {
    xids: BTreeMap<u64, XidClass>,
    /// How long all readings must be good before a verdict improves. Default: 60 s.
    pub recovery: Duration,
    /// Longest silence between two good readings of such a run. Default: 5 s.
    pub longest_gap: Duration,
    /// Window in which time under a throttle reason is summed up. Default: 30 s.
    pub throttle_window: Duration,
    /// Time under a hardware reason that degrades. Default: 10 s.
    pub hardware_throttle: Duration,
    /// Time under software thermal slowdown that degrades. Default: 20 s.
    pub thermal_throttle: Duration,
    /// Window in which application errors are counted. Default: 60 s.
    pub application_window: Duration,
    /// Application errors in that window that degrade. Default: 5.
    pub application_errors: usize,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        let unfit = UNFIT_XIDS.map(|number| (number, XidClass::Unfit));
        let degrading = DEGRADING_XIDS.map(|number| (number, XidClass::Degraded));
        Self {
            xids: unfit.into_iter().chain(degrading).collect(),
            recovery: Duration::from_secs(60),
            longest_gap: Duration::from_secs(5),
            throttle_window: Duration::from_secs(30),
            hardware_throttle: Duration::from_secs(10),
            thermal_throttle: Duration::from_secs(20),
            application_window: Duration::from_secs(60),
            application_errors: 5,
        }
    }
}

impl HealthPolicy {
    /// Says what an XID number means here. What is said explicitly wins over
    /// the defaults, and later over earlier.
    #[must_use]
    pub fn xid(mut self, number: u64, class: XidClass) -> Self {
        self.xids.insert(number, class);
        self
    }

    /// What an XID number means; numbers nobody spoke about are an application's fault.
    #[must_use]
    pub fn class(&self, number: u64) -> XidClass {
        self.xids
            .get(&number)
            .copied()
            .unwrap_or(XidClass::Application)
    }
}

impl XidClass {
    pub(super) fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Unfit => Some(Verdict::Unfit),
            Self::Degraded => Some(Verdict::Degraded),
            Self::Application | Self::Ignored => None,
        }
    }
}
