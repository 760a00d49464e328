# Everything starts here: `make run` to try Konsil, `make test` for all that CI checks.
.PHONY: run build test quick bench fuzz fmt

GO ?= go

## run: build and start a small federation on this machine (Ctrl-C stops it, the data stays in ./konsil-data)
run: build
	./bin/konsil up

## build: the binary, at bin/konsil
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/konsil ./cmd/konsil

## test: format, static analysis, floors, unit tests with the race detector on both stores, scenarios, foreign clients
test:
	./test/check.sh

## quick: vet and the unit tests, on SQLite, without the race detector
quick:
	$(GO) vet ./... && $(GO) test ./...

## bench: the budgets of docs/performance.md, measured
bench:
	./test/load/run.sh

## fuzz: every fuzz target for FUZZTIME (default 1m) each
fuzz:
	./test/fuzz.sh

## fmt: format all Go code
fmt:
	gofmt -w $$(git ls-files '*.go')
