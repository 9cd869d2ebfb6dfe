use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{BLUE, FAINT, FONT, INK, LINE, ORANGE, escape};
use crate::UnixMillis;
use crate::decision::Decision;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 260.0;
/// Left, top, right and bottom edges of the drawing.
const PLOT: (f64, f64, f64, f64) = (48.0, 34.0, 940.0, 226.0);

/// The replicas wanted by `decisions` (latest first, as a loop keeps them) over
/// time, and what the metrics asked for, as a standalone SVG document. `bounds`
/// are drawn as dashed lines; the decision made at `chosen` is marked. Each
/// decision links to `?at=` its time in milliseconds.
#[must_use]
pub fn timeline(
    decisions: &[Arc<Decision>],
    bounds: RangeInclusive<u32>,
    chosen: Option<UnixMillis>,
) -> String {
    let scale = Scale::of(decisions, *bounds.start());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"{FONT}\" font-size=\"11\">\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#fff\"/>\
         <text x=\"{}\" y=\"20\" font-size=\"13\" font-weight=\"600\" fill=\"{BLUE}\">replicas wanted</text>\
         <text x=\"{}\" y=\"20\" font-size=\"13\" fill=\"{ORANGE}\">asked for by the metrics</text>",
        PLOT.0,
        PLOT.0 + 130.0
    );
    scale.grid(&mut out);
    for (name, bound) in [("min", *bounds.start()), ("max", *bounds.end())] {
        if f64::from(bound) <= scale.top {
            scale.bound(&mut out, name, bound);
        }
    }
    let oldest_first = || decisions.iter().rev();
    let asked = oldest_first().filter_map(|decision| {
        let wishes = decision.metrics.iter().filter_map(|metric| metric.replicas);
        Some((decision.at, wishes.max()?))
    });
    scale.steps(
        &mut out,
        asked,
        &format!("stroke=\"{ORANGE}\" stroke-width=\"1.5\" stroke-opacity=\"0.75\""),
    );
    let wanted = oldest_first().map(|decision| (decision.at, decision.desired));
    scale.steps(
        &mut out,
        wanted,
        &format!("stroke=\"{BLUE}\" stroke-width=\"2.5\""),
    );
    for decision in oldest_first() {
        scale.dot(&mut out, decision, chosen == Some(decision.at));
    }
    out.push_str("</svg>\n");
    out
}

struct Scale {
    first: UnixMillis,
    last: UnixMillis,
    top: f64,
}

impl Scale {
    fn of(decisions: &[Arc<Decision>], min: u32) -> Self {
        let highest = decisions
            .iter()
            .flat_map(|decision| {
                let wishes = decision.metrics.iter().filter_map(|metric| metric.replicas);
                wishes.chain([decision.current, decision.desired])
            })
            .fold(min.max(4), u32::max);
        // Room for the wishes, but a wish for thousands must not flatten the rest.
        let wanted = decisions.iter().map(|decision| decision.desired).max();
        let most = wanted.unwrap_or(highest).max(4).saturating_mul(2);
        Self {
            first: decisions
                .last()
                .map_or_else(UnixMillis::default, |decision| decision.at),
            last: decisions
                .first()
                .map_or_else(UnixMillis::default, |decision| decision.at),
            top: f64::from(highest.min(most)) * 1.1,
        }
    }

    fn x(&self, at: UnixMillis) -> f64 {
        let span = self.last.since(self.first).as_secs_f64();
        let share = if span > 0.0 {
            at.since(self.first).as_secs_f64() / span
        } else {
            1.0
        };
        PLOT.0 + (PLOT.2 - PLOT.0) * share
    }

    fn y(&self, count: u32) -> f64 {
        PLOT.3 - (PLOT.3 - PLOT.1) * (f64::from(count) / self.top).min(1.0)
    }

    fn grid(&self, out: &mut String) {
        // `as` truncates: a handful of round counts.
        let step = (self.top / 4.0).ceil().max(1.0) as u32;
        for count in (0..=self.top as u32).step_by(step as usize) {
            let y = self.y(count);
            let _ = write!(
                out,
                "<path d=\"M{} {y:.1}H{}\" stroke=\"{LINE}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{FAINT}\">{count}</text>",
                PLOT.0,
                PLOT.2,
                PLOT.0 - 8.0,
                y + 4.0
            );
        }
        for (at, anchor) in [(self.first, "start"), (self.last, "end")] {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"{FAINT}\">{} UTC</text>",
                self.x(at),
                PLOT.3 + 20.0,
                at.clock_time()
            );
        }
    }

    fn bound(&self, out: &mut String, name: &str, count: u32) {
        let y = self.y(count);
        let _ = write!(
            out,
            "<path d=\"M{} {y:.1}H{}\" stroke=\"{FAINT}\" stroke-dasharray=\"3 4\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{FAINT}\">{name} {count}</text>",
            PLOT.0,
            PLOT.2,
            PLOT.2,
            y + if name == "min" { 13.0 } else { -4.0 }
        );
    }

    /// A line that holds each value until the next.
    fn steps(
        &self,
        out: &mut String,
        points: impl Iterator<Item = (UnixMillis, u32)>,
        style: &str,
    ) {
        let mut path = String::new();
        for (at, count) in points {
            let (x, y) = (self.x(at), self.y(count));
            let _ = match path.is_empty() {
                true => write!(path, "M{x:.1} {y:.1}"),
                false => write!(path, "H{x:.1}V{y:.1}"),
            };
        }
        if !path.is_empty() {
            let _ = write!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke-linejoin=\"round\" {style}/>"
            );
        }
    }

    fn dot(&self, out: &mut String, decision: &Decision, chosen: bool) {
        let radius = match (chosen, decision.changes()) {
            (true, _) => 6.0,
            (false, true) => 4.0,
            (false, false) => 1.5,
        };
        let (fill, stroke) = if chosen { ("#fff", INK) } else { (BLUE, BLUE) };
        let (x, y) = (self.x(decision.at), self.y(decision.desired));
        // The circle that is seen may be small; the one that is hit is not.
        let _ = write!(
            out,
            "<a href=\"?at={}\"><title>{}\n{}</title><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\" fill=\"transparent\"/>\
             <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"2\"/></a>",
            decision.at.millis(),
            decision.at,
            escape(&decision.why())
        );
    }
}
