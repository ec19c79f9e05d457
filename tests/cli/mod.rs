//! The binaries, run as a user runs them.

mod bad_data;
pub mod bad_input;
mod bad_model;
mod bad_rankings;
mod bad_training;
pub mod binary;
mod data;
mod disk;
mod encode;
mod evaluation;
mod export;
mod gte;
mod judge;
mod killed;
mod local_teachers;
mod masked_lm;
mod report;
mod score;
mod search;
mod teachers;
mod train;
mod usage;
pub mod world;
