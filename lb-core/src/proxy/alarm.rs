//! A limit in time, on a timer that other requests used before.
//!
//! To register a timer and to take it out again costs a request more than all
//! that is done with it in between, because nearly no limit is ever reached. So
//! a timer stays registered when its request is over, and the next request of the
//! thread goes on with it: a timer that fires before the limit says nothing and
//! is set anew, which happens once per limit and timer, not once per request.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::runtime::{self, Handle};
use tokio::time::Sleep;

/// Timers kept per thread.
const KEPT: usize = 64;

thread_local! {
    static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// A timer belongs to the runtime that made it.
    runtime: runtime::Id,
}

/// Waits for a moment that can be moved.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    timer: Option<Timer>,
    until: Option<Instant>,
}

impl Alarm {
    /// From now on it waits for `until`.
    pub(crate) fn set(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// Ready when its time has come; never, when none was set.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        let until = tokio::time::Instant::from_std(until);
        let timer = self.timer.get_or_insert_with(|| Timer::take(until));
        loop {
            let sleep = &mut timer.sleep;
            if sleep.deadline() > until {
                sleep.as_mut().reset(until);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() == until {
                return Poll::Ready(());
            }
            // It was set for an earlier request.
            sleep.as_mut().reset(until);
        }
    }
}

impl Timer {
    /// One that will fire at `until` or before.
    fn take(until: tokio::time::Instant) -> Self {
        let runtime = Handle::current().id();
        let kept = TIMERS.with_borrow_mut(|timers| {
            // The others' runtimes have ended, or will not be back before it has this one.
            std::iter::from_fn(|| timers.pop()).find(|timer| timer.runtime == runtime)
        });
        kept.unwrap_or_else(|| Self {
            sleep: Box::pin(tokio::time::sleep_until(until)),
            runtime,
        })
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(timer) = self.timer.take() else {
            return;
        };
        // When a thread ends, its timers may be gone before its last request.
        let _ = TIMERS.try_with(|timers| {
            let mut timers = timers.borrow_mut();
            if timers.len() < KEPT {
                timers.push(timer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::clock;

    async fn rings_after(limit: Duration) -> Duration {
        let start = clock::now();
        let mut alarm = Alarm::default();
        alarm.set(start + limit);
        poll_fn(|cx| alarm.poll(cx)).await;
        clock::now() - start
    }

    async fn is_left_alone(limit: Duration) {
        let mut alarm = Alarm::default();
        alarm.set(clock::now() + limit);
        let rung = poll_fn(|cx| Poll::Ready(alarm.poll(cx).is_ready())).await;
        assert!(!rung);
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_timer_rings_at_the_new_time() {
        let second = Duration::from_secs(1);
        is_left_alone(5 * second).await;
        assert_eq!(rings_after(20 * second).await, 20 * second);
        is_left_alone(60 * second).await;
        assert_eq!(rings_after(second).await, second);
        assert_eq!(TIMERS.with_borrow(Vec::len), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_can_be_moved_while_it_is_waited_for() {
        let start = clock::now();
        let mut alarm = Alarm::default();
        for seconds in [9, 3, 7] {
            alarm.set(start + Duration::from_secs(seconds));
            let early = poll_fn(|cx| Poll::Ready(alarm.poll(cx).is_ready())).await;
            assert!(!early);
        }
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(clock::now() - start, Duration::from_secs(7));
    }

    #[test]
    fn a_timer_of_a_runtime_that_ended_is_not_used() {
        for _ in 0..2 {
            let runtime = runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            let second = Duration::from_secs(1);
            runtime.block_on(is_left_alone(second));
            assert_eq!(runtime.block_on(rings_after(second)), second);
        }
    }
}
