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
bash "$here/postgres.sh" install
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

chmod 755 "$scratch"
pg_port=$(free_port)
bash "$here/postgres.sh" init "$scratch/pg"
bash "$here/postgres.sh" start "$pg_port" "$scratch/pg" >"$scratch/pg.log" 2>&1 &
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
