//! What lower tiers hold: a header that says how to read the payload, and whether to trust it.
//!
//! Big endian, 48 bytes, then the etag, then the payload:
//!
//! | bytes  | what                                                      |
//! |--------|-----------------------------------------------------------|
//! | 0..2   | `LC`                                                      |
//! | 2      | version of this format: 2                                 |
//! | 3      | codec of the payload                                      |
//! | 4      | flags: 1 no such value, 2 tombstone, 4 compressed         |
//! | 6..8   | schema: version of the value's type                       |
//! | 8..16  | begun to be found out, milliseconds since 1970            |
//! | 16..24 | end of the fresh life, likewise; all ones: none           |
//! | 24..32 | generation: changes with every write of the key           |
//! | 32..36 | length of the payload                                     |
//! | 36..38 | length of the etag                                        |
//! | 40..48 | xxh3 of bytes 0..40, seeded with that of bytes 48..       |
//!
//! Whatever does not decode is a miss, never an error to a caller: the reader
//! is told why only for its statistics.
//!
//! ```
//! use lb_cache::envelope::{Envelope, Kind};
//! use lb_cache::freshness::UnixMillis;
//!
//! let sealed = Envelope {
//!     kind: Kind::Value, codec: 1, schema: 0, compressed: false,
//!     created: UnixMillis(1_000), fresh_until: Some(UnixMillis(2_000)), generation: 7,
//!     etag: None, payload: b"hello",
//! }.seal().expect("short enough");
//! assert_eq!(Envelope::open(&sealed)?.payload, b"hello");
//! # Ok::<(), lb_cache::envelope::Unreadable>(())
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::freshness::UnixMillis;

const MAGIC: &[u8; 2] = b"LC";
const VERSION: u8 = 2;
const HEADER: usize = 48;
const CHECKSUM: usize = 40;
/// Where the generation stands, for scripts that compare it on the server.
pub const GENERATION: std::ops::Range<usize> = 24..32;

const ABSENT: u8 = 1;
const TOMBSTONE: u8 = 2;
const COMPRESSED: u8 = 4;

/// What an envelope says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Here is the value.
    Value,
    /// There is no such value.
    Absent,
    /// The key was invalidated a moment ago: a load that began before must not fill it.
    Tombstone,
}

/// An envelope, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What it says about its key.
    pub kind: Kind,
    /// The codec of the payload.
    pub codec: u8,
    /// The version of the value's type.
    pub schema: u16,
    /// Whether the payload is compressed.
    pub compressed: bool,
    /// When the writer began to find it out, by its clock.
    pub created: UnixMillis,
    /// When it stops being fresh, by the writer's clock.
    pub fresh_until: Option<UnixMillis>,
    /// Changes with every write of the key.
    pub generation: u64,
    /// What the source calls this version.
    pub etag: Option<&'a str>,
    /// The value's bytes.
    pub payload: &'a [u8],
}

/// Why bytes are no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Too short, or something else altogether.
    #[error("not an envelope")]
    NoEnvelope,
    /// A newer or older format.
    #[error("format version {0} is not known")]
    Version(u8),
    /// The lengths or the checksum do not fit.
    #[error("damaged")]
    Damaged,
}

impl<'a> Envelope<'a> {
    /// The bytes of this envelope; `None` if etag or payload are longer than
    /// 64 KiB and 4 GiB.
    #[must_use]
    pub fn seal(&self) -> Option<Bytes> {
        let etag = self.etag.unwrap_or_default();
        let mut out = BytesMut::with_capacity(HEADER + etag.len() + self.payload.len());
        out.put_slice(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.codec);
        out.put_u8(self.flags());
        out.put_u8(0);
        out.put_u16(self.schema);
        out.put_u64(self.created.0);
        out.put_u64(self.fresh_until.map_or(u64::MAX, |until| until.0));
        out.put_u64(self.generation);
        out.put_u32(self.payload.len().try_into().ok()?);
        out.put_u16(etag.len().try_into().ok()?);
        out.put_u16(0);
        out.put_u64(0);
        out.put_slice(etag.as_bytes());
        out.put_slice(self.payload);
        let checksum = checksum(&out);
        out[CHECKSUM..HEADER].copy_from_slice(&checksum.to_be_bytes());
        Some(out.freeze())
    }

