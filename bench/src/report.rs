//! What was measured, as a table of Markdown with a verdict on every target.

use std::fmt::Write as _;

use crate::measure::Spread;

/// How a figure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A quotient.
    Ratio,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
    /// Mebibytes.
    Mebibytes,
    /// Messages (or calls) per second.
    PerSecond,
    /// Percent of one core.
    Percent,
}

/// What a figure must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    /// Nothing: it is information.
    None,
}

impl Bound {
    /// Whether the figure is within the bound; none when there is no bound.
    fn met(self, figure: f64) -> Option<bool> {
        match self {
            Bound::AtLeast(least) => Some(figure >= least),
            Bound::AtMost(most) => Some(figure <= most),
            Bound::Below(limit) => Some(figure < limit),
            Bound::None => None,
        }
    }

    fn text(self, unit: Unit) -> String {
        match self {
            Bound::AtLeast(figure) => format!("≥ {}", unit.text(figure)),
            Bound::AtMost(figure) => format!("≤ {}", unit.text(figure)),
            Bound::Below(figure) => format!("< {}", unit.text(figure)),
            Bound::None => "–".to_owned(),
        }
    }
}

impl Unit {
    /// The figure as people read it.
    pub(crate) fn text(self, figure: f64) -> String {
        match self {
            Unit::Ratio if figure >= 10.0 => format!("{figure:.1}"),
            Unit::Ratio => format!("{figure:.2}"),
            Unit::Micros if figure.abs() >= 1e6 => format!("{:.2} s", figure / 1e6),
            Unit::Micros if figure.abs() >= 1e3 => format!("{:.2} ms", figure / 1e3),
            Unit::Micros => format!("{figure:.1} µs"),
            Unit::Nanos if figure.abs() >= 1e4 => format!("{:.1} µs", figure / 1e3),
            Unit::Nanos => format!("{figure:.0} ns"),
            Unit::Mebibytes => format!("{figure:.1} MiB"),
            Unit::PerSecond if figure >= 1e6 => format!("{:.2}M/s", figure / 1e6),
            Unit::PerSecond if figure >= 1e4 => format!("{:.0}k/s", figure / 1e3),
            Unit::PerSecond if figure >= 1e3 => format!("{:.1}k/s", figure / 1e3),
            Unit::PerSecond => format!("{figure:.0}/s"),
            Unit::Percent => format!("{figure:.2}%"),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    ours: String,
    other: String,
    unit: Unit,
    figures: Vec<f64>,
    bound: Bound,
    worst_counts: bool,
}

impl Row {
    /// A line about these figures, one per run; the median is what the bound is for.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, figures: Vec<f64>, bound: Bound) -> Self {
        let dash = || "–".to_owned();
        Row { what: what.into(), ours: dash(), other: dash(), unit, figures, bound, worst_counts: false }
    }

    /// Names the two sides of the comparison: their medians in `unit`.
    pub(crate) fn sides(mut self, unit: Unit, ours: &[f64], other: &[f64]) -> Self {
        self.ours = unit.text(Spread::of(ours).median);
        self.other = unit.text(Spread::of(other).median);
        self
    }

    /// Says in words what the comparison is with.
    pub(crate) fn other(mut self, text: impl Into<String>) -> Self {
        self.other = text.into();
        self
    }

    /// Judges the greatest figure instead of the median.
    pub(crate) fn worst_counts(mut self) -> Self {
        self.worst_counts = true;
        self
    }

    fn judged(&self) -> f64 {
        let spread = Spread::of(&self.figures);
        if self.worst_counts { spread.max } else { spread.median }
    }

    fn met(&self) -> Option<bool> {
        self.bound.met(self.judged())
    }

    fn line(&self, small: bool) -> String {
        let spread = Spread::of(&self.figures);
        let text = |figure| self.unit.text(figure);
        let measured = if self.figures.len() == 1 {
            text(spread.median)
        } else if self.worst_counts {
            format!("{} worst ({} – {})", text(spread.max), text(spread.min), text(spread.max))
        } else {
            format!("{} ({} – {})", text(spread.median), text(spread.min), text(spread.max))
        };
        let verdict = match self.met() {
            None => "information",
            Some(_) if small => "not judged",
            Some(true) => "met",
            Some(false) => "**NOT MET**",
        };
        let target = self.bound.text(self.unit);
        format!("| {} | {} | {} | {measured} | {target} | {verdict} |", self.what, self.ours, self.other)
    }
}

/// All lines, in the order they were measured.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    small: bool,
}

impl Report {
    pub(crate) fn new(small: bool) -> Self {
        Report { rows: Vec::new(), small }
    }

    /// Adds a line, and shows it at once to whoever waits.
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("  {}", row.line(self.small));
        self.rows.push(row);
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| measurement | Onceward | compared with | measured: median (min – max) | target | verdict |\n\
             | --- | ---: | ---: | --- | --- | --- |\n",
        );
        for row in &self.rows {
            let _ = writeln!(table, "{}", row.line(self.small));
        }
        table
    }

    /// One sentence on how it was measured and how many targets are met.
    pub(crate) fn summary(&self, runs: usize) -> String {
        let judged: Vec<bool> = self.rows.iter().filter_map(Row::met).collect();
        let met = judged.iter().filter(|met| **met).count();
        let verdict = if self.small {
            "small sizes: the figures mean nothing, no target was judged".to_owned()
        } else {
            format!("{met} of {} targets met", judged.len())
        };
        format!("{runs} runs of each, what is compared alternating within each run, bodies of 100 bytes; {verdict}")
    }

    /// Whether every target is met. Small sizes are never judged.
    pub(crate) fn all_met(&self) -> bool {
        self.small || self.rows.iter().all(|row| row.met() != Some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_named_and_fails_the_check() {
        let mut report = Report::new(false);
        report.add(Row::new("fast enough", Unit::Ratio, vec![0.5, 0.7, 0.6], Bound::AtLeast(0.6)));
        assert!(report.all_met() && report.table().contains("| 0.60 (0.50 – 0.70) | ≥ 0.60 | met |"));
        report.add(Row::new("worst", Unit::Micros, vec![10.0, 30.0, 12.0], Bound::AtMost(25.0)).worst_counts());
        assert!(!report.all_met() && report.table().contains("| ≤ 25.0 µs | **NOT MET** |"));
        assert!(report.summary(3).contains("1 of 2 targets met"));
    }

    #[test]
    fn figures_are_written_as_people_read_them() {
        let written = [
            Unit::PerSecond.text(353_400.0),
            Unit::PerSecond.text(8_400.0),
            Unit::Micros.text(2_500.0),
            Unit::Ratio.text(31.26),
        ];
        assert_eq!(written, ["353k/s", "8.4k/s", "2.50 ms", "31.3"]);
    }
}
