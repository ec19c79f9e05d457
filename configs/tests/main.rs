//! The tests of recipes and files of teachers: one binary, so that it links once.

mod recipes;
mod refused;
mod teachers;
