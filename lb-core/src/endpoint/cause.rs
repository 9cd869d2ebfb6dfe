//! Independent reasons against an endpoint, one bit each.

/// A reason why an endpoint takes no new requests. Reasons are independent:
/// each is set and cleared by the part that knows it, and the endpoint is
/// available while there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Cause {
    /// Asked to take no new traffic; existing bindings are still honoured.
    Draining,
    /// An active probe says that it is not well.
    Unhealthy,
    /// Outlier detection took it out for a while.
    Ejected,
    /// Switched off by an operator.
    Disabled,
    /// No longer a member; only its running requests remain.
    Removed,
    /// Its circuit is open: it rests until one request tries it again, see
    /// [`breaker`](crate::breaker).
    CircuitOpen,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::Draining,
        Self::Unhealthy,
        Self::Ejected,
        Self::Disabled,
        Self::Removed,
        Self::CircuitOpen,
    ];

    /// What panic mode overlooks: opinions about health, never orders.
    pub(crate) const HEALTH: u32 = Self::Unhealthy.bit() | Self::Ejected.bit();

    /// The bits that causes use.
    pub(crate) const ALL_BITS: u32 = 0b11_1111;

    /// Every cause counts.
    pub(crate) const ANY: u32 = u32::MAX;

    pub(crate) const fn bit(self) -> u32 {
        match self {
            Self::Draining => 1,
            Self::Unhealthy => 1 << 1,
            Self::Ejected => 1 << 2,
            Self::Disabled => 1 << 3,
            Self::Removed => 1 << 4,
            Self::CircuitOpen => 1 << 5,
        }
    }
}
