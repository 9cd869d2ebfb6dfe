use super::*;
use crate::distribution::Distribution;
use crate::spec::Spec;
use proptest::prelude::*;

fn plan(inputs: &[(&str, Distribution)], formula: &str, iterations: u64, seed: u64) -> Plan {
    let inputs = inputs
        .iter()
        .map(|(name, d)| ((*name).to_owned(), *d))
        .collect();
    let spec = Spec {
        inputs,
        formula: formula.to_owned(),
        iterations,
        seed,
    };
    Plan::new(&spec).unwrap_or_else(|error| panic!("{error}"))
}

fn run(plan: &Plan) -> Summary {
    CpuEngine::new(2).run(plan, &Control::default()).unwrap()
}

const STANDARD: Distribution = Distribution::Normal {
    mean: 0.0,
    std_dev: 1.0,
};

/// Mean and deviation within six standard errors, for a closed form given as
/// mean, standard deviation and kurtosis.
fn assert_moments(summary: &Summary, mean: f64, std_dev: f64, kurtosis: f64) {
    let n = summary.iterations as f64;
    let mean_error = 6.0 * std_dev / n.sqrt();
    assert!(
        (summary.mean - mean).abs() < mean_error,
        "mean {} is not {mean}",
        summary.mean
    );
    // The standard error of a sample deviation is s/2 sqrt((kurtosis - 1)/n).
    let spread_error = 6.0 * std_dev / 2.0 * ((kurtosis - 1.0) / n).sqrt();
    assert!(
        (summary.std_dev - std_dev).abs() < spread_error,
        "deviation {} is not {std_dev}",
        summary.std_dev
    );
}

/// A percentile within six standard errors (density given) and the sketch's own bound.
fn assert_percentile(summary: &Summary, percent: f64, expected: f64, density: f64, median: f64) {
    let share = percent / 100.0;
    let chance = 6.0 * (share * (1.0 - share) / summary.iterations as f64).sqrt() / density;
    let bound = chance + summary.percentile_error * (expected - median).abs() + 1e-5;
    let got = summary.percentile(percent).unwrap();
    assert!(
        (got - expected).abs() < bound,
        "p{percent}: {got} is not {expected} +- {bound}"
    );
}

