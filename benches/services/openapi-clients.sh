#!/bin/sh
# Installs schemathesis, which drives the management API by its OpenAPI document, into a virtual environment of its
# own, once per machine, and prints the folder it is in. What decides which requests are made is pinned.
# Network: PyPI only, and only when something is missing.
set -eu

root="${PUBLARYN_OPENAPI_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/publaryn-test/openapi-clients}"
wanted='schemathesis==4.32.5 hypothesis==6.170.17 jsonschema-rs==0.60.3'

mkdir -p "$root"
# Two test runs may start at once; the second waits.
exec 9>"$root/.lock"
flock 9

if [ "$(cat "$root/schemathesis/.installed" 2>/dev/null || true)" != "$wanted" ]; then
    echo "installing $wanted" >&2
    rm -rf "${root:?}/schemathesis"
    python3 -m venv "$root/schemathesis"
    # shellcheck disable=SC2086
    "$root/schemathesis/bin/python" -m pip install --quiet --disable-pip-version-check --no-input $wanted >&2
    echo "$wanted" >"$root/schemathesis/.installed"
fi

echo "$root"
