//! `Max-Forwards`: an `OPTIONS` that may go only so far (RFC 9110, 7.6.2).
//!
//! Who looks for the proxy that changes his requests asks each of them in turn: the one that
//! finds a zero answers by itself. `TRACE` could ask so, too, and is refused before.

use http::header::{self, HeaderValue};
use http::{Method, request};

use super::host;
use crate::proxy::ProxyError;

/// Counts this hop, if the request is of those that are counted.
#[inline]
pub(crate) fn count(head: &mut request::Parts) -> Result<(), ProxyError> {
    if head.method == Method::OPTIONS {
        count_down(head)
    } else {
        Ok(())
    }
}

#[cold]
fn count_down(head: &mut request::Parts) -> Result<(), ProxyError> {
    let mut values = head.headers.get_all(header::MAX_FORWARDS).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    let alone = values.next().is_none();
    let hops = hops(value.as_bytes()).filter(|_| alone);
    let hops = hops.ok_or(ProxyError::InvalidMaxForwards)?;
    let Some(left) = hops.checked_sub(1) else {
        // Not even the last recipient answers a request without a host.
        host::authority(&head.uri, &head.headers)?;
        return Err(ProxyError::LastHop);
    };
    let left = HeaderValue::from(left);
    head.headers.insert(header::MAX_FORWARDS, left);
    Ok(())
}

/// Digits only. What is more than is counted here becomes the most (RFC 9110, 7.6.2).
fn hops(value: &[u8]) -> Option<u32> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let add = |sum: u32, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    };
    digits.then(|| value.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    /// What is left of these fields, or why the request goes no further.
    fn counted(method: Method, fields: &[&str]) -> Result<Vec<String>, ProxyError> {
        let mut request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "h");
        for value in fields {
            request = request.header("max-forwards", *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        count(&mut head)?;
        let values = head.headers.get_all("max-forwards").iter();
        Ok(values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect())
    }

    #[test]
    fn each_hop_leaves_one_less_and_none_after_zero() {
        let counted = |fields: &[&str]| counted(Method::OPTIONS, fields);
        assert_eq!(counted(&[]), Ok(vec![]));
        assert_eq!(counted(&["10"]), Ok(vec!["9".into()]));
        assert_eq!(counted(&["01"]), Ok(vec!["0".into()]));
        assert_eq!(
            counted(&["99999999999999999999"]),
            Ok(vec!["4294967294".into()])
        );
        for zero in ["0", "000"] {
            assert_eq!(counted(&[zero]), Err(ProxyError::LastHop));
        }
        for wrong in ["", "-1", "+1", "1 2", "1,2", "0x1", "one"] {
            assert_eq!(counted(&[wrong]), Err(ProxyError::InvalidMaxForwards));
        }
        assert_eq!(counted(&["1", "1"]), Err(ProxyError::InvalidMaxForwards));
    }

    #[test]
    fn other_methods_are_not_counted() {
        for method in [Method::GET, Method::POST, Method::HEAD] {
            assert_eq!(counted(method, &["0", "x"]).unwrap().len(), 2);
        }
    }

    #[test]
    fn nobody_is_the_last_hop_of_a_request_without_a_host() {
        let request = Request::options("/").header("max-forwards", "0");
        let mut head = request.body(()).unwrap().into_parts().0;
        assert_eq!(count(&mut head), Err(ProxyError::InvalidHost));
    }

    proptest! {
        #[test]
        fn a_number_that_fits_is_counted_exactly(hops: u32) {
            let wanted = hops.checked_sub(1).ok_or(ProxyError::LastHop);
            let wanted = wanted.map(|left| vec![left.to_string()]);
            prop_assert_eq!(counted(Method::OPTIONS, &[&hops.to_string()]), wanted);
        }
    }
}
