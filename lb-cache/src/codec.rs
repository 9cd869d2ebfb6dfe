//! Turns values into bytes for the lower tiers, and back.
//!
//! Each codec has an identity that travels with every value, so that a fleet can
//! change its codec while it runs: what another codec wrote is a miss.
//!
//! ```
//! use lb_cache::codec::{Codec, Postcard};
//!
//! let bytes = Postcard.encode(&(7u8, "seven".to_owned()))?;
//! let back: (u8, String) = Postcard.decode(&bytes)?;
//! assert_eq!(back.0, 7);
//! # Ok::<(), lb_cache::BoxError>(())
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;

/// Turns values of one type into bytes and back.
pub trait Codec<V>: Send + Sync + 'static {
    /// Tells this codec's bytes from others'. 0 to 15 belong to this crate.
    fn id(&self) -> u8;

    /// # Errors
    ///
    /// If the value has no encoding.
    fn encode(&self, value: &V) -> Result<Vec<u8>, BoxError>;

    /// # Errors
    ///
    /// If the bytes are not a value of this type.
    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError>;
}

/// Small and fast; the wire format is specified and stable. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl<V: Serialize + DeserializeOwned> Codec<V> for Postcard {
    fn id(&self) -> u8 {
        1
    }

    fn encode(&self, value: &V) -> Result<Vec<u8>, BoxError> {
        Ok(postcard::to_stdvec(value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        Ok(postcard::from_bytes(bytes)?)
    }
}

/// Readable with any tool, and larger.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

#[cfg(feature = "json")]
impl<V: Serialize + DeserializeOwned> Codec<V> for Json {
    fn id(&self) -> u8 {
        2
    }

    fn encode(&self, value: &V) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}
