#!/usr/bin/env bash
# Makes events.json, the NDJSON file that the queries read, from the built-in generator: the same file at every run.
# Usage: benches/nexmark/generate.sh FOLDER [events] [events per second of event time]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?which folder?}
events=${2:-10000000}
rate=${3:-10000}
tidemill=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$here/../../target}/release/tidemill}
mkdir -p "$folder" && cd "$folder"
rm -rf events events.json state-generate
sed -e "s/\${EVENTS}/$events/" -e "s/\${RATE}/$rate/" "$here/generate.sql" > generate.sql
"$tidemill" run generate.sql --quiet --state-dir state-generate
cat events/part-* > events.json
rm -rf events generate.sql state-generate
