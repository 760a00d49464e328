#!/usr/bin/env bash
# Builds Konsil and measures it; the arguments go to the generator (see main.go): -quick, -database postgres, -json FILE, …
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$dir/konsil" ./cmd/konsil
go build -o "$dir/load" ./test/load
"$dir/load" -binary "$dir/konsil" "$@"
