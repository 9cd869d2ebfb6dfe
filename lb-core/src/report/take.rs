//! Taking a report out of an answer on its way to the client.

use std::time::Instant;

use http::{HeaderMap, HeaderName};

use super::{HEADER, LoadReport, refused};
use crate::pool::Lease;

/// The binary form, which is not read but must not reach clients either.
const BINARY: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");

/// This field is a report, in whichever form.
#[cfg(feature = "proxy")]
pub(crate) fn is_report(name: &HeaderName) -> bool {
    *name == HEADER || *name == BINARY
}

/// Feeds the endpoint's statistics; clients never see the report.
#[cfg(feature = "proxy")]
pub(crate) fn take_report(lease: &Lease, fields: &mut HeaderMap, now: Instant) {
    take_report_with(lease, fields, || now);
}

/// The same; reads the clock only if there is a report.
pub(crate) fn take_report_with(
    lease: &Lease,
    fields: &mut HeaderMap,
    clock: impl FnOnce() -> Instant,
) {
    if let Some(words) = fields.get(&HEADER) {
        let read = || LoadReport::from_headers(fields).map(Option::unwrap_or_default);
        let stats = lease.endpoint().stats();
        if let Err(why) = stats.report_words(words, clock(), read) {
            refused(lease.endpoint().id(), why);
        }
        fields.remove(&HEADER);
    }
    if fields.contains_key(&BINARY) {
        fields.remove(&BINARY);
    }
}
