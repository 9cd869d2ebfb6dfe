//! The page for people: what was decided lately, and why.

mod metrics;

use std::sync::Arc;

use crate::decision::{Condition, Decision, Stage};
use crate::explain::{self, escape};
use crate::policy::{Override, OverrideKind};
use crate::run::Control;
use crate::spec::Spec;
use crate::{State, UnixMillis};

const STYLE: &str = include_str!("page.css");
/// So many changes and audit entries are listed.
const LISTED: usize = 20;

/// The decision made at `at`, or the latest, among those that are kept.
pub(super) fn page(control: &Control, at: Option<UnixMillis>) -> String {
    let (status, spec, state) = (control.status(), control.spec(), control.state());
    let asked_for = at.and_then(|at| status.decisions.iter().find(|decision| decision.at == at));
    let shown = asked_for.or(status.decisions.first());
    let name = escape(&status.name);
    // An older decision is being read: it must not jump away.
    let refresh = if asked_for.is_some() {
        ""
    } else {
        "<meta http-equiv=\"refresh\" content=\"15\">"
    };
    let replayable = |decision: &Decision| {
        let records = control.records();
        records.iter().any(|record| record.now == decision.at)
    };
    let body = match shown {
        Some(decision) => [
            headline(&name, decision, asked_for.is_some()),
            trouble(status.error.as_deref(), status.failures_in_a_row),
            manual(&state),
            card(
                "Lately",
                &explain::timeline(
                    &status.decisions,
                    spec.min_replicas()..=spec.max_replicas(),
                    Some(decision.at),
                ),
            ),
            card("Step by step", &explain::svg(decision)),
            card("Metrics", &metrics::table(&spec, decision)),
            facts(decision, replayable(decision)),
            card("Changes", &changes(&status.decisions)),
            settings(&spec),
            audit(control),
        ]
        .concat(),
        None => [
            format!("<header><p class=name>{name}</p><h1>no decision yet</h1></header>"),
            trouble(status.error.as_deref(), status.failures_in_a_row),
        ]
        .concat(),
    };
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>{refresh}\
         <meta name=viewport content=\"width=device-width\"><title>{name}: replicas</title>\
         <style>{STYLE}</style><main>{body}</main></html>\n"
    )
}

fn card(title: &str, content: &str) -> String {
    format!("<section><h2>{title}</h2>{content}</section>")
}

fn headline(name: &str, decision: &Decision, older: bool) -> String {
    let count = if decision.changes() {
        let way = if decision.desired > decision.current {
            "up"
        } else {
            "down"
        };
        format!(
            "{} <span class={way}>→ {}</span>",
            decision.current, decision.desired
        )
    } else {
        format!("{}", decision.desired)
    };
    let latest = if older {
        " · <a href=\"?\">back to the latest</a>"
    } else {
        ""
    };
    format!(
        "<header><p class=name>{name} · {}{latest}</p><h1>{count} replicas</h1><p class=why>{}</p></header>",
        when(decision.at),
        escape(&because(decision))
    )
}

/// The winner and every step that moved the count, without codes.
fn because(decision: &Decision) -> String {
    let told: Vec<String> = decision
        .trace
        .iter()
        .filter_map(|step| match step.stage {
            Stage::Combine => Some(format!("{} asks for {}", step.rule, step.after)),
            Stage::Metric => None,
            Stage::Victims => Some(format!("{} {}", step.rule, explain::words(step))),
            _ if step.before == step.after => None,
            _ => Some(format!("{}: {}", step.rule, explain::words(step))),
        })
        .collect();
    if told.is_empty() {
        "nothing asks for a change".into()
    } else {
        told.join("; ")
    }
}

/// `2026-03-02 08:44:00 UTC`.
fn when(at: UnixMillis) -> String {
    let text = at.to_string();
    let seconds = text.split_once('.').map_or(&*text, |(seconds, _)| seconds);
    format!("{} UTC", seconds.replace('T', " "))
}

fn trouble(error: Option<&str>, failures: u32) -> String {
    error.map_or_else(String::new, |error| {
        format!("<p class=trouble>The fleet cannot be seen or changed, {failures} times in a row: {}</p>", escape(error))
    })
}

