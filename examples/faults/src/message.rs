//! What client and origin agree on, so that a cut message is known as such.

/// Bytes of an ordinary answer.
pub(crate) const ANSWER_BYTES: usize = 4096;
/// Bytes of an ordinary upload.
pub(crate) const UPLOAD_BYTES: usize = 256;
/// The field that names a request on its whole way.
pub(crate) const ID: &str = "x-id";
/// The field in which an origin names itself.
pub(crate) const ORIGIN: &str = "x-origin";
/// The field that asks for another service time, in milliseconds.
pub(crate) const DELAY: &str = "x-delay-ms";
/// The field that asks for an answer of that many bytes.
pub(crate) const BYTES: &str = "x-bytes";
/// Where origins say whether they are well.
pub(crate) const READY: &str = "/ready";

/// The body that belongs to this request and to no other.
pub(crate) fn pattern(id: &str, bytes: usize) -> Vec<u8> {
    let line = format!("{id}\n").into_bytes();
    let mut body = line.repeat(bytes.div_ceil(line.len()));
    body.truncate(bytes);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_a_body_of_its_own() {
        assert_eq!(pattern("ab", 7), b"ab\nab\na");
        assert_ne!(pattern("a", 64), pattern("b", 64));
    }
}
