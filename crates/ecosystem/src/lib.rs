//! Registry protocols and archives: hostile bytes to typed values and back. Sans-I/O.
