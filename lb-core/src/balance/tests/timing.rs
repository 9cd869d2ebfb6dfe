//! Which requests teach response times.

use tokio::sync::Semaphore;

use super::*;
use crate::clock;
use crate::policy::LeastResponseTime;

async fn all<F: Future>(answers: Vec<F>) {
    for answer in answers {
        answer.await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_requests_that_begin_at_the_same_moment_the_first_few_teach_response_times() {
    let answers = Arc::new(Semaphore::new(0));
    let let_go = Arc::clone(&answers);
    let slow = service_fn(move |_: Request<Body>| {
        let answers = Arc::clone(&answers);
        async move {
            answers.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let mut service = Balance::over("app", [("a", slow)]).unwrap();
    let pool = service.pool().clone();
    pool.set_policy(LeastResponseTime::default()).unwrap();
    let peak = || {
        pool.endpoints()[0]
            .stats()
            .peak_latency_seconds(clock::now())
    };

    let mut begun: Vec<_> = (0..20).map(|_| service.call(request())).collect();
    let last = begun.split_off(8);
    let_go.add_permits(8);
    all(begun).await;
    assert_eq!(peak(), Some(0.0));
    tokio::time::advance(Duration::from_secs(1)).await;
    let_go.add_permits(12);
    all(last).await;
    assert_eq!(peak(), Some(0.0), "not timed");

    let later = service.call(request());
    tokio::time::advance(Duration::from_secs(1)).await;
    let_go.add_permits(1);
    later.await.unwrap();
    assert!(peak() > Some(0.99), "timed, for it began later");
}
