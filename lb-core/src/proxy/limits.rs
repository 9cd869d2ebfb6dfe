//! How much of a request is accepted.

/// What a request may measure at most. Larger ones are refused, not truncated.
///
/// ```
/// use lb_core::proxy::Limits;
///
/// let uploads = Limits::default().body_bytes(Some(50 << 20)).header_fields(64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) target_bytes: usize,
    pub(crate) header_fields: usize,
    pub(crate) header_bytes: usize,
    pub(crate) body_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_bytes: 8 << 10,
            header_fields: 128,
            header_bytes: 32 << 10,
            body_bytes: Some(16 << 30),
        }
    }
}

impl Limits {
    /// Bytes of path and query. Beyond: 414. Default: 8 KiB.
    #[must_use]
    pub fn target_bytes(mut self, bytes: usize) -> Self {
        self.target_bytes = bytes;
        self
    }

    /// Number of fields. Beyond: 431. Default: 128 (over HTTP/1.1 the server in
    /// front may stop earlier, hyper at 100).
    #[must_use]
    pub fn header_fields(mut self, count: usize) -> Self {
        self.header_fields = count;
        self
    }

    /// Bytes of all names and values. Beyond: 431. Default: 32 KiB.
    #[must_use]
    pub fn header_bytes(mut self, bytes: usize) -> Self {
        self.header_bytes = bytes;
        self
    }

    /// Bytes of the request body, which is streamed and never buffered. Beyond:
    /// 413. `None`: no limit. Default: 16 GiB.
    #[must_use]
    pub fn body_bytes(mut self, bytes: Option<u64>) -> Self {
        self.body_bytes = bytes;
        self
    }
}
