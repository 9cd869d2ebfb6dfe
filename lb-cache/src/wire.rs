//! How keys look in the tiers beyond this process.
//!
//! `lb:{}:<namespace>:<schema>:<key>`. A namespace has no colon, so two
//! namespaces never meet; the schema version keeps mixed fleets apart; and the
//! empty braces make Redis Cluster hash the whole key, so that braces inside a
//! user's key cannot herd keys onto one node.
//!
//! ```
//! use lb_cache::wire::WireKey;
//!
//! assert_eq!(42u64.to_wire(), b"42");
//! assert_eq!(u64::from_wire(b"42"), Some(42));
//! assert_eq!(u64::from_wire(b"4x"), None);
//! ```

use std::io::Write;

use bytes::Bytes;

/// Longer keys stay in this process: lower tiers are not asked for them.
pub const MAX_KEY_BYTES: usize = 1_024;

/// Room for keys of this size comes with the prefix.
const USUAL_KEY_BYTES: usize = 40;

/// A key that lower tiers can hold. Equal keys must have equal wire forms, and
/// different keys different ones.
pub trait WireKey: Sized {
    /// The wire form. Any bytes are allowed; readable ones help operators.
    fn to_wire(&self) -> Vec<u8>;

    /// Appends the wire form. Override it to spare an allocation. Default: [`Self::to_wire`].
    fn append_wire(&self, wire: &mut Vec<u8>) {
        wire.extend_from_slice(&self.to_wire());
    }

    /// The key of a wire form, for the admin service; `None` if it is none.
    fn from_wire(wire: &[u8]) -> Option<Self>;
}

impl WireKey for String {
    fn append_wire(&self, wire: &mut Vec<u8>) {
        wire.extend_from_slice(self.as_bytes());
    }

    fn to_wire(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_wire(wire: &[u8]) -> Option<Self> {
        std::str::from_utf8(wire).ok().map(str::to_owned)
    }
}

impl WireKey for std::sync::Arc<str> {
    fn append_wire(&self, wire: &mut Vec<u8>) {
        wire.extend_from_slice(self.as_bytes());
    }

    fn to_wire(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_wire(wire: &[u8]) -> Option<Self> {
        std::str::from_utf8(wire).ok().map(Into::into)
    }
}

impl WireKey for Vec<u8> {
    fn append_wire(&self, wire: &mut Vec<u8>) {
        wire.extend_from_slice(self);
    }

    fn to_wire(&self) -> Vec<u8> {
        self.clone()
    }

    fn from_wire(wire: &[u8]) -> Option<Self> {
        Some(wire.to_vec())
    }
}

macro_rules! wire_numbers {
    ($($number:ty),*) => {$(
        impl WireKey for $number {
            fn append_wire(&self, wire: &mut Vec<u8>) {
                // Writing to memory does not fail.
                let _written = write!(wire, "{self}");
            }

            fn to_wire(&self) -> Vec<u8> {
                self.to_string().into_bytes()
            }

            fn from_wire(wire: &[u8]) -> Option<Self> {
                std::str::from_utf8(wire).ok()?.parse().ok()
            }
        }
    )*};
}

wire_numbers!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize
);

/// What all keys of a namespace begin with.
pub(crate) fn prefix(namespace: &str, schema: u16) -> Vec<u8> {
    format!("lb:{{}}:{namespace}:{schema}:").into_bytes()
}

/// The whole key; `None` if it is too long for lower tiers.
pub(crate) fn key(prefix: &[u8], append: impl FnOnce(&mut Vec<u8>)) -> Option<Bytes> {
    let mut key = Vec::with_capacity(prefix.len() + USUAL_KEY_BYTES);
    key.extend_from_slice(prefix);
    append(&mut key);
    (key.len() - prefix.len() <= MAX_KEY_BYTES).then(|| key.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// No two namespaces ever share a key.
        #[test]
        fn namespaces_never_meet(a in "[a-z.-]{1,8}", b in "[a-z.-]{1,8}", x in ".{0,12}", y in ".{0,12}") {
            prop_assume!(a != b);
            prop_assert_ne!(
                key(&prefix(&a, 0), |wire| x.append_wire(wire)),
                key(&prefix(&b, 0), |wire| y.append_wire(wire))
            );
        }
    }

    #[test]
    fn a_key_that_is_too_long_stays_here() {
        assert!(key(b"p", |wire| wire.extend([0; MAX_KEY_BYTES])).is_some());
        assert!(key(b"p", |wire| wire.extend([0; MAX_KEY_BYTES + 1])).is_none());
    }

    #[test]
    fn what_is_appended_is_the_wire_form() {
        fn same<K: WireKey>(key: &K) {
            let mut wire = b"x".to_vec();
            key.append_wire(&mut wire);
            assert_eq!(wire[1..], key.to_wire());
        }
        same(&"text".to_owned());
        same(&std::sync::Arc::<str>::from("text"));
        same(&vec![0u8, 255]);
        same(&-7i32);
    }
}
