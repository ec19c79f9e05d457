#!/usr/bin/env bash
# How memory grows with the rows of a file: every command on generated data of two sizes, as a Markdown table with seconds,
# peak memory, the part of it that is no mapped file, and how often that is the part of the smaller size.
#
#   bash benches/memory.sh [PERCENT]       # of the usual sizes; ELLZERO_BIN names a folder with binaries to measure
set -euo pipefail
cd "$(dirname "$0")/.."
readonly PERCENT=${1:-100}

if [ -z "${ELLZERO_BIN:-}" ]; then
    cargo build --release --quiet -p data -p train --bins
    ELLZERO_BIN=$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd)
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# Texts of words of a vocabulary of 30,000, word r about 1 / r of the time.
readonly WORDS='function words(count,  text, word) {
    for (word = 0; word < count; word++) text = text " w" int(exp(rand() * log(30000)))
    return substr(text, 2)
}'

# corpus ROWS: documents with titles.
corpus() {
    awk -v rows="$1" "$WORDS"' BEGIN {
        srand(7)
        for (row = 0; row < rows; row++)
            printf "{\"_id\":\"d%d\",\"title\":\"%s\",\"text\":\"%s\"}\n", row, words(3), words(40)
    }'
}

# rows ROWS: a query and eight of the first 10,000 documents, with ids.
rows() {
    awk -v rows="$1" "$WORDS"' BEGIN {
        srand(8)
        for (row = 0; row < rows; row++) {
            docs = ids = ""
            for (doc = 0; doc < 8; doc++) {
                docs = docs ",\"" words(12) "\""
                ids = ids ",\"d" int(rand() * 10000) "\""
            }
            printf "{\"query\":\"%s\",\"q_id\":\"q%d\",\"docs\":[%s],\"d_ids\":[%s]}\n", words(5), row, substr(docs, 2), substr(ids, 2)
        }
    }'
}

# vectors PREFIX ROWS: 64 numbers for each id.
vectors() {
    awk -v prefix="$1" -v rows="$2" 'BEGIN {
        srand(9)
        for (row = 0; row < rows; row++) {
            vector = ""
            for (i = 0; i < 64; i++) vector = vector "," sprintf("%.4f", rand() - 0.5)
            printf "{\"id\":\"%s%d\",\"vector\":[%s]}\n", prefix, row, substr(vector, 2)
        }
    }'
}

# A BEIR directory of corpus.jsonl, and lists of its ids.
lists() {
    mkdir -p beir/qrels
    ln -f corpus.jsonl beir/corpus.jsonl
    awk -v rows="$1" "$WORDS"' BEGIN {
        srand(10)
        print "query-id\tcorpus-id\tscore" >"beir/qrels/train.tsv"
        for (row = 0; row < rows; row++) {
            printf "{\"_id\":\"q%d\",\"text\":\"%s\"}\n", row, words(5) >"beir/queries.jsonl"
            printf "q%d\td%d\t1\n", row, row >"beir/qrels/train.tsv"
            docs = ""
            for (doc = 0; doc < 8; doc++) docs = docs ",\"d" int(rand() * rows) "\""
            printf "{\"query\":\"q%d\",\"docs\":[%s]}\n", row, substr(docs, 2) >"lists.jsonl"
        }
    }'
}

# measure NAME ROWS COMMAND...: one row of the table.
declare -A before
measure() {
    local name=$1 rows=$2 binary=$ELLZERO_BIN/$3 own=0 peak=0 key value ratio="" start=$EPOCHREALTIME
    shift 3
    "$binary" "$@" --quiet >out.log 2>&1 &
    local pid=$!
    while kill -0 $pid 2>/dev/null; do
        while read -r key value _; do
            case $key in
            RssAnon:) [ "$value" -le $own ] || own=$value ;;
            VmHWM:) [ "$value" -le $peak ] || peak=$value ;;
            esac
        done 2>/dev/null </proc/$pid/status || true
        sleep 0.02
    done
    wait $pid || { cat out.log >&2; return 1; }
    [ -z "${before[$name]:-}" ] || ratio=$(awk -v a=$own -v b="${before[$name]}" 'BEGIN { printf "%.2f x", a / b }')
    before[$name]=$own
    awk -v name="$name" -v rows="$rows" -v own=$own -v peak=$peak -v ratio="$ratio" -v start="$start" -v end="$EPOCHREALTIME" \
        'BEGIN { printf "| %s | %d | %.1f s | %.0f MiB | %.0f MiB | %s |\n", name, rows, end - start, peak / 1024, own / 1024, ratio }'
}

