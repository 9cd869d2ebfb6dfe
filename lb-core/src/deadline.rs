//! Deadlines that travel with a request, hop by hop.
//!
//! A client that waits two seconds has no use for an answer after three. So it says how
//! long it waits, each hop waits no longer than that, and tells the next hop what is left.
//! Two forms are in use, both relative, so that clocks need not agree:
//!
//! | form | header | value |
//! |---|---|---|
//! | [`DeadlineHeader::grpc`] | `grpc-timeout` | up to 8 digits and a unit (`H M S m u n`), as gRPC |
//! | [`DeadlineHeader::millis`] | a name of yours | milliseconds, as Envoy's `x-envoy-expected-rq-timeout-ms` |
//!
//! The proxy believes the header from [trusted proxies](crate::client::TrustedProxies)
//! only and takes it away from others: an endpoint may then rely on it. A deadline
//! shortens the proxy's own total, it never extends it, and an endpoint is not charged
//! for a deadline that was too short. What is left is written anew for each attempt.
//!
//! ```
//! use std::time::Duration;
//! use lb_core::deadline::DeadlineHeader;
//!
//! let header = DeadlineHeader::grpc();
//! assert_eq!(header.read(b"1500m"), Some(Duration::from_millis(1500)));
//! assert_eq!(header.read(b"2S"), Some(Duration::from_secs(2)));
//! assert_eq!(header.read(b"soon"), None);
//! ```

use std::time::Duration;

use http::HeaderName;

/// Where a deadline is read and written; see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineHeader {
    name: HeaderName,
    form: Form,
    anyone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Millis,
    Grpc,
}

/// Digits that are written; longer deadlines (27 hours) are none.
const DIGITS: usize = 8;

impl DeadlineHeader {
    /// `grpc-timeout`.
    #[must_use]
    pub fn grpc() -> Self {
        Self {
            name: HeaderName::from_static("grpc-timeout"),
            form: Form::Grpc,
            anyone: false,
        }
    }

    /// Whole milliseconds in a header of this name.
    #[must_use]
    pub fn millis(name: HeaderName) -> Self {
        Self {
            name,
            form: Form::Millis,
            anyone: false,
        }
    }

    /// Believes every client, not only trusted proxies: at worst a client shortens its
    /// own requests. Default: trusted proxies only.
    #[must_use]
    pub fn from_anyone(mut self) -> Self {
        self.anyone = true;
        self
    }

    /// The header's name.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// What a value says; `None` for anything malformed.
    #[must_use]
    pub fn read(&self, value: &[u8]) -> Option<Duration> {
        let (digits, unit) = match self.form {
            Form::Millis => (value, b'm'),
            Form::Grpc => {
                let (unit, digits) = value.split_last()?;
                (digits, *unit)
            }
        };
        let valid = (1..=DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        let number = valid.then(|| {
            let fold = |all: u64, digit: &u8| all * 10 + u64::from(digit - b'0');
            digits.iter().fold(0, fold)
        })?;
        match unit {
            b'H' => Some(Duration::from_secs(number * 3600)),
            b'M' => Some(Duration::from_secs(number * 60)),
            b'S' => Some(Duration::from_secs(number)),
            b'm' => Some(Duration::from_millis(number)),
            b'u' => Some(Duration::from_micros(number)),
            b'n' => Some(Duration::from_nanos(number)),
            _ => None,
        }
    }

    /// Believes this header from a peer that is, or is not, trusted.
    #[cfg(feature = "proxy")]
    pub(crate) fn believes(&self, trusted: bool) -> bool {
        self.anyone || trusted
    }

    /// The digits of a value, always as many, so that they can be written over.
    #[cfg(feature = "proxy")]
    pub(crate) fn digits(left: Duration) -> [u8; DIGITS] {
        let mut millis = left.as_millis().min(99_999_999) as u32;
        let mut digits = [b'0'; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (millis % 10) as u8;
            millis /= 10;
        }
        digits
    }

    /// What follows the digits.
    #[cfg(feature = "proxy")]
    pub(crate) fn unit(&self) -> &'static [u8] {
        match self.form {
            Form::Millis => b"",
            Form::Grpc => b"m",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_malformed_is_no_deadline() {
        for value in [
            "",
            "m",
            "S",
            "-1S",
            "+1S",
            "1.5S",
            "123456789m",
            "1 S",
            "1s",
        ] {
            assert_eq!(
                DeadlineHeader::grpc().read(value.as_bytes()),
                None,
                "{value}"
            );
        }
        let millis = DeadlineHeader::millis(HeaderName::from_static("x-timeout-ms"));
        assert_eq!(millis.read(b"250"), Some(Duration::from_millis(250)));
        assert_eq!(millis.read(b"250m"), None);
    }

    #[cfg(feature = "proxy")]
    proptest::proptest! {
        /// What one hop writes the next one reads, to the millisecond.
        #[test]
        fn what_is_written_is_read_again(millis in 0_u64..100_000_000) {
            let left = Duration::from_millis(millis);
            for header in [
                DeadlineHeader::grpc(),
                DeadlineHeader::millis(HeaderName::from_static("x-timeout-ms")),
            ] {
                let value = [&DeadlineHeader::digits(left)[..], header.unit()].concat();
                proptest::prop_assert_eq!(header.read(&value), Some(left));
            }
        }
    }
}
