//! The unfinished output of an encoding run.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use data::beir::{BeirError, Document};
use data::output::{AtomicFile, OutputError};
use serde::Deserialize;

use super::EncodeError;

/// An output being written, locked against a second writer. Only whole chunks of it are trusted.
pub struct PartialFile {
    path: PathBuf,
    file: BufWriter<File>,
}

#[derive(Deserialize)]
struct RowId {
    id: String,
}

impl PartialFile {
    /// Opens or creates the partial file of `output`.
    pub fn open(output: &Path, fingerprint: u32) -> Result<Self, OutputError> {
        let mut name = output.as_os_str().to_owned();
        name.push(format!(".partial-{fingerprint:08x}"));
        let path = PathBuf::from(name);
        let error = |cause| OutputError::Write {
            path: path.clone(),
            cause,
        };
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(error)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                Err(error(io::Error::other("another run is writing it")))
            }
            // Not every file system has locks; without them two writers are the user's to avoid.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self {
                path,
                file: BufWriter::new(file),
            }),
        }
    }

    /// Skips those of `rows` that are done, and cuts off what is behind the last multiple of `chunk` rows. Returns
    /// the number of rows skipped.
    pub fn skip_done(
        &mut self,
        rows: &mut impl Iterator<Item = Result<Document, BeirError>>,
        chunk: usize,
    ) -> Result<usize, EncodeError> {
        let read_error = |cause| OutputError::Write {
            path: self.path.clone(),
            cause,
        };
        let (done, end) = whole_chunks(self.file.get_ref(), chunk).map_err(read_error)?;
        let file = self.file.get_mut();
        file.rewind().map_err(read_error)?;
        let mut lines = BufReader::new(&*file).lines();
        for row in 1..=done {
            let line = lines
                .next()
                .transpose()
                .map_err(read_error)?
                .unwrap_or_default();
            let found = serde_json::from_str::<RowId>(&line).map_or_else(|_| line, |row| row.id);
            let expected = rows
                .next()
                .transpose()?
                .map_or_else(|| "no row".to_owned(), |row| row.id);
            if found != expected {
                return Err(EncodeError::OtherInput {
                    path: self.path.clone(),
                    row,
                    found,
                    expected,
                });
            }
        }
        file.set_len(end).map_err(read_error)?;
        file.seek(SeekFrom::End(0)).map_err(read_error)?;
        Ok(done)
    }

    /// Gives the complete file its name, compressed where the name asks for it.
    pub fn finish(self, output: &Path) -> Result<(), OutputError> {
        let path = self.path;
        let error = |cause| OutputError::Write {
            path: output.to_owned(),
            cause,
        };
        let mut file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .map_err(error)?;
        let compressed = output
            .extension()
            .is_some_and(|extension| extension == "gz" || extension == "zst");
        if !compressed {
            file.sync_all().map_err(error)?;
            return fs::rename(&path, output).map_err(error);
        }
        file.rewind().map_err(error)?;
        let mut out = AtomicFile::create(output)?;
        io::copy(&mut file, &mut out).map_err(error)?;
        out.finish()?;
        fs::remove_file(&path).map_err(error)
    }

    /// Deletes the file.
    pub fn remove(self) -> Result<(), OutputError> {
        fs::remove_file(&self.path).map_err(|cause| OutputError::Write {
            path: self.path.clone(),
            cause,
        })
    }

    fn error(&self, cause: io::Error) -> io::Error {
        OutputError::Write {
            path: self.path.clone(),
            cause,
        }
        .into()
    }
}

/// Errors name the file.
impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|cause| self.error(cause))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|cause| self.error(cause))
    }
}

/// The largest multiple of `chunk` complete lines, and where it ends.
fn whole_chunks(mut file: &File, chunk: usize) -> io::Result<(usize, u64)> {
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let (mut rows, mut end, mut whole) = (0, 0, (0, 0));
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(whole);
        }
        end += line.len() as u64;
        rows += 1;
        if rows % chunk == 0 {
            whole = (rows, end);
        }
    }
}
