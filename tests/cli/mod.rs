//! The binaries, run as a user runs them.

mod bad_data;
mod bad_input;
mod bad_model;
mod bad_rankings;
mod bad_training;
pub mod binary;
mod data;
mod disk;
mod encode;
mod export;
mod judge;
mod score;
mod search;
mod teachers;
mod train;
mod usage;
pub mod world;
