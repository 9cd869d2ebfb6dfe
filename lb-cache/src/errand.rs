//! Work that its caller carries along, as long as nobody else waits for it.
//!
//! A task costs a lone caller as much as the question itself: one more wake-up,
//! often of another thread. So the caller polls the work itself. It may stop doing
//! so at any time, and that must harm nobody: whoever comes to depend on the work
//! *releases* it, and so does a caller that gives up. Then it goes on as a task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

use crate::source::BoxFuture;

/// Work under way; see the module.
pub(crate) struct Errand {
    course: Mutex<Course>,
    /// Where it goes on when it is released.
    runtime: Handle,
}

enum Course {
    /// Waits to be polled by its caller, who hears of a release.
    Carried(BoxFuture<'static, ()>, Waker),
    /// Its caller is polling it, and keeps it only if nobody released it meanwhile.
    Polled { released: bool },
    /// Done, or a task.
    Over,
}

impl Errand {
    /// Work for its caller, in the current runtime.
    pub(crate) fn new(work: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            course: Mutex::new(Course::Carried(Box::pin(work), Waker::noop().clone())),
            runtime: Handle::current(),
        })
    }

    /// Carries the work a step further; `false` if there is nothing to carry any
    /// more. A panic ends it as it would end a task.
    pub(crate) fn carry(&self, cx: &mut Context<'_>) -> bool {
        let mut work = match self.swap(Course::Polled { released: false }) {
            Course::Carried(work, _) => work,
            other => {
                self.swap(other);
                return false;
            }
        };
        // Its caller may be polled by whatever executor.
        let entered = self.runtime.enter();
        let step = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        drop(entered);
        if !matches!(step, Ok(Poll::Pending)) {
            self.swap(Course::Over);
            return false;
        }
        let mut course = self.locked();
        if matches!(*course, Course::Polled { released: true }) {
            *course = Course::Over;
            drop(course);
            self.go_on(work);
            return false;
        }
        *course = Course::Carried(work, cx.waker().clone());
        true
    }

    /// Lets the work go on without its caller.
    pub(crate) fn release(&self) {
        let mut course = self.locked();
        match &mut *course {
            Course::Over => {}
            Course::Polled { released } => *released = true,
            Course::Carried(..) => {
                let carried = std::mem::replace(&mut *course, Course::Over);
                drop(course);
                if let Course::Carried(work, caller) = carried {
                    self.go_on(work);
                    caller.wake();
                }
            }
        }
    }

    /// The end of the work ends the task; a runtime that is gone drops it here.
    fn go_on(&self, work: BoxFuture<'static, ()>) {
        self.runtime.spawn(work);
    }

    fn swap(&self, course: Course) -> Course {
        std::mem::replace(&mut *self.locked(), course)
    }

    /// No code of others runs under this lock.
    fn locked(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller's hold on the work: dropped, the work goes on without it.
pub(crate) struct Carrier(pub(crate) Arc<Errand>);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// Work that waits for a word and passes it on.
    fn relay() -> (Arc<Errand>, oneshot::Sender<u8>, oneshot::Receiver<u8>) {
        let (ask, asked) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let errand = Errand::new(async move {
            if let Ok(word) = asked.await {
                answer.send(word).expect("it is awaited");
            }
        });
        (errand, ask, answered)
    }

    fn step(errand: &Errand) -> bool {
        errand.carry(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn its_caller_carries_it_to_the_end() {
        let (errand, ask, mut answered) = relay();
        assert!(step(&errand));
        ask.send(7).unwrap();
        assert!(answered.try_recv().is_err(), "nobody else carries it");
        assert!(!step(&errand));
        assert_eq!(answered.try_recv(), Ok(7));
        assert!(!step(&errand));
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_it_to_a_task() {
        let (errand, ask, answered) = relay();
        assert!(step(&errand));
        drop(Carrier(errand));
        ask.send(7).unwrap();
        assert_eq!(answered.await, Ok(7));
    }

    #[tokio::test]
    async fn released_while_its_caller_polls_it_becomes_a_task() {
        let (ask, asked) = oneshot::channel::<u8>();
        let (answer, answered) = oneshot::channel();
        let own: Arc<Mutex<Option<Arc<Errand>>>> = Arc::default();
        let same = Arc::clone(&own);
        let errand = Errand::new(async move {
            let errand = same.lock().unwrap().take();
            errand.expect("set below").release();
            if let Ok(word) = asked.await {
                answer.send(word).expect("it is awaited");
            }
        });
        *own.lock().unwrap() = Some(Arc::clone(&errand));
        assert!(!step(&errand));
        ask.send(7).unwrap();
        assert_eq!(answered.await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_ends_it_and_spares_its_caller() {
        let errand = Errand::new(async { panic!("on purpose") });
        assert!(!step(&errand));
        errand.release();
        assert!(matches!(*errand.locked(), Course::Over));
    }
}
