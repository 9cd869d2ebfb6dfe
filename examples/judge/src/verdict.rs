//! What the judge says in the end.
//!
//! ```
//! let verdict = judge::ledger::Ledger::default().verdict();
//! assert!(verdict.to_string().starts_with(r#"{"ok":true,"losses_total":0,"#));
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::ledger::{Jobs, Kind, Loss, Requests, Tunnels};

/// The verdict: one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Nothing was lost.
    pub ok: bool,
    /// How much was.
    pub losses_total: u64,
    /// Of each kind.
    pub losses_by_kind: BTreeMap<Kind, u64>,
    /// The first ones in words.
    pub losses: Vec<Loss>,
    /// What was asked.
    pub requests: Requests,
    /// Which jobs ran.
    pub jobs: Jobs,
    /// Which tunnels were open.
    pub tunnels: Tunnels,
    /// Answers by instance.
    pub instances: BTreeMap<String, u64>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}
