//! From what a file of teachers says to teachers. No other file knows their types.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use configs::teachers::{
    Bm25Teacher, DenseTeacher, LocalModel, PairTeacher, Pooling, Prefixes, RemoteTeacher,
    SparseTeacher, VectorsTeacher,
};
use configs::{TeacherConfig, TeacherKind, TeachersConfig};
use data::beir::{BeirDir, Documents};
use data::{BatchLimit, DenseVectors};
use eval::bm25::{Bm25Encoder, Bm25Params};
use model::{
    CrossEncoder, CrossEncoderOptions, DenseEncoder, DenseOptions, MonoT5, MonoT5Options,
    QueryWeights, SparseEncoder, SparseOptions,
};

use super::fingerprint::{Fingerprint, FingerprintBuilder};
use super::{
    DenseScorer, Ensemble, Member, PairModel, PairScorer, RemoteScorer, SparseScorer, Teacher,
    TeacherError, VectorScorer,
};

/// Changes when the same model and texts give other scores than before.
const VERSION: &str = "teacher 1";

/// Keys that say how fast a teacher works or where its files are, not what it says: those of files are replaced by the
/// files' contents.
const WITHOUT_EFFECT: [&str; 14] = [
    "batch",
    "batch_tokens",
    "backoff_s",
    "corpus",
    "documents",
    "idf_path",
    "model",
    "parallel",
    "queries",
    "retries",
    "timeout_s",
    "token_env",
    "tokenizer",
    "weight",
];

/// Loads all teachers; local models compute on `device`, which is without autodiff. Beside the ensemble, what the user
/// should know, in sentences.
///
/// # Errors
///
/// If a file of a teacher is missing or broken. Servers are not asked yet.
pub fn load(
    config: &TeachersConfig,
    device: &Device,
) -> Result<(Ensemble, Vec<String>), TeacherError> {
    let mut notes = Vec::new();
    let members = config.teachers.iter().map(|teacher| {
        Ok(Member {
            teacher: load_teacher(teacher, device, &mut notes)?,
            weight: teacher.weight as f32,
            fingerprint: fingerprint(&teacher.kind)?,
        })
    });
    let members: Vec<Member> = members.collect::<Result<_, TeacherError>>()?;
    Ok((Ensemble::new(members, config.score_scale as f32), notes))
}

