use super::words::words;
use super::{BLUE, FAINT, FONT, GREEN, INK, LINE, ORANGE, clip, escape, short};
use crate::decision::{Decision, Stage, Step};

const WIDTH: usize = 960;
const HEAD: usize = 62;
const ROW: usize = 40;
/// Where the bars begin and how long the longest is.
const BAR: (f64, f64) = (290.0, 250.0);
const WORDS: usize = 610;

/// The trace of `decision` as a standalone SVG document: a row per step, with a
/// bar from the count before to the count after.
#[must_use]
pub fn svg(decision: &Decision) -> String {
    let counts = decision
        .trace
        .iter()
        .flat_map(|step| [step.before, step.after]);
    let most = f64::from(counts.max().unwrap_or(0).max(decision.current).max(1));
    let rows: Vec<String> = decision
        .trace
        .iter()
        .enumerate()
        .map(|(row, step)| line(HEAD + row * ROW, step, most))
        .collect();
    let height = HEAD + ROW * rows.len() + 12;
    let head = if decision.changes() {
        format!("{} → {}", decision.current, decision.desired)
    } else {
        format!("stays at {}", decision.current)
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"{FONT}\" font-size=\"13\">\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#fff\"/>\
         <text x=\"20\" y=\"36\" font-size=\"22\" font-weight=\"600\" fill=\"{INK}\">{head}</text>\
         <text x=\"{}\" y=\"36\" text-anchor=\"end\" fill=\"{FAINT}\">{}</text>{}</svg>\n",
        WIDTH - 20,
        decision.at,
        rows.concat(),
    )
}

fn line(top: usize, step: &Step, most: f64) -> String {
    let middle = top + ROW / 2;
    let at = |count: u32| BAR.0 + BAR.1 * f64::from(count) / most;
    let (from, to) = (
        at(step.before.min(step.after)),
        at(step.before.max(step.after)),
    );
    let color = color(step);
    // A step that moved nothing is a dot.
    let bar = format!(
        "<rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"10\" rx=\"5\" fill=\"{color}\"/>",
        from - 5.0,
        middle - 5,
        to - from + 10.0
    );
    let counts = if step.before == step.after {
        step.after.to_string()
    } else {
        format!("{} → {}", step.before, step.after)
    };
    let numbers: Vec<String> = step
        .numbers
        .iter()
        .map(|(name, value)| format!("{} {}", name.replace('_', " "), short(*value)))
        .collect();
    let text = |x: usize, y: usize, style: &str, text: &str| {
        format!("<text x=\"{x}\" y=\"{y}\" {style}>{}</text>", escape(text))
    };
    let faint = format!("fill=\"{FAINT}\" font-size=\"11\"");
    let bold = format!("fill=\"{INK}\" font-weight=\"600\"");
    [
        format!("<path d=\"M20 {top}H{}\" stroke=\"{LINE}\"/>", WIDTH - 20),
        text(20, middle - 3, &bold, &clip(&step.rule, 32)),
        text(20, middle + 12, &faint, stage(step.stage)),
        format!(
            "<path d=\"M{} {middle}H{}\" stroke=\"{LINE}\" stroke-width=\"2\"/>",
            BAR.0,
            BAR.0 + BAR.1
        ),
        bar,
        text(200, middle + 4, &bold, &counts),
        text(
            WORDS,
            middle - 3,
            &format!("fill=\"{INK}\""),
            &clip(&words(step), 50),
        ),
        text(WORDS, middle + 12, &faint, &clip(&numbers.join(", "), 56)),
    ]
    .concat()
}

fn color(step: &Step) -> &'static str {
    match (step.stage, step.before == step.after) {
        (Stage::Note | Stage::Time, _) | (_, true) => "#9aa5b1",
        (Stage::Floor, _) => GREEN,
        (Stage::Ceiling | Stage::Limit | Stage::Stabilize | Stage::Victims, _) => ORANGE,
        _ => BLUE,
    }
}

/// The stage in a person's words.
fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Time => "clock",
        Stage::Bounds => "bounds",
        Stage::Metric => "wish",
        Stage::Combine => "winner",
        Stage::Stabilize => "stabilization",
        Stage::Limit => "limit",
        Stage::Floor => "floor",
        Stage::Ceiling => "ceiling",
        Stage::Note => "note",
        Stage::Victims => "victims",
    }
}
