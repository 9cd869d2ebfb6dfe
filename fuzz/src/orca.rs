//! A load report that is taken holds sane figures, and survives being told on.

use std::collections::BTreeMap;

use lb_core::report::LoadReport;

pub fn run(data: &[u8]) {
    let Ok(report) = LoadReport::parse(data) else {
        return;
    };
    let single = [
        report.cpu_utilization,
        report.mem_utilization,
        report.application_utilization,
        report.rps_fractional,
        report.eps,
    ];
    let named = report
        .utilization
        .values()
        .chain(report.named_metrics.values());
    for figure in single.into_iter().flatten().chain(named.copied()) {
        assert!(figure.is_finite(), "{figure}");
    }
    for share in report.utilization.values() {
        assert!((0.0..=1.0).contains(share), "{share}");
    }
    // What is told on is what was read, less names that a list cannot carry.
    if let Some(told) = report.header_value() {
        let again = LoadReport::parse(told.as_bytes()).expect("our own words");
        let part = |some: &BTreeMap<String, f64>, all: &BTreeMap<String, f64>| {
            some.iter()
                .all(|(name, figure)| all.get(name) == Some(figure))
        };
        assert!(part(&again.utilization, &report.utilization));
        assert!(part(&again.named_metrics, &report.named_metrics));
        assert_eq!(again.cpu_utilization, report.cpu_utilization);
    }
}
