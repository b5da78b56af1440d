#!/usr/bin/env bash
# Installs the OCI clients that the real-client tests drive, once per machine, and prints the folder the
# Go ones are in: skopeo, podman, buildah, containerd and dockerd from Debian; crane, oras, helm, cosign, buildx, BuildKit
# and both conformance suites of the distribution specification through the Go proxy, pinned.
#
#   oci-clients.sh            everything the tests use
#   oci-clients.sh --light    without dockerd, podman and buildah (no root, or no need)
#
# Needs Go, or python3 with pip (see s3.sh, which finds or fetches one).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=benches/services/lib.sh
. "$here/lib.sh"

CRANE=v0.22.1
ORAS=v1.3.6
HELM=v3.22.0
COSIGN=v2.6.1
BUILDX=v0.29.1
BUILDKIT=v0.25.1
# The runner on main, and the last Ginkgo suite (tag v1.1.1). A Go proxy need not hold every commit: the first that
# it has is taken.
RUNNER="v0.0.0-20260831232431-97274622c111 v0.0.0-20260730175803-fee21197eb94 latest"
GINKGO="v0.0.0-20250123160558-a139cc423184 v0.0.0-20231101194043-f2182352d4cc"
SPEC=github.com/opencontainers/distribution-spec/conformance

root="$CACHE/oci-clients"
mkdir -p "$root"
# Two test runs may start at once; the second waits.
exec 9>"$root/.lock"
flock 9

need_debian skopeo skopeo
if [ "${1:-}" != --light ] && [ "$(id -u)" = 0 ]; then
  need_debian podman podman crun
  need_debian buildah buildah
  need_debian dockerd docker.io iptables
  need_debian ctr containerd
fi

go=$(bash "$here/s3.sh" go)
export GOFLAGS=-buildvcs=false CGO_ENABLED=0

# tool NAME PACKAGE VERSION…: `go install` of the first version that can be had, unless one of them is there.
tool() {
  local name=$1 package=$2 version
  shift 2
  [ -x "$root/$name" ] && case " $* " in *" $(cat "$root/$name.version" 2>/dev/null || true) "*) return ;; esac
  for version; do
    say "building $name $version"
    GOBIN="$root" "$go" install -trimpath -ldflags='-s -w' "$package@$version" >&2 || continue
    echo "$version" >"$root/$name.version"
    return
  done
  say "no version of $name can be had from the Go proxy: $*"
  return 1
}

tool crane github.com/google/go-containerregistry/cmd/crane "$CRANE"
tool oras oras.land/oras/cmd/oras "$ORAS"
tool helm helm.sh/helm/v3/cmd/helm "$HELM"
tool cosign github.com/sigstore/cosign/v2/cmd/cosign "$COSIGN"
# shellcheck disable=SC2086
tool conformance "$SPEC" $RUNNER

# module_tool NAME MODULE VERSION PACKAGE: the same for modules that exclude versions of others, which `go install` refuses.
module_tool() {
  [ -x "$root/$1" ] && [ "$(cat "$root/$1.version" 2>/dev/null)" = "$3" ] && return
  say "building $1 $3"
  local dir part
  dir=$("$go" mod download -json "$2@$3" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
  part=$(mktemp -d "$root/module.XXXXXX")
  cp -R "$dir/." "$part/"
  chmod -R u+w "$part"
  (cd "$part" && "$go" build -mod=mod -trimpath -ldflags='-s -w' -tags 'netgo osusergo' -o "$root/$1" "$4" >&2)
  rm -rf "$part"
  echo "$3" >"$root/$1.version"
}
if [ "${1:-}" != --light ] && [ "$(id -u)" = 0 ]; then
  need_debian runc runc
  module_tool buildx github.com/docker/buildx "$BUILDX" ./cmd/buildx
  module_tool buildkitd github.com/moby/buildkit "$BUILDKIT" ./cmd/buildkitd
fi

# The Ginkgo suite is a test package, which `go install` does not build.
ginkgo() {
  [ -x "$root/ginkgo" ] && return
  for version in $GINKGO; do
    dir=$("$go" mod download -json "$SPEC@$version" 2>/dev/null | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p' || true)
    [ -n "$dir" ] || continue
    say "building the Ginkgo conformance suite $version"
    part=$(mktemp -d "$root/ginkgo.XXXXXX")
    cp -R "$dir/." "$part/"
    chmod -R u+w "$part"
    (cd "$part" && "$go" test -c -o "$root/ginkgo" . >&2)
    rm -rf "$part"
    echo "$version" >"$root/ginkgo.version"
    return
  done
  say "no version of the Ginkgo conformance suite can be had from the Go proxy"
  return 1
}
ginkgo

echo "$root"
