use serde::{Deserialize, Serialize};

use super::Bound;
use crate::UnixMillis;
use crate::decision::{Stage, Trace};
use crate::time::DAY_MILLIS;

const HOUR_MILLIS: f64 = 3_600_000.0;

/// What a month (UTC) may cost. Reports by default; enforced, it is a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Price of one replica for one hour, in any currency.
    pub price_per_replica_hour: f64,
    /// What a calendar month may cost, in the same currency.
    pub per_month: f64,
    /// Whether the budget is a ceiling. Default: no, it is reported only.
    #[serde(default)]
    pub enforce: bool,
}

/// What was spent in the month that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spending {
    /// Months since year 0.
    month: i64,
    replica_hours: f64,
    counted_until: Option<UnixMillis>,
}

impl Budget {
    pub(super) fn bound(
        &self,
        spending: &mut Spending,
        current: u32,
        now: UnixMillis,
        trace: &mut Trace,
    ) -> Option<Bound> {
        spending.count(current, now);
        let left = self.per_month - spending.replica_hours * self.price_per_replica_hour;
        let hours_left = millis_left_in_month(now) as f64 / HOUR_MILLIS;
        // `as` maps a negative or undefined allowance to zero.
        let allowed = (left / (self.price_per_replica_hour * hours_left)) as u32;
        if current > allowed || self.enforce {
            let numbers = [("left", left), ("allowed", f64::from(allowed))];
            let reason = if self.enforce {
                "Enforced"
            } else {
                "ReportedOnly"
            };
            trace.step(Stage::Note, "budget", (current, current), reason, &numbers);
        }
        self.enforce
            .then(|| Bound::ceiling("budget", allowed, "Budget"))
    }
}

impl Spending {
    fn count(&mut self, replicas: u32, now: UnixMillis) {
        let month = month_of(now);
        let since = self.counted_until.replace(now);
        if month != self.month {
            *self = Self {
                month,
                replica_hours: 0.0,
                counted_until: Some(now),
            };
        } else if let Some(since) = since {
            let hours = now.since(since).as_secs_f64() / 3_600.0;
            self.replica_hours += hours * f64::from(replicas);
        }
    }
}

/// Months since year 0.
fn month_of(at: UnixMillis) -> i64 {
    let (year, month, _) = at.date();
    year * 12 + month - 1
}

fn millis_left_in_month(now: UnixMillis) -> i64 {
    let month = month_of(now);
    let since_midnight = now.millis().rem_euclid(DAY_MILLIS);
    let midnight = now.millis().saturating_sub(since_midnight);
    let next = (1..=31)
        .map(|days| midnight.saturating_add(days * DAY_MILLIS))
        .find(|start| month_of(UnixMillis::from_millis(*start)) != month);
    let next = next.unwrap_or_else(|| midnight.saturating_add(DAY_MILLIS));
    next.saturating_sub(now.millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-28T12:00:00Z, a leap year.
    const LEAP: UnixMillis = UnixMillis::from_secs(1_709_121_600);

    #[test]
    fn months_end_where_the_calendar_says() {
        assert_eq!(month_of(LEAP), 2024 * 12 + 1);
        assert_eq!(millis_left_in_month(LEAP), DAY_MILLIS + DAY_MILLIS / 2);
        let march = UnixMillis::from_millis(LEAP.millis() + DAY_MILLIS * 3 / 2);
        assert_eq!(month_of(march), 2024 * 12 + 2);
    }

    #[test]
    fn an_enforced_budget_is_a_ceiling_that_sinks_as_money_is_spent() {
        let budget = Budget {
            price_per_replica_hour: 1.0,
            per_month: 180.0,
            enforce: true,
        };
        let mut spending = Spending::default();
        let mut ceiling = |current, now| {
            budget
                .bound(&mut spending, current, now, &mut Trace::default())
                .map(|bound| bound.replicas)
        };
        assert_eq!(ceiling(10, LEAP), Some(5), "180 over 36 hours");
        let later = UnixMillis::from_secs(LEAP.millis() / 1_000 + 12 * 3_600);
        assert_eq!(
            ceiling(10, later),
            Some(2),
            "120 are spent, 24 hours are left"
        );
    }
}
