//! Figures from what was seen: percentiles, delays, and how something grows. Pure.

use std::time::{Duration, Instant};

use serde::Serialize;

/// The middle and the far end of a set of times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of them took at most this.
    pub p50: f64,
    /// Ninety-nine of a hundred took at most this.
    pub p99: f64,
}

impl Spread {
    /// Of these times; nothing where there are none.
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        Some(Self {
            p50: millis(percentile(&times, 50)?),
            p99: millis(percentile(&times, 99)?),
        })
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// The smallest of `sorted` that is not below that many of a hundred.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// A count as a number to calculate with.
pub fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// From each moment at which one of `limit` slots became free to the start that used it: the k-th end frees the place for
/// the start that is `limit` after it. Both in the order of time.
pub fn slot_delays(
    mut starts: Vec<Instant>,
    mut ends: Vec<Instant>,
    limit: usize,
) -> Vec<Duration> {
    starts.sort_unstable();
    ends.sort_unstable();
    let later = starts.into_iter().skip(limit);
    later
        .zip(ends)
        .map(|(start, end)| start.saturating_duration_since(end))
        .collect()
}

/// The exponent of the power of x that fits best: 1 where twice as much takes twice as long. Nothing with fewer than two
/// different sizes, or with something that is not above zero.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    if points.iter().any(|(x, y)| *x <= 0.0 || *y <= 0.0) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = number(logs.len());
    let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    if logs.is_empty() || spread < 1e-9 {
        return None;
    }
    let common = logs
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum::<f64>();
    Some(common / spread)
}

/// The one in the middle, or between the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied()?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = values.get(values.len() / 2 - 1).copied()?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[u64]) -> Vec<Duration> {
        values
            .iter()
            .map(|value| Duration::from_secs(*value))
            .collect()
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let hundred: Vec<u64> = (1..=100).collect();
        let spread = Spread::of(seconds(&hundred)).unwrap();
        assert_eq!((spread.p50, spread.p99), (50_000.0, 99_000.0));
        let one = Spread::of(seconds(&[7])).unwrap();
        assert_eq!((one.p50, one.p99), (7_000.0, 7_000.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_slot_waits_from_an_end_to_the_start_that_uses_it() {
        let zero = Instant::now();
        let at = |values: &[u64]| -> Vec<Instant> {
            values
                .iter()
                .map(|value| zero + Duration::from_secs(*value))
                .collect()
        };
        // Two slots: the starts at 0 and 1 need no end; the one at 12 uses the end at 10, the one at 20 that at 15.
        let delays = slot_delays(at(&[20, 0, 1, 12]), at(&[15, 10, 22, 30]), 2);
        assert_eq!(delays, seconds(&[2, 5]));
    }

    #[test]
    fn what_grows_with_the_square_has_the_exponent_two() {
        let square = [(100.0, 1.0), (1000.0, 100.0), (2000.0, 400.0)];
        assert!((exponent(&square).unwrap() - 2.0).abs() < 1e-9);
        let linear = [(100.0, 3.0), (500.0, 15.0)];
        assert!((exponent(&linear).unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(exponent(&[(100.0, 1.0), (100.0, 2.0)]), None);
        assert_eq!(exponent(&[(100.0, 0.0), (200.0, 2.0)]), None);
        assert_eq!(exponent(&[]), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
