#!/usr/bin/env bash
# Installs the Ruby clients that the real-client tests drive: the gem and the Bundler of Debian. Others would come
# from the public gem registry, which the tests do not use. Network: apt only, and only when something is missing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Two test runs may start at once; the second waits.
exec 9>"$CACHE/.rubygems-clients.lock"
flock 9

need_debian /usr/bin/gem ruby
need_debian /usr/bin/bundle bundler
