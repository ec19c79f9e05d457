//! Files as memory: the system reads what is touched and forgets it when memory is short.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a file for reading.
///
/// The file must not be changed while it is mapped: bytes would change under the reader, and a file cut short
/// ends the process (SIGBUS), as with every program that maps its data.
pub(crate) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: a read-only private view; see above for what the file's owner must not do.
    #[allow(unsafe_code)]
    unsafe {
        Mmap::map(file)
    }
}

/// Gives the memory behind `map[start..end]` back to the system; touching it reads the file again. Without
/// this, one pass over a data set would count as the process's own memory up to the size of the data set.
pub(crate) fn release(map: &Mmap, start: usize, end: usize) {
    #[cfg(unix)]
    {
        use memmap2::UncheckedAdvice::DontNeed;
        // SAFETY: the mapping is read-only and backed by a file, so that dropped pages come back with the same
        // content. A refusal changes nothing but memory use and is ignored.
        #[allow(unsafe_code)]
        let _ = unsafe { map.unchecked_advise_range(DontNeed, start, end - start) };
    }
    #[cfg(not(unix))]
    let _ = (map, start, end);
}