size() { echo $(($1 * PERCENT / 100)); }

data_commands() {
    local rows
    for rows in "$(size 50000)" "$(size 500000)"; do
        corpus "$rows" >corpus.jsonl
        lists "$rows"
        rm -rf parts titles packed* saved
        measure "\`data idf\`" "$rows" ellzero-data idf --corpus corpus.jsonl --tokenizer model --output idf.json
        measure "\`data dedup\`" "$rows" ellzero-data dedup --input corpus.jsonl --output unique.jsonl
        measure "\`data dedup --near\`" "$rows" ellzero-data dedup --near --input corpus.jsonl --output unique.jsonl
        measure "\`data sample\`, a tenth" "$rows" ellzero-data sample --input corpus.jsonl --output some.jsonl --count $((rows / 10))
        measure "\`data split\`" "$rows" ellzero-data split --input corpus.jsonl --output-dir parts --parts train=0.9,dev=0.1
        measure "\`data convert\` to Parquet" "$rows" ellzero-data convert --input corpus.jsonl --output packed.parquet
        measure "\`data convert\` from Parquet" "$rows" ellzero-data convert --input packed.parquet --output packed.jsonl
        measure "\`data convert\` to save_to_disk" "$rows" ellzero-data convert --input corpus.jsonl --output saved
        measure "\`data queries-from-titles\`" "$rows" ellzero-data queries-from-titles --corpus corpus.jsonl --output titles.jsonl
        measure "\`data msmarco\`" "$rows" ellzero-data msmarco --data beir --lists lists.jsonl --output joined.jsonl
    done
}

score() {
    local rows teacher
    corpus 10000 >few.jsonl
    vectors d 10000 >documents.jsonl
    echo "teachers: [{type: bm25, corpus: few.jsonl}]" >bm25.yaml
    echo "teachers: [{type: vectors, queries: queries.jsonl, documents: documents.jsonl}]" >vectors.yaml
    for rows in "$(size 2000)" "$(size 20000)"; do
        rows "$rows" >rows.jsonl
        vectors q "$rows" >queries.jsonl
        for teacher in bm25 vectors; do
            rm -rf kd.jsonl.cache
            measure "\`train score\`, $teacher" "$rows" ellzero-train score --teachers "$teacher.yaml" --input rows.jsonl --output kd.jsonl
        done
    done
}

masked_lm() {
    local passages packed
    for passages in "$(size 20000)" "$(size 400000)"; do
        corpus "$passages" >corpus.jsonl
        for packed in false true; do
            cat >mlm.yaml <<YAML
model_name_or_path: model
init_from_scratch: true
train_file: corpus.jsonl
data_type: mlm
mlm_packed: $packed
max_seq_length: 64
output_dir: out
overwrite_output_dir: true
max_steps: 5
save_strategy: "no"
per_device_train_batch_size: 8
learning_rate: 0.001
YAML
            measure "masked-LM, 5 steps, packed: $packed" "$passages" ellzero-train mlm.yaml
        done
    done
}

corpus 5000 >small.jsonl
"$ELLZERO_BIN/ellzero-data" tokenizer --quiet --corpus small.jsonl --vocab-size 2000 --output model
cat >model/config.json <<JSON
{"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": $(wc -l <model/vocab.txt), "hidden_size": 64,
 "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "hidden_act": "gelu",
 "max_position_embeddings": 128, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0,
 "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02}
JSON
echo "| command | rows | time | peak memory | without mapped files | to the smaller size |"
echo "|---|---|---|---|---|---|"
data_commands
score
masked_lm
