//! The figures as a picture: one panel per scenario, a bar per policy.

use std::fmt::Write;

use crate::Row;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 190.0;
const BAR: f64 = 18.0;
/// The scale is logarithmic, from here ...
const LEAST_MS: f64 = 10.0;
/// ... to here.
const MOST_MS: f64 = 100_000.0;

fn x(ms: f64) -> f64 {
    let share = (ms.max(LEAST_MS) / LEAST_MS).log10() / (MOST_MS / LEAST_MS).log10();
    LEFT + share.min(1.0) * (WIDTH - LEFT - 70.0)
}

/// Draws p99 as bars and p50 as ticks.
pub(crate) fn draw(scenarios: &[(String, Row)]) -> String {
    let mut body = String::new();
    let mut y = 40.0;
    for (name, row) in scenarios {
        let _ = write!(
            body,
            r#"<text x="10" y="{y}" font-weight="bold">{}</text>"#,
            escape(name)
        );
        y += 12.0;
        let top = y;
        for (policy, q) in row {
            let (bar, middle, text) = (x(q.p99_ms) - LEFT, x(q.p50_ms), y + 13.0);
            let fill = if policy == "resource_based" {
                "#2166ac"
            } else {
                "#9ecae1"
            };
            let _ = write!(
                body,
                r##"<text x="{}" y="{text}" text-anchor="end">{policy}</text><rect x="{LEFT}" y="{y}" width="{bar:.1}" height="{}" fill="{fill}"/><rect x="{middle:.1}" y="{y}" width="2" height="{}" fill="#333"/><text x="{:.1}" y="{text}">{:.0} ms</text>"##,
                LEFT - 6.0,
                BAR - 4.0,
                BAR - 4.0,
                LEFT + bar + 5.0,
                q.p99_ms,
            );
            y += BAR;
        }
        for decade in [10.0, 100.0, 1_000.0, 10_000.0, 100_000.0] {
            let at = x(decade);
            let _ = write!(
                body,
                r##"<line x1="{at:.1}" y1="{top}" x2="{at:.1}" y2="{y}" stroke="#bbb" stroke-dasharray="2 3"/>"##
            );
        }
        y += 34.0;
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/><text x="10" y="18">Time in system by policy: bar = p99, tick = p50, mean of the seeds, logarithmic scale</text>{body}</svg>
"##
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
