use lb_registry::{Consul, Membership};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Consul::from_env()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    let app = axum::Router::new();
    Membership::from_env("app").version("1.0.0").serve(&registry, listener, app).await?;
    Ok(())
}
