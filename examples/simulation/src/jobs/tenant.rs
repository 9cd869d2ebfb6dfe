//! On whose behalf a job runs.

use std::fmt;
use std::sync::Arc;

/// A tenant's name: 1 to 64 letters, digits, `-`, `_` and `.`. Cheap to clone. Who gives none is
/// `anonymous`, and shares that name with everybody else who gives none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// Reads a name; `None` if it is not one.
    ///
    /// ```
    /// use simulation::jobs::Tenant;
    ///
    /// assert_eq!(Tenant::parse("research").unwrap().as_str(), "research");
    /// assert_eq!(Tenant::parse("re search"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self("anonymous".into())
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
