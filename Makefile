# The only entry to every command of the project. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOLS := $(CURDIR)/bin/tools
export PATH := $(TOOLS):$(PATH)

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# A checkout that git refuses to read (another owner, no .git) still builds; only the stamp is missing then.
BUILDVCS := $(shell git status >/dev/null 2>&1 && echo auto || echo false)
GOPKGS := ./...
T ?= 30s
COUNT ?= 6

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: build ## build if needed and run the demo: gateway, tunnel, connector and three private MCP servers
	@bin/sallyport demo

.PHONY: setup
setup: ## install what the tests need and this machine lacks, saying what and why
	@scripts/setup

.PHONY: build
build: ## one static binary, bin/sallyport
	@CGO_ENABLED=0 go build -buildvcs=$(BUILDVCS) -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/sallyport ./cmd/sallyport

.PHONY: test
test: fmt vet lint race ## what CI runs after setup: format, vet, lint and every test under the race detector

.PHONY: check
check: build test ## before a commit: the binary and everything that CI runs

.PHONY: unit
unit: ## every test without the race detector: the quick loop
	@go test -json $(GOPKGS) | go run ./test/testtimes

.PHONY: race
race: ## every test under the race detector, with each package's time and the slowest tests
	@go test -race -timeout 20m -json $(GOPKGS) | go run ./test/testtimes

.PHONY: fmt
fmt: ## fail if a Go file is not gofmt'ed
	@files=$$(find . -name node_modules -prune -o -name testdata -prune -o -path ./bin -prune -o -name '*.go' -print | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "not formatted, run gofmt -w on:"; echo "$$files"; exit 1; fi

.PHONY: vet
vet: ## go vet
	@go vet $(GOPKGS)

.PHONY: lint
lint: ## golangci-lint; .golangci.yml gives each linter's reason
	@command -v golangci-lint >/dev/null || { echo "golangci-lint is missing; run: make setup"; exit 1; }
	@golangci-lint run $(GOPKGS)

.PHONY: arch
arch: ## the rules of the architecture alone: imports, doc comments, bans, sizes
	@go test -count=1 ./test/arch/...

.PHONY: map
map: ## regenerate the import graph and the table of sizes in ARCHITECTURE.md
	@go run ./test/arch/archmap

.PHONY: docs
docs: ## regenerate docs/configuration.md from the comments of the configuration's types
	@UPDATE=1 go test -count=1 ./docs/...

.PHONY: picture
picture: ## draw docs/pictures/trace.svg: a call as Jaeger has it
	@UPDATE=1 go test -count=1 -run '^TestTracePicture$$' ./test/e2e

.PHONY: fuzz
fuzz: ## every fuzz target in turn, for T each (make fuzz T=30s)
	@scripts/fuzz $(T)

.PHONY: attack
attack: ## run the attacks and write attacks.md, databases.md and cells.md in docs/security: case, transport, outcome
	@mkdir -p docs/security
	@SALLYPORT_ATTACKS_FILE=$(CURDIR)/docs/security/attacks.md go test -count=1 ./test/attack/...
	@SALLYPORT_CELLS_FILE=$(CURDIR)/docs/security/cells.md go test -count=1 -run '^TestAttacks$$' ./cell

.PHONY: conformance
conformance: ## the MCP conformance suite on one server, directly and through the tunnel: a table, and every difference
	@go test -count=1 -v -run '^TestConformance$$' ./test/conformance

.PHONY: compatibility
compatibility: ## let real clients call real servers through the tunnel, and sign in; write what was seen into docs
	@SALLYPORT_COMPATIBILITY_FILE=$(CURDIR)/docs/compatibility.md go test -count=1 ./test/e2e/sdk/...
	@UPDATE=1 go test -count=1 -run '^TestClients$$' ./test/e2e/oauth

.PHONY: bench
bench: ## run the benchmarks COUNT times into bench.txt, for benchstat
	@go test -run '^$$' -bench . -benchmem -count $(COUNT) $(GOPKGS) | tee bench.txt

.PHONY: figures
figures: ## measure calls against a one-hop reverse proxy, each part a process, and write docs/performance.md
	@go run ./test/bench/figures -o docs/performance.md

.PHONY: clean
clean: ## remove what make built and installed below this folder
	@rm -rf bin bench.txt test/peers/node_modules
