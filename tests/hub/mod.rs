//! Models and data sets from the Hub: a server on this machine has its interface, and its faults.

mod binaries;
mod download;
mod faults;
mod processes;
pub mod server;
