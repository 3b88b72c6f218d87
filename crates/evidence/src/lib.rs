//! Attestations and signatures to verified claims, given trust roots and a time. Sans-I/O.
