#!/usr/bin/env bash
# CUDA binaries built without LLVM, for a machine that cannot reach the bundle which Burn's CUDA compiler downloads.
#
#   bash tests/gpu/nvrtc.sh FOLDER         # the commands, the bench `step`, and the tests (ellzero gpu)
#
# They compile kernels with NVIDIA's nvrtc (libnvrtc.so of a CUDA toolkit on the library path of the machine that runs
# them). LLVM's functions are never called then: each is linked as one that aborts. The sources are a copy of the tree:
# the extra dependency is no part of what users build.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(realpath -m "${1:?a folder for the binaries}")
readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}/nvrtc

mkdir -p "$folder" "$TARGET"/{source,link}
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -c | tar -x -C "$TARGET/source"

# Links as told; if LLVM's functions are all that lacks, once more with stand-ins.
cat >"$TARGET/link/cc" <<'LINK'
#!/usr/bin/env bash
set -euo pipefail
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
/usr/bin/cc "$@" 2>"$log/first" && exit
/usr/bin/cc "$@" -Wl,--error-limit=0 2>"$log/errors" || true
grep -E 'undefined (symbol|reference)' "$log/errors" | grep -oE '\b(LLVM|cubecl_)[A-Za-z0-9_]+' | sort -u >"$log/missing" || true
[ -s "$log/missing" ] || { cat "$log/first" >&2; exit 1; }
{ echo 'void abort(void);'; sed 's/.*/void &(void) { abort(); }/' "$log/missing"; } >"$log/stand_ins.c"
/usr/bin/cc -c -o "$log/stand_ins.o" "$log/stand_ins.c"
/usr/bin/cc "$@" "$log/stand_ins.o"
LINK
chmod +x "$TARGET/link/cc"

cd "$TARGET/source"
grep -q cubecl-cuda model/Cargo.toml || cargo add --quiet --package model cubecl-cuda@=0.11.3 --features cpp
export DOCS_RS=1 CARGO_TARGET_DIR=$TARGET CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=$TARGET/link/cc
cargo build --release --package data --package eval --package train --bins --features train/cuda,eval/cuda
cp "$TARGET"/release/ellzero-{data,eval,train} "$folder"
# executable KIND COMMAND...: what cargo's messages name.
executable() {
    "${@:2}" --message-format json | python3 -c '
import json, sys
found = [m for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["kind"] == [sys.argv[1]]]
print(found[-1]["executable"])' "$1"
}
cp "$(executable bench cargo bench --package train --bench step --features cuda --no-run)" "$folder/step"
cp "$(executable test cargo test --release --package tests --features cuda --no-run)" "$folder/ellzero"
