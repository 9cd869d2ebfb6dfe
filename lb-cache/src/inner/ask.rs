//! Keys that are asked of a tier at about the same time are asked together.
//!
//! Who needs a key from a tier leaves the question in the queue of the part of
//! the tier that holds it (its fault domain: a frozen shard delays nobody else's
//! keys). A *reader* takes what has gathered, asks once, sends each flight on its
//! way, lets those it woke come back, and asks again; [`Pace`] says how many may
//! be under way. So the price of a task, a timer, a breaker and a request is
//! shared by the batch, and no caller carries it: a dropped one harms nobody.
//!
//! A caller that is all alone is the exception: it carries its question itself
//! (an [`Errand`]), until somebody else depends on it.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::Inner;
use super::below::{Below, Glance};
use super::pace::Pace;
use super::search::Search;
use crate::errand::{Carrier, Errand};
use crate::flight::Flight;
use crate::level::Level;
use crate::tier::{Answer, TierError};

/// The queues of one tier, one per fault domain.
pub(crate) struct Queues<K, V>(Box<[Queue<K, V>]>);

struct Queue<K, V>(Mutex<Waiting<K, V>>);

/// What waits to be asked, and who will ask.
struct Waiting<K, V> {
    searches: Vec<Search<K, V>>,
    /// Questions under way, and about to leave.
    readers: usize,
    /// One of the readers has yet to take what waits.
    gathering: bool,
    pace: Pace,
    /// A question that its caller carries.
    carried: Option<Arc<Errand>>,
}

impl<K, V> Queues<K, V> {
    pub(crate) fn new(level: &Level) -> Self {
        let queue = || {
            Queue(Mutex::new(Waiting {
                searches: Vec::new(),
                readers: 0,
                gathering: false,
                pace: Pace::default(),
                carried: None,
            }))
        };
        Self((0..level.domains()).map(|_| queue()).collect())
    }
}

impl<K, V> Queue<K, V> {
    /// A panic while the lock was held leaves the list whole.
    fn waiting(&self) -> MutexGuard<'_, Waiting<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Waiting<K, V> {
    /// `true` if one more reader shall come: then it counts.
    fn wants_reader(&mut self) -> bool {
        let wants = !self.gathering
            && !self.searches.is_empty()
            && self.pace.admits(self.readers, self.searches.len());
        if wants {
            self.gathering = true;
            self.readers += 1;
        }
        wants
    }

    /// What a question teaches. Who waited behind one that came to nothing in time has
    /// waited long enough, too, and comes back.
    fn learn(&mut self, took: Duration, answers: &[Answer], late: bool) -> Vec<Search<K, V>> {
        if late {
            return std::mem::take(&mut self.searches);
        }
        // A tier that is left alone, or in trouble, says nothing about its distance.
        if !answers.iter().any(Result::is_ok) {
            return Vec::new();
        }
        let bytes = |answer: &Answer| answer.as_ref().ok()?.as_ref().map(bytes::Bytes::len);
        let (values, sum) = answers
            .iter()
            .filter_map(bytes)
            .fold((0, 0), |(values, sum), bytes| (values + 1, sum + bytes));
        self.pace.learn(took, values, sum);
        Vec::new()
    }
}

/// Who asks what waits in one queue. Dropped early, by a shutdown of its runtime or
/// a panic of the tier, it releases all who wait there, unless there is another.
#[must_use = "nobody asks what waits until the reader is started"]
pub(super) struct Reader<K, V> {
    inner: Arc<Inner<K, V>>,
    level: usize,
    domain: usize,
    duty: Duty,
    /// It has brought an answer: those it woke come back about now, all of them.
    returned: bool,
}

/// What the queue still expects of a reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// To take what waits.
    Gather,
    /// To come back from a question.
    Return,
    Nothing,
}

impl<K, V> Reader<K, V> {
    /// Leaves a question in the queue of its tier; `None` if a reader will take it.
    pub(super) fn enqueue(
        inner: &Arc<Inner<K, V>>,
        below: &Below<K, V>,
        level: usize,
        search: Search<K, V>,
    ) -> Option<Self> {
        let domain = below.levels[level].domain(search.wire());
        let mut waiting = below.queues[level].0[domain].waiting();
        waiting.searches.push(search);
        let wants_reader = waiting.wants_reader();
        let carried = waiting.carried.take();
        drop(waiting);
        if let Some(errand) = carried {
            errand.release();
        }
        wants_reader.then(|| Self {
            inner: Arc::clone(inner),
            level,
            domain,
            duty: Duty::Gather,
            returned: false,
        })
    }

    fn queue(&self) -> Option<&Queue<K, V>> {
        let below = self.inner.below.as_ref()?;
        Some(&below.queues[self.level].0[self.domain])
    }

