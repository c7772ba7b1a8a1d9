#!/usr/bin/env bash
# Installs the servers that `holm bench` measures a node against, where they are missing. Idempotent, and
# quick when nothing is. Everything goes to the user's cache; nginx comes from apt, where there is apt:
# without, its row is skipped.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/holm"
wasmtime_version=48.0.8

installed() {
  [ "$("$cache/peers/bin/wasmtime" --version 2>/dev/null)" = "wasmtime $wasmtime_version" ]
}

if installed; then
  echo "bench-peers: wasmtime $wasmtime_version is there"
else
  echo "bench-peers: building wasmtime $wasmtime_version (about ten minutes)"
  # Only what `wasmtime serve` needs; a target directory of its own, so that a broken-off build goes on.
  CARGO_TARGET_DIR="$cache/target-peers" cargo install --locked --quiet wasmtime-cli \
    --version "$wasmtime_version" --root "$cache/peers" --no-default-features \
    --features run,serve,cranelift,component-model,component-model-async,pooling-allocator,parallel-compilation,wasi-http,disable-logging
fi

# The program alone, out of its package and into the cache: installing the package would start a service.
fetch_nginx() {
  local scratch
  scratch="$(mktemp -d)"
  # shellcheck disable=SC2064 # the directory is known now
  trap "rm -rf '$scratch'" RETURN
  (cd "$scratch" && apt-get download -qq nginx && dpkg -x nginx_*.deb unpacked) || return
  install -D "$scratch/unpacked/usr/sbin/nginx" "$cache/peers/bin/nginx"
  # What it is linked against may not be there.
  "$cache/peers/bin/nginx" -v || { rm "$cache/peers/bin/nginx"; return 1; }
}

if PATH="$cache/peers/bin:$PATH:/usr/sbin:/usr/local/sbin" command -v nginx >/dev/null; then
  echo "bench-peers: nginx is there"
elif ! command -v apt-get >/dev/null; then
  echo "bench-peers: nginx is missing and there is no apt-get: its row will be skipped" >&2
else
  fetch_nginx || echo "bench-peers: nginx could not be fetched: its row will be skipped" >&2
fi
