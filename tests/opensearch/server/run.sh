#!/usr/bin/env bash
# Real OpenSearch nodes on this machine, for tests and benches: one, or a cluster, each a process of its own on ports of
# the loopback interface. Maven fetches the server as libraries once; Java 17 or newer runs it.
#
#   bash tests/opensearch/server/run.sh [--nodes N] [--heap SIZE] [--set KEY=VALUE]...
#
# Prints `node NUMBER ADDRESS` for each and `ready` when the cluster is green. Then takes commands from standard input:
# `kill NUMBER` (SIGKILL), `start NUMBER` (again, with its data), each answered by the same words in the past tense;
# the end of standard input, or SIGTERM, stops everything and removes the data.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
nodes=1 heap=512m settings=()
while [ $# -gt 0 ]; do
    case $1 in
    --nodes) nodes=$2 ;;
    --heap) heap=$2 ;;
    --set) settings+=("$2") ;;
    *) echo "unknown option $1: see the head of $0" >&2; exit 2 ;;
    esac
    shift 2
done

for tool in java mvn; do
    command -v $tool >/dev/null || { echo "there is no $tool (Debian: openjdk-17-jdk-headless maven)" >&2; exit 3; }
done

scratch=$(mktemp -d)
declare -a pids http transport
stop_all() {
    trap - EXIT
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap stop_all EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# libraries FOLDER: makes it, with a file `classpath` and the plugins' jars, unless it is there.
libraries() {
    local folder=$1 made
    [ ! -f "$folder/classpath" ] || return 0
    made=$(mktemp -d "$scratch/XXXX")
    mvn --batch-mode --quiet --file "$here/pom.xml" generate-resources -Dlibraries="$made" >"$made/log" 2>&1 ||
        { cat "$made/log" >&2; echo "Maven cannot fetch OpenSearch" >&2; exit 3; }
    printf '%s:%s' "$(cat "$made/jars")" "$folder/plugins/*" >"$made/classpath"
    mkdir -p "$(dirname "$folder")"
    rm -rf "$folder"
    mv "$made" "$folder"
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo $port
            return
        fi
    done
}

# start NUMBER: the node with this number, its data where they are.
start() {
    local number=$1 names seeds list
    names=$(seq -s, 1 "$nodes")
    seeds=$(printf ',127.0.0.1:%s' "${transport[@]:1}")
    list=(node.name="$number" http.port="${http[number]}" transport.port="${transport[number]}"
        discovery.seed_hosts="${seeds:1}" cluster.initial_cluster_manager_nodes="$names"
        node.processors=2 "${settings[@]}")
    : >"$scratch/$number.out"
    java -Xms"$heap" -Xmx"$heap" -XX:+UseSerialGC -XX:-UsePerfData -XX:TieredStopAtLevel=4 \
        -Dlog4j2.configurationFile="$here/log4j2.properties" -Dlog4j2.disable.jmx=true \
        -Dopensearch.networkaddress.cache.ttl=60 -Djna.nosys=true -Djava.io.tmpdir="$scratch" \
        -cp "$classpath" "$here/StartNode.java" "$scratch/$number" "${list[@]}" \
        >"$scratch/$number.out" 2>"$scratch/$number.err" </dev/null &
    pids[number]=$!
}

wait_ready() {
    local number=$1
    until grep -q '^ready' "$scratch/$number.out"; do
        kill -0 "${pids[number]}" 2>/dev/null ||
            { tail -n 40 "$scratch/$number.out" "$scratch/$number.err" >&2; echo "node $number ended" >&2; exit 1; }
        sleep 0.1
    done
}

folder=${XDG_CACHE_HOME:-$HOME/.cache}/ellzero/opensearch-$(cksum <"$here/pom.xml" | cut -d' ' -f1)
libraries "$folder"
classpath=$(cat "$folder/classpath")
for number in $(seq 1 "$nodes"); do
    http[number]=$(free_port) transport[number]=$(free_port)
done
for number in $(seq 1 "$nodes"); do start "$number"; done
for number in $(seq 1 "$nodes"); do
    wait_ready "$number"
    echo "node $number http://127.0.0.1:${http[number]} ${pids[number]}"
done
echo ready

while read -r command number; do
    case $command in
    kill)
        kill -KILL "${pids[number]}"
        wait "${pids[number]}" 2>/dev/null || true
        echo "killed $number"
        ;;
    start)
        start "$number"
        wait_ready "$number"
        echo "started $number"
        ;;
    *) echo "unknown command $command" >&2 ;;
    esac
done
