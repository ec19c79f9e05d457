//! The binaries, run as a user runs them.
