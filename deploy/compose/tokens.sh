#!/bin/sh
# Makes the tokens of the compose file, once: one that may make jobs, in `.env`, and one for Prometheus, which only reads. The server is
# given their hashes. `TIDEMILL` may name a program that is called instead of the image.
set -eu
cd "$(dirname "$0")"
tidemill=${TIDEMILL:-docker run --rm tidemill}
[ ! -e .env ] || { echo "there is an .env already: delete it for new tokens" >&2; exit 0; }
umask 077
mkdir -p secrets
: > secrets/tokens
for role in operate read; do
  # The token is the line on standard output, the server's line the last one on standard error.
  # shellcheck disable=SC2086
  $tidemill token new --role $role --name "compose-$role" > secrets/new 2> secrets/line
  tail -n 1 secrets/line >> secrets/tokens
  case $role in
    operate) printf 'TIDEMILL_TOKEN=%s\n' "$(cat secrets/new)" > .env ;;
    read) mv secrets/new secrets/prometheus-token ;;
  esac
done
rm -f secrets/new secrets/line
# Containers read them as users of their own; the folder keeps others away.
chmod 644 secrets/tokens secrets/prometheus-token
