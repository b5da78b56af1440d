#!/usr/bin/env bash
# Installs Composer and PHP, as Debian 12 has them (2.5.5 and 8.2): the network of the tests knows no other source of
# Composer. Prints the path of the client.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

exec 9>"$CACHE/composer.lock"
flock 9

need_debian php php-cli
need_debian composer composer
need_debian unzip unzip
php -r 'exit(extension_loaded("zip") && extension_loaded("curl") ? 0 : 1);' || need_debian /nonexistent php-zip php-curl

command -v composer
