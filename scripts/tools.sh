#!/usr/bin/env bash
# Installs what only the tests need: cargo-nextest, cargo-deny, strace. Idempotent.
set -euo pipefail
cache="${XDG_CACHE_HOME:-$HOME/.cache}/holm"
PATH="$cache/tools/bin:$PATH"

sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo"

if ! command -v strace >/dev/null; then
  echo "tools: installing strace (fault injection)"
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends strace
fi

for component in rustfmt clippy; do
  cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done

# Built in a directory of their own: their dependencies must not disturb the project's.
install_tool() { # name, version, cargo install arguments
  local name="$1" version="$2"
  shift 2
  if ! command -v "$name" >/dev/null; then
    echo "tools: building $name $version (once, some minutes)"
    CARGO_TARGET_DIR="$cache/tools/target" \
      cargo install --quiet --locked --root "$cache/tools" --version "$version" "$@" "$name"
    rm -rf "$cache/tools/target"
  fi
}
install_tool cargo-nextest 0.9.143 --no-default-features
install_tool cargo-deny 0.20.2 --no-default-features
