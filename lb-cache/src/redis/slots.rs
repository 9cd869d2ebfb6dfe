//! Which slot holds a key, and which shard holds the slot.
//!
//! A shard is a primary with its replicas: they fail together, and keep their
//! slots through a failover. Shards are numbered by their first slot, so the
//! numbers stay the same when another node takes over.

/// At most so many shards have a breaker of their own.
pub(super) const DOMAINS: usize = 64;
const SLOTS: usize = 16_384;

/// The shard of every slot.
#[derive(Debug, Default)]
pub(super) struct Shards(Vec<u16>);

impl Shards {
    /// Reads the answer to CLUSTER NODES.
    pub(super) fn of(nodes: &str) -> Self {
        let mut owned: Vec<Vec<(usize, usize)>> = nodes
            .lines()
            .map(ranges)
            .filter(|ranges| !ranges.is_empty())
            .collect();
        owned.sort();
        let mut shards = vec![0; SLOTS];
        for (index, ranges) in (0u16..).zip(&owned) {
            for (first, last) in ranges {
                shards[*first..=*last].fill(index);
            }
        }
        Self(shards)
    }

    pub(super) fn are_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// The shard and the slot of a key of ours: its empty braces make Redis hash
    /// all of it. As long as nothing is known, every slot is a shard.
    pub(super) fn place(&self, key: &[u8]) -> (usize, u16) {
        let slot = slot(key);
        let shard = self.0.get(slot).copied().map_or(slot, usize::from);
        (shard, slot as u16)
    }
}

/// `true` while a node that the others call dead owns slots: nobody has taken over yet.
pub(super) fn owned_by_the_dead(nodes: &str) -> bool {
    let dead = |line: &str| {
        line.split(' ')
            .nth(2)
            .is_some_and(|flags| flags.split(',').any(|flag| flag == "fail"))
    };
    nodes
        .lines()
        .any(|line| dead(line) && !ranges(line).is_empty())
}

/// The slots of one line of CLUSTER NODES; slots on their way are not counted.
fn ranges(line: &str) -> Vec<(usize, usize)> {
    let range = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last < SLOTS).then_some((first, last))
    };
    line.split(' ').skip(8).filter_map(range).collect()
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

    const BEFORE: &str = "b 127.0.0.1:7101@17101 master - 0 0 2 connected 5461-10922\n\
        a 127.0.0.1:7100@17100 myself,master - 0 0 1 connected 0-5459 5460\n\
        c 127.0.0.1:7102@17102 master - 0 0 3 connected 10923-16383 [42->-d]\n\
        d 127.0.0.1:7103@17103 slave a 0 0 1 connected\n";

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot(b"foo"), 12_182);
    }

    #[test]
    fn shards_keep_their_number_through_a_failover() {
        let after = BEFORE.replace(
            "master - 0 0 1 connected 0-5459 5460",
            "master,fail - 0 0 1 connected",
        );
        let after = after.replace("slave a 0 0 1 connected", "master - 0 0 4 connected 0-5460");
        let (before, after) = (Shards::of(BEFORE), Shards::of(&after));
        assert_eq!(before.0, after.0);
        assert_eq!(
            (before.0[5_460], before.0[5_461], before.place(b"foo").0),
            (0, 1, 2)
        );
    }

    #[test]
    fn slots_of_a_dead_node_wait_for_a_successor() {
        let dead = BEFORE.replace(
            "myself,master - 0 0 1 connected",
            "master,fail - 0 0 1 disconnected",
        );
        assert!(owned_by_the_dead(&dead) && !owned_by_the_dead(BEFORE));
    }

    #[test]
    fn nonsense_is_one_shard() {
        assert_eq!(
            Shards::of("a b c\n1 2 3 4 5 6 7 8 99999-5 7-").place(b"foo"),
            (0, 12_182)
        );
        assert_eq!(Shards::default().place(b"foo"), (12_182, 12_182));
    }
}
