//! What one replica does for all: asking services how they are, and removing those that stay critical.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::catalog::{Catalog, Outcome, Probe, Unit};
use crate::in_process::{Journal, Probing};
use crate::{InProcess, clock};

/// Without a sign of life for this long, another one leads.
const LEASE: Duration = Duration::from_secs(5);
const RENEW: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(250);

/// Leads whenever nobody else does.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut lease = None;
    let mut renewed = clock::now();
    loop {
        tokio::time::sleep(EVERY).await;
        let (mine, somebody) = {
            let state = shared.state();
            (state.is_led_by(&shared.name), state.has_leader())
        };
        if !somebody {
            // One of several wins; the rest learns who from the watch.
            lease = shared.lead(LEASE).await.ok().flatten();
            renewed = clock::now();
            continue;
        }
        let Some(held) = lease.filter(|_| mine) else {
            continue;
        };
        if clock::now().saturating_duration_since(renewed) >= RENEW {
            if !matches!(shared.client.renew(held).await, Ok(true)) {
                continue;
            }
            renewed = clock::now();
        }
        if let Some(store) = shared.store.upgrade() {
            shared.serve(&store).await;
        }
    }
}

impl Shared {
    async fn serve(self: &Arc<Self>, store: &InProcess) {
        let (probes, dead) = store.change_here(Catalog::duties);
        for probe in probes {
            if let Some(asked) = store.probe(probe.clone()) {
                tokio::spawn(Arc::clone(self).take_answer(probe, asked));
            }
        }
        for id in dead {
            let units = vec![Unit::Service(id.clone())];
            let mut remove = |catalog: &mut Catalog, now| catalog.deregister(&id, now);
            match self.write(units, &mut remove).await {
                Ok(()) => tracing::info!(id, "removed an instance that was critical for too long"),
                Err(error) => tracing::warn!(
                    id,
                    error = &error as &dyn std::error::Error,
                    "not removed yet"
                ),
            }
        }
    }

    async fn take_answer(self: Arc<Self>, probe: Probe, asked: Probing) {
        let Outcome { status, output } = asked.await;
        let Some(store) = self.store.upgrade() else {
            return;
        };
        let outcome = Outcome {
            status,
            output: output.clone(),
        };
        let news = store.change_here(|catalog, now| catalog.judge(&probe, &outcome, now));
        let unit = store.read(|catalog| catalog.unit_of_check(&probe.check));
        let (Some(status), Some(unit)) = (news, unit) else {
            return;
        };
        let mut found = |catalog: &mut Catalog, now| {
            catalog.found(&probe.check, status, &output, now);
            Ok(())
        };
        // If it cannot be stored now, the next answer will try again.
        let _ = self.write(vec![unit], &mut found).await;
    }
}
