//! Medians, spread, and ratios that say how sure they are.

/// The middle of the values; between the two middle ones when they are even in number.
#[must_use]
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

/// The smallest and the largest value.
#[must_use]
pub(super) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    Some((low, high))
}

/// How one series compares with another that was measured in the same rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ratio {
    /// The ratio of the medians.
    pub(super) value: f64,
    /// The smallest and the largest ratio of two values of one round.
    pub(super) spread: (f64, f64),
}

impl Ratio {
    /// `above` to `below`, value by value of the same round; `None` when one of them is empty.
    #[must_use]
    pub(super) fn of(above: &[f64], below: &[f64]) -> Option<Self> {
        let pairs: Vec<f64> = above.iter().zip(below).map(|(a, b)| a / b).collect();
        Some(Self { value: median(above)? / median(below)?, spread: range(&pairs)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(range(&[2.0, 9.0, 1.0]), Some((1.0, 9.0)));
    }

    #[test]
    fn a_ratio_is_of_medians_and_its_spread_of_rounds() {
        let ratio = Ratio::of(&[1.0, 2.0, 9.0], &[2.0, 2.0, 3.0]).unwrap();
        assert_eq!(ratio, Ratio { value: 1.0, spread: (0.5, 3.0) });
        assert_eq!(Ratio::of(&[], &[1.0]), None);
    }
}
