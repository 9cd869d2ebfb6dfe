//! Keys that are asked of a tier at about the same time are asked together.
//!
//! Who needs a key from a tier leaves the question in the queue of the part of
//! the tier that holds it (its fault domain: a frozen shard delays nobody else's
//! keys). The first in an empty queue brings a *reader*: a task that takes what
//! has gathered, asks once, and sends each flight on its way. So the price of a
//! task, a timer, a breaker and a request is shared by the batch, and no caller
//! carries it: a dropped one harms nobody. A lone question is asked at once; only
//! while another one is under way does a reader let the other tasks run first.

use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Inner;
use super::below::{Below, Glance};
use super::search::Search;
use crate::level::Level;
use crate::tier::Answer;

/// At most so many keys are asked for in one question.
const MOST_KEYS: usize = 64;
/// A question shall bring about so many bytes, or large values would wait for each other.
const FAIR_BYTES: usize = 256 << 10;

/// The queues of one tier, one per fault domain.
pub(crate) struct Queues<K, V>(Box<[Queue<K, V>]>);

struct Queue<K, V> {
    waiting: Mutex<Vec<Search<K, V>>>,
    /// Questions under way.
    asking: AtomicUsize,
    /// A moving mean of what an answer weighs.
    mean_bytes: AtomicUsize,
}

impl<K, V> Queues<K, V> {
    pub(crate) fn new(level: &Level) -> Self {
        let queue = || Queue {
            waiting: Mutex::default(),
            asking: AtomicUsize::new(0),
            mean_bytes: AtomicUsize::new(0),
        };
        Self((0..level.domains()).map(|_| queue()).collect())
    }
}

impl<K, V> Queue<K, V> {
    /// A panic while the lock was held leaves the list whole.
    fn waiting(&self) -> MutexGuard<'_, Vec<Search<K, V>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Asking<'_> {
        // Relaxed, also in the drop: a hint whether waiting for others pays.
        self.asking.fetch_add(1, Ordering::Relaxed);
        Asking(&self.asking)
    }

    fn weigh(&self, answers: &[Answer]) {
        let bytes = |answer: &Answer| answer.as_ref().ok()?.as_ref().map(bytes::Bytes::len);
        let (count, sum) = answers
            .iter()
            .filter_map(bytes)
            .fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        if let Some(latest) = sum.checked_div(count) {
            // Relaxed, both: a heuristic; a lost update harms nobody.
            let mean = moving_mean(self.mean_bytes.load(Ordering::Relaxed), latest);
            self.mean_bytes.store(mean, Ordering::Relaxed);
        }
    }
}

fn moving_mean(mean: usize, latest: usize) -> usize {
    match mean {
        0 => latest,
        mean => mean - mean / 8 + latest / 8,
    }
}

/// How many keys make a fair question when an answer weighs so much.
fn fair_keys(mean_bytes: usize) -> usize {
    (FAIR_BYTES / mean_bytes.max(1)).clamp(1, MOST_KEYS)
}

/// A question under way.
struct Asking<'a>(&'a AtomicUsize);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who will ask what waits in one queue. Dropped before that, by a shutdown of
/// its runtime, it releases all who wait there.
#[must_use = "nobody asks what waits until the reader is started"]
pub(super) struct Reader<K, V> {
    inner: Arc<Inner<K, V>>,
    level: usize,
    domain: usize,
    /// `false` as soon as the queue is somebody else's business.
    on_duty: bool,
}

impl<K, V> Reader<K, V> {
    /// Leaves a question in the queue of its tier; `None` if a reader is on its way.
    pub(super) fn enqueue(
        inner: &Arc<Inner<K, V>>,
        below: &Below<K, V>,
        level: usize,
        search: Search<K, V>,
    ) -> Option<Self> {
        let domain = below.levels[level].domain(search.wire());
        let mut waiting = below.queues[level].0[domain].waiting();
        waiting.push(search);
        (waiting.len() == 1).then(|| Self {
            inner: Arc::clone(inner),
            level,
            domain,
            on_duty: true,
        })
    }

    fn queue(&self) -> Option<&Queue<K, V>> {
        let below = self.inner.below.as_ref()?;
        Some(&below.queues[self.level].0[self.domain])
    }
}

impl<K, V> Drop for Reader<K, V> {
    fn drop(&mut self) {
        if self.on_duty
            && let Some(queue) = self.queue()
        {
            let released = std::mem::take(&mut *queue.waiting());
            drop(released);
        }
    }
}

impl<K, V> Reader<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Asks, in a task of its own: its answers serve whoever waits, and the
    /// deadline of the tier ends it.
    pub(super) fn start(self) {
        tokio::spawn(self.run());
    }

    async fn run(mut self) {
        let inner = Arc::clone(&self.inner);
        let Some((below, queue)) = inner.below.as_ref().zip(self.queue()) else {
            return;
        };
        // Relaxed: a hint, see `Queue::begin`.
        if queue.asking.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        let batch = self.take_batch();
        let queue = &below.queues[self.level].0[self.domain];
        let level = &below.levels[self.level];
        let asking = queue.begin();
        let keys = batch.iter().map(|search| search.wire().clone());
        let answers = level.get_many(keys.collect()).await;
        drop(asking);
        queue.weigh(&answers);
        let at = Glance {
            wall: below.stamp.wall(),
            distrusted_until: level.distrusted_until(),
        };
        let next: Vec<Self> = batch
            .into_iter()
            .zip(answers)
            .filter_map(|(mut search, answer)| {
                search.take(below.read(level, answer, &at));
                inner.proceed(search)
            })
            .collect();
        // Once for all that these answers have written.
        inner.housekeeping();
        next.into_iter().for_each(Self::start);
    }

    /// A fair share of what waits. What is left gets a reader of its own.
    fn take_batch(&mut self) -> Vec<Search<K, V>> {
        let Some(queue) = self.queue() else {
            return Vec::new();
        };
        // Relaxed: a heuristic.
        let most = fair_keys(queue.mean_bytes.load(Ordering::Relaxed));
        let mut waiting = queue.waiting();
        let left = if waiting.len() > most {
            waiting.split_off(most)
        } else {
            // The next question will be about as long as this one.
            Vec::with_capacity(waiting.len())
        };
        let batch = std::mem::replace(&mut *waiting, left);
        let is_rest = !waiting.is_empty();
        drop(waiting);
        self.on_duty = false;
        if is_rest {
            let rest = Self {
                inner: Arc::clone(&self.inner),
                on_duty: true,
                ..*self
            };
            rest.start();
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A question is never empty, never too long, and shorter for larger values.
        #[test]
        fn a_fair_question_is_bounded(small in 0usize..1 << 30, more in 0usize..1 << 30) {
            prop_assert!((1..=MOST_KEYS).contains(&fair_keys(small)));
            prop_assert!(fair_keys(small + more) <= fair_keys(small));
        }

        /// The mean stays between what it was and what came.
        #[test]
        fn the_mean_follows_what_comes(mean in 8usize..1 << 40, latest in 8usize..1 << 40) {
            let next = moving_mean(mean, latest);
            prop_assert!((mean.min(latest) - 7..=mean.max(latest)).contains(&next));
        }
    }
}
