//! From what is written to [`TeachersConfig`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::entry::Entry;
use super::{
    Bm25Teacher, DenseTeacher, LocalModel, MAX_LENGTH, PairTeacher, Prefixes, RemoteApi,
    RemoteTeacher, SparseTeacher, TeacherConfig, TeacherKind, TeachersConfig, VectorsTeacher,
};
use crate::error::{ConfigError, Place};
use crate::scalar::describe;
use crate::yaml::from_yaml;

const SCORE_SCALE: f64 = 30.0;
/// [CLS], one token of each of two texts, and their [SEP].
const SHORTEST: usize = 5;
const BATCH_TOKENS: usize = 8192;
/// Anserini's.
const K1: f64 = 0.9;
const B: f64 = 0.4;
/// The largest batch that text-embeddings-inference takes unless told otherwise.
const REMOTE_BATCH: usize = 32;
const REMOTE_PARALLEL: usize = 4;
const REMOTE_TIMEOUT_S: f64 = 60.0;
const REMOTE_RETRIES: usize = 5;
const REMOTE_BACKOFF_S: f64 = 0.5;
const DAY_S: f64 = 86_400.0;

const TYPES: &str = "sparse, dense, cross-encoder, monot5, bm25, vectors, remote";

/// The mapping of a whole file.
type Mapping = BTreeMap<String, Spanned<Value>>;

/// Where the keys of each teacher are.
#[derive(Deserialize)]
struct Places {
    teachers: Vec<Mapping>,
}

/// The teachers of a file; `path` is only named in errors.
pub(super) fn file(path: &Path, text: &str) -> Result<TeachersConfig, ConfigError> {
    let place = |line| Place::Line(path.to_owned(), line);
    let mapping: Option<Mapping> =
        from_yaml(text).map_err(|(line, message)| ConfigError::Syntax {
            place: line.map_or_else(|| Place::File(path.to_owned()), place),
            message,
        })?;
    let lines = |mapping: &Mapping| -> BTreeMap<String, Place> {
        let keys = mapping.iter();
        keys.map(|(key, value)| (key.clone(), place(value.referenced.line())))
            .collect()
    };
    let mapping = mapping.unwrap_or_default();
    let places = lines(&mapping);
    // A list of anything else than mappings is told about below.
    let teachers = from_yaml::<Places>(text).map_or_else(|_| Vec::new(), |found| found.teachers);
    let teachers = teachers.iter().map(lines).collect();
    let values = mapping.into_iter().map(|(key, value)| (key, value.value));
    let whole = Entry::new(
        String::new(),
        values.collect(),
        Place::File(path.to_owned()),
        places,
    );
    resolve(whole, teachers, MAX_LENGTH)
}

/// The teachers of a recipe's key; they read as much of a text as the model in training where nothing else is said.
/// `None` where the mapping is empty.
pub(crate) fn kwargs(
    key: &str,
    value: &Value,
    place: Place,
    max_length: usize,
) -> Result<Option<TeachersConfig>, ConfigError> {
    let values = match value {
        Value::Object(values) if values.is_empty() => return Ok(None),
        Value::Object(values) => values.clone(),
        other => {
            return Err(ConfigError::WrongType {
                place,
                key: key.to_owned(),
                expected: "a mapping with teachers, or with types and model_ids",
                found: describe(other),
            });
        }
    };
    let whole = Entry::new(key.to_owned(), values, place, BTreeMap::new());
    resolve(whole, Vec::new(), max_length).map(Some)
}

fn resolve(
    mut whole: Entry,
    places: Vec<BTreeMap<String, Place>>,
    max_length: usize,
) -> Result<TeachersConfig, ConfigError> {
    let above_0 = |number: f64| number > 0.0;
    let score_scale = whole.number("score_scale", SCORE_SCALE, above_0, "more than 0")?;
    let teachers = match (whole.value("teachers"), whole.take("types")?) {
        (Some(list), None) => listed(&whole, list, &places)?,
        (None, Some(types)) => columns(&mut whole, types)?,
        (Some(_), Some(_)) => {
            return Err(whole.refused("types", "teachers is given too; keep one of the two"));
        }
        (None, None) => {
            let reason =
                format!("is missing: name at least one teacher, a mapping with type ({TYPES})");
            return Err(whole.refused("teachers", reason));
        }
    };
    if teachers.is_empty() {
        return Err(whole.refused("teachers", "the list is empty; name at least one teacher"));
    }
    whole.finish()?;
    let teachers = teachers.into_iter().map(|entry| teacher(entry, max_length));
    Ok(TeachersConfig {
        score_scale,
        teachers: teachers.collect::<Result<_, _>>()?,
    })
}

