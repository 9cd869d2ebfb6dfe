//! Jobs against instances that follow a script, over real sockets.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message as Frame, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::routing::{get, put};
use futures_util::StreamExt as _;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::ledger::{Limits, MemoryLedger, Message};

/// What one progress connection does.
#[derive(Clone, Debug)]
enum Line {
    Says(&'static str),
    /// Cuts the connection without a goodbye.
    Breaks,
    /// Stays open and silent.
    Waits,
}

/// An instance that follows a script.
#[derive(Debug)]
struct Fake {
    /// Answer to a submit.
    takes: StatusCode,
    /// Answer to a question about a job.
    knows: StatusCode,
    connections: Mutex<VecDeque<Vec<Line>>>,
    resumed_with: Mutex<Vec<String>>,
    cancelled: AtomicUsize,
    /// Submits that it has taken, and may answer.
    taken: tokio::sync::Semaphore,
    answers: tokio::sync::Semaphore,
}

impl Fake {
    fn new(connections: &[&[Line]]) -> Self {
        Self {
            takes: StatusCode::ACCEPTED,
            knows: StatusCode::OK,
            connections: Mutex::new(connections.iter().map(|lines| lines.to_vec()).collect()),
            resumed_with: Mutex::default(),
            cancelled: AtomicUsize::new(0),
            taken: tokio::sync::Semaphore::new(0),
            answers: tokio::sync::Semaphore::new(100),
        }
    }

    /// Serves on a free port and gives its address.
    async fn start(self) -> (Arc<Self>, String) {
        let fake = Arc::new(self);
        let job = put(Self::submit)
            .get(|State(fake): State<Arc<Self>>| async move {
                (fake.knows, r#"{"status":"running","percent":1}"#)
            })
            .delete(|State(fake): State<Arc<Self>>| async move {
                // Relaxed: read by a test that waits for it.
                fake.cancelled.fetch_add(1, Ordering::Relaxed);
            });
        let app = Router::new()
            .route("/simulations/{id}", job)
            .route("/simulations/{id}/progress", get(Self::progress))
            .with_state(Arc::clone(&fake));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, app).into_future());
        (fake, uri)
    }

    async fn submit(State(fake): State<Arc<Self>>) -> StatusCode {
        // What an instance has begun it does not forget with the connection.
        let answer = tokio::spawn(async move {
            fake.taken.add_permits(1);
            fake.answers.acquire().await.unwrap().forget();
            fake.takes
        });
        answer.await.unwrap()
    }

    async fn progress(
        State(fake): State<Arc<Self>>,
        RawQuery(query): RawQuery,
        upgrade: WebSocketUpgrade,
    ) -> axum::response::Response {
        fake.resumed_with
            .lock()
            .unwrap()
            .push(query.unwrap_or_default());
        let lines = fake
            .connections
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or_default();
        upgrade.on_upgrade(|mut socket| async move {
            for line in lines {
                match line {
                    Line::Says(text) => socket.send(Frame::Text(text.into())).await.unwrap(),
                    Line::Breaks => return,
                    Line::Waits => std::future::pending().await,
                }
            }
        })
    }
}

const FIRST: Line = Line::Says(
    r#"{"seq":1,"percent":10.0,"iterations_done":10,"iterations":100,"iterations_per_second":5.0,"eta_seconds":18.0,"ultra_engine_active":true,"status":"running"}"#,
);
const SECOND: Line = Line::Says(
    r#"{"seq":2,"percent":60.0,"iterations_done":60,"iterations":100,"iterations_per_second":5.0,"eta_seconds":8.0,"status":"running"}"#,
);
const LAST: Line = Line::Says(
    r#"{"seq":3,"percent":100.0,"iterations_done":100,"iterations":100,"status":"finished","result":{"mean": 0.1000000000000000055}}"#,
);

/// Places at these addresses in turn, skipping those to avoid, and how many are held.
fn places(uris: Vec<String>) -> (Places, Arc<()>) {
    let held = Arc::new(());
    let guard = Arc::clone(&held);
    let places: Places = Arc::new(move |avoid| {
        let uri = uris
            .iter()
            .find(|uri| !avoid.iter().any(|id| **id == ***uri))?;
        let held = Box::new(Arc::clone(&guard));
        Some(Place {
            instance: uri.as_str().into(),
            uri: uri.clone(),
            held,
        })
    });
    (places, held)
}

/// An instance that hangs up on whoever submits a job, and how often it was told to drop one.
async fn hangs_up() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 1_024];
            let length = socket.read(&mut head).await.unwrap_or(0);
            if head[..length].starts_with(b"DELETE ") {
                // Relaxed: read by a test that waits for it.
                count.fetch_add(1, Ordering::Relaxed);
                let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
                let _gone = socket.write_all(answer).await;
            }
        }
    });
    (uri, dropped)
}

/// Waits until nothing is under way any more.
async fn settled(jobs: &Jobs) {
    jobs.0.tasks.close();
    let all = jobs.0.tasks.wait();
    let ended = tokio::time::timeout(Duration::from_secs(20), all).await;
    ended.expect("the tasks end in time");
}

