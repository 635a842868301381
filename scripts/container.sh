#!/usr/bin/env bash
# The image of Tidemill: `container.sh build [IMAGE] [OPTIONS OF THE BUILDER]` makes it, `container.sh test [IMAGE]` runs it and
# looks at what it does: rights, exit codes, kill -9 and SIGTERM with a volume, health.
#
# Builds with docker, podman or buildah, whichever is there. Runs with docker or podman where they can run a container; else root
# may do it with buildah and the kernel's namespaces: the same user, no rights, a read-only root, process 1, a network of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
size_max=${TIDEMILL_IMAGE_SIZE_MAX:-120000000}

say() { printf 'container: %s\n' "$*" >&2; }
fail() { say "FAILED: $*"; exit 1; }
ok() { passed=$((${passed:-0} + 1)); say "ok: $*"; }

builder() {
  local tool
  for tool in docker podman buildah; do
    command -v $tool > /dev/null || continue
    [ $tool != docker ] || docker info > /dev/null 2>&1 || continue
    echo $tool && return
  done
}

build() {
  local tool
  tool=$(builder)
  [ -n "$tool" ] || { say "NOT RUN: neither docker (with its daemon) nor podman nor buildah is here"; exit 0; }
  local version revision
  version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
  revision=$(git rev-parse --short HEAD 2> /dev/null || echo unknown)
  local options=(-f deploy/Dockerfile -t "$image" --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
  # Other formats have no health check.
  case $tool in podman | buildah) options+=(--format docker) ;; esac
  "$tool" build "${options[@]}" "$@" .
}

# ---- How a container is run. Each of these gives a container a name; its output is in $work/NAME.log, its exit code in $code.