/// The mappings of a list.
fn listed(
    whole: &Entry,
    list: Value,
    places: &[BTreeMap<String, Place>],
) -> Result<Vec<Entry>, ConfigError> {
    let Value::Array(items) = list else {
        let reason = format!("expected a list of mappings, found {}", describe(&list));
        return Err(whole.refused("teachers", reason));
    };
    let entry = |(index, item): (usize, Value)| match item {
        Value::Object(values) => {
            let places = places.get(index).cloned().unwrap_or_default();
            let place = whole.place("teachers");
            let place = places.get("type").cloned().unwrap_or(place);
            Ok(Entry::new(
                format!("teachers[{index}]"),
                values,
                place,
                places,
            ))
        }
        other => {
            let reason = format!("expected a list of mappings, found {}", describe(&other));
            Err(whole.refused("teachers", reason))
        }
    };
    items.into_iter().enumerate().map(entry).collect()
}

/// The reference's form: one list for each property.
fn columns(whole: &mut Entry, types: Vec<String>) -> Result<Vec<Entry>, ConfigError> {
    let advice = "one model for each of types";
    let models: Vec<String> = whole.require("model_ids", advice)?;
    let tokenizers: Option<Vec<String>> = whole.take("teacher_tokenizer_ids")?;
    for (key, list) in [
        ("model_ids", Some(&models)),
        ("teacher_tokenizer_ids", tokenizers.as_ref()),
    ] {
        if let Some(list) = list.filter(|list| list.len() != types.len()) {
            let reason = format!("{} entries for {} types", list.len(), types.len());
            return Err(whole.refused(key, reason));
        }
    }
    let mut tokenizers = tokenizers.map(Vec::into_iter);
    let rows = types.into_iter().zip(models).enumerate();
    rows.map(|(index, (kind, model))| {
        let tokenizer = tokenizers.as_mut().and_then(Iterator::next);
        let values = column_values(whole, kind, model, tokenizer)?;
        let name = format!("teachers[{index}]");
        Ok(Entry::new(
            name,
            values,
            whole.place("types"),
            BTreeMap::new(),
        ))
    })
    .collect()
}

/// What one column of the reference's form says, as a mapping of ours.
fn column_values(
    whole: &Entry,
    kind: String,
    model: String,
    tokenizer: Option<String>,
) -> Result<Map<String, Value>, ConfigError> {
    let mut values = match kind.as_str() {
        // Its sparse teachers encode queries with the model too.
        "sparse" => vec![("inf_free", Value::from(false))],
        "dense" => vec![
            ("pooling", "cls".into()),
            ("normalize", true.into()),
            ("query_prefix", "".into()),
            ("document_prefix", "".into()),
        ],
        "remote" if is_address(&model) => {
            let values = [("type", kind), ("url", model), ("api", "embed".to_owned())];
            return Ok(values
                .map(|(key, value)| (key.to_owned(), value.into()))
                .into_iter()
                .collect());
        }
        "remote" => {
            let reason = format!(
                "`{model}` is no address: remote asks a server, as http://localhost:8080; vectors that are looked up by \
                 id are written as teachers: [{{type: vectors, queries: FILE, documents: FILE}}]"
            );
            return Err(whole.refused("model_ids", reason));
        }
        "bm25" | "vectors" => {
            let reason =
                format!("{kind} has no model id; write it as teachers: [{{type: {kind}, ...}}]");
            return Err(whole.refused("types", reason));
        }
        _ => Vec::new(),
    };
    values.extend([("type", kind.into()), ("model", model.into())]);
    values.extend(tokenizer.map(|tokenizer| ("tokenizer", tokenizer.into())));
    Ok(values
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect())
}

fn teacher(mut entry: Entry, max_length: usize) -> Result<TeacherConfig, ConfigError> {
    let name: String = entry.require("type", &format!("one of {TYPES}"))?;
    let kind = match name.as_str() {
        "sparse" => TeacherKind::Sparse(sparse(&mut entry, max_length)?),
        "dense" => TeacherKind::Dense(DenseTeacher {
            model: local(&mut entry, max_length)?,
            pooling: entry.choice("pooling")?,
            normalize: entry.take("normalize")?,
        }),
        "cross-encoder" => TeacherKind::CrossEncoder(PairTeacher {
            model: local(&mut entry, max_length)?,
        }),
        "monot5" => TeacherKind::MonoT5(PairTeacher {
            model: local(&mut entry, max_length)?,
        }),
        "bm25" => TeacherKind::Bm25(bm25(&mut entry)?),
        "vectors" => TeacherKind::Vectors(VectorsTeacher {
            queries: path(&mut entry, "queries", "the file with the queries' vectors")?,
            documents: path(
                &mut entry,
                "documents",
                "the file with the documents' vectors",
            )?,
        }),
        "remote" => TeacherKind::Remote(remote(&mut entry)?),
        other => return Err(entry.refused("type", format!("`{other}` is none of {TYPES}"))),
    };
    let weight = entry.number("weight", 1.0, |weight: f64| weight > 0.0, "more than 0")?;
    entry.finish()?;
    Ok(TeacherConfig { kind, weight })
}

