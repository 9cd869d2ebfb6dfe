//! One check with its state, and how an answer changes it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{CheckDefinition, CheckKind};

/// State of a check, ordered by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// All is well.
    Passing,
    /// Something is not as it should be.
    Warning,
    /// Something is broken.
    Critical,
}

/// A check with its state.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was registered, with id and name filled in.
    pub definition: CheckDefinition,
    /// Id and name of the service it belongs to; `None` for a check of the whole agent.
    pub service: Option<(String, String)>,
    /// The state.
    pub status: CheckStatus,
    /// Why, in the words of whoever found out.
    pub output: String,
    /// The index at which the id appeared.
    pub create_index: u64,
    /// The index of the last change of state.
    pub modify_index: u64,
    /// End of the TTL, or the moment of the next probe.
    pub(super) due: Option<Instant>,
    pub(super) critical_since: Option<Instant>,
    /// Tells an answer to an old definition from one to this.
    pub(super) generation: u64,
    pub(super) streak: Streak,
}

/// Answers of one kind in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streak {
    good: u32,
    bad: u32,
}

impl Default for Streak {
    /// As if there had been enough of both: the first answer decides, as in Consul.
    fn default() -> Self {
        Self {
            good: u32::MAX,
            bad: u32::MAX,
        }
    }
}

// === impl CheckStatus ===

impl CheckStatus {
    /// Consul's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Reads Consul's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "passing" => Some(Self::Passing),
            "warning" => Some(Self::Warning),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }
}

// === impl Check ===

impl Check {
    /// A fresh check; its clock starts at `now`.
    pub(super) fn new(
        definition: CheckDefinition,
        service: Option<(String, String)>,
        now: Instant,
    ) -> Self {
        let status = definition.status.unwrap_or(CheckStatus::Critical);
        let due = first_due(&definition, now);
        Self {
            definition,
            service,
            status,
            output: String::new(),
            create_index: 0,
            modify_index: 0,
            due,
            critical_since: (status == CheckStatus::Critical).then_some(now),
            generation: 0,
            streak: Streak::default(),
        }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.definition.id
    }

    /// Takes over a state; `true` if the status changed.
    pub(super) fn become_status(
        &mut self,
        status: CheckStatus,
        output: String,
        now: Instant,
    ) -> bool {
        let changed = self.status != status;
        self.status = status;
        self.output = output;
        if status != CheckStatus::Critical {
            self.critical_since = None;
        } else if self.critical_since.is_none() {
            self.critical_since = Some(now);
        }
        changed
    }

    /// The status that this answer leads to, counting answers in a row where the definition asks for it.
    pub(super) fn weigh(&mut self, answer: CheckStatus) -> CheckStatus {
        let Streak { good, bad } = self.streak;
        let CheckDefinition {
            success_before_passing,
            failures_before_critical,
            failures_before_warning,
            ..
        } = self.definition;
        if answer != CheckStatus::Critical {
            let good = good.saturating_add(1);
            self.streak = Streak { good, bad: 0 };
            return if good >= success_before_passing {
                answer
            } else {
                self.status
            };
        }
        let bad = bad.saturating_add(1);
        self.streak = Streak { good: 0, bad };
        if bad >= failures_before_critical {
            CheckStatus::Critical
        } else if failures_before_warning > 0 && bad >= failures_before_warning {
            CheckStatus::Warning
        } else {
            self.status
        }
    }

    /// When its service is to be removed, if it stays as it is.
    pub(super) fn reap_at(&self, at_least: Duration) -> Option<Instant> {
        let after = self
            .definition
            .deregister_after
            .filter(|after| !after.is_zero())?;
        self.service.as_ref()?;
        Some(self.critical_since? + after.max(at_least))
    }
}

/// A TTL ends after its length. A first probe comes early, within a second, spread by id.
fn first_due(definition: &CheckDefinition, now: Instant) -> Option<Instant> {
    match &definition.kind {
        CheckKind::Ttl { ttl } => Some(now + *ttl),
        kind => kind
            .interval()
            .map(|interval| now + spread(&definition.id, interval)),
    }
}

fn spread(id: &str, interval: Duration) -> Duration {
    const WITHIN: Duration = Duration::from_secs(1);
    let sum = id.bytes().fold(0u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    interval
        .min(WITHIN)
        .mul_f64(f64::from(sum % 1_000) / 1_000.0)
}
