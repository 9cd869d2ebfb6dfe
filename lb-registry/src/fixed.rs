//! Instances that are named in the program: the simplest registry, and a base to merge others onto.
//!
//! ```
//! use lb_registry::{Discovery, Fixed, Instance};
//!
//! let registry = Fixed::new([Instance::new("simulation", "a", "10.0.0.1", 8000)]);
//! assert_eq!(registry.watch("simulation").latest().instances.len(), 1);
//! assert!(registry.watch("other").latest().instances.is_empty());
//! ```

use std::sync::Arc;

use tokio::sync::watch;

use crate::{Discovery, Instance, Snapshot, Watch};

/// Instances that never change. A watch of them yields one set and never ends.
#[derive(Clone, Debug)]
pub struct Fixed {
    instances: Arc<[Instance]>,
    /// Keeps the watches open: a channel whose sender is gone ends its streams.
    open: Arc<std::sync::Mutex<Vec<watch::Sender<Arc<Snapshot>>>>>,
}

impl Fixed {
    /// These instances, each under the service it names.
    pub fn new(instances: impl IntoIterator<Item = Instance>) -> Self {
        Self {
            instances: instances.into_iter().collect(),
            open: Arc::default(),
        }
    }
}

impl Discovery for Fixed {
    fn watch(&self, service: &str) -> Watch {
        let wanted = self
            .instances
            .iter()
            .filter(|instance| instance.service == service)
            .cloned();
        let (sender, latest) = watch::channel(Arc::new(Snapshot::live(service, 1, wanted)));
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        open.retain(|sender| sender.receiver_count() > 0);
        open.push(sender);
        Watch::new(latest, None)
    }
}
