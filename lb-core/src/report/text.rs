//! The header form of a load report: written as Envoy reads it, read strictly.
//!
//! Three forms are read, those that Envoy 1.40 was seen to accept: `TEXT` with
//! `name=value` or `name:value` pairs, and `JSON` with an object as protobuf's JSON
//! form has it. What is wrong anywhere spoils the whole report: half a report would
//! mislead. Empty elements of a list are not wrong (RFC 9110, 5.6.1).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::LoadReport;
use super::json;

/// Where a load report travels.
pub const HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics");

/// A longer value is not read.
const MAX_BYTES: usize = 4096;
/// More figures than this are not read, nor written.
const MAX_FIGURES: usize = 64;
/// Longer names are not read, nor written.
const MAX_NAME: usize = 64;
/// A load of more than this many machines is not believed.
const MAX_LOAD: f64 = 1_000.0;
/// No figure is larger.
const MAX_FIGURE: f64 = 1e15;

/// Why a load report is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Neither `TEXT` nor `JSON` stands before it, or it comes more than once.
    #[error("the form is not known")]
    Form,
    /// More bytes or figures than a report has.
    #[error("the report is too large")]
    TooLarge,
    /// It breaks off, or is written wrongly.
    #[error("the report is malformed")]
    Malformed,
    /// One figure comes twice.
    #[error("a figure comes twice")]
    Twice,
    /// A figure is NaN, negative where it cannot be, or absurd.
    #[error("a figure is out of range")]
    Range,
}

impl LoadReport {
    /// Reads the value of the header `endpoint-load-metrics`.
    ///
    /// ```
    /// use lb_core::report::LoadReport;
    ///
    /// let report = LoadReport::parse(b"TEXT cpu_utilization=0.6, utilization.gpu:0.9")?;
    /// assert_eq!((report.cpu_utilization, report.gpu_utilization()), (Some(0.6), Some(0.9)));
    /// assert_eq!(LoadReport::parse(br#"JSON {"cpu_utilization": 0.6}"#)?.cpu_utilization, Some(0.6));
    /// assert!(LoadReport::parse(b"TEXT cpu_utilization=NaN").is_err());
    /// # Ok::<(), lb_core::report::ReportError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReportError`] if any part of it cannot be believed. Figures of unknown
    /// names are passed over.
    pub fn parse(value: &[u8]) -> Result<Self, ReportError> {
        if value.len() > MAX_BYTES {
            return Err(ReportError::TooLarge);
        }
        let text = std::str::from_utf8(value).map_err(|_| ReportError::Malformed)?;
        let mut reading = Reading::default();
        if let Some(pairs) = text.strip_prefix("TEXT ") {
            for pair in pairs.split(',').filter(|pair| !pair.trim().is_empty()) {
                let at = pair.find(['=', ':']).ok_or(ReportError::Malformed)?;
                let (name, value) = (pair[..at].trim(), pair[at + 1..].trim());
                reading.take(name, number(value)?)?;
            }
            if reading.figures == 0 {
                return Err(ReportError::Malformed);
            }
        } else if let Some(object) = text.strip_prefix("JSON ") {
            json::read(object, &mut |name, value| reading.take(name, value))?;
        } else {
            return Err(ReportError::Form);
        }
        Ok(reading.report)
    }

