//! Facts to a verdict and its reasons. The only crate that knows Cedar. Sans-I/O.
