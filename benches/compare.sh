#!/usr/bin/env bash
# Ours beside what a user would run instead, in turn on the same texts and the same machine: three runs each, ratios of
# medians. Needs ../shared (texts, weights, the peer's script) and a Python with the peer's packages:
#
#   python3 -m venv .venv && .venv/bin/pip install -r ../shared/peer/requirements.txt
#   PYTHON=.venv/bin/python bash benches/compare.sh [encode|train]...
#
# RUNS=3 and THREADS=2 can be set. The machine should do nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PYTHON=${PYTHON:-python3} RUNS=${RUNS:-3} THREADS=${THREADS:-2} DOCS=512
readonly TARGET=${CARGO_TARGET_DIR:-target} PEER=../shared/peer/bench_pytorch.py
readonly MINILM=../shared/data/minilm-l6-fp16

"$PYTHON" -c "import torch, transformers, sentence_transformers" ||
    { echo "$PYTHON lacks torch, transformers or sentence_transformers: see the head of $0" >&2; exit 1; }
[ $# -gt 0 ] || set -- encode train

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cargo build --release --quiet -p eval -p train --bins
cargo bench --quiet --no-run -p train --bench step
cat /proc/cpuinfo 2>/dev/null | sed -n 's/^model name.*: /processor: /p' | head -n 1
echo "threads: $THREADS, runs: $RUNS"

# A DistilBERT checkpoint of the peer's shape, with random weights: the same work as trained ones.
distilbert() {
    "$PYTHON" - "$scratch/distilbert" "$MINILM" <<'PY'
import shutil, sys, transformers
transformers.logging.set_verbosity_error()
model = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(vocab_size=30522))
model.save_pretrained(sys.argv[1])
for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
    shutil.copy(f"{sys.argv[2]}/{name}", sys.argv[1])
PY
}

# ours_encode MODEL PRECISION: seconds of encoding and writing, and peak memory, as one JSON line.
ours_encode() {
    rm -f "$scratch/vectors.jsonl"
    "$PYTHON" - "$TARGET/release/ellzero-eval" encode --quiet --model "$1" --precision "$2" --activation l1_relu \
        --input "$scratch/texts.jsonl" --output "$scratch/vectors.jsonl" --max-length 256 --threads "$THREADS" <<'PY'
import json, resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "peak_rss_mib": peak}))
PY
}

# median FILE KEY: of the JSON lines in it.
median() {
    "$PYTHON" -c '
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
print(statistics.median(row[sys.argv[2]] for row in rows))' "$1" "$2"
}

# report NAME OURS_SECONDS OURS_MIB PEER_SECONDS PEER_MIB TOKENS
report() {
    awk -v name="$1" -v ours="$2" -v mib="$3" -v peer="$4" -v peer_mib="$5" -v tokens="$6" 'BEGIN {
        printf "%-34s ours %7.2f s %6.0f tokens/s %5.0f MiB | peer %7.2f s %6.0f tokens/s %5.0f MiB | %.2f x faster, %.0f %% of the memory\n",
            name, ours, tokens / ours, mib, peer, tokens / peer, peer_mib, peer / ours, 100 * mib / peer_mib }'
}

encode() {
    head -n "$DOCS" ../shared/data/scifact/corpus.jsonl >"$scratch/texts.jsonl"
    distilbert
    local shape model api precision run tokens
    for shape in minilm distilbert; do
        model=$MINILM
        [ $shape = minilm ] || model=$scratch/distilbert
        for run in $(seq "$RUNS"); do
            for precision in f32 bf16 int8; do
                ours_encode "$model" $precision >>"$scratch/$shape-$precision"
            done
            for api in st raw; do
                "$PYTHON" "$PEER" encode --shape $shape --api $api --threads "$THREADS" --docs "$DOCS" --repeat 1 2>/dev/null |
                    "$PYTHON" -c 'import json, sys; row = json.loads(sys.stdin.read()); row["seconds"] = row["seconds"][0]; print(json.dumps(row))' \
                    >>"$scratch/$shape-$api"
            done
        done
        tokens=$(median "$scratch/$shape-st" tokens)
        for precision in f32 bf16 int8; do
            for api in st raw; do
                report "encode $shape $precision, peer $api" \
                    "$(median "$scratch/$shape-$precision" seconds)" "$(median "$scratch/$shape-$precision" peak_rss_mib)" \
                    "$(median "$scratch/$shape-$api" seconds)" "$(median "$scratch/$shape-$api" peak_rss_mib)" "$tokens"
            done
        done
    done
}

train() {
    local shape run
    for shape in minilm distilbert; do
        for run in $(seq "$RUNS"); do
            cargo bench --quiet -p train --bench step -- --shape $shape --threads "$THREADS" >>"$scratch/train-$shape"
            "$PYTHON" "$PEER" train --shape $shape --threads "$THREADS" 2>/dev/null >>"$scratch/train-$shape-peer"
        done
        report "train $shape, 16 x 128 tokens" \
            "$(median "$scratch/train-$shape" seconds_per_step)" "$(median "$scratch/train-$shape" peak_rss_mib)" \
            "$(median "$scratch/train-$shape-peer" seconds_per_step)" "$(median "$scratch/train-$shape-peer" peak_rss_mib)" 2048
    done
}

for what in "$@"; do
    "$what"
done
