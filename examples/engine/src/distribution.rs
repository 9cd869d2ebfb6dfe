//! The uncertain inputs: four distributions, each drawn by inversion.
//!
//! A draw turns one uniform number into one value through the quantile
//! function. One number per draw keeps every iteration at the same place of
//! the stream, whatever the values are.
//!
//! | name         | parameters              | limits                         |
//! |--------------|-------------------------|--------------------------------|
//! | `normal`     | `mean`, `std_dev`       | `std_dev >= 0`                 |
//! | `lognormal`  | `mu`, `sigma` (of the logarithm) | `0 <= sigma <= 10`, `mu` within 100 of 0 |
//! | `uniform`    | `min`, `max`            | `min <= max`                   |
//! | `triangular` | `min`, `mode`, `max`    | `min <= mode <= max`           |
//!
//! No parameter may be larger than 1e100 in magnitude.
//!
//! ```
//! use montecarlo::distribution::Distribution;
//!
//! let demand = Distribution::Normal { mean: 100.0, std_dev: 15.0 };
//! assert_eq!(demand.quantile(0.5), 100.0);
//! assert!(Distribution::Uniform { min: 2.0, max: 1.0 }.check().is_err());
//! ```

use serde::{Deserialize, Serialize};

use crate::normal;

/// Largest magnitude of a parameter.
pub const MAX_PARAMETER: f64 = 1e100;

/// How one input is distributed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "lowercase", deny_unknown_fields)]
pub enum Distribution {
    /// The bell curve.
    Normal {
        /// Where it is centred.
        mean: f64,
        /// How wide it is; zero makes it a constant.
        std_dev: f64,
    },
    /// A value whose natural logarithm is normal.
    Lognormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Every value of an interval alike.
    Uniform {
        /// Lower end.
        min: f64,
        /// Upper end.
        max: f64,
    },
    /// Rises from `min` to `mode`, falls from there to `max`.
    Triangular {
        /// Lower end.
        min: f64,
        /// The likeliest value.
        mode: f64,
        /// Upper end.
        max: f64,
    },
}

impl Distribution {
    /// # Errors
    ///
    /// The parameter at fault and what it should be.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        for (name, value) in self.parameters() {
            if !value.is_finite() || value.abs() > MAX_PARAMETER {
                return Err((name, "use a finite number no larger than 1e100"));
            }
        }
        match *self {
            Self::Normal { std_dev, .. } if std_dev < 0.0 => {
                Err(("std_dev", "a standard deviation is zero or positive"))
            }
            Self::Lognormal { mu, .. } if mu.abs() > 100.0 => {
                Err(("mu", "mu is the mean of the logarithm: use -100 to 100"))
            }
            Self::Lognormal { sigma, .. } if !(0.0..=10.0).contains(&sigma) => Err((
                "sigma",
                "sigma is the deviation of the logarithm: use 0 to 10",
            )),
            Self::Uniform { min, max } if min > max => Err(("min", "min must not exceed max")),
            Self::Triangular { min, mode, max } if !(min <= mode && mode <= max) => {
                Err(("mode", "order the parameters: min <= mode <= max"))
            }
            _ => Ok(()),
        }
    }

    /// The value that a share `u` of all draws stays below; `u` between 0 and 1.
    #[must_use]
    pub fn quantile(&self, u: f64) -> f64 {
        match *self {
            Self::Normal { mean, std_dev } => mean + std_dev * normal::quantile(u),
            Self::Lognormal { mu, sigma } => (mu + sigma * normal::quantile(u)).exp(),
            Self::Uniform { min, max } => min + (max - min) * u,
            Self::Triangular { min, mode, max } => triangular(u, min, mode, max),
        }
    }

    fn parameters(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Self::Normal { mean, std_dev } => vec![("mean", mean), ("std_dev", std_dev)],
            Self::Lognormal { mu, sigma } => vec![("mu", mu), ("sigma", sigma)],
            Self::Uniform { min, max } => vec![("min", min), ("max", max)],
            Self::Triangular { min, mode, max } => vec![("min", min), ("mode", mode), ("max", max)],
        }
    }
}

fn triangular(u: f64, min: f64, mode: f64, max: f64) -> f64 {
    let width = max - min;
    if width == 0.0 {
        return min;
    }
    let peak = (mode - min) / width;
    if u < peak {
        min + width * (u * peak).sqrt()
    } else {
        max - width * ((1.0 - u) * (1.0 - peak)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_distribution_meets_its_closed_form_quantiles() {
        let triangle = Distribution::Triangular {
            min: 0.0,
            mode: 1.0,
            max: 4.0,
        };
        // P(X < 1) = 1/4 for this triangle.
        assert!((triangle.quantile(0.25) - 1.0).abs() < 1e-12);
        let lognormal = Distribution::Lognormal {
            mu: 1.0,
            sigma: 0.5,
        };
        assert!((lognormal.quantile(0.5) - 1.0_f64.exp()).abs() < 1e-12);
        let flat = Distribution::Uniform {
            min: -2.0,
            max: 2.0,
        };
        assert_eq!(flat.quantile(0.75), 1.0);
    }

    #[test]
    fn absurd_parameters_are_refused_by_name() {
        let cases = [
            (
                Distribution::Normal {
                    mean: f64::NAN,
                    std_dev: 1.0,
                },
                "mean",
            ),
            (
                Distribution::Normal {
                    mean: 0.0,
                    std_dev: -1.0,
                },
                "std_dev",
            ),
            (
                Distribution::Lognormal {
                    mu: 0.0,
                    sigma: 11.0,
                },
                "sigma",
            ),
            (
                Distribution::Lognormal {
                    mu: 1e9,
                    sigma: 1.0,
                },
                "mu",
            ),
            (
                Distribution::Uniform {
                    min: f64::INFINITY,
                    max: 1.0,
                },
                "min",
            ),
            (
                Distribution::Uniform {
                    min: 1e101,
                    max: 1e101,
                },
                "min",
            ),
            (
                Distribution::Triangular {
                    min: 0.0,
                    mode: 5.0,
                    max: 4.0,
                },
                "mode",
            ),
        ];
        for (distribution, parameter) in cases {
            assert_eq!(
                distribution.check().unwrap_err().0,
                parameter,
                "{distribution:?}"
            );
        }
    }

    proptest! {
        /// A larger share never has a smaller quantile.
        #[test]
        fn quantiles_never_fall(u in 1e-9..1.0_f64, v in 1e-9..1.0_f64, a in -1e3..1e3_f64, b in 0.0..1e3_f64, c in 0.0..1e3_f64) {
            let (low, high) = (u.min(v), u.max(v));
            for d in [
                Distribution::Normal { mean: a, std_dev: b },
                Distribution::Lognormal { mu: a / 100.0, sigma: b / 100.0 },
                Distribution::Uniform { min: a, max: a + b },
                Distribution::Triangular { min: a, mode: a + b, max: a + b + c },
            ] {
                prop_assert!(d.check().is_ok());
                prop_assert!(d.quantile(low) <= d.quantile(high) + 1e-9, "{d:?}");
            }
        }
    }
}
