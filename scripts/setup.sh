#!/usr/bin/env bash
# Installs what a build needs beyond a Rust toolchain and a C/C++ compiler: libclang, for the bindings to RocksDB, and the headers of
# OpenSSL and zlib, for the Kafka client.
# With --for-tests also what the tests need: Python's venv (for DuckDB and a second Kafka client), a PostgreSQL server (to look rows up
# in), Java and Maven (for an Apache Kafka broker).
# Where it may not install, it prints the exact command and ends with an error.
set -euo pipefail

need_rust="1.95"

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || fail "no Rust toolchain found; install Rust $need_rust or newer (rustup.rs), then run this again"
have_rust=$(rustc --version | awk '{print $2}')
[ "$(printf '%s\n%s\n' "$need_rust" "$have_rust" | sort -V | head -n 1)" = "$need_rust" ] ||
  fail "Rust $have_rust is too old; run: rustup update stable   (needed: $need_rust)"

have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  ldconfig -p 2>/dev/null | grep -q 'libclang\(-[0-9.]*\)\?\.so' && return 0
  # Not libclang-cpp, which comes without it and does not serve.
  compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null
}

has_header() {
  echo "#include <$1>" | cc -E -x c - >/dev/null 2>&1
}

have_postgres() {
  command -v pg_ctl >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/pg_ctl' >/dev/null
}

missing=()
command -v cc >/dev/null || missing+=(gcc)
command -v c++ >/dev/null || missing+=(g++)
command -v make >/dev/null || missing+=(make)
have_libclang || missing+=(libclang-dev)
has_header openssl/ssl.h || missing+=(libssl-dev)
has_header zlib.h || missing+=(zlib1g-dev)
command -v pkg-config >/dev/null || missing+=(pkg-config)
if [ "${1:-}" = "--for-tests" ]; then
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  have_postgres || missing+=(postgresql)
  command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
  command -v mvn >/dev/null || missing+=(maven)
fi

[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null || fail "please install: ${missing[*]} (libclang is in packages such as clang-libs or llvm)"
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
else
  fail "please run:  sudo apt-get update && sudo apt-get install -y ${missing[*]}"
fi
printf 'setup: installing %s\n' "${missing[*]}"
{ "${as_root[@]}" apt-get update -qq &&
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null; } ||
  fail "apt-get failed, see above; once it works, run:  ${as_root[*]} apt-get update && ${as_root[*]} apt-get install -y ${missing[*]}"
