//! `NAME=WEIGHT`, as on a command line.

use std::fmt;
use std::str::FromStr;

use lb_gpu::fair::WEIGHTS;

use crate::jobs::Tenant;

/// A tenant and its share relative to the others.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantWeight {
    tenant: Tenant,
    weight: f64,
}

/// What is no weight of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write NAME=WEIGHT, as in research=3, with a weight between 0.000001 and 1000000")]
pub struct TenantWeightError;

impl TenantWeight {
    /// Who.
    #[must_use]
    pub fn name(&self) -> &str {
        self.tenant.as_str()
    }

    /// Within [`WEIGHTS`].
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.weight
    }
}

impl fmt::Display for TenantWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.tenant, self.weight)
    }
}

impl FromStr for TenantWeight {
    type Err = TenantWeightError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, weight) = text.split_once('=').ok_or(TenantWeightError)?;
        let tenant = Tenant::parse(name).ok_or(TenantWeightError)?;
        let weight: f64 = weight.parse().map_err(|_| TenantWeightError)?;
        WEIGHTS
            .contains(&weight)
            .then_some(Self { tenant, weight })
            .ok_or(TenantWeightError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_name_and_a_number_that_turns_can_be_made_of() {
        let read: TenantWeight = "research=3".parse().unwrap();
        assert_eq!(read.to_string(), "research=3");
        assert_eq!((read.name(), read.weight()), ("research", 3.0));
        for text in [
            "", "research", "=1", "a=0", "a=-1", "a=NaN", "a=inf", "a=1e-300", "a b=1", "a=1=2",
        ] {
            assert_eq!(
                text.parse::<TenantWeight>(),
                Err(TenantWeightError),
                "{text:?}"
            );
        }
    }
}
