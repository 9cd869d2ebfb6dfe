//! The random numbers of one chunk of a run.
//!
//! Every chunk of iterations has a stream of its own, seeded by the run's seed
//! and the chunk's number. Who computes a chunk, and when, therefore cannot
//! change the numbers in it: this is what makes a run repeatable on any number
//! of threads.
//!
//! The generator is xoshiro256++ (Blackman and Vigna, "Scrambled linear
//! pseudorandom number generators", 2018), seeded through SplitMix64 as its
//! authors advise. It is fast and statistically sound; it is not for secrets.
//!
//! ```
//! use montecarlo::rng::Stream;
//!
//! let (mut a, mut b) = (Stream::new(7, 0), Stream::new(7, 0));
//! assert_eq!(a.unit(), b.unit());
//! assert_ne!(Stream::new(7, 0).unit(), Stream::new(7, 1).unit());
//! ```

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    state: [u64; 4],
}

impl Stream {
    /// The stream numbered `index` of the family `seed`.
    #[must_use]
    pub fn new(seed: u64, index: u64) -> Self {
        // Both words are scrambled before they meet, so that neighbouring seeds
        // and neighbouring chunks share nothing.
        let mut family = seed;
        let mut member = index ^ 0x6a09_e667_f3bc_c909;
        let mut mixed = split_mix(&mut family) ^ split_mix(&mut member).rotate_left(32);
        Self {
            state: std::array::from_fn(|_| split_mix(&mut mixed)),
        }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in the open interval from 0 to 1: never 0, never 1, because a
    /// quantile function is infinite there.
    pub fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 12) as f64 + 0.5) * (1.0 / (1_u64 << 52) as f64)
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_first_numbers() {
        // Reference: xoshiro256plusplus.c by its authors with state 1, 2, 3, 4.
        let mut stream = Stream {
            state: [1, 2, 3, 4],
        };
        let first: Vec<u64> = (0..3).map(|_| stream.next_u64()).collect();
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223]);
    }

    #[test]
    fn unit_numbers_fill_the_interval_evenly_and_never_touch_its_ends() {
        let mut stream = Stream::new(1, 2);
        let mut deciles = [0_u32; 10];
        for _ in 0..100_000 {
            let u = stream.unit();
            assert!(u > 0.0 && u < 1.0);
            deciles[(u * 10.0) as usize] += 1;
        }
        // 10 000 expected; six standard deviations are 569.
        assert!(
            deciles.iter().all(|n| n.abs_diff(10_000) < 569),
            "{deciles:?}"
        );
    }
}