    /// The report of an answer; `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and [`ReportError::Form`] for two reports.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, ReportError> {
        let mut values = headers.get_all(HEADER).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Self::parse(value.as_bytes()).map(Some),
            (Some(_), Some(_)) => Err(ReportError::Form),
        }
    }

    /// The value of the header `endpoint-load-metrics`; `None` for an empty
    /// report. Figures that no reader would believe are left out.
    ///
    /// ```
    /// use lb_core::report::LoadReport;
    ///
    /// let report = LoadReport { rps_fractional: Some(2.5), ..LoadReport::default() }
    ///     .named_metric("active_work", 3.0);
    /// assert_eq!(report.header_value().unwrap(), "TEXT rps_fractional=2.5,named_metrics.active_work=3");
    /// ```
    #[must_use]
    pub fn header_value(&self) -> Option<HeaderValue> {
        let mut writing = Writing::default();
        let figures = [
            ("cpu_utilization", self.cpu_utilization),
            ("mem_utilization", self.mem_utilization),
            ("application_utilization", self.application_utilization),
            ("rps_fractional", self.rps_fractional),
            ("eps", self.eps),
        ];
        for (name, value) in figures {
            if let Some(value) = value {
                writing.add("", name, value);
            }
        }
        for (prefix, map) in [
            ("utilization.", &self.utilization),
            ("named_metrics.", &self.named_metrics),
        ] {
            for (name, value) in map {
                writing.add(prefix, name, *value);
            }
        }
        (writing.count > 0).then(|| HeaderValue::try_from(writing.text).ok())?
    }
}

/// A report under construction from its figures.
#[derive(Default)]
struct Reading {
    report: LoadReport,
    figures: usize,
}

impl Reading {
    fn take(&mut self, name: &str, value: f64) -> Result<(), ReportError> {
        self.figures += 1;
        if self.figures > MAX_FIGURES {
            return Err(ReportError::TooLarge);
        }
        if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
            return Err(ReportError::Malformed);
        }
        if !is_credible(name, value) {
            return Err(ReportError::Range);
        }
        let report = &mut self.report;
        let slot = match name {
            "cpu_utilization" => &mut report.cpu_utilization,
            "mem_utilization" => &mut report.mem_utilization,
            "application_utilization" => &mut report.application_utilization,
            "rps_fractional" => &mut report.rps_fractional,
            "eps" => &mut report.eps,
            other => {
                let (map, name) = if let Some(name) = other.strip_prefix("utilization.") {
                    (&mut report.utilization, name)
                } else if let Some(name) = other.strip_prefix("named_metrics.") {
                    (&mut report.named_metrics, name)
                } else {
                    return Ok(());
                };
                if name.is_empty() {
                    return Err(ReportError::Malformed);
                }
                return match map.insert(name.to_owned(), value) {
                    None => Ok(()),
                    Some(_) => Err(ReportError::Twice),
                };
            }
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(ReportError::Twice),
        }
    }
}

/// The text of a report, figure by figure.
#[derive(Default)]
struct Writing {
    text: String,
    count: usize,
}

impl Writing {
    fn add(&mut self, prefix: &str, name: &str, value: f64) {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b",=:".contains(&byte);
        if name.is_empty() {
            return;
        }
        let name = format!("{prefix}{name}");
        let fits = self.count < MAX_FIGURES && name.len() <= MAX_NAME;
        if !fits || !name.bytes().all(plain) || !is_credible(&name, value) {
            return;
        }
        let separator = if self.count == 0 { "TEXT " } else { "," };
        let figure = format!("{separator}{name}={value}");
        if self.text.len() + figure.len() <= MAX_BYTES {
            self.text.push_str(&figure);
            self.count += 1;
        }
    }
}

/// Ranges of the ORCA proto, and an end to what is believed.
fn is_credible(name: &str, value: f64) -> bool {
    match name {
        "cpu_utilization" | "application_utilization" => (0.0..=MAX_LOAD).contains(&value),
        "mem_utilization" => (0.0..=1.0).contains(&value),
        "rps_fractional" | "eps" => (0.0..=MAX_FIGURE).contains(&value),
        name if name.starts_with("utilization.") => (0.0..=1.0).contains(&value),
        "named_metrics.active_work" => (0.0..=MAX_FIGURE).contains(&value),
        _ => (-MAX_FIGURE..=MAX_FIGURE).contains(&value),
    }
}

/// A number as it is written in decimal: no `inf`, no `NaN`.
pub(super) fn number(text: &str) -> Result<f64, ReportError> {
    let decimal = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    match text.parse::<f64>() {
        Ok(value) if text.bytes().all(decimal) => Ok(value),
        Ok(_) => Err(ReportError::Range),
        Err(_) => Err(ReportError::Malformed),
    }
}
