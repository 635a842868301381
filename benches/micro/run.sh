#!/usr/bin/env bash
# Measures parts of the engine and of its formats, each beside bounds that it cannot beat, and prints a table as Markdown.
# Usage: benches/micro/run.sh [part of a name], for example "key hashing". Builds what it measures; takes three minutes from then on.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
CRITERION_HOME=$(mktemp -d)
export CRITERION_HOME
trap 'rm -rf "$CRITERION_HOME"' EXIT
cd "$here/../.."
cargo bench --workspace --bench parts --bench json_decode --bench json_encode -- "$@" >&2
python3 "$here/report.py" "$CRITERION_HOME"
