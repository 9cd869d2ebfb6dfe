use lb_gpu::reading::DeviceReading;
use lb_gpu::{FakeGpus, FakeProbe, Ratio};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn device(id: &str, index: u32, busy: u32) -> DeviceReading {
    let mut device = DeviceReading::new(id);
    device.index = Some(index);
    device.metrics.busy = Ratio::percent(busy);
    device
}

/// An instance that was given the second of two GPUs.
async fn second_of_two() -> (Gpus, FakeGpus) {
    let (probe, gpus) = FakeProbe::with_devices([device("GPU-B", 1, 90), device("GPU-A", 0, 10)]);
    let share = Share {
        only: Some(3),
        slots: 1,
        ..Share::default()
    };
    let instance = Gpus::watch(Sampler::start(probe), &share).await.unwrap();
    (instance, gpus)
}

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

#[tokio::test]
async fn an_instance_reports_its_own_gpu_and_no_other() {
    let (instance, _gpus) = second_of_two().await;
    assert_eq!(instance.load().gpu, Ratio::percent(90));
    assert_eq!(instance.latest().devices.len(), 1);
}

#[tokio::test]
async fn the_loss_of_its_gpu_ends_a_turn_and_the_waiting_for_one() {
    let (instance, gpus) = second_of_two().await;
    let running = instance.turn(&tenant("a"), Work::Job).await.unwrap();
    assert_eq!(running.device().as_str(), "GPU-B");
    let (next, other) = (tenant("a"), instance.clone());
    let waiting = tokio::spawn(async move { other.turn(&next, Work::Job).await.unwrap_err() });
    gpus.update(|devices| devices.retain(|device| device.id.as_str() != "GPU-B"));
    soon(running.revoked()).await;
    assert_eq!(soon(waiting).await.unwrap(), NoTurn::Lost);
    assert!(!instance.signal().fit);
}

#[tokio::test]
async fn the_loss_of_a_gpu_that_others_use_changes_nothing() {
    let (instance, gpus) = second_of_two().await;
    gpus.update(|devices| devices.retain(|device| device.id.as_str() == "GPU-B"));
    let mut latest = instance.seen.clone();
    soon(latest.changed()).await.unwrap();
    soon(latest.changed()).await.unwrap();
    assert!(instance.signal().fit);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_comes_late_does_not_wait_behind_the_whole_queue() {
    let instance = Gpus::none(1);
    let (crowd, late) = (tenant("crowd"), tenant("late"));
    let running = instance.turn(&crowd, Work::Job).await.unwrap();
    let (order, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let queue = |tenant: Tenant| {
        let (instance, order) = (instance.clone(), order.clone());
        async move {
            let turn = instance.turn(&tenant, Work::Job).await;
            order.send(tenant).unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(turn);
        }
    };
    let mut all: Vec<_> = (0..5).map(|_| tokio::spawn(queue(crowd.clone()))).collect();
    all.push(tokio::spawn(queue(late.clone())));
    while instance.turns().counts().0 < 6 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_millis(300)).await;
    drop(running);
    let mut before_late = 0;
    while ended.recv().await != Some(late.clone()) {
        before_late += 1;
    }
    assert!(before_late <= 1, "{before_late} of the crowd went first");
}

#[tokio::test]
async fn a_direct_run_goes_before_the_jobs_of_its_own_tenant_and_of_no_other() {
    let instance = Gpus::none(1);
    let running = instance.turn(&tenant("other"), Work::Job).await.unwrap();
    let (order, mut ended) = tokio::sync::mpsc::unbounded_channel();
    for (name, work) in [("b", Work::Job), ("a", Work::Job), ("a", Work::Direct)] {
        let (instance, order) = (instance.clone(), order.clone());
        let waiting = instance.turns().counts().0 + 1;
        let turns = instance.turns().clone();
        tokio::spawn(async move {
            let _turn = instance.turn(&tenant(name), work).await.unwrap();
            order.send((name, work)).unwrap();
        });
        while turns.counts().0 < waiting {
            tokio::task::yield_now().await;
        }
    }
    drop(running);
    let order = [soon(ended.recv()).await, soon(ended.recv()).await];
    assert_eq!(order, [Some(("b", Work::Job)), Some(("a", Work::Direct))]);
}
