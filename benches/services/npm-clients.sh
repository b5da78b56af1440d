#!/bin/sh
# Installs the npm-family clients that the real-client tests drive, once per machine, and prints the
# folder they are in. Pinned, so that a client's release cannot change a test's outcome; every version
# runs on Node 20. Network: the npm registry only, and only when something is missing.
set -eu

root="${PUBLARYN_NPM_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/publaryn-test/npm-clients}"

# folder  package@version
clients='
npm10    npm@10.9.9
npm11    npm@11.21.2
pnpm10   pnpm@10.34.8
pnpm12   pnpm@12.20.0
yarn1    yarn@1.22.22
berry    @yarnpkg/cli-dist@4.18.1
bun      bun@1.4.5
'

mkdir -p "$root"
# Two test runs may start at once; the second waits.
exec 9>"$root/.lock"
flock 9

echo "$clients" | while read -r folder spec; do
    [ -n "$folder" ] || continue
    [ "$(cat "$root/$folder/.installed" 2>/dev/null || true)" = "$spec" ] && continue
    echo "installing $spec" >&2
    rm -rf "${root:?}/$folder"
    mkdir -p "$root/$folder"
    (cd "$root/$folder" && echo '{"private":true}' >package.json &&
        npm install --no-audit --no-fund --no-update-notifier --loglevel=error --prefix . "$spec" >&2)
    echo "$spec" >"$root/$folder/.installed"
done

echo "$root"
