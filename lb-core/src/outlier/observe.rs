//! What outlier detection counts.

use metrics::{counter, describe_counter};

use super::Reason;

/// Endpoints ejected, by pool and reason.
const EJECTIONS: &str = "lb_outlier_ejections_total";
/// Ejections that the share did not allow, by pool.
const REFUSED: &str = "lb_outlier_ejections_refused_total";
/// Endpoints let back, by pool.
const RETURNS: &str = "lb_outlier_returns_total";

pub(crate) fn describe() {
    describe_counter!(EJECTIONS, "Endpoints ejected, by reason");
    describe_counter!(REFUSED, "Looks at an outlier that had to stay in");
    describe_counter!(RETURNS, "Ejected endpoints that were let back");
}

pub(super) fn ejected(pool: &str, reason: Reason) {
    counter!(EJECTIONS, "pool" => pool.to_owned(), "reason" => reason.code()).increment(1);
}

pub(super) fn refused(pool: &str) {
    counter!(REFUSED, "pool" => pool.to_owned()).increment(1);
}

pub(super) fn returned(pool: &str) {
    counter!(RETURNS, "pool" => pool.to_owned()).increment(1);
}
