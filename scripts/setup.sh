#!/usr/bin/env bash
# Installs what building Holm and its example functions needs, from the package registries. Idempotent,
# and quick when nothing is missing. Runs as root or with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo >/dev/null; then
  echo "setup: cargo is missing: install Rust 1.95 or later (package rustup), then run this again" >&2
  exit 1
fi

sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo"

# The C compiler is for SQLite, the certificates for what functions and tools fetch, curl for trying
# things out.
missing=()
for package in build-essential ca-certificates curl; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "setup: installing ${missing[*]}"
  # Another apt may be at work on a fresh machine: wait for it.
  $sudo apt-get -o DPkg::Lock::Timeout=120 update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq \
    --no-install-recommends "${missing[@]}"
fi

scripts/toolchains.sh
