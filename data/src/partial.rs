//! The unfinished output of a run that can continue.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::convert::{self, ConvertError};
use crate::output::{AtomicFile, OutputError};

/// Lines being written to `OUTPUT.partial-FINGERPRINT`, locked against a second writer. Only whole chunks of them are
/// trusted.
pub struct PartialFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl PartialFile {
    /// Opens or creates the partial file of `output`; `fingerprint` stands for everything that decides what the lines
    /// are.
    ///
    /// # Errors
    /// [`OutputError`] when the system refuses, or another run is writing the file.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts off what is behind the last multiple of `chunk` lines, having shown those before to `check`, with their
    /// numbers from 1. Returns their number.
    ///
    /// # Errors
    /// What `check` says, or [`OutputError`] when the file cannot be read or cut.
    pub fn keep_whole_chunks<E: From<OutputError>>(
        &mut self,
        chunk: usize,
        mut check: impl FnMut(usize, String) -> Result<(), E>,
    ) -> Result<usize, E> {
        let read_error = |cause| OutputError::Write {
            path: self.path.clone(),
            cause,
        };
        let (done, end) = whole_chunks(self.file.get_ref(), chunk).map_err(read_error)?;
        let file = self.file.get_mut();
        file.rewind().map_err(read_error)?;
        let mut lines = BufReader::new(&*file).lines();
        for number in 1..=done {
            let line = lines.next().transpose().map_err(read_error)?;
            check(number, line.unwrap_or_default())?;
        }
        file.set_len(end).map_err(read_error)?;
        file.seek(SeekFrom::End(0)).map_err(read_error)?;
        Ok(done)
    }

    /// Gives the complete file its name, compressed where the name asks for it.
    ///
    /// # Errors
    /// [`OutputError`] when the system refuses.
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

    /// As [`Self::finish`], in whatever form the output's name asks for (see [`convert::convert`]).
    ///
    /// # Errors
    /// [`ConvertError`] when the lines have no place in that form, or the system refuses.
    pub fn finish_as_dataset(mut self, output: &Path) -> Result<(), ConvertError> {
        if convert::is_json_lines(output) {
            return Ok(self.finish(output)?);
        }
        let error = |cause| OutputError::Write {
            path: self.path.clone(),
            cause,
        };
        self.file.flush().map_err(error)?;
        convert::convert(&self.path, output, &mut || ())?;
        Ok(self.remove()?)
    }

    /// Deletes the file.
    ///
    /// # Errors
    /// [`OutputError`] when the system refuses.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines shown to the check.
    fn kept(output: &Path, chunk: usize) -> (Vec<String>, PartialFile) {
        let mut partial = PartialFile::open(output, 7).unwrap();
        let mut lines = Vec::new();
        let done = partial.keep_whole_chunks(chunk, |number, line| {
            lines.push(line);
            assert_eq!(number, lines.len());
            Ok::<_, OutputError>(())
        });
        assert_eq!(done.unwrap(), lines.len());
        (lines, partial)
    }

    #[test]
    fn a_torn_tail_is_cut_to_whole_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out.jsonl");
        let path = dir.path().join("out.jsonl.partial-00000007");
        for (content, chunk, expected) in [
            ("", 1, ""),
            ("a", 1, ""),
            ("a\nb\nc", 1, "a\nb\n"),
            ("a\nb\nc\n", 2, "a\nb\n"),
            ("a\nb\nc\n", 4, ""),
        ] {
            fs::write(&path, content).unwrap();
            let (lines, mut partial) = kept(&output, chunk);
            assert_eq!(lines.concat(), expected.replace('\n', ""));
            partial.write_all(b"x\n").unwrap();
            partial.finish(&output).unwrap();
            assert_eq!(
                fs::read_to_string(&output).unwrap(),
                format!("{expected}x\n")
            );
            assert!(!path.exists());
        }
    }

    #[test]
    fn the_name_of_the_output_decides_about_its_form() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.jsonl.zst", "a.parquet", "folder"] {
            let output = dir.path().join(name);
            let (_, mut partial) = kept(&output, 1);
            partial.write_all(b"{\"a\": 1}\n{\"a\": 2}\n").unwrap();
            partial.finish_as_dataset(&output).unwrap();
            let dataset = crate::Dataset::open(&output).unwrap();
            assert_eq!(
                (dataset.len(), &dataset.row(1).unwrap()["a"]),
                (2, &2.into())
            );
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }
}
