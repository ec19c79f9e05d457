//! Checksums over what decides about an output: an unfinished one of the same run alone is continued.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Of options and the contents of files.
pub fn of(options: &str, files: &[PathBuf]) -> Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(options.as_bytes());
    for path in files {
        add_file(&mut hasher, path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(hasher.finalize())
}

/// All files of a model directory, sorted.
pub fn files_of(model: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(model)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("cannot list {}", model.display()))?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

/// Size and time of the last change: what a large file is known by.
pub fn stamp(path: &Path) -> Result<String> {
    let meta = path
        .metadata()
        .and_then(|meta| Ok((meta.len(), meta.modified()?)));
    let (bytes, changed) = meta.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{bytes} {changed:?}"))
}

fn add_file(hasher: &mut crc32fast::Hasher, path: &Path) -> io::Result<()> {
    struct Update<'a>(&'a mut crc32fast::Hasher);
    impl io::Write for Update<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut reader = io::BufReader::with_capacity(1 << 20, fs::File::open(path)?);
    io::copy(&mut reader, &mut Update(hasher))?;
    Ok(())
}
