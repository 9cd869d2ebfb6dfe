//! What each thread remembers of opened tokens: the same as [`Known`], without its locks.

use std::cell::RefCell;

use super::known::{Entry, Key, Known};
use super::token::Binding;

/// Tokens per thread; each takes about 200 bytes.
const SLOTS: usize = 512;

/// A token, and the number of those it belongs to.
type Slot = Option<(u64, Entry<Binding>)>;

thread_local! {
    /// Empty before the first.
    static NEAR: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// What `read` makes of what this thread remembers of `key` among those of `known`.
#[inline]
pub(super) fn read<R>(
    known: &Known<Binding>,
    key: Key<'_>,
    read: impl FnOnce(&Binding) -> Option<R>,
) -> Option<R> {
    let find = |near: &RefCell<Vec<Slot>>| {
        let near = near.try_borrow().ok()?;
        let (of, entry) = near.get(key.hash as usize % SLOTS)?.as_ref()?;
        let own = (*of == known.number()).then_some(entry)?;
        read(own.get(key)?)
    };
    // Nothing while the thread ends.
    NEAR.try_with(find).ok().flatten()
}

/// What this thread remembers of `key` among those of `known`.
pub(super) fn get(known: &Known<Binding>, key: Key<'_>) -> Option<Binding> {
    read(known, key, |binding| Some(binding.clone()))
}

/// Remembers it; what it replaces is found elsewhere, or worked out again.
#[cold]
pub(super) fn put(known: &Known<Binding>, key: Key<'_>, binding: Binding) {
    let entry = Entry::new(key, binding);
    let put = |near: &RefCell<Vec<Slot>>| {
        let mut near = near.try_borrow_mut().ok()?;
        if near.is_empty() {
            near.resize_with(SLOTS, || None);
        }
        let slot = near.get_mut(key.hash as usize % SLOTS)?;
        slot.replace((known.number(), entry))
    };
    drop(NEAR.try_with(put));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_ring_opened_is_no_token_of_another() {
        let (ring, other) = (Known::new(1), Known::new(1));
        let binding = Binding {
            id: "sim-1".into(),
            incarnation: 7,
            expires_minute: 1,
            former_key: false,
        };
        let key = ring.key(b"a token").unwrap();
        assert_eq!(get(&ring, key), None);
        put(&ring, key, binding.clone());
        assert_eq!(get(&ring, key), Some(binding));
        // Even if its hash were the same.
        assert_eq!(get(&other, key), None);
        assert_eq!(get(&ring, ring.key(b"a token too").unwrap()), None);
    }
}
