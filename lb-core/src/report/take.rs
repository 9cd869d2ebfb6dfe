//! Taking a report out of an answer on its way to the client.

use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{HEADER, LoadReport, ReportError, lent, refused};
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
    /// it, the client never sees it. A report that comes in the same words within 100 ms is
    /// the same report and is not read again; the time counts to the beginning of this
    /// request unless it is timed anyway. So the clock is read for news only.
    ///
    /// Record the outcome first: work that this answer accepted is in its report.
    pub fn take_report(&self, fields: &mut HeaderMap, clock: impl FnOnce() -> Instant) {
        // Looking through the few names of an answer costs less than two look-ups.
        let (mut text, mut binary) = (false, false);
        for name in fields.keys() {
            text |= *name == HEADER;
            binary |= *name == BINARY;
        }
        if text {
            self.take_words(fields, clock);
        }
        if binary {
            fields.remove(&BINARY);
        }
    }

    #[inline(never)]
    fn take_words(&self, fields: &mut HeaderMap, clock: impl FnOnce() -> Instant) {
        let before = fields.len();
        let Some(words) = fields.remove(&HEADER) else {
            return;
        };
        let alone = before - fields.len() == 1;
        let reader = std::ptr::from_ref(self.endpoint().stats()).addr();
        if alone && lent::is_known(&words, reader) {
            return lent::give_back(words, reader);
        }
        match self.learn_words(&words, alone, clock) {
            Ok(()) => lent::give_back(words, reader),
            Err(why) => refused(self.endpoint().id(), why),
        }
    }

    fn learn_words(
        &self,
        words: &HeaderValue,
        alone: bool,
        clock: impl FnOnce() -> Instant,
    ) -> Result<(), ReportError> {
        let words = words.as_bytes();
        let read = || {
            if alone {
                LoadReport::parse(words)
            } else {
                Err(ReportError::Form)
            }
        };
        let stats = self.endpoint().stats();
        if let Some(started) = self.untimed_since() {
            return stats.report_words(words, started, clock, read);
        }
        let now = clock();
        stats.report_words(words, now, || now, read)
    }
}
