#!/usr/bin/env bash
# From MiniLM's weights to a SciFact retriever, every step of it (README.md, "Train on real weights"): masked-LM training
# of a head, mining, teachers' scores, l0 training with several seeds, evaluation. One line of a Markdown table for each
# run; what is there already is not made again.
#
#   bash benches/recipe.sh [final|ablation]...
#
# SEEDS="1 2 3", DEVICE=auto and PRECISION=f32 (of the evaluation) can be set. Three seeds: about an hour on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- final ablation

readonly SEEDS=${SEEDS:-1 2 3} DEVICE=${DEVICE:-auto} PRECISION=${PRECISION:-f32}
readonly TARGET=${CARGO_TARGET_DIR:-target} DATA=../shared/data/scifact
cargo build --release --quiet -p data -p eval -p train --bins
export PATH="$TARGET/release:$PATH"

# run NAME SEED [--set KEY=VALUE]...: trains and evaluates configs/scifact_distill.yaml with these settings.
run() {
    local name=$1 seed=$2 dir=outputs/scifact-distill-$1-$2 start resume=()
    shift 2
    if [ ! -e "$dir/beir/results.json" ]; then
        start=$SECONDS
        ! compgen -G "$dir/checkpoint-*" >/dev/null || resume=(--resume)
        ellzero-train --quiet --device "$DEVICE" configs/scifact_distill.yaml "${resume[@]}" --set "seed=$seed" --set "output_dir=$dir" "$@" >/dev/null
        echo $((SECONDS - start)) >"$dir/seconds"
        ellzero-eval beir --quiet --device "$DEVICE" --model "$dir/final" --data $DATA --precision "$PRECISION" --output "$dir/beir" >/dev/null
    fi
    python3 - "$name" "$seed" "$dir" "$*" <<'PY'
import json, sys
name, seed, folder, settings = sys.argv[1:]
found = json.load(open(f"{folder}/beir/results.json"))["datasets"]["scifact"]
steps = max(json.loads(line)["step"] for line in open(f"{folder}/metrics.jsonl"))
print(f"| {name} | {settings.replace('--set ', '')} | {seed} | {steps} | {open(f'{folder}/seconds').read().strip()} s "
      f"| {found['ndcg@10']:.4f} | {found['recall@100']:.4f} | {found['flops']:.2f} | {found['d_length']:.1f} |")
PY
}

readonly MINILM=../shared/data/minilm-l6-fp16
mkdir -p outputs
[ -e outputs/scifact-mlm/final ] || ellzero-train --quiet --device "$DEVICE" configs/scifact_mlm.yaml >/dev/null
ellzero-data idf --quiet --corpus $DATA/corpus.jsonl --tokenizer $MINILM --output outputs/scifact-idf.json
ellzero-eval mine --quiet --model bm25 --data $DATA --split train --depth 10 --output outputs/claims.jsonl
ellzero-eval mine --quiet --model bm25 --data $DATA --queries titles --sample 1000 --depth 5 --output outputs/titles.jsonl
cat outputs/claims.jsonl outputs/titles.jsonl >outputs/scifact-train.jsonl
echo "| run | settings | seed | steps | time | nDCG@10 | Recall@100 | FLOPS | tokens per document |"
echo "|---|---|---|---|---|---|---|---|---|"
for what in "$@"; do
    case $what in
    final)
        for seed in $SEEDS; do run final "$seed"; done
        ;;
    ablation)
        run one-log 1 --set activation_type=relu
        run no-mask 1 --set flops_threshold=null
        run neither 1 --set activation_type=relu --set flops_threshold=null
        ;;
    *)
        echo "$0: $what is neither final nor ablation" >&2
        exit 2
        ;;
    esac
done
