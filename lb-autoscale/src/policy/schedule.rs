use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use super::Bound;
use crate::UnixMillis;
use crate::spec::SpecError;

/// A window may last a week at most.
const LONGEST_SECONDS: u32 = 7 * 86_400;

/// Bounds of their own at certain times.
///
/// The cron expression is read on the zone's own clock, and the window lasts
/// its duration from there. A start that daylight saving skips happens as much
/// later as the clock jumps; one that comes twice happens the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Shows up in the trace.
    pub name: String,
    /// When it starts: five cron fields.
    pub start: String,
    /// IANA zone, for example `Europe/Berlin`. Default: `UTC`.
    #[serde(default = "utc")]
    pub zone: String,
    /// How long it lasts.
    pub duration_seconds: u32,
    /// At least so many.
    #[serde(default)]
    pub floor: Option<u32>,
    /// At most so many.
    #[serde(default)]
    pub ceiling: Option<u32>,
}

fn utc() -> String {
    "UTC".into()
}

impl Schedule {
    /// A window without bounds yet, in UTC.
    pub fn new(name: impl Into<String>, start: impl Into<String>, duration: Duration) -> Self {
        Self {
            name: name.into(),
            start: start.into(),
            zone: utc(),
            duration_seconds: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
            floor: None,
            ceiling: None,
        }
    }

    /// The zone whose clock the start is read on.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = zone.into();
        self
    }

    /// At least so many.
    #[must_use]
    pub fn floor(mut self, replicas: u32) -> Self {
        self.floor = Some(replicas);
        self
    }

    /// At most so many.
    #[must_use]
    pub fn ceiling(mut self, replicas: u32) -> Self {
        self.ceiling = Some(replicas);
        self
    }

    pub(crate) fn check(&self, path: &str) -> Result<(), SpecError> {
        if !(1..=LONGEST_SECONDS).contains(&self.duration_seconds) {
            return Err(SpecError::new(
                format!("{path}.duration_seconds"),
                "must be from 1 to 604800",
            ));
        }
        five_fields(&self.start)
            .map_err(|error| SpecError::new(format!("{path}.start"), error.to_string()))?;
        TimeZone::get(&self.zone)
            .map_err(|error| SpecError::new(format!("{path}.zone"), error.to_string()))?;
        Ok(())
    }

    /// Whether the window is open at `now`.
    #[must_use]
    pub fn is_open(&self, now: UnixMillis) -> bool {
        self.latest_start(now).is_some_and(|start| {
            now.since(start) < Duration::from_secs(self.duration_seconds.into())
        })
    }

    pub(super) fn bounds(&self, now: UnixMillis) -> Vec<Bound> {
        let open = if self.is_open(now) {
            [self.floor, self.ceiling]
        } else {
            [None, None]
        };
        let name = || format!("schedule {}", self.name);
        let floor = open[0].map(|replicas| Bound::floor(name(), replicas, "Scheduled"));
        let ceiling = open[1].map(|replicas| Bound::ceiling(name(), replicas, "Scheduled"));
        floor.into_iter().chain(ceiling).collect()
    }

    /// The last start at or before `now` that could still matter.
    fn latest_start(&self, now: UnixMillis) -> Option<UnixMillis> {
        let cron = five_fields(&self.start).ok()?;
        let zone = TimeZone::get(&self.zone).ok()?;
        // Cron runs on the zone's wall clock, pretended to be UTC: there every
        // wall time exists once. Two hours of slack cover any jump of the clock.
        let slack = Duration::from_secs(u64::from(self.duration_seconds) + 7_200);
        let mut at = wall_clock(now - slack, &zone)?;
        let end = wall_clock(now + Duration::from_secs(7_200), &zone)?;
        let mut latest = None;
        let mut inclusive = true;
        // Bounded: a start a minute for a week at most.
        for _ in 0..=LONGEST_SECONDS / 60 + 240 {
            let Ok(next) = cron.find_next_occurrence(&at, inclusive) else {
                break;
            };
            if next > end {
                break;
            }
            let start = in_zone(next.datetime(), &zone)?;
            // Not the end: one that was skipped may happen after the one that follows it.
            if start <= now {
                latest = latest.max(Some(start));
            }
            (at, inclusive) = (next, false);
        }
        latest
    }
}

/// With a sixth field, for seconds or years, the others would mean something else.
fn five_fields(text: &str) -> Result<Cron, CronError> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed);
    parser.build().parse(text)
}