fn jobs(uris: Vec<String>) -> (Jobs, Arc<()>) {
    let (places, held) = places(uris);
    (
        Jobs::new(
            Arc::new(MemoryLedger::default()),
            places,
            Arc::new(|_, _| Box::pin(async {})),
        ),
        held,
    )
}

/// Submits a job and gives its whole progress.
async fn run(jobs: &Jobs) -> Vec<Message> {
    let id: JobId = "job".parse().unwrap();
    jobs.submit(id.clone(), "{}".into(), Tenant::default())
        .await
        .unwrap();
    let progress = jobs.ledger().follow(&id, 0).await.unwrap();
    let all = progress.collect::<Vec<_>>();
    tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .expect("the job ends in time")
}

fn sequence(messages: &[Message]) -> Vec<(u64, u32, f64)> {
    messages
        .iter()
        .map(|m| (m.seq, m.attempt, m.percent))
        .collect()
}

#[tokio::test]
async fn a_job_ends_with_the_result_exactly_as_the_instance_wrote_it() {
    let (_, uri) = Fake::new(&[&[FIRST, SECOND, LAST]]).start().await;
    let (jobs, _) = jobs(vec![uri]);
    let messages = run(&jobs).await;
    let last = messages.last().unwrap();
    assert_eq!(
        last.result.as_ref().unwrap().as_str(),
        r#"{"mean": 0.1000000000000000055}"#
    );
    assert_eq!(last.status, Status::Finished);
    assert!(messages.iter().all(|message| message.ultra_engine_active));
}

#[tokio::test]
async fn a_job_whose_instance_is_gone_is_replayed_elsewhere_and_never_goes_back() {
    let mut gone = Fake::new(&[&[FIRST, SECOND, Line::Breaks]]);
    gone.knows = StatusCode::NOT_FOUND;
    let (_, gone) = gone.start().await;
    let (_, other) = Fake::new(&[&[FIRST, SECOND, LAST]]).start().await;
    let (jobs, _) = jobs(vec![gone, other.clone()]);
    let messages = run(&jobs).await;
    let expected = [
        (1, 1, 0.0),
        (2, 1, 10.0),
        (3, 1, 60.0),
        (4, 2, 60.0),
        (5, 2, 60.0),
        (6, 2, 60.0),
        (7, 2, 60.0),
        (8, 2, 100.0),
        (9, 2, 100.0),
    ];
    assert_eq!(sequence(&messages), expected);
    assert_eq!(messages.last().unwrap().instance.as_deref(), Some(&*other));
}

#[tokio::test]
async fn a_broken_connection_is_resumed_in_the_same_attempt() {
    let (fake, uri) = Fake::new(&[&[FIRST, Line::Breaks], &[SECOND, LAST]])
        .start()
        .await;
    let (jobs, _) = jobs(vec![uri]);
    let messages = run(&jobs).await;
    assert!(
        messages.iter().all(|message| message.attempt == 1),
        "{messages:?}"
    );
    assert_eq!(*fake.resumed_with.lock().unwrap(), ["after=0", "after=1"]);
}

#[tokio::test]
async fn an_instance_that_does_not_take_the_job_costs_no_attempt() {
    let mut busy = Fake::new(&[]);
    busy.takes = StatusCode::SERVICE_UNAVAILABLE;
    let (_, busy) = busy.start().await;
    let (_, free) = Fake::new(&[&[LAST]]).start().await;
    let nobody = "http://127.0.0.1:1".to_owned();
    let (jobs, _) = jobs(vec![nobody, busy, free]);
    let messages = run(&jobs).await;
    assert_eq!(
        (
            messages.last().unwrap().status,
            messages.last().unwrap().attempt
        ),
        (Status::Finished, 1)
    );
}

#[tokio::test]
async fn an_instance_that_does_not_answer_a_submit_is_told_to_drop_the_job() {
    let (silent, dropped) = hangs_up().await;
    let (_, other) = Fake::new(&[&[LAST]]).start().await;
    let (jobs, _) = jobs(vec![silent, other]);
    let last = run(&jobs).await.pop().unwrap();
    assert_eq!((last.status, last.attempt), (Status::Finished, 1));
    settled(&jobs).await;
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "it may have a copy");
}

