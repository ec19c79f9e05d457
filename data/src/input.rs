//! Line readers: plain, gzip, Zstandard and standard input, with line numbers in every error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

const BUFFER_BYTES: usize = 1 << 18;

/// Why a text file could not be read.
#[derive(Debug, Error)]
pub enum InputError {
    /// The file does not exist or may not be read.
    #[error("cannot open {}: {cause}", path.display())]
    Open {
        /// File asked for.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Reading failed part of the way: a bad disk, or a truncated or damaged compressed file.
    #[error("{}:{line}: cannot read on: {cause}", path.display())]
    Read {
        /// File being read.
        path: PathBuf,
        /// Line that was being read, from 1.
        line: usize,
        /// What the system or the decompressor said.
        cause: io::Error,
    },
    /// A line is not UTF-8.
    #[error(
        "{}:{line}: byte {column} of the line is 0x{byte:02x}, which is not UTF-8; convert the file \
         (for example with `iconv -f latin1 -t utf-8`)",
        path.display()
    )]
    NotUtf8 {
        /// File being read.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// Position of the offending byte in its line, from 1.
        column: usize,
        /// The offending byte.
        byte: u8,
    },
}

/// One line of a text file, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Line number, from 1.
    pub number: usize,
    /// The text; `\n` and `\r\n` are taken off, and a byte order mark from the first line.
    pub text: String,
}

/// Iterator over the lines of a file.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    number: usize,
    failed: bool,
}

/// Opens `path` for reading: `.gz` and `.zst` files are decompressed, `-` is standard input.
///
/// # Errors
/// [`InputError::Open`] when the file is missing or unreadable.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, InputError> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            io::stdin(),
        )));
    }
    let open_error = |cause| InputError::Open {
        path: path.to_path_buf(),
        cause,
    };
    let file = File::open(path).map_err(open_error)?;
    let decoded: Box<dyn Read + Send> = match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some("zst") => Box::new(zstd::Decoder::new(file).map_err(open_error)?),
        _ => Box::new(file),
    };
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoded)))
}

/// Opens `path` line by line; see [`open`] for the formats.
///
/// # Errors
/// [`InputError::Open`] when the file is missing or unreadable.
pub fn open_lines(path: &Path) -> Result<Lines, InputError> {
    let shown = if path == Path::new("-") {
        PathBuf::from("standard input")
    } else {
        path.to_path_buf()
    };
    Ok(Lines {
        path: shown,
        reader: open(path)?,
        number: 0,
        failed: false,
    })
}

impl Lines {
    /// The file's path as errors show it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read_line(&mut self) -> Result<Option<Line>, InputError> {
        self.number += 1;
        let mut bytes = Vec::new();
        let read = self
            .reader
            .read_until(b'\n', &mut bytes)
            .map_err(|cause| InputError::Read {
                path: self.path.clone(),
                line: self.number,
                cause,
            })?;
        if read == 0 {
            return Ok(None);
        }
        let text = decode_line(&bytes, self.number == 1, || self.number, &self.path)?.to_owned();
        Ok(Some(Line {
            number: self.number,
            text,
        }))
    }
}

impl Iterator for Lines {
    type Item = Result<Line, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.read_line().transpose();
        self.failed = !matches!(line, Some(Ok(_)));
        line
    }
}

/// Takes line end and byte order mark off and checks that the rest is UTF-8. `number` is asked for only where
/// an error names it.
pub(crate) fn decode_line<'a>(
    bytes: &'a [u8],
    is_first: bool,
    number: impl FnOnce() -> usize,
    path: &Path,
) -> Result<&'a str, InputError> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| InputError::NotUtf8 {
        path: path.to_path_buf(),
        line: number(),
        column: error.valid_up_to() + 1,
        byte: bytes[error.valid_up_to()],
    })?;
    if is_first {
        return Ok(text.strip_prefix('\u{feff}').unwrap_or(text));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::output::AtomicFile;

    fn texts(path: &Path) -> Vec<(usize, String)> {
        open_lines(path)
            .unwrap()
            .map(|line| line.unwrap())
            .map(|line| (line.number, line.text))
            .collect()
    }

    #[test]
    fn reads_plain_and_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let expected = vec![(1, "één".to_owned()), (2, String::new()), (3, "x".into())];
        for name in ["a.txt", "a.txt.gz", "a.txt.zst"] {
            let path = dir.path().join(name);
            let mut file = AtomicFile::create(&path).unwrap();
            file.write_all("\u{feff}één\r\n\nx".as_bytes()).unwrap();
            file.finish().unwrap();
            assert_eq!(texts(&path), expected, "{name}");
        }
    }

    #[test]
    fn names_file_line_and_byte_of_bad_utf8() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latin1.txt");
        std::fs::write(&path, b"fine\ncaf\xe9 au lait\n").unwrap();
        let error = open_lines(&path).unwrap().nth(1).unwrap().unwrap_err();
        let message = error.to_string();
        assert!(message.contains("latin1.txt:2: byte 4"), "{message}");
    }

    #[test]
    fn truncated_gzip_is_an_error_and_ends_the_iteration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        let mut file = AtomicFile::create(&path).unwrap();
        for i in 0..2000 {
            writeln!(file, "line {i} {}", i * 7919 % 1000).unwrap();
        }
        file.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let results: Vec<_> = open_lines(&path).unwrap().collect();
        assert!(matches!(results.last(), Some(Err(InputError::Read { .. }))));
    }
}