    /// Takes leave. Returns who is left with nobody to ask for them.
    fn leave(&mut self) -> Vec<Search<K, V>> {
        let duty = std::mem::replace(&mut self.duty, Duty::Nothing);
        let Some(mut waiting) = self.queue().map(Queue::waiting) else {
            return Vec::new();
        };
        match duty {
            Duty::Nothing => return Vec::new(),
            Duty::Gather => waiting.gathering = false,
            Duty::Return => {}
        }
        waiting.readers -= 1;
        if waiting.readers == 0 {
            std::mem::take(&mut waiting.searches)
        } else {
            Vec::new()
        }
    }
}

impl<K, V> Drop for Reader<K, V> {
    fn drop(&mut self) {
        drop(self.leave());
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

    /// Lets the caller of this flight carry the question, if it is all alone.
    pub(super) fn carried(self, flight: &Flight<V>) -> Option<Carrier> {
        let inner = Arc::clone(&self.inner);
        let below = inner.below.as_ref()?;
        let queue = &below.queues[self.level].0[self.domain];
        {
            let waiting = queue.waiting();
            if waiting.readers > 1 || waiting.searches.len() > 1 {
                drop(waiting);
                self.start();
                return None;
            }
        }
        let errand = Errand::new(self.run());
        let carrier = Carrier(Arc::clone(&errand));
        // Who came in between depends on it already: then it is released here.
        let joined = flight.is_carried_by(&errand);
        let mut waiting = queue.waiting();
        if joined || waiting.searches.len() > 1 {
            return None;
        }
        waiting.carried = Some(errand);
        Some(carrier)
    }

    async fn run(mut self) {
        let inner = Arc::clone(&self.inner);
        let Some(below) = inner.below.as_ref() else {
            return;
        };
        let queue = &below.queues[self.level].0[self.domain];
        loop {
            let batch = self.take_batch(queue);
            let lonely = batch.len() < 2;
            if batch.is_empty() {
                return;
            }
            self.ask(below, queue, batch).await;
            self.returned = true;
            if !self.may_go_on(queue, lonely) {
                return;
            }
            let_others_run().await;
        }
    }

    /// One question, and what becomes of its answers.
    async fn ask(&self, below: &Below<K, V>, queue: &Queue<K, V>, mut batch: Vec<Search<K, V>>) {
        let level = &below.levels[self.level];
        let keys = batch.iter().map(|search| search.wire().clone());
        let (mut answers, took) = level.get_many(keys.collect()).await;
        let late = |answer: &Answer| matches!(answer, Err(TierError::TimedOut));
        let behind = queue
            .waiting()
            .learn(took, &answers, answers.iter().all(late));
        level.left_behind(self.domain, behind.len());
        answers.extend(behind.iter().map(|_| Err(TierError::TimedOut)));
        batch.extend(behind);
        let wall = below.stamp.wall();
        let at = Glance {
            wall,
            asked: wall.before(took),
            distrusted_until: level.distrusted_until(),
        };
        let inner = &self.inner;
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

    /// A fair share of what waits; nothing, and no more duty, if nothing does. What
    /// is left waits for the next answer, or gets a reader of its own.
    fn take_batch(&mut self, queue: &Queue<K, V>) -> Vec<Search<K, V>> {
        let mut waiting = queue.waiting();
        waiting.gathering = false;
        if waiting.searches.is_empty() {
            waiting.readers -= 1;
            self.duty = Duty::Nothing;
            return Vec::new();
        }
        let most = if self.returned {
            waiting.pace.share(waiting.searches.len())
        } else {
            waiting.pace.fair_keys()
        };
        let left = if waiting.searches.len() > most {
            waiting.searches.split_off(most)
        } else {
            // The next question will be about as long as this one.
            Vec::with_capacity(waiting.searches.len())
        };
        let batch = std::mem::replace(&mut waiting.searches, left);
        self.duty = Duty::Return;
        let another = waiting.wants_reader();
        drop(waiting);
        if another {
            let rest = Self {
                inner: Arc::clone(&self.inner),
                duty: Duty::Gather,
                ..*self
            };
            rest.start();
        }
        batch
    }

    /// Back from a question: `true` if this reader shall take what gathers next. One
    /// that asked for a single key while nobody else came has nobody to wait for.
    fn may_go_on(&mut self, queue: &Queue<K, V>, lonely: bool) -> bool {
        let mut waiting = queue.waiting();
        let in_vain = lonely && waiting.searches.is_empty();
        let go_on = !(waiting.gathering || in_vain);
        if go_on {
            waiting.gathering = true;
            self.duty = Duty::Gather;
        } else {
            waiting.readers -= 1;
            self.duty = Duty::Nothing;
        }
        go_on
    }
}

/// Runs again after those who are ready to run now. Not tokio's `yield_now`: that
/// would poll the sockets first, and tie the reader to its thread meanwhile.
async fn let_others_run() {
    let mut again = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut again, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
