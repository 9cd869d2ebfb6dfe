//! What each thread keeps of the reports that are written in this process.
//!
//! An instance writes a report ten times a second and sends it with every answer in
//! between. To share one value among all threads takes four atomic operations per answer,
//! and to take it in a hash of its words and a clock. Where instance and balancer are one
//! process, both ends of the way are one thread: a value that was taken out of an answer
//! comes back here and is lent again, and a balancer that has taken this very writing in
//! for an endpoint knows it by its address.
//!
//! Of one writing a thread lends enough for every balancer that sends it requests, and
//! beyond that now and then: a balancer takes the same words in once.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use http::HeaderValue;

/// Instances that one thread keeps a report of; beyond that they take turns.
const PLACES: usize = 32;
/// So many answers in a row bring one writing, on each thread ...
const FIRST: u32 = 128;
/// ... and one of so many that come after them. After a pause so few may go without, because
/// these do not look at the clock.
const SELDOM: u32 = 4;

thread_local! {
    static LENT: RefCell<Lent> = const { RefCell::new(Lent { places: [const { None }; PLACES], last: 0 }) };
}

/// A report as it was written once.
#[derive(Debug)]
pub(super) struct Writing {
    /// No two have the same.
    pub(super) number: u64,
    /// From then on it is written anew.
    pub(super) until: Instant,
    pub(super) value: HeaderValue,
}

impl Writing {
    pub(super) fn new(value: HeaderValue, until: Instant) -> Self {
        // 0 stands for none.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            // Relaxed: only that the numbers differ matters.
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            until,
            value,
        }
    }
}

/// Where a new instance keeps its reports.
pub(super) fn place() -> usize {
    static INSTANCES: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: as the numbers of writings; equal ones take turns.
    INSTANCES.fetch_add(1, Ordering::Relaxed) % PLACES
}

struct Lent {
    places: [Option<Kept>; PLACES],
    /// Whose value was lent last.
    last: usize,
}

/// What this thread has for an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Loan {
    /// The value of the writing.
    Value(HeaderValue),
    /// Enough answers brought it: this one goes without.
    Spared,
    /// Nothing: it is not kept here, or to be written anew.
    Unknown,
}

struct Kept {
    /// Keeps its address from being used again.
    writing: Arc<Writing>,
    /// Answers since this thread keeps it; turns over to those that come after the first.
    answers: u32,
    /// Of the same address, and in no answer now.
    spare: Option<HeaderValue>,
    /// Who took it in last, by address.
    reader: Option<usize>,
}

impl Kept {
    /// Whether the next answer goes without.
    #[inline]
    fn spares(&mut self) -> bool {
        self.answers += 1;
        if self.answers < FIRST + SELDOM {
            return self.answers > FIRST;
        }
        self.answers = FIRST;
        false
    }
}

impl Lent {
    /// What was lent last, if that is this value.
    #[inline]
    fn last_as(&mut self, value: &HeaderValue) -> Option<&mut Kept> {
        let kept = self.places.get_mut(self.last)?.as_mut()?;
        let is = std::ptr::eq(kept.writing.value.as_bytes(), value.as_bytes());
        is.then_some(kept)
    }
}

/// What an answer brings of that writing. The clock is read if it brings anything.
#[inline]
pub(super) fn lend(place: usize, number: u64, clock: impl FnOnce() -> Instant) -> Loan {
    let loan = with(|lent| {
        let kept = lent.places.get_mut(place)?.as_mut()?;
        if kept.writing.number != number {
            return None;
        }
        if kept.spares() {
            return Some(Loan::Spared);
        }
        if clock() >= kept.writing.until {
            return None;
        }
        lent.last = place;
        let spare = kept.spare.take();
        let value = spare.unwrap_or_else(|| kept.writing.value.clone());
        Some(Loan::Value(value))
    });
    loan.unwrap_or(Loan::Unknown)
}

/// Keeps that writing from now on; an answer brings it.
pub(super) fn keep(place: usize, writing: Arc<Writing>) {
    let kept = Kept {
        writing,
        answers: 1,
        spare: None,
        reader: None,
    };
    let before = with(|lent| {
        lent.last = place;
        lent.places.get_mut(place)?.replace(kept)
    });
    drop(before);
}

