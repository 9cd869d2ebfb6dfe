//! The metrics of load reports.

use metrics::{counter, describe_counter};

use super::ReportError;
use crate::endpoint::EndpointId;

const REFUSED: &str = "lb_reports_refused_total";

/// Registers the help texts.
pub(crate) fn describe() {
    describe_counter!(REFUSED, "Load reports of endpoints that were not believed");
}

/// Rare enough to look the counter up.
#[cold]
pub(crate) fn refused(endpoint: &EndpointId, why: ReportError) {
    counter!(REFUSED).increment(1);
    tracing::debug!(%endpoint, %why, "a load report is not believed");
}
