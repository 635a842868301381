#!/usr/bin/env bash
# Every test of the project: Rust tests of all crates, the SQL corpus in all worlds, crash tests on the real program,
# and comparisons with DuckDB, which is fetched into a folder of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh --for-tests

# DuckDB is the judge of batch answers. Its version is fixed so that answers do not change under the tests.
duckdb_version="2.0.0"
venv="${TIDEMILL_TEST_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemill-duckdb-$duckdb_version}"
if ! "$venv/bin/python" -c 'import duckdb' 2>/dev/null; then
  python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "duckdb==$duckdb_version" ||
    echo "test: DuckDB could not be installed: the comparisons with it will be reported as NOT RUN" >&2
fi
export TIDEMILL_DUCKDB_PYTHON="$venv/bin/python"

exec cargo test --workspace "$@"
