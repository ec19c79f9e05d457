#!/usr/bin/env bash
# How mining grows with the corpus: BM25 negatives for 1,000 queries in generated passages of 60 words, word frequencies
# falling as Zipf's law has it. One line for each size: seconds, peak memory, and the part of it that is no mapped file.
#
#   bash benches/mining.sh [PASSAGES]...
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 100000 1000000

readonly TARGET=${CARGO_TARGET_DIR:-target}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cargo build --release --quiet -p eval -p train --bins

# generate PASSAGES: words of a vocabulary of 300,000, word r about 1 / r of the time.
generate() {
    awk -v passages="$1" -v dir="$scratch" 'BEGIN {
        srand(7)
        corpus = dir "/corpus.jsonl"; queries = dir "/queries.jsonl"; qrels = dir "/qrels/train.tsv"
        print "query-id\tcorpus-id\tscore" >qrels
        for (doc = 0; doc < passages; doc++) {
            text = ""
            for (word = 0; word < 60; word++) text = text " w" int(exp(rand() * log(300000)))
            printf "{\"_id\":\"p%d\",\"text\":\"%s\"}\n", doc, substr(text, 2) >corpus
            if (doc < 1000) {
                split(substr(text, 2), words, " ")
                printf "{\"_id\":\"q%d\",\"text\":\"%s %s %s %s %s\"}\n", doc, words[3], words[11], words[19], words[27], words[35] >queries
                printf "q%d\tp%d\t1\n", doc, doc >qrels
            }
        }
    }'
}

mkdir -p "$scratch/qrels"
for passages in "$@"; do
    rm -f "$scratch"/*.jsonl "$scratch"/qrels/*
    generate "$passages"
    "$TARGET/release/ellzero-eval" mine --quiet --model bm25 --data "$scratch" --split train --depth 50 --memory-mib 256 \
        --output "$scratch/mined.jsonl" &
    pid=$! start=$SECONDS own=0 all=0
    while kill -0 $pid 2>/dev/null; do
        anonymous=$(sed -n 's/^RssAnon:\s*\([0-9]*\) kB/\1/p' /proc/$pid/status 2>/dev/null || true)
        peak=$(sed -n 's/^VmHWM:\s*\([0-9]*\) kB/\1/p' /proc/$pid/status 2>/dev/null || true)
        [ "${anonymous:-0}" -le $own ] || own=$anonymous
        [ "${peak:-0}" -le $all ] || all=$peak
        sleep 0.2
    done
    wait $pid
    echo "$passages passages, $(du -m "$scratch/corpus.jsonl" | cut -f1) MiB: $((SECONDS - start)) s, peak $((all / 1024)) MiB, own memory $((own / 1024)) MiB"
done
