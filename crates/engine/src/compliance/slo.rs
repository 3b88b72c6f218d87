//! How quickly things were done, from the times of entries alone.

use super::{Places, SloLine};
use countersign_core::Timestamp;
use countersign_store::{Feed, StoredRecall};

/// Seconds in words.
pub(super) fn duration(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The line of figures: median, 95th percentile and maximum.
pub(super) fn figures(name: &str, mut seconds: Vec<i64>, proof: Places) -> SloLine {
    seconds.sort_unstable();
    let at = |percent: usize| {
        let place = seconds.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
        seconds.get(place).copied()
    };
    let value = at(50).zip(at(95)).zip(seconds.last()).map(|((median, p95), max)| {
        let (median, p95, max) = (duration(median), duration(p95), duration(*max));
        format!("median {median}, 95 % within {p95}, longest {max}, of {}", seconds.len())
    });
    SloLine { name: name.to_owned(), value, proof }
}

/// How long recalls took from their beginning to their end.
pub(super) fn recalls(done: &[StoredRecall]) -> SloLine {
    let mut proof = Places::default();
    let mut seconds = Vec::new();
    for recall in done {
        if let (Some(end), Some(index)) = (recall.finished, recall.index) {
            seconds.push(end.0.saturating_sub(recall.new.started.0));
            proof.add(index);
        }
    }
    figures("recall, from the change to the last artifact judged again", seconds, proof)
}

/// How old each feed was at the end of the period.
pub(super) fn feeds(feeds: &[Feed], until: Timestamp, proof: &Places) -> SloLine {
    let age = |f: &Feed| {
        let synced = f.last_synced.filter(|t| *t <= until)?;
        Some(format!("{} {}", f.name, duration(until.0.saturating_sub(synced.0))))
    };
    let ages: Vec<String> = feeds.iter().filter_map(age).collect();
    SloLine {
        name: "feeds, time since each was last read to its end".to_owned(),
        value: (!ages.is_empty()).then(|| ages.join(", ")),
        proof: proof.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_what_was_recorded() {
        let line = |s: Vec<i64>| figures("x", s, Places::default()).value;
        assert_eq!(line(vec![]), None);
        assert_eq!(line(vec![7]).unwrap(), "median 7 s, 95 % within 7 s, longest 7 s, of 1");
        let many: Vec<i64> = (1..=100).rev().map(|n| n * 60).collect();
        assert_eq!(
            line(many).unwrap(),
            "median 50 min, 95 % within 95 min, longest 100 min, of 100"
        );
        assert_eq!(duration(7_200), "2 h");
        assert_eq!(duration(200_000), "2 days");
    }
}
