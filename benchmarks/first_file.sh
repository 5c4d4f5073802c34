#!/usr/bin/env bash
# Fresh clone to first file searchable: once with an empty package cache, once with a full one.
set -euo pipefail
repository="$(git -C "$(dirname "$0")" rev-parse --show-toplevel)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
export PIP_CACHE_DIR="$work/cache"

for cache in cold warm; do
    git clone --quiet "$repository" "$work/$cache"
    cd "$work/$cache"
    mkdir -p drop_zones/input
    echo "A heron waits beside the weir." > drop_zones/input/first.txt
    begun=$(date +%s.%N)
    make run > run.log 2>&1 &
    until [ -x .venv/bin/dropzone ] \
        && .venv/bin/dropzone search "heron weir" --json 2> /dev/null | grep -q first.txt
    do sleep 0.2; done
    echo "$cache package cache: $(echo "$(date +%s.%N) - $begun" | bc) s from 'make run' to the first search that finds the file"
    kill -TERM "$(cat drop_zones/state/lock)"
    wait || true
done
