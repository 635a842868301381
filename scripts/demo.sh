#!/usr/bin/env bash
# Builds the program (a first build takes about 25 minutes on 2 cores, mostly RocksDB) and runs the first example.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --bin tidemill
target="${CARGO_TARGET_DIR:-target}"
exec "$target/debug/tidemill" run examples/first-windows/job.sql
