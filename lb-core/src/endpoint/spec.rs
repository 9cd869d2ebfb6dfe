//! What is asked for: one endpoint as configuration or discovery names it.

use std::collections::BTreeMap;

use crate::endpoint::EndpointId;

/// One endpoint as configuration or discovery describes it.
///
/// Anything may be wrong in it; [`Pool`](crate::Pool) says so when it is used.
///
/// ```
/// use lb_core::EndpointSpec;
///
/// let spec = EndpointSpec::new("sim-1", "http://10.0.0.1:8000")
///     .weight(3)
///     .zone(Some("a"))
///     .metadata("version", "2");
/// assert_eq!(spec.id().as_str(), "sim-1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    pub(crate) id: EndpointId,
    pub(crate) uri: String,
    pub(crate) incarnation: u64,
    pub(crate) weight: u32,
    pub(crate) zone: Option<Box<str>>,
    pub(crate) priority: u32,
    pub(crate) draining: bool,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl EndpointSpec {
    /// An endpoint of weight 1 in the first priority tier, without a zone.
    pub fn new(id: impl Into<EndpointId>, uri: impl AsRef<str>) -> Self {
        Self {
            id: id.into(),
            uri: uri.as_ref().to_owned(),
            incarnation: 0,
            weight: 1,
            zone: None,
            priority: 0,
            draining: false,
            metadata: BTreeMap::new(),
        }
    }

    /// Tells a restarted endpoint from its predecessor of the same name: a new
    /// incarnation starts with fresh statistics. Default: 0.
    #[must_use]
    pub fn incarnation(mut self, incarnation: u64) -> Self {
        self.incarnation = incarnation;
        self
    }

    /// Share of the traffic relative to the others. 0 takes no new traffic.
    /// Default: 1.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Where the endpoint runs. Default: unknown.
    #[must_use]
    pub fn zone(mut self, zone: Option<&str>) -> Self {
        self.zone = zone.map(Into::into);
        self
    }

    /// Priority tier; 0 is used first. Default: 0.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Takes no new traffic but finishes what it has. Default: `false`.
    #[must_use]
    pub fn draining(mut self, draining: bool) -> Self {
        self.draining = draining;
        self
    }

    /// Adds one fact that subsets may select by.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.id
    }

    /// Its address as given, not yet checked.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }
}

/// The address is the name, too.
impl From<&str> for EndpointSpec {
    fn from(uri: &str) -> Self {
        Self::new(uri, uri)
    }
}

/// The address is the name, too.
impl From<String> for EndpointSpec {
    fn from(uri: String) -> Self {
        Self::new(uri.as_str(), &uri)
    }
}

/// The address is the name, too.
impl From<&String> for EndpointSpec {
    fn from(uri: &String) -> Self {
        Self::from(uri.as_str())
    }
}