fn manual(state: &State) -> String {
    let Some(Override {
        kind,
        author,
        reason,
        expires_at,
    }) = state.current_override()
    else {
        return String::new();
    };
    let order = match kind {
        OverrideKind::Exact(count) => format!("exactly {count}"),
        OverrideKind::Floor(count) => format!("at least {count}"),
        OverrideKind::Freeze => "no change".into(),
    };
    format!(
        "<p class=manual>Override: <b>{order}</b> until {}, by {}: {}</p>",
        when(*expires_at),
        escape(author),
        escape(reason)
    )
}

/// Conditions, victims, and the way to take the decision home.
fn facts(decision: &Decision, replayable: bool) -> String {
    let chip = |name: &str, condition: Option<Condition>| {
        condition.map_or_else(String::new, |Condition { status, reason }| {
            let mark = if status { "yes" } else { "no" };
            format!("<span class=\"chip {mark}\">{name} <b>{mark}</b> {reason}</span>")
        })
    };
    let conditions = &decision.conditions;
    let chips = [
        chip("AbleToScale", conditions.able_to_scale),
        chip("ScalingActive", conditions.scaling_active),
        chip("ScalingLimited", conditions.scaling_limited),
    ]
    .concat();
    let victims = match decision.victims.len() {
        0 => String::new(),
        all => {
            let named: Vec<String> = decision
                .victims
                .iter()
                .take(LISTED)
                .map(|victim| escape(victim))
                .collect();
            let more = if all > LISTED {
                format!(" and {} more", all - LISTED)
            } else {
                String::new()
            };
            format!("<p>Stopped, in this order: {}{more}</p>", named.join(", "))
        }
    };
    let record = if replayable {
        format!(
            "<p><a href=\"?record={}\" download=\"decision-{0}.json\">Take this decision with you</a> to replay it elsewhere.</p>",
            decision.at.millis()
        )
    } else {
        String::new()
    };
    card(
        "As Kubernetes would put it",
        &[chips, victims, record].concat(),
    )
}

fn changes(decisions: &[Arc<Decision>]) -> String {
    let changed = decisions.iter().filter(|decision| decision.changes());
    let rows: Vec<String> = changed
        .take(LISTED)
        .map(|decision| {
            format!(
                "<tr><td><a href=\"?at={}\">{}</a><td class=count>{} → {}<td>{}</tr>",
                decision.at.millis(),
                when(decision.at),
                decision.current,
                decision.desired,
                escape(&because(decision))
            )
        })
        .collect();
    let quiet = decisions
        .iter()
        .filter(|decision| !decision.changes())
        .count();
    format!(
        "<table>{}</table><p class=faint>{quiet} of the {} decisions kept changed nothing.</p>",
        rows.concat(),
        decisions.len()
    )
}

fn settings(spec: &Spec) -> String {
    let metrics: Vec<String> = spec
        .metrics()
        .iter()
        .map(|metric| escape(&metric.id))
        .collect();
    let bounds = format!(
        "<p>{} to {} replicas; metrics: {}</p>",
        spec.min_replicas(),
        spec.max_replicas(),
        if metrics.is_empty() {
            "none".into()
        } else {
            metrics.join(", ")
        }
    );
    card("Specification", &[bounds, schedules(spec)].concat())
}

#[cfg(feature = "schedule")]
fn schedules(spec: &Spec) -> String {
    let row = |schedule: &crate::policy::Schedule| {
        let bound =
            |count: Option<u32>| count.map_or_else(|| "–".into(), |count| count.to_string());
        format!(
            "<tr><td>{}<td><code>{}</code> {}<td>{} s<td>{}<td>{}</tr>",
            escape(&schedule.name),
            escape(&schedule.start),
            escape(&schedule.zone),
            schedule.duration_seconds,
            bound(schedule.floor),
            bound(schedule.ceiling)
        )
    };
    let rows: Vec<String> = spec.policies().schedules.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<table><tr><th>schedule<th>starts<th>lasts<th>floor<th>ceiling</tr>{}</table>",
        rows.concat()
    )
}

#[cfg(not(feature = "schedule"))]
fn schedules(_: &Spec) -> String {
    String::new()
}

fn audit(control: &Control) -> String {
    let entries = control.audit();
    if entries.is_empty() {
        return String::new();
    }
    let row = |entry: &crate::run::Audit| {
        format!(
            "<tr><td>{}<td>{}<td>{}</tr>",
            when(entry.at),
            escape(&entry.author),
            escape(&entry.action)
        )
    };
    let rows: Vec<String> = entries.iter().take(LISTED).map(row).collect();
    card(
        "Who changed what",
        &format!("<table>{}</table>", rows.concat()),
    )
}
