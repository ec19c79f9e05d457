//! Whole recipes: the reference's, ours, and what is said of settings without effect.

use std::path::{Path, PathBuf};

use configs::raw::RawConfig;
use configs::{
    Activation, ConfigError, DataKind, Duration, LoadedConfig, LrSchedule, MaskedLmConfig,
    Precision, QueryEncoder, RankingLoss, Task, TeacherKind, TrainSource, Warmup,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The YAML files of a folder of this crate.
fn recipes(name: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} holds no recipe");
    paths
}

fn reference(name: &str) -> Result<LoadedConfig, ConfigError> {
    configs::load(&folder("tests/reference").join(name), &[])
}

/// A small valid recipe with more lines, resolved.
pub fn resolve(lines: &str) -> Result<LoadedConfig, ConfigError> {
    let text = format!("model_name_or_path: m\nidf_path: i\ntrain_file: t\noutput_dir: o\n{lines}");
    RawConfig::parse(Path::new("r.yaml"), &text, &[])?.resolve()
}

#[test]
fn l0_sample_of_the_reference() {
    let LoadedConfig { config, warnings } = reference("l0_sample.yaml").unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(
        config.model.name_or_path,
        "distilbert/distilbert-base-uncased"
    );
    assert_eq!(config.model.activation, Activation::L1Relu);
    let query = QueryEncoder::InferenceFree {
        idf_path: Some("idf.json".into()),
        learning_rate: None,
    };
    assert_eq!(config.model.query, query);
    assert_eq!(
        config.data.source,
        TrainSource::File("data/msmarco_ft".into())
    );
    assert_eq!(config.data.kind, DataKind::Kd);
    assert_eq!(config.data.docs_per_query, 2);
    assert_eq!(config.data.max_seq_len, 256);
    assert_eq!(config.loss.ranking, [RankingLoss::KlDiv]);
    assert_eq!(config.loss.document_flops.lambda, 0.04);
    assert_eq!(config.loss.document_flops.warmup_steps, 10_000);
    assert_eq!(config.loss.document_flops.threshold, Some(200.0));
    assert_eq!(config.loss.query_flops, None);
    assert_eq!(config.optimizer.learning_rate, 2e-5);
    assert_eq!(config.optimizer.weight_decay, 0.01);
    assert_eq!(config.optimizer.max_grad_norm, None);
    assert_eq!(config.optimizer.schedule, LrSchedule::Linear);
    assert_eq!(config.optimizer.warmup, Warmup::Steps(6_000));
    assert_eq!(config.run.duration, Duration::Steps(100_000));
    assert_eq!(config.run.batch_queries, 40);
    assert_eq!(config.run.precision, Precision::F16);
    assert_eq!(config.run.save_steps, Some(50_000));
    assert_eq!(config.run.logging_steps, 50);
    assert!(config.run.drop_last);
}

#[test]
fn config_l0_of_the_reference() {
    let LoadedConfig { config, warnings } = reference("config_l0.yaml").unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.model.activation, Activation::L1Relu);
    assert_eq!(config.loss.document_flops.threshold, Some(150.0));
}

#[test]
fn config_infonce_of_the_reference() {
    let LoadedConfig { config, warnings } = reference("config_infonce.yaml").unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("beir_datasets: ignored"),
        "{warnings:?}"
    );
    assert_eq!(config.data.kind, DataKind::PosNegs);
    assert_eq!(
        config.data.docs_per_query, 3,
        "a positive and two negatives"
    );
    assert_eq!(config.loss.ranking, [RankingLoss::InfoNce]);
    assert!(config.loss.in_batch_negatives);
}

/// Its teachers score posnegs data, in-batch negatives included.
#[test]
fn config_kd_of_the_reference() {
    let LoadedConfig { config, warnings } = reference("config_kd.yaml").unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("beir_datasets: ignored"),
        "{warnings:?}"
    );
    assert_eq!(config.data.kind, DataKind::PosNegs);
    assert_eq!(config.loss.ranking, [RankingLoss::KlDiv]);
    assert!(config.loss.in_batch_negatives);
    let teachers = config.teachers.unwrap();
    assert_eq!(teachers.score_scale, 30.0);
    let [dense, sparse] = teachers.teachers.as_slice() else {
        panic!("{teachers:?}");
    };
    assert_eq!((dense.weight, sparse.weight), (1.0, 1.0));
    let (TeacherKind::Dense(dense), TeacherKind::Sparse(sparse)) = (&dense.kind, &sparse.kind)
    else {
        panic!("{teachers:?}");
    };
    assert_eq!(dense.model.model, "Alibaba-NLP/gte-large-en-v1.5");
    assert_eq!(dense.model.max_length, 512, "that of the recipe");
    assert_eq!(
        sparse.model.model,
        "opensearch-project/opensearch-neural-sparse-encoding-v1"
    );
    assert_eq!(
        sparse.inf_free,
        Some(false),
        "its sparse teachers are siamese"
    );
}

