//! The arithmetic of measuring: clocks, medians, alternation.

use std::time::{Duration, Instant};

/// The result of everything here: a failure ends the program with its text.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Minimum, median and maximum of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of at least one figure.
    pub(crate) fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Spread { min: sorted[0], median, max: sorted[sorted.len() - 1] }
    }
}

/// Two sides of a comparison, one figure per run; the figures of one run belong together.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pub(crate) ours: Vec<f64>,
    pub(crate) other: Vec<f64>,
}

impl Pairs {
    /// Ours divided by the other, run by run.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.other).map(|(ours, other)| ours / other).collect()
    }

    /// Ours less the other, run by run.
    pub(crate) fn differences(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.other).map(|(ours, other)| ours - other).collect()
    }

    /// Adds one run: the median of each side's calls.
    pub(crate) fn push_medians(&mut self, calls: &Pairs) {
        self.ours.push(Spread::of(&calls.ours).median);
        self.other.push(Spread::of(&calls.other).median);
    }

    /// Adds one run: the mean of each side's calls.
    pub(crate) fn push_means(&mut self, calls: &Pairs) {
        let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
        self.ours.push(mean(&calls.ours));
        self.other.push(mean(&calls.other));
    }
}

/// Measures both sides `runs` times, the order swapped from run to run, after one run of each that does not count.
pub(crate) fn alternate(
    runs: usize,
    mut ours: impl FnMut() -> Outcome<f64>,
    mut other: impl FnMut() -> Outcome<f64>,
) -> Outcome<Pairs> {
    other()?;
    ours()?;
    alternate_sides(runs, ours, other)
}

/// Alternates single calls `count` times, the order swapped each time, and gives the time of each call in microseconds.
pub(crate) fn alternate_calls(
    count: usize,
    mut ours: impl FnMut() -> Outcome<()>,
    mut other: impl FnMut() -> Outcome<()>,
) -> Outcome<Pairs> {
    alternate_sides(count, || micros(&mut ours), || micros(&mut other))
}

/// Alternates both sides `count` times, the order swapped each time, and gives their figures.
pub(crate) fn alternate_sides(
    count: usize,
    mut ours: impl FnMut() -> Outcome<f64>,
    mut other: impl FnMut() -> Outcome<f64>,
) -> Outcome<Pairs> {
    let mut pairs = Pairs::default();
    for call in 0..count {
        if call % 2 == 0 {
            pairs.other.push(other()?);
            pairs.ours.push(ours()?);
        } else {
            pairs.ours.push(ours()?);
            pairs.other.push(other()?);
        }
    }
    Ok(pairs)
}

/// The time that `work` takes, in microseconds.
pub(crate) fn micros(work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// How many per second.
pub(crate) fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// Nanoseconds of the monotonic clock, which all processes of the machine share.
pub(crate) fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The figure that `fraction` of the sorted figures do not exceed.
pub(crate) fn percentile(sorted: &[u64], fraction: f64) -> u64 {
    let rank = (sorted.len() as f64 * fraction).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Fails with the text when the condition does not hold: a measurement whose result is wrong measured nothing.
pub(crate) fn verify(condition: bool, text: impl FnOnce() -> String) -> Outcome<()> {
    if condition { Ok(()) } else { Err(text().into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_and_percentiles_of_known_figures() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&sorted, 0.5), percentile(&sorted, 0.99), percentile(&sorted, 1.0)), (50, 99, 100));
        assert_eq!(percentile(&[7], 0.99), 7);
    }

    #[test]
    fn alternation_swaps_the_order_and_drops_the_first_run() {
        let order = std::cell::RefCell::new(String::new());
        let side = |name: char| {
            order.borrow_mut().push(name);
            Ok(f64::from(u32::from(name)))
        };
        let pairs = alternate(2, || side('a'), || side('b')).expect("no failure");
        assert_eq!(*order.borrow(), "baba".to_owned() + "ab");
        assert_eq!((pairs.ours, pairs.other), (vec![97.0, 97.0], vec![98.0, 98.0]));
    }
}
