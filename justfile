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

# Real weights: mine training groups, train on SciFact, evaluate on its test split
scifact:
    cargo build --release --workspace
    mkdir -p outputs
    {{mine}} --split train --depth 10 --output outputs/claims.jsonl
    {{mine}} --queries titles --sample 1000 --depth 5 --output outputs/titles.jsonl
    cat outputs/claims.jsonl outputs/titles.jsonl > outputs/scifact-train.jsonl
    target/release/ellzero-train configs/scifact.yaml

mine := "target/release/ellzero-eval mine --model bm25 --data ../shared/data/scifact"
