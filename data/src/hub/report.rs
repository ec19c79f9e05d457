//! What is told while a download goes on.

/// Hears what a download does. Every method may do nothing.
pub trait Report {
    /// Something that the user should know, in a sentence.
    fn notice(&self, _text: &str) {}

    /// The file `name` of `total` bytes begins, `done` of which are there already.
    fn begin(&self, _name: &str, _done: u64, _total: Option<u64>) {}

    /// `done` bytes of the file are there now.
    fn advance(&self, _done: u64) {}

    /// The file is complete, or given up.
    fn end(&self) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Report for Silent {}
