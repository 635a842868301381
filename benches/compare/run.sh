#!/usr/bin/env bash
# Runs every Nexmark query on Tidemill and on its peers over the same events, compares the answers, and measures.
# Usage: benches/compare/run.sh FOLDER [--events N] [--runs N] [--engines a,b] [--queries q0,q5] [--limit SECONDS]
# Everything is made in FOLDER; engines are installed below the cache folder. See docs/benchmarks.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export TIDEMILL_BIN=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
export PYTHONDONTWRITEBYTECODE=1
[ -x "$TIDEMILL_BIN" ] || (cd "$root" && cargo build --release --bin tidemill)
exec "${PYTHON:-python3}" "$here/compare.py" "$@"
