# `just` lists the recipes; each is one line that can be typed by hand.

default:
    @just --list

# Everything CI runs
check:
    bash .ci/run

# The test suite; data of ../shared is used where it is there
test:
    cargo test --workspace

# Golden tests alone, on another fixture set with ELLZERO_GOLDEN=DIR
golden:
    cargo test -p tests golden

# Format, lint
lint:
    cargo fmt
    cargo clippy --workspace --all-targets -- -D warnings

# Train a small encoder from scratch on the corpus of this repository
quickstart:
    cargo run --release -p train

# Mine SciFact's training groups: claims and titles, each with BM25's best wrong abstracts
scifact-mined:
    cargo build --release --workspace
    mkdir -p outputs
    {{mine}} --split train --depth 10 --output outputs/claims.jsonl
    {{mine}} --queries titles --sample 1000 --depth 5 --output outputs/titles.jsonl
    cat outputs/claims.jsonl outputs/titles.jsonl > outputs/scifact-train.jsonl

# IDF of SciFact's own corpus
scifact-idf:
    cargo build --release --workspace
    mkdir -p outputs
    target/release/ellzero-data idf --corpus ../shared/data/scifact/corpus.jsonl --tokenizer ../shared/data/minilm-l6-fp16 --output outputs/scifact-idf.json

# Real weights: train on SciFact from MiniLM as it is, evaluate on the test split
scifact: scifact-mined
    target/release/ellzero-train configs/scifact.yaml

# Masked-LM training: gives MiniLM a head
scifact-head:
    cargo build --release --workspace
    test -e outputs/scifact-mlm/final || target/release/ellzero-train configs/scifact_mlm.yaml

# The whole way: a head, IDF, mined negatives, teachers, l0 training, evaluation
scifact-distill: scifact-head scifact-idf scifact-mined
    target/release/ellzero-train configs/scifact_distill.yaml
    target/release/ellzero-eval beir --model outputs/scifact-distill/final --data ../shared/data/scifact --output outputs/scifact-distill/beir

mine := "target/release/ellzero-eval mine --model bm25 --data ../shared/data/scifact"
