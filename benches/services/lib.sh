# Shared by the scripts of this folder: where things are cached, and installing Debian packages.
# shellcheck shell=bash

CACHE="${PUBLARYN_TEST_CACHE:-$HOME/.cache/publaryn-test}"
mkdir -p "$CACHE"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# need_debian COMMAND-OR-FILE PACKAGE...: installs the packages when the command (or file) is missing.
need_debian() {
  local wanted=$1
  shift
  if command -v "$wanted" >/dev/null 2>&1 || [ -e "$wanted" ]; then return; fi
  say "installing $*"
  if [ -z "${APT_UPDATED:-}" ]; then
    as_root apt-get update -qq
    APT_UPDATED=1
  fi
  # Services that Debian would start by itself are not wanted: tests start their own.
  printf '#!/bin/sh\nexit 101\n' > "$CACHE/policy-rc.d"
  chmod +x "$CACHE/policy-rc.d"
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    as_root cp "$CACHE/policy-rc.d" /usr/sbin/policy-rc.d
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    as_root rm -f /usr/sbin/policy-rc.d
  else
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  fi
}

free_port() {
  python3 - <<'PY'
import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])
PY
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $deadline ]; then
      say "gave up waiting for: $*"
      return 1
    fi
    sleep 0.1
  done
}