fn local(entry: &mut Entry, max_length: usize) -> Result<LocalModel, ConfigError> {
    let model: String = entry.require("model", "a model directory, or a Hub id")?;
    if let Some(tokenizer) = entry.take::<String>("tokenizer")?
        && tokenizer != model
    {
        let reason = format!(
            "`{tokenizer}` is not the model: a teacher's tokenizer is read from its own directory"
        );
        return Err(entry.refused("tokenizer", reason));
    }
    Ok(LocalModel {
        model,
        max_length: entry.number(
            "max_length",
            max_length,
            |tokens: usize| tokens >= SHORTEST,
            "5 or more: special tokens and one of each text",
        )?,
        batch_tokens: positive(entry, "batch_tokens", BATCH_TOKENS)?,
        prefixes: prefixes(entry)?,
    })
}

fn sparse(entry: &mut Entry, max_length: usize) -> Result<SparseTeacher, ConfigError> {
    let teacher = SparseTeacher {
        model: local(entry, max_length)?,
        inf_free: entry.take("inf_free")?,
        idf_path: entry.take::<String>("idf_path")?.map(PathBuf::from),
        activation_type: entry.choice("activation_type")?,
    };
    if teacher.inf_free == Some(false) && teacher.idf_path.is_some() {
        let reason = "inf_free: false encodes queries with the model; keep one of the two";
        return Err(entry.refused("idf_path", reason));
    }
    Ok(teacher)
}

fn bm25(entry: &mut Entry) -> Result<Bm25Teacher, ConfigError> {
    Ok(Bm25Teacher {
        corpus: path(entry, "corpus", "a BEIR directory, or a file of documents")?,
        k1: entry.number("k1", K1, |k1: f64| k1 >= 0.0, "0 or more")?,
        b: entry.number("b", B, |b: f64| (0.0..=1.0).contains(&b), "0 to 1")?,
    })
}

fn remote(entry: &mut Entry) -> Result<RemoteTeacher, ConfigError> {
    let url: String = entry.require("url", "the address of the server")?;
    if !is_address(&url) {
        let reason = format!("`{url}` is no address; expected one as http://localhost:8080");
        return Err(entry.refused("url", reason));
    }
    let api: Option<RemoteApi> = entry.choice("api")?;
    let api = api.ok_or_else(|| {
        entry.refused(
            "api",
            "is missing: what to ask for, rerank, embed or embed_sparse",
        )
    })?;
    let at_most_a_day = |seconds: f64| seconds > 0.0 && seconds <= DAY_S;
    let seconds = "more than 0, and 86400 at most";
    Ok(RemoteTeacher {
        url: url.trim_end_matches('/').to_owned(),
        api,
        prefixes: prefixes(entry)?,
        revision: entry.take("revision")?,
        token_env: entry.take("token_env")?,
        batch: positive(entry, "batch", REMOTE_BATCH)?,
        parallel: positive(entry, "parallel", REMOTE_PARALLEL)?,
        timeout_s: entry.number("timeout_s", REMOTE_TIMEOUT_S, at_most_a_day, seconds)?,
        retries: entry.take("retries")?.unwrap_or(REMOTE_RETRIES),
        backoff_s: entry.number("backoff_s", REMOTE_BACKOFF_S, at_most_a_day, seconds)?,
    })
}

fn prefixes(entry: &mut Entry) -> Result<Prefixes, ConfigError> {
    Ok(Prefixes {
        query_prefix: entry.take("query_prefix")?,
        document_prefix: entry.take("document_prefix")?,
    })
}

fn positive(entry: &mut Entry, key: &'static str, default: usize) -> Result<usize, ConfigError> {
    entry.number(key, default, |number: usize| number > 0, "1 or more")
}

fn path(entry: &mut Entry, key: &'static str, advice: &str) -> Result<PathBuf, ConfigError> {
    entry.require::<String>(key, advice).map(PathBuf::from)
}

fn is_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
