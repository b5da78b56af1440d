#!/bin/sh
# Installs the Python clients that the real-client tests drive, one virtual environment each, once per
# machine, and prints the folder they are in. Pinned, so that a client's release cannot change a test's
# outcome. Network: PyPI only, and only when something is missing.
set -eu

root="${PUBLARYN_PYPI_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/publaryn-test/pypi-clients}"

# folder  pip version  packages (hishel: the newest that this pdm works with)
clients='
pip23    23.2.1   -
pip26    26.3     -
uv       26.3     uv==0.13.9
twine    26.3     twine==7.0.0
poetry   26.3     poetry==2.5.1
flit     26.3     flit==4.2.0
hatch    26.3     hatch==1.18.2
pdm      26.3     pdm==2.29.4 hishel[httpx2]==1.4.0
'

# pip 23.2 does not run on Python 3.13 and later.
for candidate in python3.12 python3.11 python3.10 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "${python:-}" ]; then
    echo "a Python between 3.10 and 3.12 with venv is needed" >&2
    exit 1
fi

mkdir -p "$root"
# Two test runs may start at once; the second waits.
exec 9>"$root/.lock"
flock 9

echo "$clients" | while read -r folder pip packages; do
    [ -n "$folder" ] || continue
    wanted="pip==$pip $packages"
    [ "$(cat "$root/$folder/.installed" 2>/dev/null || true)" = "$wanted" ] && continue
    echo "installing $folder: $wanted" >&2
    rm -rf "${root:?}/$folder"
    "$python" -m venv "$root/$folder"
    set -- "pip==$pip"
    [ "$packages" = - ] || set -- "$@" $packages
    "$root/$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" >&2
    echo "$wanted" >"$root/$folder/.installed"
done

echo "$root"
