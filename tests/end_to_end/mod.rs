//! Real data and weights, invariances, and other tools.
