#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 1m). A failure leaves its input in testdata/fuzz: keep it as a seed.
set -u
cd "$(dirname "$0")/.."
code=0
while IFS=: read -r file target; do
	package=./$(dirname "$file")
	echo "fuzz $package $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-1m}" "$package" >/tmp/fuzz.$$ 2>&1 || { cat /tmp/fuzz.$$; code=1; }
done < <(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' /dev/null | sed 's/func //')
rm -f /tmp/fuzz.$$
exit $code
