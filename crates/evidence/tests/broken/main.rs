//! What must not be accepted: one good bundle, one change, one reason.
//!
//! Each test first verifies the unchanged bundle, so that the change alone is what is refused, and
//! then asks for the reason by its stable name. Signatures, logs and stamps of a changed bundle are
//! made anew around the change, unless the change is in them.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "../mint/mod.rs"]
mod mint;

mod case;
mod certificates;
mod content;
mod documents;
mod images;
mod keyed;
mod logs;
mod stamps;

/// One test: a name, the reason, and the change to a good case.
#[macro_export]
macro_rules! broken {
    ($($name:ident: $start:expr, $code:literal, $change:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let start: $crate::case::Case = $start;
                $crate::case::refused(stringify!($name), start, $code, $change);
            }
        )+
    };
}
