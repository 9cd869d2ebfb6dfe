//! Which slot holds a key, and which of the sixteen ranges the slot is in.

/// Fault domains of a cluster.
pub(super) const DOMAINS: usize = 16;
const SLOTS: usize = 16_384;

/// The range of slots that holds a key of ours: its empty braces make Redis hash all of it.
pub(super) fn domain(key: &[u8]) -> usize {
    slot(key) * DOMAINS / SLOTS
}

/// CRC16-XMODEM modulo 16,384, as the Redis Cluster specification says.
fn slot(key: &[u8]) -> usize {
    let crc = key.iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    });
    usize::from(crc) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot(b"foo"), 12_182);
        assert!(domain(b"foo") < DOMAINS);
    }
}
