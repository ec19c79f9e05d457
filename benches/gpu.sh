#!/usr/bin/env bash
# Ours beside PyTorch on the first NVIDIA GPU: a training step at three sizes, and encoding all of SciFact. JSON lines.
#
#   PYTHON=.venv/bin/python bash benches/gpu.sh [train|encode]...
#
# PYTHON has a torch with CUDA, and the peer's packages. ELLZERO_BIN names a folder with `ellzero-eval` and `step` (the
# bench) built elsewhere, see tests/gpu/nvrtc.sh. PyTorch runs twice, with float32 products and with TF32. Our encoding is
# timed as a whole process, twice: the first one may compile kernels.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PYTHON=${PYTHON:-python3} PEER=../shared/peer/bench_pytorch.py
readonly TARGET=${CARGO_TARGET_DIR:-target} MINILM=../shared/data/minilm-l6-fp16
[ $# -gt 0 ] || set -- train encode

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -z "${ELLZERO_BIN:-}" ]; then
    cargo build --release --quiet -p eval --features cuda --bins
    cargo bench --quiet --no-run -p train --features cuda --bench step
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader

step() {
    if [ -n "${ELLZERO_BIN:-}" ]; then
        "$ELLZERO_BIN/step" "$@"
    else
        cargo bench --quiet -p train --features cuda --bench step -- "$@"
    fi
}

train() {
    local sizes
    for sizes in "--shape minilm --queries 8 --length 128" "--shape minilm --queries 40 --length 256" \
        "--shape distilbert --queries 40 --length 256"; do
        # shellcheck disable=SC2086 # options
        {
            step --device cuda --steps 11 $sizes
            "$PYTHON" benches/peer_cuda.py $PEER train --steps 11 $sizes
            "$PYTHON" benches/peer_cuda.py --tf32 $PEER train --steps 11 $sizes
        }
    done
}

encode() {
    local run start api
    for run in 1 2; do
        rm -f "$scratch/vectors.jsonl"
        start=$(date +%s%N)
        "${ELLZERO_BIN:-$TARGET/release}/ellzero-eval" encode --quiet --device cuda --model $MINILM --activation l1_relu \
            --input ../shared/data/scifact/corpus.jsonl --output "$scratch/vectors.jsonl" --max-length 256
        echo "{\"peer\": \"ellzero\", \"mode\": \"encode\", \"run\": $run, \"seconds\": $((($(date +%s%N) - start) / 1000000))e-3}"
    done
    for api in st raw; do
        "$PYTHON" benches/peer_cuda.py $PEER encode --api $api --docs 5183 --repeat 2
    done
}

for what in "$@"; do
    "$what"
done
