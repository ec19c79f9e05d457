//! What OpenSearch ml-commons registers: the query side of an inference-free model.

use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;

use data::output::{OutputError, write_file};
use serde_json::json;
use sha2::{Digest, Sha256};
use zip::write::{SimpleFileOptions, ZipWriter};

use super::export::{create_dir, write_json};
use super::{ExportError, ImportError};

/// Writes `opensearch/` into `dir`: a `SPARSE_TOKENIZE` archive of the `idf.json` and `tokenizer.json` that
/// are there already, and the settings to register it with under `name`.
pub(super) fn write(name: &str, dir: &Path) -> Result<(), ExportError> {
    let members = ["idf.json", "tokenizer.json"].map(|member| (member, dir.join(member)));
    let mut contents = Vec::new();
    for (member, path) in members {
        let content = fs::read(&path).map_err(ImportError::io(&path))?;
        contents.push((member, content));
    }
    let target = dir.join("opensearch");
    create_dir(&target)?;
    let path = target.join("sparse_tokenize.zip");
    let archive = zip(&contents).map_err(|cause| OutputError::Write {
        path: path.clone(),
        cause,
    })?;
    write_file(&path, &archive)?;
    let hash: String = Sha256::digest(&archive)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let settings = json!({
        "name": name,
        "version": "1.0.0",
        "description": "Query tokenizer and token weights of an inference-free sparse retriever",
        "model_format": "TORCH_SCRIPT",
        "function_name": "SPARSE_TOKENIZE",
        "model_content_size_in_bytes": archive.len(),
        "model_content_hash_value": hash,
    });
    write_json(&target.join("config.json"), &settings)
}

/// An archive with a fixed date, so that the same model gives the same hash.
fn zip(members: &[(&str, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().last_modified_time(Default::default());
    for (member, content) in members {
        archive.start_file(*member, options)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_archive_holds_what_the_settings_say() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("idf.json"), r#"{"sun": 2.5}"#).unwrap();
        fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
        write("seas", dir.path()).unwrap();

        let target = dir.path().join("opensearch");
        let archive = fs::read(target.join("sparse_tokenize.zip")).unwrap();
        let settings = fs::read(target.join("config.json")).unwrap();
        let settings: serde_json::Value = serde_json::from_slice(&settings).unwrap();
        assert_eq!(settings["model_content_size_in_bytes"], archive.len());
        assert_eq!(settings["function_name"], "SPARSE_TOKENIZE");

        let mut members = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
        let mut idf = String::new();
        members
            .by_name("idf.json")
            .unwrap()
            .read_to_string(&mut idf)
            .unwrap();
        assert_eq!(idf, r#"{"sun": 2.5}"#);
        assert!(members.by_name("tokenizer.json").is_ok());
    }
}
