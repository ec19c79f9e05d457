//! Panics of other crates that become errors here.

use std::cell::Cell;
use std::panic::{UnwindSafe, catch_unwind, set_hook, take_hook};

thread_local! {
    /// Whether a panic of this thread is caught.
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What `run` gives; `None` where it panics.
pub(crate) fn catch<T>(run: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    let outer = IS_CATCHING.replace(true);
    let result = catch_unwind(run);
    IS_CATCHING.set(outer);
    result.ok()
}

/// From now on panics that become errors are not printed as well: those of damaged Parquet files. All others are, as
/// before. This changes the hook of the whole process, so it is for the beginning of a binary's `main`.
pub fn hush_caught_panics() {
    let print = take_hook();
    set_hook(Box::new(move |panic| {
        // A thread that is ending may have lost its flag.
        if !IS_CATCHING.try_with(Cell::get).unwrap_or(false) {
            print(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static PRINTED: Cell<usize> = const { Cell::new(0) };
    }

    /// Counted by thread, since other tests panic in theirs.
    #[test]
    fn caught_panics_are_not_printed_and_others_are() {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            PRINTED.set(PRINTED.get() + 1);
            before(panic);
        }));
        hush_caught_panics();
        assert_eq!(catch(|| 1), Some(1));
        assert_eq!(catch(|| -> u8 { panic!("caught") }), None);
        assert_eq!(PRINTED.get(), 0);
        assert!(catch_unwind(|| -> u8 { panic!("of a test") }).is_err());
        assert_eq!(PRINTED.get(), 1);
    }
}