#[test]
fn a_normal_output_meets_its_closed_form() {
    let summary = run(&plan(&[("x", STANDARD)], "10 + 2 * x", 400_000, 1));
    assert_moments(&summary, 10.0, 2.0, 3.0);
    let density = |z: f64| (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() / 2.0;
    for (percent, z) in [
        (1.0, -2.326_347_874),
        (5.0, -1.644_853_627),
        (50.0, 0.0),
        (95.0, 1.644_853_627),
        (99.0, 2.326_347_874),
    ] {
        assert_percentile(&summary, percent, 10.0 + 2.0 * z, density(z), 10.0);
    }
    // VaR(95 %) = -(mean - 1.645 sd); expected shortfall = -(mean - sd * pdf(z) / 0.05).
    let risk = &summary.risk[0];
    assert!((risk.value_at_risk - -(10.0 - 2.0 * 1.644_853_627)).abs() < 0.05);
    assert!((risk.conditional_value_at_risk - -(10.0 - 2.0 * 2.062_712_8)).abs() < 0.05);
}

#[test]
fn a_lognormal_output_meets_its_closed_form() {
    let (mu, sigma) = (0.5_f64, 0.4_f64);
    let summary = run(&plan(
        &[("x", Distribution::Lognormal { mu, sigma })],
        "x",
        400_000,
        2,
    ));
    let w = (sigma * sigma).exp();
    let mean = (mu + sigma * sigma / 2.0).exp();
    let kurtosis = w.powi(4) + 2.0 * w.powi(3) + 3.0 * w.powi(2) - 3.0;
    assert_moments(&summary, mean, mean * (w - 1.0).sqrt(), kurtosis);
    let median = mu.exp();
    let density = 1.0 / (median * sigma * (2.0 * std::f64::consts::PI).sqrt());
    assert_percentile(&summary, 50.0, median, density, median);
}

#[test]
fn a_uniform_and_a_triangular_output_meet_their_closed_forms() {
    let uniform = run(&plan(
        &[(
            "x",
            Distribution::Uniform {
                min: -1.0,
                max: 3.0,
            },
        )],
        "x",
        400_000,
        3,
    ));
    assert_moments(&uniform, 1.0, (16.0_f64 / 12.0).sqrt(), 1.8);
    assert_percentile(&uniform, 90.0, 2.6, 0.25, 1.0);

    let (a, c, b) = (0.0, 1.0, 4.0);
    let triangle = run(&plan(
        &[(
            "x",
            Distribution::Triangular {
                min: a,
                mode: c,
                max: b,
            },
        )],
        "x",
        400_000,
        4,
    ));
    let variance: f64 = (a * a + b * b + c * c - a * b - a * c - b * c) / 18.0;
    assert_moments(&triangle, (a + b + c) / 3.0, variance.sqrt(), 2.4);
    let p95: f64 = b - ((b - a) * (b - c) * 0.05_f64).sqrt();
    assert_percentile(
        &triangle,
        95.0,
        p95,
        2.0 * (b - p95) / ((b - a) * (b - c)),
        1.5,
    );
}

#[test]
fn a_sum_of_independent_inputs_adds_means_and_variances() {
    let inputs = [
        (
            "a",
            Distribution::Normal {
                mean: 5.0,
                std_dev: 3.0,
            },
        ),
        (
            "b",
            Distribution::Normal {
                mean: -2.0,
                std_dev: 4.0,
            },
        ),
    ];
    assert_moments(&run(&plan(&inputs, "a + b", 400_000, 5)), 3.0, 5.0, 3.0);
}

#[test]
fn small_spread_far_from_zero_is_told_apart() {
    let far = Distribution::Normal {
        mean: 1e9,
        std_dev: 1.0,
    };
    let summary = run(&plan(&[("x", far)], "x", 200_000, 6));
    assert!((summary.std_dev - 1.0).abs() < 0.01);
    assert!((summary.percentile(95.0).unwrap() - 1e9 - 1.645).abs() < 0.03);
}

#[test]
fn a_constant_output_is_its_own_percentiles() {
    let summary = run(&plan(&[("x", STANDARD)], "7 + 0 * x", 1_000, 7));
    assert_eq!(
        (summary.mean, summary.std_dev, summary.min, summary.max),
        (7.0, 0.0, 7.0, 7.0)
    );
    assert!(summary.percentiles.iter().all(|p| p.value == 7.0));
    assert_eq!(summary.histogram.counts.iter().sum::<u64>(), 1_000);
}

#[test]
fn rare_small_outputs_beside_one_frequent_value_are_told_apart() {
    // An option that is exercised in one case of fifteen, in a large unit.
    let plan = plan(&[("x", STANDARD)], "max(x - 1.5, 0) * 1e-9", 400_000, 10);
    let summary = run(&plan);
    let at = |percent| summary.percentile(percent).unwrap() * 1e9;
    assert!(
        at(50.0).abs() < 1e-5 && at(90.0).abs() < 1e-5,
        "{summary:?}"
    );
    assert!((at(95.0) - 0.1449).abs() < 0.02, "{}", at(95.0));
    assert!((at(99.0) - 0.8263).abs() < 0.05, "{}", at(99.0));
}

#[test]
fn a_deviation_of_a_millionth_of_a_millionth_of_the_mean_is_measured() {
    let far = Distribution::Normal {
        mean: 1e9,
        std_dev: 1e-3,
    };
    let summary = run(&plan(&[("x", far)], "x", 1_000_000, 11));
    assert!(
        (summary.std_dev / 1e-3 - 1.0).abs() < 0.01,
        "{}",
        summary.std_dev
    );
    assert!((summary.mean - 1e9).abs() < 1e-5, "{}", summary.mean);
    let spread = summary.percentile(95.0).unwrap() - summary.percentile(5.0).unwrap();
    assert!((spread / 3.29e-3 - 1.0).abs() < 0.02, "{spread}");
}

#[test]
fn parameters_at_their_edges_give_the_values_they_must() {
    let at = |distribution| run(&plan(&[("x", distribution)], "x", 10_000, 12));
    for (constant, value) in [
        (
            Distribution::Normal {
                mean: -3.5,
                std_dev: 0.0,
            },
            -3.5,
        ),
        (
            Distribution::Lognormal {
                mu: 0.0,
                sigma: 0.0,
            },
            1.0,
        ),
        (
            Distribution::Uniform {
                min: 1e100,
                max: 1e100,
            },
            1e100,
        ),
        (
            Distribution::Triangular {
                min: 2.0,
                mode: 2.0,
                max: 2.0,
            },
            2.0,
        ),
    ] {
        let summary = at(constant);
        let ends = (summary.min, summary.max, summary.std_dev);
        assert_eq!(ends, (value, value, 0.0), "{constant:?}");
        assert!(
            summary.percentiles.iter().all(|p| p.value == value),
            "{constant:?}"
        );
    }
    for (min, mode, max) in [
        (-1e100, 1e100, 1e100),
        (-1.0, -1.0, 1.0),
        (0.0, 5e-324, 1.0),
    ] {
        let summary = at(Distribution::Triangular { min, mode, max });
        assert!(min <= summary.min && summary.max <= max, "{summary:?}");
        assert!(summary.std_dev.is_finite() && summary.std_dev > 0.0);
        assert!(summary.percentiles.is_sorted_by(|a, b| a.value <= b.value));
    }
}

#[test]
fn rare_non_finite_samples_are_counted_and_shown() {
    // x is below -2.9 in about 0.2 % of all draws.
    let summary = run(&plan(&[("x", STANDARD)], "ln(x + 2.9)", 200_000, 8));
    let share = summary.non_finite as f64 / 200_000.0;
    assert!((0.001..0.003).contains(&share), "{share}");
    assert!(summary.non_finite_example.unwrap().starts_with("x = -"));
    assert!(summary.mean.is_finite() && summary.std_dev.is_finite());
}

#[test]
fn a_cancelled_run_stops_early() {
    let plan = plan(&[("x", STANDARD)], "x", 1_000_000_000, 9);
    let control = Control::default();
    let result = std::thread::scope(|scope| {
        let run = scope.spawn(|| CpuEngine::new(2).run(&plan, &control));
        while control.done() == 0 {
            std::thread::yield_now();
        }
        control.cancel();
        run.join().unwrap()
    });
    assert_eq!(result.unwrap_err(), EngineError::Cancelled);
    assert!(control.done() < 1_000_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Same seed, same result, to the last bit, on any number of threads.
    #[test]
    fn the_number_of_threads_changes_nothing(seed: u64, iterations in 1_000u64..300_000, threads in 2usize..17) {
        let plan = plan(&[("x", STANDARD), ("y", Distribution::Uniform { min: 1.0, max: 2.0 })], "exp(x) / y", iterations, seed);
        let one = CpuEngine::new(1).run(&plan, &Control::default()).unwrap();
        let many = CpuEngine::new(threads).run(&plan, &Control::default()).unwrap();
        prop_assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&many).unwrap());
    }
}

#[test]
fn another_seed_gives_another_result() {
    let of = |seed| run(&plan(&[("x", STANDARD)], "x", 1_000, seed)).mean;
    assert_ne!(of(1), of(2));
}