#[test]
fn our_recipes_resolve_without_a_warning() {
    for path in recipes(".") {
        let loaded = configs::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.warnings, [""; 0], "{}", path.display());
    }
}

#[test]
fn resolved_recipes_read_back_as_they_were() {
    let mut all = recipes(".");
    all.extend(recipes("tests/reference"));
    let mut configs: Vec<_> = all
        .iter()
        .filter_map(|path| configs::load(path, &[]).ok())
        .map(|loaded| loaded.config)
        .collect();
    assert_eq!(configs.len(), all.len());
    let unusual = [
        "inf_free: false\nflops_q_lambda: 1e-3\nflops_q_T: 5",
        "idf_requires_grad: true\nidf_lr: 1e-2\nprune_ratio: 0.1\npreprocess_func: to_lower",
        "warmup_ratio: 0.1\nnum_train_epochs: 1.5\nsave_strategy: no\nmax_grad_norm: 0.5",
        "eval_data: [a, 'b, c']\neval_steps: 7\nbf16: true\nresume_from_checkpoint: true\nlog_level: warning",
        "dropout: 0\nflops_reduction: documents\ndecouple_activation: true\nseed: 18446744073709551615",
        "data_type: kd-ids\nkd_ensemble_teacher_kwargs: {score_scale: 20, teachers: [{type: vectors, queries: q, \
         documents: d, weight: 2}, {type: remote, url: 'http://h:1/', api: embed_sparse, token_env: T}]}",
        "data_type: posnegs\nkd_ensemble_teacher_kwargs: {teachers: [{type: sparse, model: m, inf_free: true, \
         activation_type: l1_relu, query_prefix: 'query: '}, {type: bm25, corpus: c}]}",
        "tokenizer_name: 'no'\nlr_scheduler_type: cosine\nsave_total_limit: 2\nloss_types: kldiv,marginmse",
        "data_type: mlm\nmlm_probability: 0.3\nmlm_whole_word: true\nmlm_packed: true\nmlm_eval_file: e.jsonl\neval_steps: 9",
    ];
    configs.extend(unusual.map(|lines| resolve(lines).unwrap().config));
    for config in configs {
        let yaml = config.to_yaml();
        let raw = RawConfig::parse(Path::new("config.resolved.yaml"), &yaml, &[]).unwrap();
        let again = raw.resolve().unwrap();
        assert_eq!(again.config, config, "{yaml}");
        let unexpected = again
            .warnings
            .iter()
            .find(|warning| !warning.contains("idf_path"));
        assert_eq!(unexpected, None, "{yaml}");
    }
}

#[test]
fn settings_without_effect_are_warned_about() {
    let cases = [
        (
            "flops_q_lambda: 1e-3",
            "r.yaml:5: flops_q_lambda: not used: inf_free is true",
        ),
        (
            "inf_free: false\nflops_q_lambda: 0",
            "r.yaml:2: idf_path: not used: inf_free is false",
        ),
        (
            "idf_lr: 1e-2",
            "r.yaml:5: idf_lr: not used: idf_requires_grad is false",
        ),
        (
            "max_steps: 10\nnum_train_epochs: 1",
            "r.yaml:6: num_train_epochs: not used: max_steps 10",
        ),
        (
            "max_steps: 10\nwarmup_steps: 10",
            "r.yaml:6: warmup_steps: 10 steps of warm-up in a run of 10",
        ),
        (
            "warmup_steps: 1\nwarmup_ratio: 0.1",
            "r.yaml:6: warmup_ratio: not used: warmup_steps is given",
        ),
        (
            "lr_scheduler_type: constant\nwarmup_steps: 5",
            "r.yaml:6: warmup_steps: not used: lr_scheduler",
        ),
        (
            "eval_steps: 5",
            "r.yaml:5: eval_steps: not used: eval_data names no BEIR directory",
        ),
        (
            "data_type: posnegs\nloss_types: infonce\nswap_times: 3",
            "r.yaml:7: swap_times: not used",
        ),
        (
            "loss_types: infonce\nkd_ensemble_teacher_kwargs: {types: [sparse], model_ids: [a]}",
            "r.yaml:6: kd_ensemble_teacher_kwargs: not used: no loss of",
        ),
        (
            "report_to: wandb",
            "r.yaml:5: report_to: ignored: metrics.jsonl",
        ),
    ];
    let mut failures = Vec::new();
    for (lines, expected) in cases {
        let loaded = resolve(lines).unwrap_or_else(|error| panic!("{lines:?}: {error}"));
        match loaded.warnings.as_slice() {
            [warning] if warning.starts_with(expected) => {}
            warnings => failures.push(format!("{lines:?}: {warnings:?}")),
        }
    }
    assert_eq!(failures, [""; 0]);
}

