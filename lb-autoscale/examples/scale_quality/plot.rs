//! Plots of single days as SVG: the load, the instances of each policy, and when requests missed.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use lb_autoscale::sim::contestants::{Demand, Hpa, Keda, Kpa};
use lb_autoscale::sim::{Contestant, Outcome, Point, Trace, World, simulate_with};

use crate::{at_equal_cost, with_target};

const WIDTH: f64 = 960.0;
/// Left and right edges of everything that has a time.
const SPAN: (f64, f64) = (56.0, 700.0);
/// Top and bottom of the load and of the instances.
const LOAD: (f64, f64) = (52.0, 122.0);
const FLEET: (f64, f64) = (158.0, 378.0);
/// Top of the strips of misses, and the height of one.
const STRIPS: (f64, f64) = (416.0, 26.0);
/// Seconds per plotted step.
const STEP: usize = 300;
const INK: &str = "#1f2933";
const FAINT: &str = "#7b8794";

struct Run {
    name: &'static str,
    color: &'static str,
    width: f64,
    points: Vec<Point>,
    outcome: Outcome,
}

/// One picture of the first seed's day of each shape, or of the given traces.
pub(crate) fn write_all(
    directory: &str,
    traces: Vec<Trace>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    std::fs::create_dir_all(directory)?;
    for trace in traces {
        let file = Path::new(directory).join(format!("{}.svg", trace.name.replace(' ', "-")));
        std::fs::write(&file, svg(&trace, &runs(&trace)?)?)?;
        println!("{}", file.display());
    }
    Ok(())
}

fn runs(trace: &Trace) -> Result<[Run; 4], Box<dyn Error + Send + Sync>> {
    let world = World::default();
    let hpa = run("HPA", "#d97706", 1.4, trace, &mut Hpa::new(70)?);
    let (target, _) = at_equal_cost(&world, trace, hpa.outcome.instance_hours)?;
    let mut ours = Demand::new(with_target(&world, target)?);
    Ok([
        hpa,
        run("KPA", "#8b5cf6", 1.0, trace, &mut Kpa::new(70.0)),
        run("KEDA", "#0d9488", 1.4, trace, &mut Keda::new(70.0)?),
        run("ours", "#2563eb", 2.2, trace, &mut ours),
    ])
}

fn run(
    name: &'static str,
    color: &'static str,
    width: f64,
    trace: &Trace,
    contestant: &mut dyn Contestant,
) -> Run {
    let mut points = Vec::with_capacity(trace.arrivals.len());
    let outcome = simulate_with(&World::default(), trace, contestant, |point| {
        points.push(point);
    });
    Run {
        name,
        color,
        width,
        points,
        outcome,
    }
}

fn svg(trace: &Trace, runs: &[Run; 4]) -> Result<String, std::fmt::Error> {
    let points = &runs[0].points;
    let bottom = STRIPS.0 + STRIPS.1 * runs.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" font-family=\"system-ui,sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#fff\"/>\n",
        bottom + 34.0
    );
    text(
        &mut out,
        (SPAN.0, 26.0),
        "font-size=\"17\" font-weight=\"600\"",
        &trace.name,
    )?;
    let load = |point: &Point| point.arrivals;
    let busiest = peaks(points, load).fold(1.0, f64::max);
    axis(&mut out, LOAD, busiest, "requests a second")?;
    area(&mut out, LOAD, busiest, points, load)?;

    let replicas = |point: &Point| f64::from(point.replicas);
    let needed = |point: &Point| point.arrivals / World::default().rate_per_instance;
    let most = runs
        .iter()
        .flat_map(|run| peaks(&run.points, replicas))
        .fold(4.0, f64::max);
    axis(
        &mut out,
        FLEET,
        most,
        "instances (grey: needed at 100 % use)",
    )?;
    area(&mut out, FLEET, most, points, needed)?;
    for run in runs {
        line(&mut out, run, most)?;
    }
    legend(&mut out, runs)?;

    text(
        &mut out,
        (SPAN.0, STRIPS.0 - 10.0),
        &format!("fill=\"{FAINT}\""),
        "requests that waited longer than half a second (darker: more of them)",
    )?;
    for (row, run) in runs.iter().enumerate() {
        strip(&mut out, STRIPS.0 + STRIPS.1 * row as f64, run)?;
    }
    let hours = points.len() as f64 / 3_600.0;
    for quarter in 0..=4_u32 {
        let share = f64::from(quarter) / 4.0;
        let label = format!("{:.0} h", hours * share);
        let x = SPAN.0 + (SPAN.1 - SPAN.0) * share;
        text(
            &mut out,
            (x, bottom + 18.0),
            &format!("fill=\"{FAINT}\" text-anchor=\"middle\""),
            &label,
        )?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn text(out: &mut String, (x, y): (f64, f64), style: &str, text: &str) -> std::fmt::Result {
    let ink = if style.contains("fill=") {
        String::new()
    } else {
        format!("fill=\"{INK}\" ")
    };
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {ink}{style}>{text}</text>"
    )
}

