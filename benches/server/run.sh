#!/usr/bin/env bash
# What a server costs and how fast it answers: memory and processor time with no job and with idle ones, control calls with 100 jobs, the
# first row of a query that is submitted, and what streaming a row to a client adds. Prints Markdown. Needs Python 3.11 or newer.
# Usage: benches/server/run.sh [jobs for control calls] [idle jobs]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export TIDEMILL_BIN=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
[ -x "$TIDEMILL_BIN" ] || (cd "$root" && cargo build --release --bin tidemill)
exec "${PYTHON:-python3}" "$here/measure.py" "$@"
