#!/usr/bin/env bash
# Loading sparse documents into OpenSearch: our documents a second against a bulk loop in Python, into the same node, one
# after the other, each into a new index of one shard. Documents have 120 distinct tokens of 30,522, token r about 1 / r of
# the time. One line for each: documents a second, and peak memory of the client.
#
# The Python loop is that of a training script: opensearch-py's `helpers.bulk` with its defaults, 500 documents a request
# and one request at a time. Its second figure leaves out the time that it reads JSON, since such a script has the vectors
# already; ours always reads the file.
#
#   bash benches/ingest.sh [DOCUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."

readonly DOCUMENTS=${1:-200000}
readonly OPENSEARCH_PY=2.8.0
readonly TARGET=${CARGO_TARGET_DIR:-target}
scratch=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT

cargo build --release --quiet -p eval --bins
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet "opensearch-py==$OPENSEARCH_PY"

cat >"$scratch/generate.py" <<'PYTHON'
import random, sys
documents, path = int(sys.argv[1]), sys.argv[2]
random.seed(7)
log_size = 10.3262  # of 30,522
with open(path, "w") as out:
    for document in range(documents):
        tokens = set()
        while len(tokens) < 120:
            tokens.add(int(2.718281828459045 ** (random.random() * log_size)))
        weights = ",".join(f'"w{token}":{0.01 + 3 * random.random():.6f}' for token in tokens)
        out.write(f'{{"id":"d{document}","vector":{{{weights}}}}}\n')
PYTHON
python3 "$scratch/generate.py" "$DOCUMENTS" "$scratch/vectors.jsonl"

cat >"$scratch/bulk.py" <<'PYTHON'
import json, resource, sys, time
from opensearchpy import OpenSearch, helpers
url, path = sys.argv[1:]
client = OpenSearch(url, timeout=120)
mapping = {"dynamic": False, "properties": {"id": {"type": "keyword"}, "embedding": {"type": "rank_features"}}}
settings = {"number_of_shards": 1, "number_of_replicas": 0}
client.indices.create(index="python", body={"settings": settings, "mappings": mapping})
reading = 0.0
def actions():
    global reading
    with open(path) as lines:
        while True:
            start = time.perf_counter()
            line = lines.readline()
            row = json.loads(line) if line else None
            reading += time.perf_counter() - start
            if row is None:
                return
            yield {"_index": "python", "_id": row["id"], "id": row["id"], "embedding": row["vector"]}
start = time.perf_counter()
documents, _ = helpers.bulk(client, actions())
client.indices.refresh(index="python")
seconds = time.perf_counter() - start
assert client.count(index="python")["count"] == documents
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"Python: {documents / seconds:.0f} documents/s, {documents / (seconds - reading):.0f} without reading, "
      f"{seconds:.1f} s, peak {memory} MiB")
client.indices.delete(index="python")
PYTHON

mkfifo "$scratch/commands"
bash tests/opensearch/server/run.sh --heap 1g <"$scratch/commands" >"$scratch/server.log" &
server=$!
exec 8>"$scratch/commands"
until grep -q '^ready' "$scratch/server.log"; do
    kill -0 $server || { echo "the server did not start" >&2; exit 1; }
    sleep 0.5
done
url=$(awk '/^node/ { print $3 }' "$scratch/server.log")
echo "$DOCUMENTS documents, $(du -m "$scratch/vectors.jsonl" | cut -f1) MiB"

python_loop() {
    "$scratch/venv/bin/python" "$scratch/bulk.py" "$url" "$scratch/vectors.jsonl"
}

ours() {
    local start pid peak=0 now end
    start=$(date +%s%N)
    "$TARGET/release/ellzero-eval" index --quiet --input "$scratch/vectors.jsonl" --output "$url/ours" &
    pid=$!
    while kill -0 $pid 2>/dev/null; do
        now=$(sed -n 's/^VmHWM:\s*\([0-9]*\) kB/\1/p' /proc/$pid/status 2>/dev/null || true)
        [ "${now:-0}" -le $peak ] || peak=$now
        sleep 0.05
    done
    wait $pid
    end=$(date +%s%N)
    awk -v documents="$DOCUMENTS" -v seconds="$(((end - start) / 1000000))e-3" -v peak=$((peak / 1024)) 'BEGIN {
        printf "ours: %.0f documents/s, %.1f s, peak %d MiB\n", documents / seconds, seconds, peak
    }'
    curl --silent --noproxy '*' -X DELETE "$url/ours-000001" >/dev/null
}

# Alternating, so that a warm server helps neither.
for round in 1 2; do
    python_loop
    ours
done
