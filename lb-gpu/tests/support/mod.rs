//! What tests of the sampler share.

use std::time::Duration;

use lb_gpu::Sampler;
use lb_gpu::snapshot::GpuSnapshot;

/// Waits until a published snapshot satisfies `wanted`, at most 20 s.
pub(crate) async fn until(sampler: &Sampler, wanted: impl Fn(&GpuSnapshot) -> bool) {
    let mut latest = sampler.subscribe();
    let seen = latest.wait_for(|snapshot| wanted(snapshot));
    tokio::time::timeout(Duration::from_secs(20), seen)
        .await
        .expect("it happens within 20 s")
        .expect("the sampler lives");
}
