//! What opens says the same when it is sealed again; what was damaged or cut does not open.

use lb_cache::envelope::{Envelope, generation_bytes};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub fn run(data: &[u8]) {
    let _never_panics = Envelope::open(data);
    assert!(generation_bytes(data).len() <= 8);
    let mut stored = data.to_vec();
    repair(&mut stored);
    let Ok(envelope) = Envelope::open(&stored) else {
        return;
    };
    let sealed = envelope.seal().expect("lengths that were read");
    let again = Envelope::open(&sealed).expect("our own words");
    assert_eq!(again, envelope);
    assert_eq!(
        generation_bytes(&sealed),
        envelope.generation.to_be_bytes().as_slice()
    );
    let bit = envelope.generation as usize % (sealed.len() * 8);
    let mut damaged = sealed.to_vec();
    damaged[bit / 8] ^= 1 << (bit % 8);
    assert!(Envelope::open(&damaged).is_err(), "bit {bit}");
    assert!(Envelope::open(&sealed[..bit / 8]).is_err(), "cut");
}

/// Puts the right checksum, which a fuzzer would not guess.
fn repair(stored: &mut [u8]) {
    if let Some((header, body)) = stored.split_at_mut_checked(48) {
        let checksum = xxh3_64_with_seed(&header[..40], xxh3_64(body));
        header[40..].copy_from_slice(&checksum.to_be_bytes());
    }
}
