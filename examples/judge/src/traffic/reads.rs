//! Plain idempotent reads: `GET /whoami`.

use http::Method;

use super::Traffic;

pub(crate) async fn work(traffic: Traffic) {
    let mut round = 0;
    while traffic.next_round(round).await {
        round += 1;
        if let Some(answer) = traffic.idempotent(Method::GET, "/whoami", "").await
            && let Some(instance) = answer.body["instance"].as_str()
        {
            traffic.ledger().answered_by(instance);
        }
    }
}
