//! Decisions for people: in words, as a picture of one, as a picture of many.
//!
//! [`words`] says one step in a sentence without reason codes. [`svg`] draws one
//! decision, a bar per step from what was asked to what was done. [`timeline`]
//! draws the decisions of the last minutes or hours: what was wanted, and what
//! was asked for before windows, limits and policies. Both are standalone SVG
//! documents; names from outside are escaped.
//!
//! ```
//! use lb_autoscale::{Inputs, Observation, Spec, State, UnixMillis, decide, explain, spec::Metric};
//!
//! let load = Metric::external("load <&>").average_value(8.0);
//! let spec = Spec::builder("simulation").replicas(3..=5).metric(load).build()?;
//! let inputs = Inputs::new(3).observe("load <&>", Observation::value(90.0));
//! let decision = decide(&spec, &mut State::default(), &inputs, UnixMillis::from_secs(0));
//! assert_eq!(explain::words(&decision.trace[0]), "30 per replica: asks for 12");
//!
//! let svg = explain::svg(&decision);
//! assert!(svg.starts_with("<svg") && svg.contains("load &lt;&amp;&gt;"));
//! assert!(svg.contains("more than maxReplicas allows"));
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! ```

mod steps;
mod timeline;
mod words;

pub use steps::svg;
pub use timeline::timeline;
pub use words::words;

const FONT: &str = "system-ui,-apple-system,'Segoe UI',sans-serif";
const INK: &str = "#1f2933";
const FAINT: &str = "#7b8794";
const LINE: &str = "#e4e7eb";
const BLUE: &str = "#2563eb";
const GREEN: &str = "#15803d";
const ORANGE: &str = "#c2570c";

/// For text and attributes of XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A number with three digits after the point at most.
pub(crate) fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Shortens to so many characters.
fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{head}…")
}
