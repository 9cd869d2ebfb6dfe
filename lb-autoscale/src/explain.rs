//! A decision as a picture: one row per step, from what was asked to what was done.
//!
//! ```
//! use lb_autoscale::{Inputs, Observation, Spec, State, UnixMillis, decide, explain, spec::Metric};
//!
//! let load = Metric::external("load <&>").average_value(8.0);
//! let spec = Spec::builder("simulation").replicas(3..=5).metric(load).build()?;
//! let inputs = Inputs::new(3).observe("load <&>", Observation::value(90.0));
//! let decision = decide(&spec, &mut State::default(), &inputs, UnixMillis::from_secs(0));
//! let svg = explain::svg(&decision);
//! assert!(svg.starts_with("<svg") && svg.contains("load &lt;&amp;&gt;") && svg.contains("TooManyReplicas"));
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! ```

use crate::decision::{Decision, Stage, Step};

const ROW: usize = 22;

/// The trace of `decision` as a standalone SVG document.
#[must_use]
pub fn svg(decision: &Decision) -> String {
    let head = format!(
        "{} → {} at {}",
        decision.current, decision.desired, decision.at
    );
    let rows: Vec<String> = decision
        .trace
        .iter()
        .enumerate()
        .map(|(row, step)| line(row, step))
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
         <text x=\"12\" y=\"22\" font-weight=\"bold\">{}</text>{}</svg>\n",
        40 + ROW * (rows.len() + 1),
        escape(&head),
        rows.concat(),
    )
}

fn line(row: usize, step: &Step) -> String {
    let y = 48 + row * ROW;
    let color = match (step.stage, step.before == step.after) {
        (Stage::Note | Stage::Time, _) => "#718096",
        (_, true) => "#2d3748",
        (Stage::Floor, _) => "#2f855a",
        (Stage::Ceiling | Stage::Limit | Stage::Stabilize, _) => "#c05621",
        _ => "#2b6cb0",
    };
    let numbers: Vec<String> = step
        .numbers
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let text = |x: usize, text: &str| {
        format!(
            "<text x=\"{x}\" y=\"{y}\" fill=\"{color}\">{}</text>",
            escape(text)
        )
    };
    [
        text(12, &format!("{:?}", step.stage)),
        text(110, &step.rule),
        text(340, &format!("{} → {}", step.before, step.after)),
        text(430, &step.reason),
        text(660, &numbers.join(", ")),
    ]
    .concat()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
