//! The engine of a cache without a local tier: it forgets everything.

use std::marker::PhantomData;

use super::Entry;

#[derive(Debug)]
pub(crate) struct None<K, V>(PhantomData<fn(K, V)>);

impl<K, V> Default for None<K, V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K, V> None<K, V> {
    pub(crate) fn get(&self, _key: &K) -> Option<Entry<V>> {
        Option::None
    }

    pub(crate) fn insert(&self, _key: K, _entry: Entry<V>) {}

    pub(crate) fn remove(&self, _key: &K) {}

    pub(crate) fn clear(&self) {}

    pub(crate) fn size(&self) -> (u64, u64) {
        (0, 0)
    }

    pub(crate) fn keys_where(&self, _dead: impl Fn(&Entry<V>) -> bool) -> Vec<K> {
        Vec::new()
    }
}
