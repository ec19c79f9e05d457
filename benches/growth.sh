#!/usr/bin/env bash
# How a training step's time and memory grow with batch, sequence length and vocabulary: MiniLM's shape, random tokens,
# medians of three steps, as a Markdown table with the ratio to the row before.
#
#   bash benches/growth.sh [--threads 2]
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cargo bench --quiet --no-run -p train --bench step

# series NAME OPTION VALUE...: one row a value, the other sizes as they are by default (8 x 2 documents of 128 tokens).
series() {
    local name=$1 option=$2 value before=""
    shift 2
    for value in "$@"; do
        cargo bench --quiet -p train --bench step -- --steps 3 "$option" "$value" "${arguments[@]}" >"$scratch/row"
        before=$(sed 's/[{}",]/ /g; s/:/ /g' "$scratch/row" | awk -v name="$name" -v value="$value" -v before="$before" '{
            for (i = 1; i < NF; i++) {
                if ($i == "seconds_per_step") seconds = $(i + 1)
                if ($i == "peak_rss_mib") mib = $(i + 1)
            }
            split(before, last, " ")
            printf "| %s | %d | %.2f s | %s | %.0f MiB | %s |\n", name, value, seconds,
                before ? sprintf("%.2f x", seconds / last[1]) : "", mib,
                before ? sprintf("%.2f x", mib / last[2]) : "" >"/dev/stderr"
            print seconds, mib
        }')
    done
}

arguments=("$@")
{
    echo "| factor | size | step | to the row before | peak memory | to the row before |"
    echo "|---|---|---|---|---|---|"
} >&2
series "queries (x 2 documents)" --queries 4 8 16 32
series "tokens a document" --length 64 128 256 512
series "vocabulary" --vocab 30522 106000 250000
