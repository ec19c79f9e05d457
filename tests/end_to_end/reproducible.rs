//! The same seed, or a run that continues, gives the same weights.
