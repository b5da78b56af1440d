#!/usr/bin/env bash
# A PostgreSQL server for tests on a directory:
#
#   postgres.sh install          install it, unless it is there (Debian package)
#   postgres.sh init DIR         make a database cluster in DIR/data
#   postgres.sh start PORT DIR   serve it on 127.0.0.1:PORT in the foreground, as the process called
#
# Superuser `postgres`, no password. Nothing is synced to disk unless PUBLARYN_SERVICES_DURABLE=1: an
# ended process loses nothing, a power cut would. Signals mean what they mean to PostgreSQL: INT stops it after ending every session,
# QUIT at once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

pg_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }

# PostgreSQL refuses to run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then set -- setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; fi
  exec "$@"
}

install() {
  if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then need_debian /nonexistent postgresql; fi
}

init() {
  install
  mkdir -p "$1/data"
  if [ "$(id -u)" = 0 ]; then
    chmod 755 "$1"
    chown postgres "$1/data"
  fi
  chmod 700 "$1/data"
  (as_postgres "$(pg_bin)/initdb" -D "$1/data" -U postgres -A trust --no-sync) >/dev/null
}

start() {
  cd /
  local durability=(-c fsync=off -c full_page_writes=off)
  [ -n "${PUBLARYN_SERVICES_DURABLE:-}" ] && durability=()
  as_postgres "$(pg_bin)/postgres" -D "$2/data" -p "$1" -h 127.0.0.1 -k "$2/data" \
    -c max_connections=400 "${durability[@]}"
}

case "${1:-}:$#" in
  install:1) install ;;
  init:2) init "$2" ;;
  start:3) start "$2" "$3" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;;
esac
