use axum::Router;
use lb_core::{Pool, policy::LeastRequest};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder("app").endpoints(["http://127.0.0.1:8001"]).policy(LeastRequest::default()).build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    axum::serve(listener, Router::new().fallback_service(pool.reverse_proxy())).await?;
    Ok(())
}
