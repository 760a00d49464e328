#!/usr/bin/env bash
# Runs every check there is, prints how long each took, and fails if any failed. It installs what it needs where it may
# (Debian, root): PostgreSQL for the store suite, python3-matrix-nio and Node's packages for the foreign clients.
# CHECK_ONLY="vet unit" runs just the named steps.
set -u
cd "$(dirname "$0")/.."
export CGO_ENABLED=${CGO_ENABLED:-1}
failed=() report=()

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

install() { # install PROBE PACKAGE…: the packages, unless the probe already succeeds
	local probe=$1; shift
	bash -c "$probe" >/dev/null 2>&1 && return 0
	may_install || { echo "not installed, and this is not root on Debian: $*"; return 0; }
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 && return 0
	apt-get update -q >/dev/null 2>&1
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 || echo "could not install: $*"
}

step() { # step NAME COMMAND…: run it, note its time and result
	local name=$1; shift
	if [ -n "${CHECK_ONLY:-}" ] && [[ " $CHECK_ONLY " != *" $name "* ]]; then return 0; fi
	echo "== $name"
	local began=$SECONDS result=ok
	"$@" || { result=FAILED; failed+=("$name"); }
	report+=("$(printf '%-12s %5d s  %s' "$name" $((SECONDS - began)) "$result")")
}

prepare() {
	install 'test -x /usr/lib/postgresql/15/bin/initdb' postgresql-15
	install 'python3 -c "import nio, olm" || /usr/bin/python3 -c "import nio, olm"' python3-matrix-nio python3-olm
	go mod download
	node_packages
}

node_packages() { # matrix-js-sdk for the foreign clients, unless it is there
	local at=test/client/js
	command -v npm >/dev/null 2>&1 || { echo "npm is missing: the test with matrix-js-sdk will be skipped"; return 0; }
	[ $at/node_modules/.package-lock.json -nt $at/package-lock.json ] && return 0
	npm ci --prefix $at --ignore-scripts --no-audit --no-fund --loglevel=error || echo "npm ci failed: the test with matrix-js-sdk will be skipped"
}

format() {
	local wrong
	wrong=$(git ls-files '*.go' | xargs gofmt -l)
	[ -z "$wrong" ] || { echo "not gofmt-ed:"; echo "$wrong"; return 1; }
}

vet() {
	go vet ./... && (cd test/client && CGO_ENABLED=0 go vet -tags goolm ./...)
}

lint() {
	go tool -modfile=test/tools/go.mod staticcheck ./...
}

# The data of govulncheck lives on a server of the Go project; where that is out of reach the step says so and passes.
vulnerabilities() {
	local out
	out=$(timeout 300 go tool -modfile=test/tools/go.mod govulncheck ./... 2>&1) && { echo "$out" | tail -3; return 0; }
	if grep -qE 'fetching vulnerabilities|no such host|connection refused|403' <<<"$out"; then
		echo "skipped: the vulnerability data cannot be had here"
		return 0
	fi
	echo "$out"
	return 1
}

unit() {
	go run ./test/pgserver -- go test -race -timeout 20m $(go list ./... | grep -v '^konsil/test/scenario')
}

slow() { # what to make faster next
	echo "slowest packages:"
	grep -E '^ok' "$1" | awk '{print $3, $2}' | sort -rn | head -8
}

unit_with_times() {
	local log
	log=$(mktemp)
	unit 2>&1 | tee "$log"
	local code=${PIPESTATUS[0]}
	slow "$log"
	rm -f "$log"
	return "$code"
}

fuzz() { FUZZ_LIGHT=1 FUZZTIME=${FUZZTIME:-2s} ./test/fuzz.sh; }

scenarios() { go run ./test/pgserver -- go test -count=1 -timeout 10m ./test/scenario/...; }

# goolm is mautrix-go's own cryptography; without cgo the SQLite driver that it names is not compiled. -v says what was skipped.
clients() { (cd test/client && CGO_ENABLED=0 go test -count=1 -tags goolm -v -timeout 10m ./... | grep -vE '^(=== |    --- PASS)'; exit "${PIPESTATUS[0]}"); }

step prepare prepare
step format format
step vet vet
step lint lint
step vulns vulnerabilities
step build env CGO_ENABLED=0 go build -trimpath -o bin/konsil ./cmd/konsil
step unit unit_with_times
step fuzz fuzz
step scenarios scenarios
step clients clients

echo
printf '%s\n' "${report[@]}"
if [ ${#failed[@]} -gt 0 ]; then
	echo "FAILED: ${failed[*]}"
	exit 1
fi
echo "all checks passed in $SECONDS s"