# run_container NAME OPTIONS... [-- ARGUMENTS...]   with options -v FROM:TO[:ro] and -e NAME=VALUE; without arguments: what the image says.
start_container() {
  local name=$1 && shift
  local options=() arguments=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1" "$2") && shift 2; done
  [ $# -eq 0 ] || { shift && arguments=("$@"); }
  "start_by_$runner" "$name"
  pids[$name]=$!
}
# Its end, however it comes.
end_of() {
  code=0
  wait "${pids[$1]}" || code=$?
  unset "pids[$1]"
}
run_container() { start_container "$@" && end_of "$1"; }
log_of() { cat "$work/$1.log"; }

start_by_engine() {
  $engine run --rm --name "$prefix-$1" --read-only --cap-drop ALL --security-opt no-new-privileges "${options[@]}" "$image" "${arguments[@]}" \
    > "$work/$1.log" 2>&1 &
}
pid_by_engine() { $engine inspect -f '{{.State.Pid}}' "$prefix-$1"; }
exec_by_engine() { local name=$1 && shift && $engine exec -i "$prefix-$name" tidemill "$@"; }
signal_by_engine() { $engine kill -s "$2" "$prefix-$1" > /dev/null; }
config_by_engine() { $engine image inspect -f '{{json .Config}}' "$image"; }
size_by_engine() { $engine image inspect -f '{{.Size}}' "$image"; }

# The root file system of the image is mounted by buildah; the rest is what a container engine asks of the kernel.
config_by_namespaces() { buildah inspect --type image --format '{{.Config}}' "$image"; }
words_of_image() { of_image "$1" | python3 -c 'import json, sys; print("\n".join(json.load(sys.stdin)))'; }
start_by_namespaces() {
  local environment=() command=() binds=() index entry
  mapfile -t environment < <(words_of_image Env)
  mapfile -t command < <(words_of_image Entrypoint)
  [ ${#arguments[@]} -gt 0 ] || mapfile -t arguments < <(words_of_image Cmd)
  for ((index = 0; index < ${#options[@]}; index += 2)); do
    entry=${options[index + 1]}
    if [ "${options[index]}" = -e ]; then environment+=("$entry"); else binds+=("$entry"); fi
  done
  for entry in "${binds[@]}"; do
    entry=$(cut -d : -f 2 <<< "$entry")
    mkdir -p "$root$(dirname "$entry")"
    [ -e "$root$entry" ] || touch "$root$entry"
  done
  printf '%s\n' "${binds[@]}" > "$work/$1.binds"
  # shellcheck disable=SC2016
  unshare --mount --pid --net --ipc --uts --fork --kill-child -- bash -c '
    set -e
    root=$1 binds=$2 && shift 2
    mount --bind "$root" "$root" && mount -t proc proc "$root/proc" && ip link set lo up
    while IFS=: read -r from to how; do
      [ -n "$from" ] || continue
      mount --bind "$from" "$root$to"
      [ -z "$how" ] || mount -o "remount,bind,$how" "$root$to"
    done < "$binds"
    mount -o remount,bind,ro "$root"
    exec "$@"
  ' bash "$root" "$work/$1.binds" "$(command -v env)" -i "${environment[@]}" \
    "$(command -v setpriv)" --clear-groups --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid -- \
    "$(command -v unshare)" --root="$root" --wd="$(text_of_image WorkingDir)" --setgid=10001 --setuid=10001 -- "${command[@]}" "${arguments[@]}" \
    > "$work/$1.log" 2>&1 &
}
pid_by_namespaces() { pgrep -P "${pids[$1]}"; }
exec_by_namespaces() {
  local pid environment=()
  pid=$(pid_by_namespaces "$1") && shift
  mapfile -t -d '' environment < "/proc/$pid/environ"
  "$(command -v env)" -i "${environment[@]}" "$(command -v nsenter)" -t "$pid" -m -p -n -i -u -r -w -G 10001 -S 10001 -- /usr/local/bin/tidemill "$@"
}
signal_by_namespaces() { kill -s "$2" "$(pid_by_namespaces "$1")"; }
size_by_namespaces() { du -sb --apparent-size "$root" | cut -f 1; }

# ---- What is looked at.

until_true() { # WHAT COMMAND...
  local what=$1 && shift
  for _ in $(seq 300); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done
  cat "$work"/*.log >&2
  fail "waited in vain until $what"
}
rows() { cat "$work"/data/out/[!._]* 2> /dev/null | wc -l; }
more_rows_than() { [ "$(rows)" -gt "$1" ]; }
fresh_data() { rm -rf "$work/data" && mkdir "$work/data" && chown 10001:10001 "$work/data"; }

numbers_job() { # a job that writes 1..$1
  cat << SQL
SET 'execution.checkpointing.interval' = '200 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '$1');
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '$2', 'format' = 'csv');
INSERT INTO copies SELECT n FROM numbers;
SQL
}

image_is_as_told() {
  [ "$(text_of_image User)" = 10001:10001 ] || fail "the user is $(of_image User)"
  [ "$(of_image Volumes)" = '{"/data": {}}' ] || fail "the volumes are $(of_image Volumes)"
  [[ $(of_image Healthcheck) == *'"/usr/local/bin/tidemill", "health"'* ]] || fail "the health check is $(of_image Healthcheck)"
  [[ $(of_image Labels) == *org.opencontainers.image.version* ]] || fail "the labels are $(of_image Labels)"
  local size
  size=$(size_of_image)
  [ "$size" -le $size_max ] || fail "the image has $size bytes, more than $size_max"
  ok "user, volume, health check, labels; $((size / 1000000)) MB"
}

exit_codes_are_those_of_the_program() {
  fresh_data
  run_container once -v "$work/data:/data" -e "TIDEMILL_JOB_SQL=SELECT 1 + 1 AS two"
  [ "$code" = 0 ] && log_of once | grep -q '2 |' || fail "a job that ends: $code, $(log_of once)"
  run_container wrong -v "$work/data:/data" -e "TIDEMILL_JOB_SQL=SELECT x FROM nowhere"
  [ "$code" = 2 ] && log_of wrong | grep -q 'does not exist' || fail "wrong SQL: $code, $(log_of wrong)"
  mkdir "$work/data/in" && echo 'no json' > "$work/data/in/1.json"
  cat > "$work/failing.sql" << 'SQL'
SET 'restart-strategy.type' = 'none';
CREATE TABLE events (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO copies SELECT n FROM events;
SQL
  run_container failing -v "$work/data:/data" -v "$work/failing.sql:/job/job.sql:ro" -e TIDEMILL_JOB_FILE=/job/job.sql
  [ "$code" = 3 ] || fail "another job on the state of one: $code, $(log_of failing)"
  rm -r "$work/data/job"
  run_container failing -v "$work/data:/data" -v "$work/failing.sql:/job/job.sql:ro" -e TIDEMILL_JOB_FILE=/job/job.sql
  [ "$code" = 1 ] || fail "a job that fails: $code, $(log_of failing)"
  run_container open -v "$work/data:/data"
  [ "$code" = 2 ] && log_of open | grep -q 'there are no tokens' || fail "a server without tokens: $code, $(log_of open)"
  ok "exit codes: 0, 1, 2 and 3 of one job, 2 of a server that would be open to everybody"
}

a_killed_job_goes_on_from_its_volume() {
  fresh_data
  local sql begun
  sql=$(numbers_job 12000 out)
  start_container killed -v "$work/data:/data" -e "TIDEMILL_JOB_SQL=$sql"
  until_true "rows are there" more_rows_than 0
  until_true "the job is well" exec_in killed health
  is_confined killed
  signal_to killed KILL && end_of killed
  [ "$code" != 0 ] || fail "killed: $code"
  begun=$(rows)
  [ "$begun" -lt 12000 ] || fail "it was over before it was killed"
  start_container again -v "$work/data:/data" -e "TIDEMILL_JOB_SQL=$sql"
  until_true "it goes on" more_rows_than "$begun"
  signal_to again TERM && end_of again
  [ "$code" = 0 ] || fail "SIGTERM: $code, $(log_of again)"
  run_container last -v "$work/data:/data" -e "TIDEMILL_JOB_SQL=$sql"
  [ "$code" = 0 ] || fail "the end: $code, $(log_of last)"
  [ "$(cat "$work"/data/out/[!._]* | sort -n | uniq | wc -l) $(rows)" = "12000 12000" ] || fail "$(rows) rows of 12000"
  ok "a job that was killed after $begun rows, and ended by SIGTERM, writes each of 12000 rows once"
}

# What the kernel says of the process: its user, no rights, none to be had, a root that cannot be written.
is_confined() {
  local pid status
  pid=$(pid_of "$1")
  status=$(cat "/proc/$pid/status")
  grep -q '^Uid:\s10001\s10001\s10001\s10001$' <<< "$status" && grep -q '^NoNewPrivs:\s1$' <<< "$status" &&
    grep -q '^CapEff:\s0*$' <<< "$status" && grep -q '^CapPrm:\s0*$' <<< "$status" || fail "rights: $status"
  [[ "$(awk '$5 == "/" { print $6 }' "/proc/$pid/mountinfo" | tail -n 1)," == ro,* ]] || fail "the root can be written"
  grep -q '^NSpid:.*\s1$' <<< "$status" || fail "it is not process 1"
  ok "process 1, user 10001, no capability, read-only root"
}

a_server_is_well_until_it_ends() {
  fresh_data
  local token
  run_container token -- token new --role operate --name test
  token=$(log_of token | grep "^tm_") && log_of token | grep '^test operate sha256:' > "$work/tokens"
  local options=(-v "$work/data:/data" -v "$work/tokens:/run/secrets/tokens:ro" -e TIDEMILL_TOKENS_FILE=/run/secrets/tokens -e "TIDEMILL_TOKEN=$token")
  run_container unhealthy "${options[@]}" -- health
  [ "$code" = 1 ] || fail "health without a server: $code, $(log_of unhealthy)"
  start_container server "${options[@]}"
  until_true "the server is ready" exec_in server health
  numbers_job 1000000 out | exec_in server submit - --name numbers > /dev/null || fail "submit"
  mkdir -p "$work/data/out" && rm -rf "$work/data/out" && ln -s files/out "$work/data/out"
  until_true "rows are there" more_rows_than 0
  signal_to server TERM && end_of server
  [ "$code" = 0 ] || fail "SIGTERM: $code, $(log_of server)"
  local begun
  begun=$(rows)
  start_container server2 "${options[@]}"
  until_true "the job goes on" more_rows_than "$begun"
  exec_in server2 jobs | grep -q 'numbers  running' || fail "the job is not there: $(exec_in server2 jobs)"
  signal_to server2 KILL && end_of server2
  ok "a server with tokens of a mounted file: unhealthy, ready, job submitted, SIGTERM with code 0, the job goes on"
}

test_image() {
  local tool
  tool=$(builder)
  engine='' runner=''
  case $tool in
    docker | podman) "$tool" run --rm "$image" --version > /dev/null 2>&1 && engine=$tool runner=engine ;;
  esac
  if [ -z "$runner" ] && [ "$(id -u)" = 0 ] && command -v buildah unshare setpriv nsenter ip > /dev/null; then runner=namespaces; fi
  [ -n "$runner" ] || { say "NOT RUN: no container can be run here (docker, podman, or root with buildah and util-linux)"; exit 0; }
  say "runs $image by ${engine:-namespaces}"
  declare -gA pids=()
  work=$(mktemp -d) prefix=tidemill-test-$$
  chmod 755 "$work"
  trap clean_up EXIT
  if [ "$runner" = namespaces ]; then
    container=$(buildah from --pull-never "$image") && root=$(buildah mount "$container") && mkdir -p "$root/proc"
  fi
  image_is_as_told
  exit_codes_are_those_of_the_program
  a_killed_job_goes_on_from_its_volume
  a_server_is_well_until_it_ends
  say "$passed checks passed"
}

clean_up() {
  local name
  for name in "${!pids[@]}"; do signal_to "$name" KILL 2> /dev/null || true; done
  wait
  [ -z "${container:-}" ] || buildah rm "$container" > /dev/null
  rm -rf "$work"
}

# A key of the image's configuration, as JSON.
of_image() {
  "config_by_$runner" | python3 -c 'import json, sys; found = json.load(sys.stdin); print(json.dumps((found.get("config") or found)[sys.argv[1]]))' "$1"
}
text_of_image() { of_image "$1" | tr -d '"'; }
size_of_image() { "size_by_$runner"; }
pid_of() { "pid_by_$runner" "$@"; }
exec_in() { "exec_by_$runner" "$@"; }
signal_to() { "signal_by_$runner" "$@"; }

action=${1:-} image=${2:-tidemill}
[ $# -le 2 ] && shift $# || shift 2
case $action in
  build) build "$@" ;;
  test) test_image ;;
  *) echo "usage: scripts/container.sh build|test [IMAGE] [OPTIONS OF THE BUILDER]" >&2 && exit 2 ;;
esac
