//! Chance that can be repeated: the same seed, the same choices of each thread.

/// A generator of numbers that need not be secret (Marsaglia, "Xorshift RNGs", 2003).
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    /// The choices of one thread of a soak.
    pub(super) fn new(seed: u64, thread: u64) -> Self {
        let mixed = seed ^ thread.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed.max(1))
    }

    /// A number below `end`, or 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(end).unwrap_or(0)
    }

    /// Whether something happens that does so `n` times in a thousand.
    pub(super) fn permille(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_repeated_by_its_seed_and_spreads() {
        let all = |seed| {
            let mut chance = Chance::new(seed, 3);
            (0..1000).map(|_| chance.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        for n in 0..10 {
            let hits = all(7).iter().filter(|x| **x == n).count();
            assert!((50..200).contains(&hits), "{n}: {hits}");
        }
        assert_eq!(Chance::new(0, 0).below(0), 0);
    }
}
