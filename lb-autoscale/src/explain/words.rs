use super::short;
use crate::decision::{Stage, Step};

/// One step in words. Reasons that are not codes, such as an override's, are kept as they are.
#[must_use]
pub fn words(step: &Step) -> String {
    let Step { after, reason, .. } = step;
    match (step.stage, &**reason) {
        (Stage::Metric, "Proposed") => format!("{}asks for {after}", reading(step)),
        // A failure is its code, a colon, and the cause.
        (Stage::Metric, reason) if reason.starts_with("FailedGet") => cause(reason).to_owned(),
        (Stage::Metric, reason) => format!("{reason}: asks for {after}"),
        (Stage::Combine, "ValidMetricFound") => format!("the highest wish wins: {after}"),
        (Stage::Note, reason) if reason.starts_with("FailedGet") => {
            "unknown, so nothing may shrink".to_owned()
        }
        (Stage::Note, "Advises") => format!("would ask for {}", number(step, "replicas")),
        (_, code) => phrase(code).map_or_else(|| code.to_owned(), str::to_owned),
    }
}

/// What the metric stands at, as far as it is known.
fn reading(step: &Step) -> String {
    let told = step.numbers.iter().find_map(|(name, value)| {
        let value = short(*value);
        match &**name {
            "utilization_percent" => Some(format!("{value} % of what is requested: ")),
            "average" => Some(format!("{value} per replica: ")),
            "total" => Some(format!("{value} in all: ")),
            _ => None,
        }
    });
    told.unwrap_or_default()
}

fn cause(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(_, cause)| cause)
}

fn number(step: &Step, wanted: &str) -> String {
    let found = step.numbers.iter().find(|(name, _)| name == wanted);
    found.map_or_else(|| "?".into(), |(_, value)| short(*value))
}

fn phrase(code: &str) -> Option<&'static str> {
    Some(match code {
        "OutOfBounds" => "outside of minReplicas and maxReplicas: put right at once",
        "ScalingDisabled" => "zero replicas with a minimum above: switched off by hand",
        "ScaleUpStabilized" => "a lower wish within the window holds it back",
        "ScaleDownStabilized" => "a higher wish within the window keeps it up",
        "ScaleUpLimit" => "the policies allow no faster growth",
        "ScaleDownLimit" => "the policies allow no faster shrinking",
        "TooManyReplicas" => "more than maxReplicas allows",
        "TooFewReplicas" => "fewer than minReplicas allows",
        "BurstStarted" => "a burst is followed at once",
        "BurstHeld" => "a burst was seen lately: nothing shrinks yet",
        "KeepHealthy" => "so many healthy instances must stay",
        "ChangedLately" => "changed a short while ago: not again so soon",
        "GrewLately" => "grew a short while ago: not again so soon",
        "Budget" => "the month's money allows no more",
        "Enforced" => "the budget is enforced",
        "ReportedOnly" => "more than the month's money allows; reported only",
        "Scheduled" => "the schedule says so",
        "FormerSeasons" => "the same time of former days needed as many",
        "Active" => "there is demand: not to zero",
        "NotIdleLongEnough" => "idle, but not for long enough to go to zero",
        "DemandUnknown" => "demand is unknown: not to zero",
        "BelowActivation" => "demand is too low to wake up for",
        "SomebodyWaits" => "somebody waits for the first instance",
        "MetricSilent" => "a metric is silent: its fallback holds",
        "LastGoodCounts" => "silent: its last good wish counts",
        "LeastUseful" => "leave first: of no use, or with least work",
        "TimeWentBackwards" => "the clock was set back: what is remembered moves with it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(stage: Stage, reason: &'static str) -> Step {
        Step {
            stage,
            rule: "cpu".into(),
            before: 3,
            after: 5,
            reason: reason.into(),
            numbers: vec![
                ("utilization_percent".into(), 92.0),
                ("average".into(), 0.46),
            ],
        }
    }

    #[test]
    fn a_wish_tells_what_the_metric_stands_at() {
        let told = words(&step(Stage::Metric, "Proposed"));
        assert_eq!(told, "92 % of what is requested: asks for 5");
    }

    #[test]
    fn a_failure_tells_its_cause_and_no_code() {
        let reason = "FailedGetPodsMetric: no samples were reported";
        assert_eq!(
            words(&step(Stage::Metric, reason)),
            "no samples were reported"
        );
    }

    #[test]
    fn what_a_person_wrote_stays_as_it_is() {
        assert_eq!(words(&step(Stage::Floor, "launch by kim")), "launch by kim");
    }
}
