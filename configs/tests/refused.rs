//! Recipes that cannot be: what is said of them.

use crate::recipes::resolve;

#[test]
fn impossible_settings_are_refused_by_name() {
    let cases = [
        (
            "data_type: posnegs",
            "r.yaml: loss_types: kldiv learns from teacher scores, which data_type posnegs",
        ),
        (
            "loss_types: [marginmse]\ndata_type: posnegs",
            "r.yaml:5: loss_types: marginmse learns from teacher",
        ),
        (
            "use_in_batch_negatives: true",
            "r.yaml:5: use_in_batch_negatives: kldiv would need teacher scores",
        ),
        (
            "loss_types: [kldiv, kldiv]",
            "r.yaml:5: loss_types: kldiv is listed twice",
        ),
        ("loss_types: []", "r.yaml:5: loss_types: the list is empty"),
        (
            "loss_weights: [0.5, 1]",
            "r.yaml:5: loss_weights: found 2 numbers for 1 losses",
        ),
        (
            "loss_weights: [-1]",
            "r.yaml:5: loss_weights: expected numbers of 0 or more",
        ),
        (
            "loss_weights: 1",
            "r.yaml:5: loss_weights: expected a list of numbers",
        ),
        (
            "head_idf_cap: 0",
            "r.yaml:5: head_idf_cap: expected more than 0",
        ),
        (
            "head_idf_cap: 8\ninf_free: false",
            "r.yaml:5: head_idf_cap: it caps the weights of idf_path",
        ),
        (
            "loss_types: [mlm]",
            "r.yaml:5: loss_types: `mlm` is not supported: guessing",
        ),
        (
            "loss_types: [triplet]",
            "r.yaml:5: loss_types: `triplet` is none of kldiv, marginmse, infonce",
        ),
        (
            "data_type: mlm\nloss_types: [infonce]",
            "r.yaml:6: loss_types: data_type mlm has one loss",
        ),
        (
            "data_type: mlm\nuse_in_batch_negatives: true",
            "r.yaml:6: use_in_batch_negatives: data_type mlm scores no documents",
        ),
        (
            "data_type: mlm\nidf_requires_grad: true",
            "r.yaml:6: idf_requires_grad: data_type mlm has no queries",
        ),
        (
            "data_type: mlm\ngrad_cache_docs: 4",
            "r.yaml:6: grad_cache_docs: texts of data_type mlm do not depend",
        ),
        (
            "data_type: mlm\neval_data: d",
            "r.yaml:6: eval_data: BEIR directories measure ranking; name texts in mlm_eval_file",
        ),
        (
            "data_type: mlm\nmlm_probability: 0",
            "r.yaml:6: mlm_probability: expected more than 0",
        ),
        (
            "kd_ensemble_teacher_kwargs: [sparse]",
            "r.yaml:5: kd_ensemble_teacher_kwargs: expected a mapping",
        ),
        (
            "kd_ensemble_teacher_kwargs: {types: [sparse], model_ids: [a, b]}",
            "r.yaml:5: kd_ensemble_teacher_kwargs.model_ids: 2 entries for 1 types",
        ),
        (
            "kd_ensemble_teacher_kwargs: {types: [sparse], model_ids: [a], teacher_tokenizer_ids: [b]}",
            "r.yaml:5: teachers[0].tokenizer: `b` is not the model",
        ),
        (
            "kd_ensemble_teacher_kwargs: {types: [remote], model_ids: ['5']}",
            "r.yaml:5: kd_ensemble_teacher_kwargs.model_ids: `5` is no address",
        ),
        (
            "kd_ensemble_teacher_kwargs: {teachers: [{type: vectors, queries: q, documents: d}]}",
            "r.yaml:5: kd_ensemble_teacher_kwargs: teachers of type vectors find texts by their ids",
        ),
        (
            "sample_num_one_query: 1",
            "r.yaml:5: sample_num_one_query: expected 2 or more",
        ),
        (
            "train_file_dir: d",
            "r.yaml:5: train_file_dir: train_file is given too",
        ),
        ("fp16: true\nbf16: true", "r.yaml:6: bf16: fp16 is true too"),
        ("inf_free: false", "r.yaml: flops_q_lambda is missing: "),
        (
            "inf_free: false\nidf_requires_grad: true",
            "r.yaml:6: idf_requires_grad: inf_free: false",
        ),
        (
            "use_l0: false\nactivation_type: l1_relu",
            "r.yaml:5: use_l0: it says relu, and activation_type",
        ),
        (
            "activation_type: gelu",
            "r.yaml:5: activation_type: `gelu` is none of relu, l1_relu",
        ),
        (
            "lr_scheduler_type: polynomial",
            "r.yaml:5: lr_scheduler_type: `polynomial` is none of linear",
        ),
        (
            "max_steps: 0",
            "r.yaml:5: max_steps: expected 1 or more, or -1",
        ),
        (
            "num_train_epochs: 0",
            "r.yaml:5: num_train_epochs: expected more than 0",
        ),
        (
            "learning_rate: -1e-5",
            "r.yaml:5: learning_rate: expected more than 0",
        ),
        ("learning_rate: .nan", "r.yaml:5: "),
        (
            "temperature: 0",
            "r.yaml:5: temperature: expected more than 0",
        ),
        (
            "adam_beta2: 1",
            "r.yaml:5: adam_beta2: expected 0 or more and less than 1",
        ),
        ("warmup_ratio: 2", "r.yaml:5: warmup_ratio: expected 0 to 1"),
        (
            "per_device_train_batch_size: 0",
            "r.yaml:5: per_device_train_batch_size: expected 1 or more",
        ),
        (
            "prune_ratio: 1",
            "r.yaml:5: prune_ratio: expected 0 or more and less than 1",
        ),
        (
            "max_seq_length: 2",
            "r.yaml:5: max_seq_length: expected 3 or more",
        ),
        (
            "save_strategy: epoch",
            "r.yaml:5: save_strategy: `epoch` is not supported: ",
        ),
        (
            "eval_strategy: often",
            "r.yaml:5: eval_strategy: `often` is none of steps, no",
        ),
        (
            "resume_from_checkpoint: out/checkpoint-5",
            "r.yaml:5: resume_from_checkpoint: expected true",
        ),
        (
            "log_level: loud",
            "r.yaml:5: log_level: `loud` is none of debug",
        ),
        (
            "evaluation_strategy: steps",
            "r.yaml:5: evaluation_strategy: it is called eval_strategy",
        ),
    ];
    let mut failures = Vec::new();
    for (lines, expected) in cases {
        match resolve(lines) {
            Ok(_) => failures.push(format!("{lines:?} was accepted")),
            Err(error) if !error.to_string().starts_with(expected) => {
                failures.push(format!("{lines:?}: {error}"));
            }
            Err(_) => {}
        }
    }
    assert_eq!(failures, [""; 0]);
}
