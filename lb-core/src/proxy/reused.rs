//! Boxes that the requests of a thread use one after the other.
//!
//! An allocator has a quick way for a handful of blocks of one size and a slow one for
//! more; as many requests as a busy thread has under way at once take the slow one.

use std::any::Any;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Boxes kept per thread, each as large as the state of one request.
const KEPT: usize = 64;

thread_local! {
    static BOXES: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// A value in a box that other values had before it.
pub(crate) struct Reused<T>(Box<Option<T>>);

// === impl Reused ===

impl<T: 'static> Reused<T> {
    /// Makes a value in a box that this thread has kept, or in a new one.
    #[inline]
    pub(crate) fn new(make: impl FnOnce() -> T) -> Self {
        let kept = BOXES.with_borrow_mut(Vec::pop);
        // One for another type is given up.
        let kept = kept.and_then(|kept| kept.downcast::<Option<T>>().ok());
        let mut place = kept.unwrap_or_default();
        place.get_or_insert_with(make);
        Self(place)
    }

    /// Drops the value and keeps the box for the next one.
    pub(crate) fn give_back(self) {
        let mut place = self.0;
        *place = None;
        BOXES.with_borrow_mut(|boxes| {
            if boxes.len() < KEPT {
                boxes.push(place);
            }
        });
    }
}

impl<T> Deref for Reused<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let value = Option::as_ref(&self.0);
        value.expect("invariant: only who gives it back takes the value out")
    }
}

impl<T> DerefMut for Reused<T> {
    fn deref_mut(&mut self) -> &mut T {
        let value = Option::as_mut(&mut self.0);
        value.expect("invariant: only who gives it back takes the value out")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn address<T>(of: &Reused<T>) -> usize {
        std::ptr::from_ref::<T>(of).addr()
    }

    #[test]
    fn a_box_is_used_again_and_its_last_value_is_gone() {
        let value = Arc::new(());
        let first = Reused::new(|| Arc::clone(&value));
        let place = address(&first);
        first.give_back();
        assert_eq!(Arc::strong_count(&value), 1);
        let second = Reused::new(|| Arc::clone(&value));
        assert_eq!(address(&second), place);
        assert_ne!(address(&Reused::new(|| value)), place);
    }

    #[test]
    fn a_box_for_another_type_is_given_up() {
        Reused::new(|| [1_u64; 4]).give_back();
        let mut text = Reused::new(|| String::from("text"));
        text.push('s');
        assert_eq!(text.as_str(), "texts");
        assert!(BOXES.with_borrow(Vec::is_empty));
    }

    #[test]
    fn no_more_than_a_few_are_kept() {
        let many: Vec<_> = (0..2 * KEPT).map(|value| Reused::new(|| value)).collect();
        many.into_iter().for_each(Reused::give_back);
        assert_eq!(BOXES.with_borrow(Vec::len), KEPT);
    }
}
