use lb_cache::{CacheError, Local, TieredCache};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let minutes = std::time::Duration::from_secs(300);
    let cache = TieredCache::<String, u64>::builder("results").local(Local::ttl(1_000, minutes)).build()?;
    let value = cache.get_or_load(&"job".to_owned(), || async { Ok::<_, CacheError>(42) }).await?;
    println!("{value}");
    Ok(())
}
