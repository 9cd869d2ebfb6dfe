//! The name of an endpoint.

use std::{
    borrow::Borrow,
    fmt,
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The stable name of an endpoint. Cheap to clone; equal names are one endpoint.
///
/// ```
/// use lb_core::EndpointId;
///
/// let id = EndpointId::from("sim-1");
/// assert_eq!(id.as_str(), "sim-1");
/// assert_eq!(id, EndpointId::from(String::from("sim-1")));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(Arc<str>);

impl EndpointId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Equal, with the cheap answer first: clones share one allocation.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for EndpointId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EndpointId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for EndpointId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<&String> for EndpointId {
    fn from(id: &String) -> Self {
        Self(id.as_str().into())
    }
}

impl From<&Self> for EndpointId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

/// Hashes names for tables that every request of a session looks into: quicker than the
/// standard library's hasher, and seeded like it, so that nobody can aim at a bucket.
#[derive(Clone, Debug)]
pub(crate) struct SeededNames(u64);

impl Default for SeededNames {
    fn default() -> Self {
        Self(fastrand::u64(..))
    }
}

impl BuildHasher for SeededNames {
    type Hasher = NameHasher;

    #[inline]
    fn build_hasher(&self) -> NameHasher {
        NameHasher(self.0)
    }
}

/// The hash of one name.
#[derive(Debug)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    // What ends a text: nothing follows a name.
    #[inline]
    fn write_u8(&mut self, _end: u8) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for EndpointId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for EndpointId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}