/// Whether `reader` was told what this value says: it is the one that was lent last, and
/// not the first of that writing. Whoever takes another's address misses one report.
#[inline]
pub(super) fn is_known(value: &HeaderValue, reader: usize) -> bool {
    let known = with(|lent| {
        let kept = lent.last_as(value)?;
        Some(kept.reader == Some(reader))
    });
    known == Some(true)
}

/// Gives back a value that came with an answer; `reader` knows by now what it says.
#[inline]
pub(super) fn give_back(value: HeaderValue, reader: usize) {
    let mut value = Some(value);
    with(|lent| {
        let kept = lent.last_as(value.as_ref()?)?;
        kept.reader = Some(reader);
        kept.spare = value.take();
        Some(())
    });
}

/// `None` while the thread ends.
#[inline]
fn with<R>(work: impl FnOnce(&mut Lent) -> Option<R>) -> Option<R> {
    let work = |lent: &RefCell<Lent>| work(&mut *lent.try_borrow_mut().ok()?);
    LENT.try_with(work).ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::try_from(text).unwrap()
    }

    fn lent(place: usize, number: u64, now: Instant) -> Option<HeaderValue> {
        match lend(place, number, || now) {
            Loan::Value(value) => Some(value),
            Loan::Spared | Loan::Unknown => None,
        }
    }

    #[test]
    fn a_value_comes_back_and_is_lent_again() {
        let now = clock::now();
        let writing = Writing::new(value("TEXT eps=1"), now + Duration::from_secs(1));
        let (place, number) = (place(), writing.number);
        keep(place, Arc::new(writing));
        let first = lent(place, number, now).unwrap();
        assert!(!is_known(&first, 1), "nobody has read it");
        let address = first.as_bytes().as_ptr();
        give_back(first, 1);
        let again = lent(place, number, now).unwrap();
        assert_eq!(
            (again.as_bytes().as_ptr(), &again),
            (address, &value("TEXT eps=1"))
        );
        assert!(is_known(&again, 1) && !is_known(&again, 2));
        assert!(
            !is_known(&value("TEXT eps=1"), 1),
            "the same words, of somebody else"
        );
        let old = lent(place, number, now + Duration::from_secs(1));
        assert_eq!(old, None);
    }

    #[test]
    fn of_many_answers_in_a_row_some_bring_it() {
        let now = clock::now();
        let writing = Writing::new(value("TEXT eps=1"), now + Duration::from_secs(1));
        let (place, number) = (place(), writing.number);
        keep(place, Arc::new(writing));
        // The one that kept it was the first.
        let brings = |_| lend(place, number, || now) != Loan::Spared;
        assert!((1..FIRST).all(brings), "the first of all bring it");
        let later: Vec<_> = (0..40).map(brings).collect();
        let one_in_four = [false, false, false, true].repeat(10);
        assert_eq!(later, one_in_four);
        // The next to look at the clock finds it old, however few came in between.
        let old = || now + Duration::from_secs(1);
        let mut looks = (0..4).map(|_| lend(place, number, old));
        assert_eq!(looks.nth(3), Some(Loan::Unknown));
    }

    proptest! {
        /// Whoever comes and goes: what is lent is what was written, and known to nobody
        /// who was not told.
        #[test]
        fn what_is_lent_is_what_was_written(
            steps in prop::collection::vec((0..3_usize, 0..3_usize, 0..4_u8), 0..60),
        ) {
            let now = clock::now();
            let until = now + Duration::from_secs(1);
            let write = |at: usize| Arc::new(Writing::new(value(&format!("TEXT a={at}")), until));
            let mut writings: Vec<_> = (0..3).map(write).collect();
            let mut told = [None; 3];
            for (instance, reader, step) in steps {
                if step == 0 {
                    writings[instance] = write(instance);
                    told[instance] = None;
                }
                let writing = &writings[instance];
                let lent = lent(instance, writing.number, now).unwrap_or_else(|| {
                    keep(instance, Arc::clone(writing));
                    told[instance] = None;
                    writing.value.clone()
                });
                prop_assert_eq!(&lent, &writing.value);
                prop_assert_eq!(is_known(&lent, reader), told[instance] == Some(reader));
                if step > 1 {
                    give_back(lent, reader);
                    told[instance] = Some(reader);
                }
            }
        }
    }
}