#[test]
fn masked_lm_has_its_own_keys_and_ignores_those_of_ranking() {
    let text = "model_name_or_path: m\ntrain_file: t\noutput_dir: o\ndata_type: mlm\n";
    let resolve = |lines: &str| {
        let text = format!("{text}{lines}");
        let raw = RawConfig::parse(Path::new("r.yaml"), &text, &[]).unwrap();
        raw.resolve().unwrap()
    };
    let LoadedConfig { config, warnings } = resolve("");
    assert_eq!(warnings, [""; 0]);
    let bert = MaskedLmConfig {
        probability: 0.15,
        whole_word: false,
        packed: false,
        eval_file: None,
    };
    assert_eq!(config.task, Task::MaskedLm(bert));
    assert_eq!(config.model.head_threshold, None);
    assert_eq!(config.data.docs_per_query, 1);

    for (line, expected) in [
        (
            "idf_path: i",
            "r.yaml:5: idf_path: not used: data_type is mlm",
        ),
        ("flops_d_T: 5", "r.yaml:5: flops_d_T: not used"),
        (
            "sample_num_one_query: 0",
            "r.yaml:5: sample_num_one_query: not used",
        ),
        (
            "eval_steps: 5",
            "r.yaml:5: eval_steps: not used: mlm_eval_file is not given",
        ),
    ] {
        let loaded = resolve(line);
        let [warning] = &loaded.warnings[..] else {
            panic!("{line}: {:?}", loaded.warnings);
        };
        assert!(warning.starts_with(expected), "{warning}");
        assert_eq!(loaded.config, config, "{line}");
    }
    let loaded = self::resolve("mlm_packed: true").unwrap();
    assert_eq!(loaded.config.task, Task::Ranking);
    let expected = "r.yaml:5: mlm_packed: not used: data_type is kd";
    assert_eq!(loaded.warnings, [expected]);
}

#[test]
fn an_idf_table_is_suggested() {
    let text = "model_name_or_path: m\nidf_path: 'null'\ntrain_file: t\noutput_dir: o\n";
    let raw = RawConfig::parse(Path::new("r.yaml"), text, &[]).unwrap();
    let warnings = raw.resolve().unwrap().warnings;
    let expected = "r.yaml:2: idf_path: not given: every query token weighs 1";
    assert!(
        matches!(&warnings[..], [only] if only.starts_with(expected)),
        "{warnings:?}"
    );
}

#[test]
fn required_keys_are_asked_for() {
    let full = "model_name_or_path: m\ntrain_file: t\noutput_dir: o\n";
    for (key, line) in ["model_name_or_path", "train_file", "output_dir"]
        .iter()
        .zip(full.lines())
    {
        let text = full.replace(line, "seed: 1");
        let raw = RawConfig::parse(Path::new("r.yaml"), &text, &[]).unwrap();
        let message = raw.resolve().unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("r.yaml: {key} is missing: ")),
            "{message}"
        );
    }
}

#[test]
fn files_that_are_no_recipes() {
    let message = configs::load(Path::new("no/such.yaml"), &[])
        .unwrap_err()
        .to_string();
    assert!(
        message == "no/such.yaml: cannot read the recipe",
        "{message}"
    );
    let message = configs::load(&folder("."), &[]).unwrap_err().to_string();
    assert!(message.contains("cannot read the recipe"), "{message}");
}
