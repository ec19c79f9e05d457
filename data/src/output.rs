//! Output files that appear complete or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

const BUFFER_BYTES: usize = 1 << 18;

/// Why an output could not be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The system refused: full or read-only disk, missing folder, no permission.
    #[error("{}", describe(path, cause))]
    Write {
        /// Output asked for.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A folder of that name is already there.
    #[error("{} already exists; remove it or choose another output", path.display())]
    Exists {
        /// Output asked for.
        path: PathBuf,
    },
}

fn describe(path: &Path, cause: &io::Error) -> String {
    // The `Write` side of an `AtomicFile` names the path already.
    if cause
        .get_ref()
        .is_some_and(|inner| inner.is::<OutputError>())
    {
        return cause.to_string();
    }
    let advice = match cause.kind() {
        io::ErrorKind::NotFound => "; create its folder first",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or choose another place"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; choose a place you may write to"
        }
        _ => "",
    };
    format!("cannot write {}: {cause}{advice}", path.display())
}

impl OutputError {
    /// Whether the reader of standard output went away, which is no failure of ours.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<OutputError> for io::Error {
    fn from(error: OutputError) -> Self {
        let kind = match &error {
            OutputError::Write { cause, .. } => cause.kind(),
            OutputError::Exists { .. } => io::ErrorKind::AlreadyExists,
        };
        io::Error::new(kind, error)
    }
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
    Stdout(BufWriter<io::Stdout>),
}

impl Sink {
    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(sink) => sink,
            Self::Gzip(sink) => sink,
            Self::Zstd(sink) => sink,
            Self::Stdout(sink) => sink,
        }
    }

    /// Ends compression, flushes, and waits until the bytes are on the disk.
    fn close(self) -> io::Result<()> {
        let buffered = match self {
            Self::Plain(sink) => sink,
            Self::Gzip(sink) => sink.finish()?,
            Self::Zstd(sink) => sink.finish()?,
            Self::Stdout(mut sink) => return sink.flush(),
        };
        let file = buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        match file.sync_all() {
            // Pipes and some device files cannot be synchronised; nothing is lost there.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }
}

/// A file written under a temporary name beside its target and renamed by [`AtomicFile::finish`].
///
/// `.gz` and `.zst` targets are compressed, `-` is standard output, and a target that exists and is
/// no regular file (`/dev/null`, a pipe) is written in place. Dropped unfinished, it leaves nothing.
pub struct AtomicFile {
    target: PathBuf,
    /// `None` when writing in place, and once renamed.
    temporary: Option<PathBuf>,
    sink: Option<Sink>,
}

impl AtomicFile {
    /// Starts writing `path`.
    ///
    /// # Errors
    /// [`OutputError`] when the temporary file cannot be created.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        if path == Path::new("-") {
            return Ok(Self {
                target: PathBuf::from("standard output"),
                temporary: None,
                sink: Some(Sink::Stdout(BufWriter::new(io::stdout()))),
            });
        }
        // A link keeps pointing where it does: the file behind it is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let in_place = fs::metadata(&target).is_ok_and(|meta| !meta.is_file());
        let temporary = (!in_place).then(|| temporary_beside(&target));
        let write_error = |cause| OutputError::Write {
            path: path.to_path_buf(),
            cause,
        };
        let file = File::create(temporary.as_ref().unwrap_or(&target)).map_err(write_error)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let sink = match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => Sink::Gzip(flate2::write::GzEncoder::new(
                file,
                flate2::Compression::default(),
            )),
            Some("zst") => Sink::Zstd(zstd::Encoder::new(file, 0).map_err(write_error)?),
            _ => Sink::Plain(file),
        };
        Ok(Self {
            target,
            temporary,
            sink: Some(sink),
        })
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// [`OutputError`] when the last bytes cannot be written or the rename fails.
    pub fn finish(mut self) -> Result<(), OutputError> {
        let sink = self.sink.take().expect("only finish takes the sink");
        sink.close().map_err(|cause| self.error(cause))?;
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.target).map_err(|cause| self.error(cause))?;
            self.temporary = None;
        }
        Ok(())
    }

    /// Writes a line and its end.
    ///
    /// # Errors
    /// [`OutputError`], naming the path.
    pub fn write_line(&mut self, line: &str) -> Result<(), OutputError> {
        let sink = self.sink();
        let written = sink.write_all(line.as_bytes());
        let written = written.and_then(|()| sink.write_all(b"\n"));
        written.map_err(|cause| self.error(cause))
    }

    fn error(&self, cause: io::Error) -> OutputError {
        OutputError::Write {
            path: self.target.clone(),
            cause,
        }
    }

    fn sink(&mut self) -> &mut dyn Write {
        self.sink
            .as_mut()
            .expect("only finish takes the sink")
            .as_write()
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.sink().write(bytes);
        result.map_err(|cause| self.error(cause).into())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.sink().flush();
        result.map_err(|cause| self.error(cause).into())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Nothing can be done about a failure here, and the target is untouched either way.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Writes `bytes` to `path`, complete or not at all.
///
/// # Errors
/// [`OutputError`], naming the path.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let mut file = AtomicFile::create(path)?;
    let written = file.sink().write_all(bytes);
    written.map_err(|cause| file.error(cause))?;
    file.finish()
}