    /// Opens an envelope.
    ///
    /// # Errors
    ///
    /// See [`Unreadable`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Unreadable::NoEnvelope)?;
        if &header[..2] != MAGIC {
            return Err(Unreadable::NoEnvelope);
        }
        if header[2] != VERSION {
            return Err(Unreadable::Version(header[2]));
        }
        let etag_end = HEADER + u16::from_be_bytes(field(header, 36)) as usize;
        let end = etag_end + u32::from_be_bytes(field(header, 32)) as usize;
        if bytes.len() != end || u64::from_be_bytes(field(header, CHECKSUM)) != checksum(bytes) {
            return Err(Unreadable::Damaged);
        }
        let etag =
            std::str::from_utf8(&bytes[HEADER..etag_end]).map_err(|_| Unreadable::Damaged)?;
        let flags = header[4];
        Ok(Self {
            kind: match flags & (ABSENT | TOMBSTONE) {
                0 => Kind::Value,
                ABSENT => Kind::Absent,
                _ => Kind::Tombstone,
            },
            codec: header[3],
            schema: u16::from_be_bytes(field(header, 6)),
            compressed: flags & COMPRESSED != 0,
            created: UnixMillis(u64::from_be_bytes(field(header, 8))),
            fresh_until: Some(u64::from_be_bytes(field(header, 16)))
                .filter(|until| *until != u64::MAX)
                .map(UnixMillis),
            generation: u64::from_be_bytes(field(header, GENERATION.start)),
            etag: (!etag.is_empty()).then_some(etag),
            payload: &bytes[etag_end..],
        })
    }

    fn flags(&self) -> u8 {
        let kind = match self.kind {
            Kind::Value => 0,
            Kind::Absent => ABSENT,
            Kind::Tombstone => TOMBSTONE,
        };
        kind | if self.compressed { COMPRESSED } else { 0 }
    }
}

/// The generation bytes as a tier compares them: whatever stands at their
/// place, empty if nothing does. Also defined for bytes that are no envelope.
#[must_use]
pub fn generation_bytes(stored: &[u8]) -> &[u8] {
    let end = GENERATION.end.min(stored.len());
    stored.get(GENERATION.start..end).unwrap_or_default()
}

fn field<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    std::array::from_fn(|n| header[at + n])
}

fn checksum(bytes: &[u8]) -> u64 {
    // Two at one go cost half of one in two pieces.
    xxh3_64_with_seed(&bytes[..CHECKSUM], xxh3_64(&bytes[HEADER..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(payload: &[u8]) -> Envelope<'_> {
        Envelope {
            kind: Kind::Value,
            codec: 1,
            schema: 3,
            compressed: true,
            created: UnixMillis(10),
            fresh_until: None,
            generation: 99,
            etag: Some("v1"),
            payload,
        }
    }

    proptest! {
        /// What was sealed opens unchanged.
        #[test]
        fn what_was_sealed_opens_unchanged(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let sealed = sample(&payload).seal().unwrap();
            prop_assert_eq!(Envelope::open(&sealed).unwrap(), sample(&payload));
            prop_assert_eq!(generation_bytes(&sealed), 99u64.to_be_bytes());
        }

        /// Any flipped bit and any cut is noticed.
        #[test]
        fn damage_is_noticed(bit in 0usize..8 * 60, cut in 0usize..60) {
            let sealed = sample(b"0123456789").seal().unwrap();
            let mut flipped = sealed.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Envelope::open(&flipped).is_err());
            prop_assert!(Envelope::open(&sealed[..cut]).is_err());
        }

        /// Hostile bytes never panic.
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = b"LC\x02".to_vec();
            framed.extend(&bytes);
            prop_assert!(Envelope::open(&bytes).is_err());
            prop_assert!(Envelope::open(&framed).is_err());
            prop_assert!(generation_bytes(&bytes).len() <= 8);
        }
    }
}
