//! Which settings of a server do not fit a cache?

use std::collections::HashMap;

use ::redis::{RedisResult, cmd};

use super::connection::Connection;

/// What differs from the table in the module docs.
pub(super) async fn advice(
    connection: &mut Connection,
    clustered: bool,
) -> RedisResult<Vec<String>> {
    let mut found = HashMap::new();
    for name in [
        "maxmemory",
        "maxmemory-policy",
        "cluster-require-full-coverage",
        "cluster-allow-reads-when-down",
    ] {
        let setting: HashMap<String, String> =
            connection.query(cmd("CONFIG").arg("GET").arg(name)).await?;
        found.extend(setting);
    }
    Ok(judge(&found, clustered))
}

/// Logs the advice once; a server that does not let us read its settings is not asked twice.
pub(super) async fn warn_of(mut connection: Connection, clustered: bool) {
    for advice in advice(&mut connection, clustered).await.unwrap_or_default() {
        tracing::warn!(advice, "redis settings");
    }
}

fn judge(settings: &HashMap<String, String>, clustered: bool) -> Vec<String> {
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|setting| setting == value);
    let mut advice = Vec::new();
    if is("maxmemory", "0") {
        advice
            .push("maxmemory is 0: set a limit, or the server grows until it is killed".to_owned());
    }
    if is("maxmemory-policy", "noeviction") {
        advice.push(
            "maxmemory-policy is noeviction: use allkeys-lru, or writes fail when memory is full"
                .to_owned(),
        );
    }
    if clustered && is("cluster-require-full-coverage", "yes") {
        advice.push(
            "cluster-require-full-coverage is yes: one dead primary stops the whole cluster"
                .to_owned(),
        );
    }
    if clustered && is("cluster-allow-reads-when-down", "no") {
        advice.push("cluster-allow-reads-when-down is no: a minority serves no reads".to_owned());
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_fit_for_a_cache_gets_no_advice() {
        let good = HashMap::from(
            [
                ("maxmemory", "2147483648"),
                ("maxmemory-policy", "allkeys-lru"),
                ("cluster-require-full-coverage", "no"),
                ("cluster-allow-reads-when-down", "yes"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert!(judge(&good, true).is_empty());
        let mut bad = good;
        bad.insert("maxmemory-policy".to_owned(), "noeviction".to_owned());
        bad.insert("cluster-require-full-coverage".to_owned(), "yes".to_owned());
        assert_eq!((judge(&bad, false).len(), judge(&bad, true).len()), (1, 2));
    }
}
