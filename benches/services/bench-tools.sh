#!/usr/bin/env bash
# Installs what `make bench` compares with and loads with: nginx, wrk and the distribution registry (Debian),
# verdaccio (npm), pypiserver and devpi (PyPI), pinned. Prints the folder that verdaccio and the Python servers are
# below. Network only when something is missing.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

# The last release that runs on Node 20.
VERDACCIO=6.8.0
PYPISERVER=2.4.2
DEVPI=6.20.3

need_debian nginx nginx-light
need_debian wrk wrk
need_debian docker-registry docker-registry
command -v node >/dev/null 2>&1 || { say "Node 20 or newer is missing: install it, then run this again"; exit 1; }

root="$CACHE/bench-tools"
mkdir -p "$root"
# Two runs may start at once; the second waits.
exec 9>"$root/.lock"
flock 9

if [ "$(cat "$root/verdaccio/.installed" 2>/dev/null || true)" != "$VERDACCIO" ]; then
  say "installing verdaccio $VERDACCIO"
  rm -rf "$root/verdaccio"
  mkdir -p "$root/verdaccio"
  # It asks for node-fetch by a tag (`cjs`) that mirrors of the npm registry do not all carry.
  echo '{"private":true,"overrides":{"node-fetch":"2.7.0"}}' >"$root/verdaccio/package.json"
  npm install --no-audit --no-fund --no-update-notifier --loglevel=error --prefix "$root/verdaccio" \
    "verdaccio@$VERDACCIO" >&2
  echo "$VERDACCIO" >"$root/verdaccio/.installed"
fi

python="$PYPISERVER $DEVPI"
if [ "$(cat "$root/python/.installed" 2>/dev/null || true)" != "$python" ]; then
  say "installing pypiserver $PYPISERVER and devpi-server $DEVPI"
  rm -rf "$root/python"
  python3 -m venv "$root/python"
  "$root/python/bin/pip" install -q --disable-pip-version-check \
    "pypiserver[cache]==$PYPISERVER" waitress "devpi-server==$DEVPI" >&2
  echo "$python" >"$root/python/.installed"
fi
echo "$root"
