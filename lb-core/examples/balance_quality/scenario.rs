//! What is simulated.

use serde_json::Value;

/// One scenario file.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) gateways: usize,
    pub(crate) hosts: Vec<Hosts>,
    /// Share of the free capacity that is asked for.
    pub(crate) load: f64,
    pub(crate) report_period_s: f64,
    pub(crate) duration_s: f64,
    pub(crate) seeds: Vec<u64>,
}

/// Hosts of one kind.
#[derive(Debug)]
pub(crate) struct Hosts {
    pub(crate) count: usize,
    pub(crate) slots: usize,
    pub(crate) mean_service_s: f64,
    /// Slots held by jobs that no gateway sees as requests.
    pub(crate) hidden_busy: usize,
}

impl Scenario {
    /// Reads a scenario; the error names the field that is missing or absurd.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let hosts: Result<Vec<_>, _> = array(&value, "hosts")?.iter().map(Hosts::parse).collect();
        let seeds: Option<Vec<u64>> = array(&value, "seeds")?.iter().map(Value::as_u64).collect();
        let scenario = Self {
            name: value["name"].as_str().ok_or("name is missing")?.to_owned(),
            gateways: count(&value, "gateways")?,
            hosts: hosts?,
            load: positive(&value, "load")?,
            report_period_s: positive(&value, "report_period_s")?,
            duration_s: positive(&value, "duration_s")?,
            seeds: seeds.ok_or("seeds must be whole numbers")?,
        };
        let hosts: usize = scenario.hosts.iter().map(|hosts| hosts.count).sum();
        if scenario.gateways == 0 || hosts == 0 || scenario.seeds.is_empty() {
            return Err("gateways, hosts and seeds must not be empty".to_owned());
        }
        Ok(scenario)
    }
}

impl Hosts {
    fn parse(value: &Value) -> Result<Self, String> {
        let hosts = Self {
            count: count(value, "count")?,
            slots: count(value, "slots")?,
            mean_service_s: positive(value, "mean_service_ms")? / 1e3,
            hidden_busy: value["hidden_busy"].as_u64().unwrap_or(0) as usize,
        };
        if hosts.hidden_busy >= hosts.slots {
            return Err("hidden_busy must leave a slot".to_owned());
        }
        Ok(hosts)
    }
}

fn array<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>, String> {
    value[field]
        .as_array()
        .ok_or_else(|| format!("{field} must be a list"))
}

fn count(value: &Value, field: &str) -> Result<usize, String> {
    value[field]
        .as_u64()
        .map(|n| n as usize)
        .ok_or_else(|| format!("{field} must be a whole number"))
}

fn positive(value: &Value, field: &str) -> Result<f64, String> {
    value[field]
        .as_f64()
        .filter(|n| *n > 0.0)
        .ok_or_else(|| format!("{field} must be above zero"))
}
