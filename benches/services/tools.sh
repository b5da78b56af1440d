#!/usr/bin/env bash
# What building and testing need beside Rust and Node on Debian 12: a C compiler (SQLite, zstd),
# python3, curl, openssl. Installs the missing ones.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
command -v cargo >/dev/null 2>&1 || { say "Rust is missing: install it with rustup, then run this again"; exit 1; }
need_debian cc gcc libc6-dev
need_debian python3 python3
need_debian curl curl ca-certificates
need_debian openssl openssl
