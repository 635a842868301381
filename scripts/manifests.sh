#!/usr/bin/env bash
# Writes the plain manifests of deploy/kubernetes from the Helm chart, for those who use no Helm; with --check it only says whether they are up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
helm=${TIDEMILL_HELM:-helm}
chart=deploy/helm/tidemill

manifest() { # NAME WHAT OPTIONS...
  local name=$1 what=$2 && shift 2
  printf '# %s\n# Written by scripts/manifests.sh from the Helm chart in %s.\n' "$what" "$chart"
  "$helm" template "$name" "$chart" --kube-version 1.30.0 "$@" | sed '/^# Source: /d; /app.kubernetes.io\/managed-by: /d'
}

out=deploy/kubernetes
[ "${1:-}" != --check ] || out=$(mktemp -d)
manifest tidemill 'The server. First: kubectl create secret generic tidemill-tokens --from-file=tokens (lines of `tidemill token new`)' > "$out/server.yaml"
manifest tidemill-sales 'One job without a server, here of deploy/compose/jobs/sales.sql' \
  --set mode=job --set-file job.sql=deploy/compose/jobs/sales.sql > "$out/job.yaml"
[ "${1:-}" != --check ] || { diff -r deploy/kubernetes "$out" && rm -r "$out"; }
