//! Questions to ledgers. Nothing here knows how a gateway works.

use std::collections::{HashMap, HashSet};

use crate::ledger::{End, Seen, Sent};

/// The share `quantile` of these latencies is at or below the answer, in milliseconds;
/// not a number without any.
pub(crate) fn latency_ms<'a>(sent: impl IntoIterator<Item = &'a Sent>, quantile: f64) -> f64 {
    percentile(
        sent.into_iter().map(|one| one.took as f64 / 1e3).collect(),
        quantile,
    )
}

pub(crate) fn percentile(mut values: Vec<f64>, quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (quantile * values.len() as f64).ceil() as usize;
    values
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Requests meant to be sent in this time, in microseconds since 1970.
pub(crate) fn between(sent: &[Sent], from: u64, to: u64) -> impl Iterator<Item = &Sent> {
    sent.iter().filter(move |one| (from..to).contains(&one.at))
}

/// Requests without a good answer.
pub(crate) fn bad(sent: &[Sent]) -> impl Iterator<Item = &Sent> {
    sent.iter().filter(|one| !one.is_good())
}

/// How often each request was executed, at all origins together.
pub(crate) fn executions(seen: &[Seen]) -> HashMap<&str, usize> {
    let mut times = HashMap::new();
    for one in seen {
        if let Seen::Executed { id, .. } = one {
            *times.entry(id.as_str()).or_default() += 1;
        }
    }
    times
}

/// POSTs that an origin, or two, executed more than once.
pub(crate) fn duplicate_posts(seen: &[Seen]) -> usize {
    let posts: HashSet<_> = seen
        .iter()
        .filter_map(|one| match one {
            Seen::Executed { id, method, .. } if method == "POST" => Some(id.as_str()),
            _ => None,
        })
        .collect();
    let times = executions(seen);
    times
        .into_iter()
        .filter(|(id, times)| *times > 1 && posts.contains(id))
        .count()
}

/// Uploads of which an origin got another number of bytes than was sent, and acted upon.
pub(crate) fn cut_uploads(seen: &[Seen], expected: usize) -> usize {
    seen.iter()
        .filter(|one| match one {
            Seen::Executed { method, bytes, .. } => {
                matches!(method.as_str(), "POST" | "PUT") && *bytes != expected
            }
            Seen::Answered { .. } => false,
        })
        .count()
}

/// Cut answers that looked complete to the client.
pub(crate) fn corrupt(sent: &[Sent]) -> usize {
    sent.iter().filter(|one| one.end == End::Corrupt).count()
}

/// POSTs that may have been at a process when it died: begun before, not ended before,
/// and not in the hands of anybody who survived it.
pub(crate) fn in_flight_posts<'a>(
    sent: &'a [Sent],
    survivors: &[Seen],
    died: u64,
    slack: u64,
) -> HashSet<&'a str> {
    let elsewhere = executions(survivors);
    sent.iter()
        .filter(|one| !one.is_idempotent())
        .filter(|one| one.at <= died + slack && one.done() + slack >= died)
        .map(|one| one.id.as_str())
        .filter(|id| !elsewhere.contains_key(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: &str, method: &str, at: u64, took: u64) -> Sent {
        Sent {
            id: id.into(),
            method: method.into(),
            at,
            took,
            status: 200,
            end: End::Whole,
            origin: None,
            retry_after: false,
        }
    }

    fn executed(id: &str, method: &str) -> Seen {
        Seen::Executed {
            id: id.into(),
            method: method.into(),
            at: 0,
            bytes: 3,
        }
    }

    #[test]
    fn only_posts_count_as_duplicates() {
        let seen = ["PUT", "POST"].map(|method| executed(method, method));
        let twice: Vec<_> = seen.iter().chain(&seen).cloned().collect();
        assert_eq!(duplicate_posts(&seen), 0);
        assert_eq!(duplicate_posts(&twice), 1);
    }

    #[test]
    fn an_upload_of_another_length_is_a_cut_one() {
        assert_eq!(cut_uploads(&[executed("a", "POST")], 3), 0);
        assert_eq!(cut_uploads(&[executed("a", "POST")], 4), 1);
        assert_eq!(cut_uploads(&[executed("a", "GET")], 4), 0);
    }

    #[test]
    fn in_flight_is_what_was_under_way_and_with_nobody_else() {
        let all = [
            sent("before", "POST", 0, 10),
            sent("dead", "POST", 90, 20),
            sent("elsewhere", "POST", 90, 20),
            sent("read", "GET", 90, 20),
            sent("after", "POST", 150, 20),
        ];
        let found = in_flight_posts(&all, &[executed("elsewhere", "POST")], 100, 0);
        assert_eq!(found, HashSet::from(["dead"]));
    }

    #[test]
    fn the_percentile_of_nothing_is_not_a_number() {
        assert!(percentile(Vec::new(), 0.99).is_nan());
        assert_eq!(percentile((1..=100).map(f64::from).collect(), 0.99), 99.0);
    }
}
