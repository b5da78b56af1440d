#!/usr/bin/env bash
# Runs a command with a PostgreSQL, a Redis and an S3 server of its own on random loopback ports:
#   benches/services/with-services.sh cargo test
# Installs what is missing (Debian packages), keeps everything in a scratch directory, and stops
# what it started, by process id. PUBLARYN_SERVICES_DURABLE=1 lets PostgreSQL sync, for measurements.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

need_debian python3 python3
need_debian redis-server redis-server
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then need_debian /nonexistent postgresql; fi
pg_bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)

scratch=$(mktemp -d /tmp/publaryn-services.XXXXXX)
pids=()
# shellcheck disable=SC2329
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap cleanup EXIT

# PostgreSQL refuses to run as root.
run_pg() { "$@"; }
if [ "$(id -u)" = 0 ]; then
  chmod 755 "$scratch"
  run_pg() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
fi
mkdir "$scratch/pg"
[ "$(id -u)" = 0 ] && chown postgres "$scratch/pg"
pg_port=$(free_port)
fast=(-c fsync=off -c full_page_writes=off)
[ -n "${PUBLARYN_SERVICES_DURABLE:-}" ] && fast=()
run_pg "$pg_bin/initdb" -D "$scratch/pg/data" -U postgres -A trust --no-sync >/dev/null
run_pg "$pg_bin/postgres" -D "$scratch/pg/data" -p "$pg_port" -h 127.0.0.1 -k "$scratch/pg" \
  -c max_connections=400 "${fast[@]}" >"$scratch/pg/log" 2>&1 &
pids+=($!)

redis_port=$(free_port)
mkdir "$scratch/redis"
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$scratch/redis" \
  >"$scratch/redis/log" 2>&1 &
pids+=($!)

bash "$here/s3.sh" install
s3_port=$(free_port)
mkdir "$scratch/s3"
bash "$here/s3.sh" start "$s3_port" "$scratch/s3" publaryn publaryn-secret >"$scratch/s3.log" 2>&1 &
pids+=($!)

wait_for 30 "$pg_bin/pg_isready" -h 127.0.0.1 -p "$pg_port"
wait_for 30 redis-cli -p "$redis_port" ping
wait_for 300 python3 -c "import socket; socket.create_connection(('127.0.0.1', $s3_port), 1)"

export PUBLARYN_TEST_POSTGRES="postgres://postgres@127.0.0.1:$pg_port/postgres"
export PUBLARYN_TEST_REDIS="redis://127.0.0.1:$redis_port"
export PUBLARYN_TEST_S3="http://127.0.0.1:$s3_port,publaryn,publaryn-secret"
say "PostgreSQL :$pg_port, Redis :$redis_port, S3 :$s3_port"
"$@"
