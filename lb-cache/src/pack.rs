//! Compression of payloads; without the feature `compress` a compressed payload is unreadable.

use std::borrow::Cow;

/// Compresses what is larger than `above`. `true` if it is compressed now.
#[cfg(feature = "compress")]
pub(crate) fn pack(payload: Vec<u8>, above: Option<usize>) -> (Vec<u8>, bool) {
    if above.is_none_or(|above| payload.len() <= above) {
        return (payload, false);
    }
    let packed = lz4_flex::compress_prepend_size(&payload);
    if packed.len() < payload.len() {
        (packed, true)
    } else {
        (payload, false)
    }
}

#[cfg(not(feature = "compress"))]
pub(crate) fn pack(payload: Vec<u8>, _above: Option<usize>) -> (Vec<u8>, bool) {
    (payload, false)
}

/// The payload as it was; `None` if it is damaged, or would be larger than `most`.
#[cfg(feature = "compress")]
pub(crate) fn unpack(payload: &[u8], compressed: bool, most: usize) -> Option<Cow<'_, [u8]>> {
    if !compressed {
        return Some(Cow::Borrowed(payload));
    }
    let size = u32::from_le_bytes(*payload.first_chunk()?) as usize;
    if size > most {
        return None;
    }
    lz4_flex::decompress_size_prepended(payload)
        .ok()
        .map(Cow::Owned)
}

#[cfg(not(feature = "compress"))]
pub(crate) fn unpack(payload: &[u8], compressed: bool, _most: usize) -> Option<Cow<'_, [u8]>> {
    (!compressed).then_some(Cow::Borrowed(payload))
}

#[cfg(all(test, feature = "compress"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Packing and unpacking changes nothing.
        #[test]
        fn what_was_packed_unpacks_unchanged(payload in proptest::collection::vec(0u8..3, 0..500), above in proptest::option::of(0usize..200)) {
            let (packed, compressed) = pack(payload.clone(), above);
            prop_assert!(packed.len() <= payload.len());
            prop_assert_eq!(unpack(&packed, compressed, 1_000).unwrap().into_owned(), payload);
        }

        /// Hostile bytes never panic and never take more memory than allowed.
        #[test]
        fn hostile_bytes_stay_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(unpacked) = unpack(&bytes, true, 1_000) {
                prop_assert!(unpacked.len() <= 1_000);
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_unpacks() {
        let (bomb, compressed) = pack(vec![0; 1 << 20], Some(0));
        assert!(compressed && bomb.len() < 10_000);
        assert!(unpack(&bomb, true, 1_000).is_none());
    }
}
