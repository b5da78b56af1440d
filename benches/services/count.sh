#!/usr/bin/env bash
# Runs a command, shows its output, and closes with the sum of all "test result:" lines:
#   N passed, N failed, N skipped
# Exits non-zero when the command failed or any test did.
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
awk '/^test result:/ { for (i = 1; i <= NF; i++) { if ($(i+1) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed/) f += $i; if ($(i+1) ~ /^ignored/) s += $i } }
     END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit (p == 0 || f > 0) }' "$log"
counted=$?
[ "$status" -eq 0 ] && exit "$counted"
exit "$status"
