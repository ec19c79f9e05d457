//! Real data and weights, what must not depend on the batch or on an interruption, and other tools.

mod batches;
mod parity;
mod real_data;
mod reproducible;
