//! ellzero-eval
fn main() {}
