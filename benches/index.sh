#!/usr/bin/env bash
# The embedded index, and Lucene beside it where Java 17 and Maven are: the same generated vectors, the same queries, one
# thread. Build time and memory, bytes per document, latencies, recall; JSON lines.
#
#   bash benches/index.sh [DOCUMENTS]
#
# A million documents (the default) take 4 GiB of disk in TMPDIR and some minutes. IDF values come from
# ../shared/data/idf.json if that is there. The machine should do nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly DOCUMENTS=${1:-1000000} LUCENE=9.12.1 IDF=../shared/data/idf.json

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
sed -n 's/^model name.*: /processor: /p' /proc/cpuinfo 2>/dev/null | head -n 1

step() {
    cargo bench --quiet -p eval --bench large_index -- "$@"
}

idf=()
[ ! -f "$IDF" ] || idf=(--idf "$PWD/$IDF")
step generate --vectors "$scratch/vectors" --documents "$DOCUMENTS" "${idf[@]}"
step build --vectors "$scratch/vectors" --index "$scratch/index"
step search --vectors "$scratch/vectors" --index "$scratch/index"

if ! { command -v javac && command -v mvn; } >/dev/null; then
    echo "Lucene is left out: there is no javac, or no mvn" >&2
    exit
fi
mvn --quiet --batch-mode dependency:copy -Dartifact="org.apache.lucene:lucene-core:$LUCENE" \
    -DoutputDirectory="$scratch/jars" >&2
javac -d "$scratch/classes" -cp "$scratch/jars/*" benches/lucene/ImpactSearch.java
lucene() {
    java -Xmx4g -cp "$scratch/classes:$scratch/jars/*" ImpactSearch "$@"
}
for mode in features impacts; do
    lucene build $mode "$scratch/vectors" "$scratch/lucene-$mode"
    for k in 10 1000; do
        lucene search $mode "$scratch/vectors" "$scratch/lucene-$mode" $k
    done
    rm -r "$scratch/lucene-$mode"
done
