//! Plots of single days as SVG.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use lb_autoscale::presets;
use lb_autoscale::sim::contestants::{Demand, Hpa, Kpa};
use lb_autoscale::sim::{Contestant, Point, Trace, World, simulate_with};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 320.0;
/// Seconds per plotted step.
const STEP: usize = 300;

pub(crate) fn write_all(directory: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    std::fs::create_dir_all(directory)?;
    for trace in Trace::all(1) {
        let spec = presets::demand("ours", "demand", 70.0)
            .replicas(2..=100)
            .build()?;
        let contestants: [(&str, &str, &mut dyn Contestant); 3] = [
            ("Kubernetes HPA", "#c05621", &mut Hpa::new(70)?),
            ("KPA", "#805ad5", &mut Kpa::new(70.0)),
            ("demand preset", "#2b6cb0", &mut Demand::new(spec)),
        ];
        let runs =
            contestants.map(|(name, color, contestant)| (name, color, record(&trace, contestant)));
        let file = Path::new(directory).join(format!("{}.svg", trace.name.replace(' ', "-")));
        std::fs::write(&file, svg(&trace.name, &runs)?)?;
        println!("{}", file.display());
    }
    Ok(())
}

fn record(trace: &Trace, contestant: &mut dyn Contestant) -> Vec<Point> {
    let mut points = Vec::with_capacity(trace.arrivals.len());
    simulate_with(&World::default(), trace, contestant, |point| {
        points.push(point);
    });
    points
}

fn svg(name: &str, runs: &[(&str, &str, Vec<Point>); 3]) -> Result<String, std::fmt::Error> {
    let rate = World::default().rate_per_instance;
    let needed = |point: &Point| point.arrivals / rate;
    let top = runs
        .iter()
        .flat_map(|(_, _, points)| {
            points
                .iter()
                .map(|point| f64::from(point.replicas).max(needed(point)))
        })
        .fold(1.0, f64::max);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"8\" y=\"16\">{name}: instances over a day (grey: needed at 100 % use)</text>\n",
        HEIGHT + 40.0
    );
    line(&mut out, "#a0aec0", top, &runs[0].2, needed)?;
    for (index, (name, color, points)) in runs.iter().enumerate() {
        line(&mut out, color, top, points, |point| {
            f64::from(point.replicas)
        })?;
        let x = 8.0 + 200.0 * index as f64;
        writeln!(
            out,
            "<text x=\"{x}\" y=\"{}\" fill=\"{color}\">{name}</text>",
            HEIGHT + 34.0
        )?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn line(
    out: &mut String,
    color: &str,
    top: f64,
    points: &[Point],
    value: impl Fn(&Point) -> f64,
) -> std::fmt::Result {
    write!(
        out,
        "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.2\" points=\""
    )?;
    for (index, chunk) in points.chunks(STEP).enumerate() {
        let x = (index * STEP) as f64 / points.len() as f64 * WIDTH;
        let peak = chunk.iter().map(&value).fold(0.0, f64::max);
        write!(out, "{x:.1},{:.1} ", 24.0 + HEIGHT * (1.0 - peak / top))?;
    }
    out.push_str("\"/>\n");
    Ok(())
}
