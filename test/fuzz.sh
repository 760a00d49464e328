#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 1m). A failure leaves its input in testdata/fuzz: keep it as a seed.
# FUZZ_LIGHT=1 leaves out packages that link the database: compiling it for the fuzzer takes minutes. Their seeds run
# as unit tests all the same.
set -u
cd "$(dirname "$0")/.."
code=0 out=$(mktemp)

wanted() { [ -z "${FUZZ_LIGHT:-}" ] || ! go list -deps -test "$1" | grep -q '^modernc.org/sqlite'; }

while IFS=: read -r file target; do
	package=./$(dirname "$file")
	wanted "$package" || continue
	echo "fuzz $package $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-1m}" "$package" >"$out" 2>&1 || { cat "$out"; code=1; }
done < <(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' /dev/null | sed 's/func //')
rm -f "$out"
exit $code
