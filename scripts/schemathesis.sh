#!/bin/sh
# Sends what schemathesis makes of the OpenAPI document to a real server, and compares every answer with the document.
# Needs python3. Installs schemathesis into a folder of its own; TIDEMILL_SCHEMATHESIS names another program.
#
#   scripts/schemathesis.sh [PROGRAM] [EXAMPLES]     defaults: target/debug/tidemill, 25 per operation
set -eu
program=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/debug/tidemill}")
examples=${2:-25}
config=$(realpath "$(dirname "$0")/schemathesis.toml")
SCHEMATHESIS_HOOKS=$(realpath "$(dirname "$0")/schemathesis_hooks.py")
export SCHEMATHESIS_HOOKS PYTHONDONTWRITEBYTECODE=1
home=${XDG_CACHE_HOME:-$HOME/.cache}/tidemill-schemathesis
schemathesis=${TIDEMILL_SCHEMATHESIS:-$home/bin/schemathesis}
if [ ! -x "$schemathesis" ]; then
    python3 -m venv "$home" && "$home/bin/pip" install --quiet 'schemathesis==4.32.5'
fi

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
token=$("$program" token new --role admin --name tester --file tokens)
TIDEMILL_LISTEN=127.0.0.1:0 TIDEMILL_REQUESTS_PER_SECOND=0 "$program" serve --data-dir data --tokens-file tokens > out 2> log &
server=$!
while [ ! -s out ]; do sleep 0.1; kill -0 "$server"; done
url=$(cut -d ' ' -f 3 out)
curl -sf "$url/api/v1/jobs" -H "Authorization: Bearer $token" --json '{"name": "a", "parallelism": 1, "sql":
  "CREATE TABLE s (id INT) WITH ('\''connector'\'' = '\''datagen'\'', '\''rows-per-second'\'' = '\''10'\''); SELECT id FROM s"}' > made

status=0
# Once with the job that there is in every path, once with paths of any kind and then those that answers name: a job that was made is shown,
# stopped, deleted, and gone.
for parameters in 'a' ''; do
    cp "$config" schemathesis.toml
    phases=examples,coverage,fuzzing
    [ -n "$parameters" ] || phases=$phases,stateful
    [ -z "$parameters" ] || printf '\n[parameters]\n"path.id" = "%s"\n' "$parameters" >> schemathesis.toml
    "$schemathesis" --config-file schemathesis.toml run "$url/api/v1/openapi.json" --header "Authorization: Bearer $token" \
        --phases "$phases" --max-examples "$examples" --seed 7 --request-timeout 60 --no-color || status=1
done
kill -0 "$server" || { echo "the server is gone"; status=1; }
if grep -n 'panicked' log; then status=1; fi
exit $status
