//! How long a package's publisher was silent before a version, from the index's own times.

use countersign_core::Age;
use std::collections::BTreeMap;

const DAY: i64 = 86_400;

/// For each of `versions` (with its age, perhaps more than once) the whole days between it and the
/// latest publication of another version before it. Nothing for the first version, and nothing where
/// the times are not known.
pub(crate) fn silent_days<'a>(
    versions: impl Iterator<Item = (&'a str, Age)>,
) -> BTreeMap<&'a str, u32> {
    let mut first: BTreeMap<&str, i64> = BTreeMap::new();
    for (version, age) in versions {
        let Age::Known { published } = age else { continue };
        let held = first.entry(version).or_insert(published.0);
        *held = (*held).min(published.0);
    }
    let mut times: Vec<i64> = first.values().copied().collect();
    times.sort_unstable();
    let days = |at: i64| {
        let before = times.partition_point(|t| *t < at).checked_sub(1)?;
        let gap = at.saturating_sub(*times.get(before)?);
        u32::try_from(gap / DAY).ok()
    };
    first.into_iter().filter_map(|(version, at)| Some((version, days(at)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::Timestamp;

    #[test]
    fn silence_is_the_time_since_the_publication_before() {
        let at = |day: i64| Age::Known { published: Timestamp(day * DAY + 60) };
        let days = silent_days(
            [
                ("1.0.0", at(0)),
                ("1.1.0", at(10)),
                // A fix of an old line ends the silence of the package, whatever its number.
                ("1.0.1", at(300)),
                ("2.0.0", at(700)),
                // A version's files may be published one after the other.
                ("2.0.0", at(1200)),
                ("2.0.1", at(701)),
                ("0.9.0", Age::Unknown),
            ]
            .into_iter(),
        );
        let want = [("1.0.1", 290), ("1.1.0", 10), ("2.0.0", 400), ("2.0.1", 1)];
        assert_eq!(days.into_iter().collect::<Vec<_>>(), want);
    }

    #[test]
    fn without_times_there_is_no_silence() {
        assert!(silent_days([("1", Age::Unknown), ("2", Age::Unknown)].into_iter()).is_empty());
        assert!(silent_days(std::iter::empty()).is_empty());
        // What was published in one second is not silent before itself.
        let same = Age::Known { published: Timestamp(5) };
        assert!(silent_days([("1", same), ("2", same)].into_iter()).is_empty());
    }
}
