//! What a run says at last.

use serde::Serialize;

use super::Figure;

/// A scenario and its control.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) title: &'static str,
    pub(crate) control: &'static str,
    pub(crate) seconds: f64,
    pub(crate) with: Verdict,
    pub(crate) without: Verdict,
}

/// What one run found, or why it could not be judged.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Figures(Vec<Figure>),
    Broken(String),
}

impl Verdict {
    fn is_met(&self) -> bool {
        matches!(self, Self::Figures(figures) if !figures.is_empty() && figures.iter().all(|one| one.met))
    }

    /// The figures that a control missed; a run that broke rejects nothing.
    fn missed(&self) -> Vec<&Figure> {
        match self {
            Self::Figures(figures) => figures.iter().filter(|one| !one.met).collect(),
            Self::Broken(_) => Vec::new(),
        }
    }
}

impl Report {
    /// The scenario met every figure, and its control did not.
    pub(crate) fn is_good(&self) -> bool {
        self.with.is_met() && !self.without.missed().is_empty()
    }

    pub(crate) fn print(&self) {
        println!(
            "\n{}  {}  ({:.0} s)",
            self.scenario, self.title, self.seconds
        );
        match &self.with {
            Verdict::Figures(figures) => figures.iter().for_each(print),
            Verdict::Broken(why) => println!("    BROKEN  {why}"),
        }
        let missed = self.without.missed();
        match (&self.without, missed.first()) {
            (Verdict::Broken(why), _) => println!("    BROKEN  control ({}): {why}", self.control),
            (_, Some(figure)) => println!(
                "    ok      control ({}) is rejected: {} {}, bound {}",
                self.control, figure.what, figure.measured, figure.bound
            ),
            (_, None) => println!(
                "    MISSED  control ({}) PASSES: the judge is blind",
                self.control
            ),
        }
    }
}

fn print(figure: &Figure) {
    let verdict = if figure.met { "ok    " } else { "MISSED" };
    println!(
        "    {verdict}  {:<58} {:>18}   {}",
        figure.what, figure.measured, figure.bound
    );
}
