//! What this process measures, in the words of Prometheus.
//!
//! A recorder keeps each value of a histogram until somebody asks for it, or it is told to tidy up.
//! It is told here: a process that nobody asks must not grow.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::task::AbortOnDropHandle;

/// From one tidying up to the next.
const PAUSE: Duration = Duration::from_secs(5);

/// The recorder of this process. Cheap to clone; it is tidied up until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Recorder {
    handle: PrometheusHandle,
    _upkeep: Arc<AbortOnDropHandle<()>>,
}

impl Recorder {
    /// Records from now on; `None` if this process records already. Call it before anything else is
    /// started: a figure that changes once, such as a pool's members, must not be told to nobody.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn install() -> Option<Self> {
        let handle = PrometheusBuilder::new().install_recorder().ok()?;
        let kept = handle.clone();
        let upkeep = every(PAUSE, move || kept.run_upkeep());
        Some(Self {
            handle,
            _upkeep: Arc::new(upkeep),
        })
    }

    /// Everything recorded so far, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

/// Calls `work` after each `pause`, until the handle is dropped.
fn every(pause: Duration, work: impl Fn() + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            work();
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_tidied_up_until_nobody_keeps_it() {
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let kept = every(PAUSE, move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let after = async |pauses: u32| {
            tokio::time::sleep(PAUSE * pauses).await;
            turns.load(Ordering::Relaxed)
        };
        let begun = after(3).await;
        assert!((2..=3).contains(&begun), "{begun}");
        drop(kept);
        assert_eq!(after(3).await, begun);
    }

    #[tokio::test]
    async fn a_process_has_one_recorder() {
        let recorder = Recorder::install().expect("nobody else installs one here");
        assert!(Recorder::install().is_none());
        metrics::counter!("simulation_turns_total").increment(2);
        assert!(recorder.render().contains("simulation_turns_total 2"));
    }
}
