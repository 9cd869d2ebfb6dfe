//! Instances that are named in a JSON file, read again when it changes.
//!
//! The file is an array of instances as [`Instance`] serializes, with everything but `service`, `id`, `address` and
//! `port` optional. It is looked at every two seconds by its time and length. A file that is missing or cannot be
//! understood leaves the set as it is ([`fail_static`](mod@crate::fail_static)); write it beside and rename it.
//!
//! ```
//! use lb_registry::{Discovery, File};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("instances.json");
//! std::fs::write(&path, r#"[{"service": "web", "id": "a", "address": "10.0.0.1", "port": 80, "zone": "a"}]"#)?;
//! let mut watch = File::new(&path).watch("web");
//! let set = watch.until(|set| !set.is_pending()).await.expect("the watch is alive");
//! assert_eq!(set.instances[0].zone.as_deref(), Some("a"));
//! # Ok(())
//! # }
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::fail_static::{Answer, Settings};
use crate::feed::Feed;
use crate::watch::AbortOnDrop;
use crate::{Discovery, Instance, Watch};

const LOOK_EVERY: Duration = Duration::from_secs(2);
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Instances in a file. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    settings: Settings,
}

/// What tells one version of a file from another.
type Stamp = (SystemTime, u64);

impl File {
    /// The file at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            settings: Settings::default(),
        }
    }

    /// How much to protect the set. Default: [`Settings::default`].
    #[must_use]
    pub fn fail_static(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }
}

impl Discovery for File {
    fn watch(&self, service: &str) -> Watch {
        let (feed, latest) = Feed::new(service, self.settings, None);
        let task = tokio::spawn(follow(self.path.clone(), service.to_owned(), feed));
        Watch::new(latest, Some(AbortOnDrop(task.abort_handle())))
    }
}

async fn follow(path: PathBuf, service: String, mut feed: Feed) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut known: Option<Stamp> = None;
    loop {
        looks.tick().await;
        let (file, last) = (path.clone(), known.filter(|_| !feed.wants_confirmation()));
        let Ok(read) = tokio::task::spawn_blocking(move || read_if_new(&file, last)).await else {
            return;
        };
        match read {
            Ok(None) => feed.tick().await,
            Ok(Some((stamp, instances))) => {
                known = Some(stamp);
                let wanted = instances
                    .into_iter()
                    .filter(|one| one.service == service)
                    .collect();
                feed.answer(Answer::Instances(wanted)).await;
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), error = &error as &dyn std::error::Error, "no list");
                known = None;
                feed.answer(Answer::Failed).await;
            }
        }
    }
}

fn read_if_new(path: &Path, known: Option<Stamp>) -> io::Result<Option<(Stamp, Vec<Instance>)>> {
    let metadata = std::fs::metadata(path)?;
    let stamp = (metadata.modified()?, metadata.len());
    if known == Some(stamp) {
        return Ok(None);
    }
    if stamp.1 > MOST_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "more than 16 MiB",
        ));
    }
    Ok(Some((
        stamp,
        serde_json::from_slice(&std::fs::read(path)?)?,
    )))
}
