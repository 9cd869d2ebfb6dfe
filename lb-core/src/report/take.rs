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

impl Lease {
    /// Takes the load report out of an answer's head: the endpoint's statistics learn from
    /// it, the client never sees it. The clock is read only if there is one. A report that
    /// comes in the same words within 100 ms is the same report and is not read again.
    ///
    /// Record the outcome first: work that this answer accepted is in its report.
    pub fn take_report(&self, fields: &mut HeaderMap, clock: impl FnOnce() -> Instant) {
        if let Some(words) = fields.get(&HEADER) {
            let read = || LoadReport::from_headers(fields).map(Option::unwrap_or_default);
            let stats = self.endpoint().stats();
            if let Err(why) = stats.report_words(words, clock(), read) {
                refused(self.endpoint().id(), why);
            }
            fields.remove(&HEADER);
        }
        if fields.contains_key(&BINARY) {
            fields.remove(&BINARY);
        }
    }
}
