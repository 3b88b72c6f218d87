//! The proof that something was verified, as a type.

/// A value that this crate verified to the end.
///
/// There is no way to make one outside this crate; to find every place that can, search for
/// `Verified::mint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Only for code that has just checked everything that `T` promises.
    pub(crate) fn mint(value: T) -> Self {
        Self(value)
    }

    /// The verified value.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The value without the proof.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}
