//! The sampler around a fake probe: threads, watchdog, recovery.

mod support;

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use lb_gpu::probe::{AbsentReason, Fault, Probe, ProbeError};
use lb_gpu::reading::{DeviceReading, Reading};
use lb_gpu::snapshot::{Availability, Freshness};
use lb_gpu::{FakeProbe, Sampler, SamplerConfig};
use support::until;

fn quick() -> SamplerConfig {
    SamplerConfig::builder()
        .period(Duration::from_millis(100))
        .unknown_after(Duration::from_millis(600))
        .reopen(Duration::from_millis(20), Duration::from_millis(50))
        .build()
        .expect("these settings work")
}

#[tokio::test]
async fn a_machine_without_a_gpu_is_a_normal_answer() {
    let sampler = Sampler::start(FakeProbe::absent(AbsentReason::NoLibrary));
    assert_eq!(
        sampler.ready().await.absence(),
        Some(AbsentReason::NoLibrary)
    );
}

#[tokio::test]
async fn changes_of_the_machine_arrive() {
    let (probe, gpus) = FakeProbe::with_devices([DeviceReading::new("GPU-1")]);
    let sampler = Sampler::start_with(probe, quick());
    assert_eq!(sampler.ready().await.devices.len(), 1);
    gpus.update(|devices| devices.push(DeviceReading::new("GPU-2")));
    until(&sampler, |snapshot| snapshot.devices.len() == 2).await;
    gpus.raise_xid("GPU-2", 79);
    until(&sampler, |snapshot| {
        snapshot.devices[1].last_xid == Some(79)
    })
    .await;
}

#[tokio::test]
async fn a_broken_driver_is_opened_again() {
    let (probe, gpus) = FakeProbe::with_devices([DeviceReading::new("GPU-1")]);
    let sampler = Sampler::start_with(probe, quick());
    sampler.ready().await;
    gpus.fail(ProbeError::Faulted(Fault::DriverReloaded));
    until(&sampler, |snapshot| {
        snapshot.availability == Availability::Faulted(Fault::DriverReloaded)
    })
    .await;
    gpus.recover();
    until(&sampler, |snapshot| {
        snapshot.availability == Availability::Present
    })
    .await;
    assert_eq!(sampler.latest().reinits, 1);
}

/// Looks once, then hangs as a driver would until the test lets go.
struct HangsAfterOneLook {
    hanging: Sender<()>,
    let_go: Receiver<()>,
}

impl Probe for HangsAfterOneLook {
    fn watch(
        &mut self,
        sink: &mut dyn FnMut(Reading) -> ControlFlow<()>,
    ) -> Result<(), ProbeError> {
        let devices = vec![DeviceReading::new("GPU-1")];
        let _ = sink(Reading {
            devices,
            ..Reading::default()
        });
        let _ = self.hanging.send(());
        let _ = self.let_go.recv();
        Ok(())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_hanging_driver_makes_readings_stale_then_unknown_and_blocks_nobody() {
    let (hanging, hangs) = channel();
    let (release, let_go) = channel();
    let sampler = Sampler::start_with(HangsAfterOneLook { hanging, let_go }, quick());
    sampler.ready().await;
    tokio::task::spawn_blocking(move || hangs.recv())
        .await
        .unwrap()
        .unwrap();

    // This test has one async worker: had the hang reached it, nothing below would run.
    until(&sampler, |snapshot| snapshot.freshness == Freshness::Stale).await;
    assert_eq!(
        sampler.latest().devices.len(),
        1,
        "the last values still stand"
    );
    until(&sampler, |snapshot| {
        snapshot.freshness == Freshness::Unknown
    })
    .await;

    release.send(()).unwrap();
    until(&sampler, |snapshot| {
        snapshot.availability == Availability::Faulted(Fault::ProbeEnded)
    })
    .await;
}

/// Tells when it was dropped, which is when its thread ends.
struct Alive {
    probe: FakeProbe,
    _ended: tokio::sync::mpsc::Sender<()>,
}

impl Probe for Alive {
    fn watch(
        &mut self,
        sink: &mut dyn FnMut(Reading) -> ControlFlow<()>,
    ) -> Result<(), ProbeError> {
        self.probe.watch(sink)
    }
}

#[tokio::test]
async fn dropping_the_sampler_ends_its_thread() {
    let (probe, _gpus) = FakeProbe::with_devices([DeviceReading::new("GPU-1")]);
    let (_ended, mut ended) = tokio::sync::mpsc::channel(1);
    let sampler = Sampler::start(Alive { probe, _ended });
    sampler.ready().await;
    drop(sampler);
    let end = tokio::time::timeout(Duration::from_secs(20), ended.recv()).await;
    assert_eq!(end, Ok(None));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    assert!(
        SamplerConfig::builder()
            .period(Duration::from_millis(99))
            .build()
            .is_err()
    );
    assert!(
        SamplerConfig::builder()
            .routing_tau(Duration::ZERO)
            .build()
            .is_err()
    );
    // A driver that is not there would be opened again without a pause.
    let reopen = |base, max| SamplerConfig::builder().reopen(base, max).build();
    assert!(reopen(Duration::ZERO, Duration::MAX).is_err());
    assert!(reopen(Duration::from_secs(1), Duration::ZERO).is_err());
    assert!(SamplerConfig::builder().build().is_ok());
}