/// A folder filled under a temporary name and renamed by [`AtomicDir::finish`].
pub struct AtomicDir {
    target: PathBuf,
    /// `None` once renamed.
    temporary: Option<PathBuf>,
}

impl AtomicDir {
    /// Starts the folder `path`, which must not exist (an empty folder may).
    ///
    /// # Errors
    /// [`OutputError`] when it exists or cannot be created.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let is_empty_dir = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if path.symlink_metadata().is_ok() && !is_empty_dir() {
            return Err(OutputError::Exists {
                path: path.to_path_buf(),
            });
        }
        let temporary = temporary_beside(path);
        fs::create_dir(&temporary).map_err(|cause| OutputError::Write {
            path: path.to_path_buf(),
            cause,
        })?;
        Ok(Self {
            target: path.to_path_buf(),
            temporary: Some(temporary),
        })
    }

    /// Where to put the folder's files for now.
    pub fn path(&self) -> &Path {
        self.temporary
            .as_deref()
            .expect("only finish takes the temporary path")
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// [`OutputError`] when the rename fails.
    pub fn finish(mut self) -> Result<(), OutputError> {
        fs::rename(self.path(), &self.target).map_err(|cause| OutputError::Write {
            path: self.target.clone(),
            cause,
        })?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for AtomicDir {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Nothing can be done about a failure here, and the target is untouched either way.
            let _ = fs::remove_dir_all(temporary);
        }
    }
}

fn temporary_beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appears_only_when_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.txt");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        write_file(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_folder_and_full_disk_name_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nowhere/out.txt");
        let message = write_file(&path, b"x").unwrap_err().to_string();
        assert!(message.contains("nowhere/out.txt"), "{message}");
        assert!(message.contains("create its folder first"), "{message}");

        let full = Path::new("/dev/full");
        if full.exists() {
            let mut file = AtomicFile::create(full).unwrap();
            let error = file.write_all(&[0; 1 << 20]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert!(error.to_string().contains("/dev/full"), "{error}");
            assert!(error.to_string().contains("free some space"), "{error}");
            let message = error.to_string();
            let wrapped = file.error(error).to_string();
            assert_eq!(wrapped, message);
        }
    }

    #[test]
    fn folders_are_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set");
        let folder = AtomicDir::create(&path).unwrap();
        fs::write(folder.path().join("a"), b"a").unwrap();
        folder.finish().unwrap();
        assert_eq!(fs::read(path.join("a")).unwrap(), b"a");
        assert!(matches!(
            AtomicDir::create(&path),
            Err(OutputError::Exists { .. })
        ));
    }
}