#[tokio::test]
async fn an_instance_that_is_given_up_is_told_to_drop_the_job() {
    let mut vague = Fake::new(&[&[FIRST, Line::Breaks]]);
    vague.knows = StatusCode::INTERNAL_SERVER_ERROR;
    let (vague, uri) = vague.start().await;
    let (_, other) = Fake::new(&[&[LAST]]).start().await;
    let (jobs, _) = jobs(vec![uri, other]);
    assert_eq!(run(&jobs).await.last().unwrap().attempt, 2);
    settled(&jobs).await;
    assert_eq!(vague.cancelled.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_end_of_a_forgotten_job_does_not_take_a_new_one_of_its_name_along() {
    let (fake, uri) = Fake::new(&[&[LAST], &[FIRST, Line::Waits]]).start().await;
    let (places, _held) = places(vec![uri]);
    let [kept, gate] = [(); 2].map(|()| Arc::new(tokio::sync::Semaphore::new(0)));
    let (told, waits) = (Arc::clone(&kept), Arc::clone(&gate));
    let on_result: OnResult = Arc::new(move |_, _| {
        told.add_permits(1);
        let waits = Arc::clone(&waits);
        Box::pin(async move { waits.acquire().await.unwrap().forget() })
    });
    let ledger = MemoryLedger::new(Limits { jobs: 1, active: 1 });
    let jobs = Jobs::new(Arc::new(ledger), places, on_result);
    let [id, other]: [JobId; 2] = ["job", "other"].map(|id| id.parse().unwrap());
    let submit = async || {
        let new = jobs.submit(id.clone(), "{}".into(), Tenant::default());
        assert!(matches!(new.await, Ok(Submitted::New(_))));
    };
    submit().await;
    kept.acquire().await.unwrap().forget();
    // Another one takes the only place, and leaves it again.
    let result: Outcome = serde_json::value::to_raw_value(&1).unwrap().into();
    jobs.submit_known(other, "{}".into(), result).await.unwrap();
    submit().await;
    let mut progress = jobs.ledger().follow(&id, 0).await.unwrap();
    while progress.next().await.is_some_and(|one| one.percent < 10.0) {}
    gate.add_permits(1);
    while jobs.0.tasks.len() > 1 {
        tokio::task::yield_now().await;
    }
    jobs.cancel(&id).await.unwrap();
    settled(&jobs).await;
    assert_eq!(fake.cancelled.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_job_that_no_instance_accepts_fails_at_once() {
    let mut strict = Fake::new(&[]);
    strict.takes = StatusCode::UNPROCESSABLE_ENTITY;
    let (_, strict) = strict.start().await;
    let (jobs, _) = jobs(vec![strict]);
    assert_eq!(run(&jobs).await.last().unwrap().status, Status::Failed);
}

#[tokio::test]
async fn a_cancelled_job_is_cancelled_at_its_instance_and_leaves_its_place() {
    let (fake, uri) = Fake::new(&[&[FIRST, Line::Waits]]).start().await;
    let (jobs, held) = jobs(vec![uri]);
    let id: JobId = "job".parse().unwrap();
    jobs.submit(id.clone(), "{}".into(), Tenant::default())
        .await
        .unwrap();
    let mut progress = jobs.ledger().follow(&id, 0).await.unwrap();
    while progress
        .next()
        .await
        .is_some_and(|message| message.percent < 10.0)
    {}
    assert_eq!(
        jobs.cancel(&id).await.unwrap().latest.status,
        Status::Cancelled
    );
    jobs.0.tasks.close();
    tokio::time::timeout(Duration::from_secs(5), jobs.0.tasks.wait())
        .await
        .unwrap();
    assert_eq!(fake.cancelled.load(Ordering::Relaxed), 1);
    assert_eq!(
        Arc::strong_count(&held),
        2,
        "the test's and the closure's, no place"
    );
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_an_instance_takes_it_is_cancelled_there_too() {
    let mut fake = Fake::new(&[&[FIRST, Line::Waits]]);
    fake.answers = tokio::sync::Semaphore::new(0);
    let (fake, uri) = fake.start().await;
    let (jobs, _held) = jobs(vec![uri]);
    let id: JobId = "job".parse().unwrap();
    let submitted = jobs.submit(id.clone(), "{}".into(), Tenant::default());
    submitted.await.unwrap();
    fake.taken.acquire().await.unwrap().forget();
    jobs.cancel(&id).await.unwrap();
    fake.answers.add_permits(1);
    jobs.0.tasks.close();
    tokio::time::timeout(Duration::from_secs(20), jobs.0.tasks.wait())
        .await
        .unwrap();
    assert_eq!(fake.cancelled.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_asked_last_of_all_is_told_to_drop_the_job_too() {
    let mut fake = Fake::new(&[]);
    fake.answers = tokio::sync::Semaphore::new(0);
    let (fake, uri) = fake.start().await;
    let begun = clock::now();
    let places: Places = Arc::new(move |avoid| {
        // Just before nobody looks for a place any more.
        let late = clock::now() >= begun + PLACE_DEADLINE - Duration::from_secs(1);
        (late && avoid.is_empty()).then(|| {
            // What passes between two sockets takes no time of the paused clock.
            tokio::time::resume();
            Place {
                instance: "last".into(),
                uri: uri.clone(),
                held: Box::new(()),
            }
        })
    });
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    let jobs = Jobs::new(ledger, places, Arc::new(|_, _| Box::pin(async {})));
    let id: JobId = "job".parse().unwrap();
    let submitted = jobs.submit(id.clone(), "{}".into(), Tenant::default());
    submitted.await.unwrap();
    fake.taken.acquire().await.unwrap().forget();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    settled(&jobs).await;
    let view = jobs.ledger().view(&id).await.unwrap();
    assert_eq!(view.latest.status, Status::Failed);
    assert_eq!(fake.cancelled.load(Ordering::Relaxed), 1);
}
