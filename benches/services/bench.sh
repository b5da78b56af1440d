#!/usr/bin/env bash
# Builds what is shipped, starts the services and measures: bench.sh [SUITE...], or PUBLARYN_BENCH_ARGS for
# further arguments of publaryn-bench.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools=$(bash "$here/bench-tools.sh")
cargo build --profile dist -p publaryn -p publaryn-benches
bin="${CARGO_TARGET_DIR:-target}/dist"
# What is measured is to survive a power cut.
export PUBLARYN_SERVICES_DURABLE=1
# shellcheck disable=SC2086
exec "$here/with-services.sh" "$bin/publaryn-bench" --publaryn "$bin/publaryn" --tools "$tools" \
  ${PUBLARYN_BENCH_ARGS:-} "$@"
