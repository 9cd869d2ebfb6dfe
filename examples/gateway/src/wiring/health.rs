//! Instances -> balancer: who is ready, how busy, and who misbehaves.
//!
//! Each instance is asked for `/ready` once a second. It says no while its GPU is lost, and its
//! answer carries its load report, so that policies know of instances that answer nobody else. An
//! instance whose own requests fail is ejected for a while, whatever it says of itself.

use std::time::Duration;

use http::uri::InvalidUri;
use lb_core::health::{HealthCheck, HttpProbe};
use lb_core::outlier::OutlierDetection;

/// Once a second; three refusals in a row take an instance out, one good answer brings it back.
///
/// # Errors
///
/// Never: the path is one.
pub fn check() -> Result<HealthCheck, InvalidUri> {
    let check = HealthCheck::new(HttpProbe::get("/ready")?);
    let check = check.every(Duration::from_secs(1)).rise(1);
    Ok(check.timeout(Duration::from_secs(3)))
}

/// Five failures in a row, or far more than the others have. An instance that answers 429 or 503
/// is full or on its way out, which is no fault of it.
#[must_use]
pub fn outliers() -> OutlierDetection {
    OutlierDetection::default().ignore_overload()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use http::StatusCode;
    use lb_core::{Cause, Pool};

    use super::*;

    #[tokio::test]
    async fn an_instance_that_is_not_ready_is_taken_out_with_its_report() {
        let answer = || async { StatusCode::SERVICE_UNAVAILABLE };
        let app = Router::new().route("/ready", get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let _server = tokio::spawn(axum::serve(listener, app).into_future());
        let pool = Pool::builder("simulation").endpoints([uri.as_str()]);
        let pool = pool.health(check().unwrap()).outlier(outliers());
        let pool = pool.build().unwrap();
        while pool.status().endpoints[0].reasons != [Cause::Unhealthy] {
            tokio::task::yield_now().await;
        }
    }
}