fn wall_clock(at: UnixMillis, zone: &TimeZone) -> Option<Zoned> {
    let here = Timestamp::from_millisecond(at.millis())
        .ok()?
        .to_zoned(zone.clone());
    here.datetime().to_zoned(TimeZone::UTC).ok()
}

/// A skipped wall time moves past the gap; of a repeated one the first counts.
fn in_zone(wall: DateTime, zone: &TimeZone) -> Option<UnixMillis> {
    let zoned = zone.to_ambiguous_zoned(wall).compatible().ok()?;
    Some(UnixMillis::from_millis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMillis {
        let timestamp: Timestamp = text.parse().unwrap();
        UnixMillis::from_millis(timestamp.as_millisecond())
    }

    fn hour(start: &str) -> Schedule {
        Schedule::new("test", start, Duration::from_secs(3_600))
            .zone("Europe/Berlin")
            .floor(5)
    }

    #[test]
    fn a_window_follows_its_zones_clock() {
        let workday = hour("0 8 * * MON-FRI");
        assert!(
            workday.is_open(at("2026-07-01T06:30:00Z")),
            "summer: 08:30 in Berlin"
        );
        assert!(
            !workday.is_open(at("2026-07-01T07:00:00Z")),
            "the end is outside"
        );
        assert!(
            workday.is_open(at("2026-12-01T07:00:00Z")),
            "winter: 08:00 in Berlin"
        );
        assert!(!workday.is_open(at("2026-07-04T06:30:00Z")), "a Saturday");
    }

    #[test]
    fn a_start_that_daylight_saving_skips_happens_after_the_jump() {
        // 2026-03-29: at 02:00 the clock jumps to 03:00, so there is no 02:30.
        let skipped = hour("30 2 * * *");
        assert!(!skipped.is_open(at("2026-03-29T01:29:00Z")));
        assert!(
            skipped.is_open(at("2026-03-29T01:30:00Z")),
            "03:30 summer time"
        );
        assert!(!skipped.is_open(at("2026-03-29T02:30:00Z")));
    }

    #[test]
    fn a_start_that_comes_twice_happens_once() {
        // 2026-10-25: at 03:00 the clock goes back to 02:00.
        let repeated = hour("30 2 * * *");
        assert!(
            repeated.is_open(at("2026-10-25T00:30:00Z")),
            "the first 02:30"
        );
        assert!(
            !repeated.is_open(at("2026-10-25T01:45:00Z")),
            "not again at the second"
        );
    }

    #[test]
    fn a_start_that_is_skipped_does_not_hide_the_one_that_follows_it() {
        // 2026-10-04: on Lord Howe Island the clock jumps from 02:00 to 02:30, half past 15:00 UTC.
        let quarter = Schedule::new("test", "15,40 2 * * *", Duration::from_secs(60))
            .zone("Australia/Lord_Howe")
            .floor(5);
        assert!(quarter.is_open(at("2026-10-03T15:40:00Z")), "02:40");
        assert!(quarter.is_open(at("2026-10-03T15:45:00Z")), "02:15, late");
        assert!(!quarter.is_open(at("2026-10-03T15:43:00Z")));
    }

    #[test]
    fn a_leap_day_comes_every_four_years_and_the_thirtieth_of_february_never() {
        let leap = hour("0 0 29 2 *").zone("UTC");
        assert!(leap.is_open(at("2028-02-29T00:59:59Z")));
        assert!(!leap.is_open(at("2027-03-01T00:00:00Z")));
        assert!(!hour("0 0 30 2 *").is_open(at("2027-03-02T00:00:00Z")));
    }

    #[test]
    fn a_window_over_midnight_is_one_window() {
        let night = Schedule::new("night", "0 22 * * *", Duration::from_secs(8 * 3_600));
        assert!(night.is_open(at("2026-01-02T05:59:59Z")));
        assert!(!night.is_open(at("2026-01-02T06:00:00Z")));
    }

    #[test]
    fn nonsense_names_its_field() {
        for start in [
            "61 2 * * *",
            "* * * *",
            "",
            "*/10 0 2 * * *",
            "0 2 * * * 2027",
            "0 0 2 * * * 2027",
        ] {
            let refused = hour(start).check("s").unwrap_err();
            assert_eq!(refused.field(), "s.start", "{start}");
        }
        assert_eq!(
            hour("0 2 * * *")
                .zone("Europe/Atlantis")
                .check("s")
                .unwrap_err()
                .field(),
            "s.zone"
        );
    }
}
