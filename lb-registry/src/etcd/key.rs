//! What is kept under which key.

use crate::catalog::Unit;

/// A key, without the prefix that all have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Part of the catalog.
    Unit(Unit),
    /// Is there, bound to a lease, while somebody reports to this TTL check.
    Alive(String),
    /// Names the leader, bound to its lease.
    Leader,
    /// Is written to see the write come back, and with it everything that came before.
    Barrier,
}

impl Key {
    pub(super) fn text(&self, prefix: &str) -> String {
        match self {
            Self::Unit(Unit::Service(id)) => format!("{prefix}service/{id}"),
            Self::Unit(Unit::Agent) => format!("{prefix}agent"),
            Self::Unit(Unit::Key(key)) => format!("{prefix}key/{key}"),
            Self::Alive(check) => format!("{prefix}alive/{check}"),
            Self::Leader => format!("{prefix}leader"),
            Self::Barrier => format!("{prefix}barrier"),
        }
    }

    /// `None` for what is not ours.
    pub(super) fn parse(prefix: &str, text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_prefix(prefix)?;
        match text.split_once('/') {
            Some(("service", id)) => Some(Self::Unit(Unit::Service(id.into()))),
            Some(("key", key)) => Some(Self::Unit(Unit::Key(key.into()))),
            Some(("alive", check)) => Some(Self::Alive(check.into())),
            None if text == "agent" => Some(Self::Unit(Unit::Agent)),
            None if text == "leader" => Some(Self::Leader),
            None if text == "barrier" => Some(Self::Barrier),
            _ => None,
        }
    }
}

/// The first key after all those with this prefix.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // etcd's "to the very end".
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_whatever_is_in_a_name() {
        for key in [
            Key::Unit(Unit::Service("a/b é".into())),
            Key::Unit(Unit::Agent),
            Key::Unit(Unit::Key("x/y/".into())),
            Key::Alive("service:a/b:ttl".into()),
            Key::Leader,
            Key::Barrier,
        ] {
            let text = key.text("/p/");
            assert_eq!(Key::parse("/p/", text.as_bytes()), Some(key));
        }
        assert_eq!(Key::parse("/p/", b"/p/other"), None);
        assert_eq!(Key::parse("/p/", b"/q/agent"), None);
    }

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(end_of("/p/"), b"/p0");
        assert_eq!(end_of(""), [0]);
    }
}
