//! `Via`: who has forwarded a request, and that it goes in a circle (RFC 9110, 7.6.3).

use http::header::{self, HeaderValue};
use http::{Version, request};

use super::names::tokens;
use crate::ConfigError;
use crate::proxy::ProxyError;

/// The name with which a proxy signs the requests that it forwards.
///
/// A request that bears the name already has come round in a circle, and is answered with 508
/// ([`ProxyError::LoopDetected`]). So the name has to be one that no other proxy on the way uses; the
/// clones and replicas of one proxy share it. It tells endpoints nothing but itself, the version
/// in which the request came here, and the order of the proxies before.
///
/// ```
/// use lb_core::{Pool, proxy::Via};
///
/// let pool = Pool::builder("app").endpoints(["http://10.0.0.1:8000"]).build()?;
/// let proxy = pool.reverse_proxy().via(Via::new("edge")?);
/// assert!(Via::new("no spaces, please").is_err());
/// # Ok::<(), lb_core::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Via {
    /// What is written for requests in HTTP/1.0, HTTP/1.1 and HTTP/2.
    signatures: [HeaderValue; 3],
}

/// A name is as long as that, at most.
const LONGEST: usize = 64;
/// Bytes of a signature before the name.
const VERSION: usize = "1.1 ".len();

impl Via {
    /// Signs with this name: a host name, or a pseudonym of your choice.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] unless the name has 1 to 64 letters, digits, dots, hyphens and
    /// underscores.
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        let wrong = ConfigError::Range {
            what: "the name in Via",
            must: "1 to 64 letters, digits, dots, hyphens and underscores",
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if name.is_empty() || name.len() > LONGEST || !name.bytes().all(is_plain) {
            return Err(wrong);
        }
        let sign = |version| HeaderValue::try_from(format!("{version} {name}"));
        match (sign("1.0"), sign("1.1"), sign("2.0")) {
            (Ok(old), Ok(usual), Ok(new)) => Ok(Self {
                signatures: [old, usual, new],
            }),
            _ => Err(wrong),
        }
    }

    /// Adds the signature behind those of the proxies before, unless it is there already.
    pub(crate) fn sign(&self, head: &mut request::Parts) -> Result<(), ProxyError> {
        let mut values = head.headers.get_all(header::VIA).iter();
        if values.any(|value| self.has_signed(value.as_bytes())) {
            return Err(ProxyError::LoopDetected);
        }
        let [old, usual, new] = &self.signatures;
        let signature = match head.version {
            Version::HTTP_10 => old,
            Version::HTTP_2 => new,
            _ => usual,
        };
        head.headers.append(header::VIA, signature.clone());
        Ok(())
    }

    /// A member is a version, a name, and perhaps a comment. What follows a comma in a comment
    /// is read as one more member: at worst somebody's comment is taken for a circle.
    fn has_signed(&self, value: &[u8]) -> bool {
        let name = &self.signatures[0].as_bytes()[VERSION..];
        tokens(value).any(|member| {
            let words = member.split(u8::is_ascii_whitespace);
            let second = words.skip(1).find(|word| !word.is_empty());
            second.is_some_and(|word| word.eq_ignore_ascii_case(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn signed(version: Version, before: &[&str]) -> Result<Vec<String>, ProxyError> {
        let mut request = Request::get("/").version(version);
        for value in before {
            request = request.header("via", *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        Via::new("edge").unwrap().sign(&mut head)?;
        let values = head.headers.get_all("via").iter();
        Ok(values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect())
    }

    #[test]
    fn a_proxy_signs_behind_those_before_it_and_names_the_version_it_was_spoken_to() {
        let [http10, http11, http2] = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
        assert_eq!(signed(http10, &[]).unwrap(), ["1.0 edge"]);
        assert_eq!(signed(http2, &[]).unwrap(), ["2.0 edge"]);
        let before = ["1.0 fred, 1.1 p.example.net (edge, 1.1 edges)"];
        assert_eq!(signed(http11, &before).unwrap(), [before[0], "1.1 edge"]);
    }

    #[test]
    fn its_own_name_among_those_before_is_a_circle() {
        for before in [
            "1.1 edge",
            "HTTP/1.1 edge",
            "1.0 fred,1.1 EDGE",
            "1.1  edge (of the world)",
            "1.1\tedge , 2.0 other",
        ] {
            let circle = Err(ProxyError::LoopDetected);
            assert_eq!(signed(Version::HTTP_11, &["1.0 a", before]), circle);
        }
    }

    #[test]
    fn another_name_is_none() {
        for before in [
            "",
            ",",
            "edge",
            "1.1 edge2",
            "1.1 other (edge)",
            "1.1 other edge",
        ] {
            assert!(signed(Version::HTTP_11, &[before]).is_ok(), "{before}");
        }
    }

    #[test]
    fn a_name_is_plain_and_short() {
        let long = "a".repeat(LONGEST + 1);
        for name in ["", "a b", "a,b", "a(b)", "a:80", "é", "a\r\n", &long] {
            assert!(Via::new(name).is_err(), "{name:?}");
        }
        assert!(Via::new(&long[1..]).is_ok());
    }
}
