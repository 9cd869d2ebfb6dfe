//! What splits and mirrors count.

use metrics::{Counter, counter, describe_counter};

const REQUESTS: &str = "lb_split_requests_total";
const MIRRORED: &str = "lb_mirror_requests_total";

/// Registers the help texts.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests of a split, by arm");
    describe_counter!(
        MIRRORED,
        "Requests chosen for a mirror, by what became of the copy"
    );
}

pub(super) fn arm(split: &str, arm: &str) -> Counter {
    counter!(REQUESTS, "split" => split.to_owned(), "arm" => arm.to_owned())
}

pub(super) fn mirrored(end: &'static str) {
    counter!(MIRRORED, "end" => end).increment(1);
}