fn load_teacher(
    config: &TeacherConfig,
    device: &Device,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Teacher>, TeacherError> {
    let name = name(&config.kind);
    match &config.kind {
        TeacherKind::Sparse(sparse) => load_sparse(name, sparse, device, notes),
        TeacherKind::Bm25(bm25) => load_bm25(name, bm25),
        TeacherKind::Vectors(VectorsTeacher { queries, documents }) => {
            let [queries, documents] = [queries, documents].map(|path| DenseVectors::open(path));
            Ok(Box::new(VectorScorer::new(name, queries?, documents?)?))
        }
        TeacherKind::Remote(remote) => Ok(Box::new(RemoteScorer::new(name, remote)?)),
        TeacherKind::Dense(dense) => load_dense(name, dense, device, notes),
        TeacherKind::CrossEncoder(pair) => load_cross_encoder(name, pair, device),
        TeacherKind::MonoT5(pair) => load_mono_t5(name, pair, device),
    }
}

fn name(kind: &TeacherKind) -> String {
    let what = match kind {
        TeacherKind::Sparse(sparse) => sparse.model.model.clone(),
        TeacherKind::Dense(dense) => dense.model.model.clone(),
        TeacherKind::CrossEncoder(pair) | TeacherKind::MonoT5(pair) => pair.model.model.clone(),
        TeacherKind::Bm25(bm25) => bm25.corpus.display().to_string(),
        TeacherKind::Vectors(vectors) => vectors.documents.display().to_string(),
        TeacherKind::Remote(remote) => remote.url.clone(),
    };
    format!("{} {what}", kind.type_name())
}

fn load_sparse(
    name: String,
    config: &SparseTeacher,
    device: &Device,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Teacher>, TeacherError> {
    let dir = model_dir(&name, &config.model)?;
    let options = SparseOptions {
        activation: config.activation_type,
        idf: config.idf_path.clone(),
        max_len: config.model.max_length,
        batch: BatchLimit::Tokens(config.model.batch_tokens),
        ..SparseOptions::default()
    };
    let (encoder, loaded) = SparseEncoder::load(&dir, &options, device)?;
    if !loaded.import.initialised.is_empty() {
        notes.push(format!(
            "teacher {name}: no masked-LM head in it, a new one was initialised; its scores mean little"
        ));
    }
    if loaded.activation_assumed {
        notes.push(format!(
            "teacher {name}: its files name no activation, relu is taken; activation_type chooses another"
        ));
    }
    let has_table = matches!(encoder.queries(), QueryWeights::Idf(_));
    if config.inf_free == Some(true) && !has_table {
        return Err(TeacherError::NoTable { teacher: name });
    }
    let siamese = config.inf_free.map_or(!has_table, |inf_free| !inf_free);
    let prefixes = config.model.prefixes.clone();
    Ok(Box::new(SparseScorer::new(
        name, encoder, prefixes, siamese,
    )))
}

fn load_dense(
    name: String,
    config: &DenseTeacher,
    device: &Device,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Teacher>, TeacherError> {
    let dir = model_dir(&name, &config.model)?;
    let options = DenseOptions {
        pooling: config.pooling.map(|pooling| match pooling {
            Pooling::Cls => model::Pooling::Cls,
            Pooling::Mean => model::Pooling::Mean,
        }),
        normalise: config.normalize,
        max_len: Some(config.model.max_length),
        query_prefix: config.model.prefixes.query_prefix.clone(),
        document_prefix: config.model.prefixes.document_prefix.clone(),
        ..DenseOptions::default()
    };
    let (encoder, loaded) = DenseEncoder::load(&dir, &options, device)?;
    if loaded.pooling_assumed {
        notes.push(format!(
            "teacher {name}: its files name no pooling, cls is taken; pooling: mean chooses the other"
        ));
    }
    let limit = BatchLimit::Tokens(config.model.batch_tokens);
    Ok(Box::new(DenseScorer::new(name, encoder, limit)))
}

fn load_cross_encoder(
    name: String,
    config: &PairTeacher,
    device: &Device,
) -> Result<Box<dyn Teacher>, TeacherError> {
    let dir = model_dir(&name, &config.model)?;
    let options = CrossEncoderOptions {
        max_len: Some(config.model.max_length),
        ..CrossEncoderOptions::default()
    };
    let model = CrossEncoder::load(&dir, &options, device)?;
    Ok(pair_scorer(name, model, &config.model))
}

fn load_mono_t5(
    name: String,
    config: &PairTeacher,
    device: &Device,
) -> Result<Box<dyn Teacher>, TeacherError> {
    let dir = model_dir(&name, &config.model)?;
    let options = MonoT5Options {
        max_length: config.model.max_length,
        ..MonoT5Options::default()
    };
    let model = MonoT5::load(&dir, &options, device)?;
    Ok(pair_scorer(name, model, &config.model))
}

fn pair_scorer<M: PairModel + 'static>(
    name: String,
    model: M,
    config: &LocalModel,
) -> Box<dyn Teacher> {
    let limit = BatchLimit::Tokens(config.batch_tokens);
    Box::new(PairScorer::new(name, model, config.prefixes.clone(), limit))
}

fn load_bm25(name: String, config: &Bm25Teacher) -> Result<Box<dyn Teacher>, TeacherError> {
    let documents = match config.corpus.is_dir() {
        true => BeirDir::open(&config.corpus)?.documents()?,
        false => Documents::open(&config.corpus)?.ids_unchecked(),
    };
    let params = Bm25Params {
        k1: config.k1 as f32,
        b: config.b as f32,
    };
    let encoder = Bm25Encoder::fit_documents(documents, params)?;
    Ok(Box::new(SparseScorer::new(
        name,
        encoder,
        Prefixes::default(),
        false,
    )))
}

/// The directory of a local model, which must be there.
fn model_dir(teacher: &str, model: &LocalModel) -> Result<PathBuf, TeacherError> {
    let path = PathBuf::from(&model.model);
    match path.is_dir() {
        true => Ok(path),
        false => Err(TeacherError::NoModel {
            teacher: teacher.to_owned(),
            path,
        }),
    }
}

/// What a teacher's scores are kept by: its type, the options that change them, and the SHA-256 of all files of its
/// model, or of its corpus. Vectors stand for themselves by size and time of modification, since there are too many to
/// be read for this; a server by its address and `revision`.
fn fingerprint(kind: &TeacherKind) -> Result<Fingerprint, TeacherError> {
    let mut builder = FingerprintBuilder::new(VERSION);
    builder.bytes(options(kind).as_bytes());
    match kind {
        TeacherKind::Sparse(sparse) => {
            builder.model(Path::new(&sparse.model.model))?;
            sparse
                .idf_path
                .iter()
                .try_for_each(|path| builder.file(path))?;
        }
        TeacherKind::Dense(dense) => builder.model(Path::new(&dense.model.model))?,
        TeacherKind::CrossEncoder(pair) | TeacherKind::MonoT5(pair) => {
            builder.model(Path::new(&pair.model.model))?;
        }
        TeacherKind::Bm25(bm25) => builder.file(&corpus_file(&bm25.corpus)?)?,
        TeacherKind::Vectors(vectors) => {
            builder.stamp(&vectors.queries)?;
            builder.stamp(&vectors.documents)?;
        }
        TeacherKind::Remote(RemoteTeacher { .. }) => {}
    }
    Ok(builder.finish())
}

/// The options that decide what a teacher says, as JSON.
fn options(kind: &TeacherKind) -> String {
    let mut options = serde_json::to_value(kind).expect("a teacher is plain values");
    if let Some(options) = options.as_object_mut() {
        options.retain(|key, _| !WITHOUT_EFFECT.contains(&key.as_str()));
    }
    options.to_string()
}

fn corpus_file(corpus: &Path) -> Result<PathBuf, TeacherError> {
    match corpus.is_dir() {
        true => Ok(BeirDir::open(corpus)?.corpus_path().to_owned()),
        false => Ok(corpus.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The fingerprint of the first teacher of a list, `DIR` standing for `dir`.
    fn of(dir: &Path, teacher: &str) -> Fingerprint {
        let path = dir.join("teachers.yaml");
        let teacher = teacher.replace("DIR", &dir.display().to_string());
        fs::write(&path, format!("teachers: [{teacher}]")).unwrap();
        let config = configs::load_teachers(&path).unwrap();
        fingerprint(&config.teachers[0].kind).unwrap()
    }

    #[test]
    fn fingerprints_follow_what_decides_the_scores_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for model in ["a", "b"] {
            fs::create_dir(dir.path().join(model)).unwrap();
            fs::write(dir.path().join(model).join("weights"), "w").unwrap();
        }
        let of = |teacher: &str| of(dir.path(), teacher);
        let base = of("{type: sparse, model: DIR/a}");
        for same in [
            "{type: sparse, model: DIR/a, batch_tokens: 99, weight: 2}",
            "{type: sparse, model: DIR/b}",
        ] {
            assert_eq!(of(same), base, "{same}");
        }
        for other in [
            "{type: dense, model: DIR/a}",
            "{type: sparse, model: DIR/a, max_length: 99}",
            "{type: sparse, model: DIR/a, query_prefix: x}",
            "{type: sparse, model: DIR/a, inf_free: false}",
        ] {
            assert_ne!(of(other), base, "{other}");
        }
        fs::write(dir.path().join("a/weights"), "v").unwrap();
        assert_ne!(of("{type: sparse, model: DIR/a}"), base);
        let remote = of("{type: remote, url: 'http://h', api: embed}");
        let faster =
            "{type: remote, url: 'http://h', api: embed, parallel: 9, batch: 8, timeout_s: 1}";
        assert_eq!(of(faster), remote);
        assert_ne!(of("{type: remote, url: 'http://h', api: rerank}"), remote);
        assert_ne!(
            of("{type: remote, url: 'http://h', api: embed, revision: 'v2'}"),
            remote
        );
    }

    #[test]
    fn a_missing_model_is_named() {
        let config = TeachersConfig {
            score_scale: 30.0,
            teachers: vec![TeacherConfig {
                kind: TeacherKind::Sparse(SparseTeacher {
                    model: LocalModel {
                        model: "no/such".to_owned(),
                        max_length: 512,
                        batch_tokens: 8192,
                        prefixes: Prefixes::default(),
                    },
                    inf_free: None,
                    idf_path: None,
                    activation_type: None,
                }),
                weight: 1.0,
            }],
        };
        let error = load(&config, &Device::flex()).err().unwrap().to_string();
        assert_eq!(
            error,
            "teacher sparse no/such: there is no model directory no/such"
        );
    }
}