/// Half and whole of the range, and what it is.
fn axis(out: &mut String, (top, bottom): (f64, f64), most: f64, title: &str) -> std::fmt::Result {
    text(
        out,
        (SPAN.0, top - 8.0),
        &format!("fill=\"{FAINT}\""),
        title,
    )?;
    for share in [0.0, 0.5, 1.0] {
        let y = bottom - (bottom - top) * share;
        writeln!(
            out,
            "<path d=\"M{} {y:.1}H{}\" stroke=\"#e4e7eb\"/>",
            SPAN.0, SPAN.1
        )?;
        let style = format!("fill=\"{FAINT}\" text-anchor=\"end\"");
        text(
            out,
            (SPAN.0 - 8.0, y + 4.0),
            &style,
            &format!("{:.0}", most * share),
        )?;
    }
    Ok(())
}

/// The highest value of each step.
fn peaks(points: &[Point], value: impl Fn(&Point) -> f64 + Copy) -> impl Iterator<Item = f64> {
    points
        .chunks(step(points))
        .map(move |chunk| chunk.iter().map(value).fold(0.0, f64::max))
}

/// A day has 288 steps, and so has anything longer.
fn step(points: &[Point]) -> usize {
    STEP.max(points.len() / 288)
}

fn x(points: &[Point], index: usize) -> f64 {
    let share = (index * step(points)) as f64 / points.len() as f64;
    SPAN.0 + (SPAN.1 - SPAN.0) * share.min(1.0)
}

fn area(
    out: &mut String,
    (top, bottom): (f64, f64),
    most: f64,
    points: &[Point],
    value: impl Fn(&Point) -> f64 + Copy,
) -> std::fmt::Result {
    write!(out, "<path fill=\"#cbd2d9\" d=\"M{} {bottom}", SPAN.0)?;
    for (index, peak) in peaks(points, value).enumerate() {
        write!(
            out,
            "L{:.1} {:.1}",
            x(points, index),
            bottom - (bottom - top) * peak / most
        )?;
    }
    writeln!(out, "H{}V{bottom}Z\"/>", SPAN.1)
}

/// A line that holds each value until the next one differs.
fn line(out: &mut String, run: &Run, most: f64) -> std::fmt::Result {
    let Run {
        color,
        width,
        points,
        ..
    } = run;
    let (top, bottom) = FLEET;
    write!(
        out,
        "<path fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" stroke-linejoin=\"round\" d=\""
    )?;
    let mut last = None;
    for (index, peak) in peaks(points, |point| f64::from(point.replicas)).enumerate() {
        let y = bottom - (bottom - top) * peak / most;
        match last {
            None => write!(out, "M{} {y:.1}", SPAN.0)?,
            Some(last) if last != peak => write!(out, "H{:.1}V{y:.1}", x(points, index))?,
            Some(_) => {}
        }
        last = Some(peak);
    }
    writeln!(out, "H{}\"/>", SPAN.1)
}

fn legend(out: &mut String, runs: &[Run; 4]) -> std::fmt::Result {
    for (row, run) in runs.iter().enumerate() {
        let (left, y) = (SPAN.1 + 24.0, FLEET.0 + 10.0 + 54.0 * row as f64);
        writeln!(
            out,
            "<rect x=\"{left}\" y=\"{:.1}\" width=\"4\" height=\"38\" rx=\"2\" fill=\"{}\"/>",
            y - 11.0,
            run.color
        )?;
        let Outcome {
            instance_hours,
            slo_miss_percent,
            changes,
            ..
        } = run.outcome;
        let head = format!("{}: {slo_miss_percent:.2} % missed", run.name);
        text(
            out,
            (left + 14.0, y),
            &format!(
                "fill=\"{}\" font-weight=\"600\" font-size=\"14\"",
                run.color
            ),
            &head,
        )?;
        let cost = format!("{instance_hours:.0} instance-hours, {changes} changes");
        text(
            out,
            (left + 14.0, y + 19.0),
            &format!("fill=\"{FAINT}\""),
            &cost,
        )?;
    }
    Ok(())
}

/// One policy's misses over time: a mark per step, as dark as its share of requests that missed.
fn strip(out: &mut String, top: f64, run: &Run) -> std::fmt::Result {
    let allowed = World::default().allowed_wait_seconds;
    let (points, height) = (&run.points, STRIPS.1 - 6.0);
    writeln!(
        out,
        "<rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{height}\" fill=\"#f5f7fa\"/>",
        SPAN.0,
        SPAN.1 - SPAN.0
    )?;
    text(
        out,
        (SPAN.0 - 8.0, top + 14.0),
        &format!(
            "fill=\"{}\" text-anchor=\"end\" font-weight=\"600\"",
            run.color
        ),
        run.name,
    )?;
    for (index, chunk) in points.chunks(step(points)).enumerate() {
        let all: f64 = chunk.iter().map(|point| point.arrivals).sum();
        let late = chunk.iter().filter(|point| point.wait_seconds > allowed);
        let missed = late.map(|point| point.arrivals).sum::<f64>() / all.max(1.0);
        if missed > 0.0 {
            // A few misses must be seen, too.
            let (left, shade) = (x(points, index), 0.25 + 0.75 * missed.min(1.0));
            let wide = (x(points, index + 1) - left).max(1.5);
            writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{wide:.1}\" height=\"{height}\" fill=\"{}\" fill-opacity=\"{shade:.2}\"/>",
                run.color
            )?;
        }
    }
    Ok(())
}
