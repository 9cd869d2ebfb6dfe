//! What each metric stands at, next to its target.

use crate::decision::{Decision, MetricReport};
use crate::explain::{escape, short};
use crate::spec::{Metric, Spec, Target};

/// A row per metric: what it stands at, its target, and what it asks for.
pub(super) fn table(spec: &Spec, decision: &Decision) -> String {
    let rows: Vec<String> = decision
        .metrics
        .iter()
        .map(|report| {
            let metric = spec.metrics().iter().find(|metric| metric.id == report.id);
            row(report, metric)
        })
        .collect();
    if rows.is_empty() {
        return "<p>No metric was asked.</p>".into();
    }
    format!(
        "<table><tr><th>metric<th>stands at<th>target<th class=bar>share of the target<th>asks for</tr>{}</table>",
        rows.concat()
    )
}

fn row(report: &MetricReport, metric: Option<&Metric>) -> String {
    let id = escape(&report.id);
    if let Some(error) = &report.error {
        return format!(
            "<tr class=failed><td>{id}<td colspan=3>{}<td>–</tr>",
            escape(error)
        );
    }
    let (value, target, unit) = match metric.map(|metric| metric.target) {
        Some(Target::Utilization(percent)) => (
            report.utilization_percent.map(f64::from),
            f64::from(percent),
            " %",
        ),
        Some(Target::AverageValue(target)) => (report.average, target.as_f64(), " each"),
        Some(Target::Value(target)) => (report.total.or(report.average), target.as_f64(), ""),
        None => (None, f64::NAN, ""),
    };
    let told = |value: f64| {
        if value.is_finite() {
            format!("{}{unit}", short(value))
        } else {
            "–".into()
        }
    };
    let share = value.map_or(f64::NAN, |value| value / target);
    let bar = if share.is_finite() {
        let class = if share > 1.0 { "over" } else { "under" };
        // The mark of the target stands at two thirds.
        let width = (share / 1.5 * 100.0).clamp(0.0, 100.0);
        format!("<div class=track><i class={class} style=\"width:{width:.1}%\"></i><u></u></div>")
    } else {
        String::new()
    };
    let replicas = report
        .replicas
        .map_or_else(|| "–".into(), |count| count.to_string());
    format!(
        "<tr><td>{id}<td>{}<td>{}<td class=bar>{bar}<td><b>{replicas}</b></tr>",
        value.map_or_else(|| "–".into(), told),
        told(target)
    )
}
