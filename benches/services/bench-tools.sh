#!/usr/bin/env bash
# Installs what `make bench` compares with and loads with: nginx and wrk (Debian), verdaccio (npm,
# pinned). Prints the path of verdaccio's program. Network only when something is missing.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

# The last release that runs on Node 20.
VERDACCIO=6.8.0

need_debian nginx nginx-light
need_debian wrk wrk
command -v node >/dev/null 2>&1 || { say "Node 20 or newer is missing: install it, then run this again"; exit 1; }

root="$CACHE/verdaccio-$VERDACCIO"
# Two runs may start at once; the second waits.
exec 9>"$CACHE/verdaccio.lock"
flock 9
if [ ! -e "$root/.installed" ]; then
  say "installing verdaccio $VERDACCIO"
  rm -rf "$root"
  mkdir -p "$root"
  # It asks for node-fetch by a tag (`cjs`) that mirrors of the npm registry do not all carry.
  echo '{"private":true,"overrides":{"node-fetch":"2.7.0"}}' >"$root/package.json"
  npm install --no-audit --no-fund --no-update-notifier --loglevel=error --prefix "$root" "verdaccio@$VERDACCIO" >&2
  touch "$root/.installed"
fi
echo "$root/node_modules/verdaccio/bin/verdaccio"
