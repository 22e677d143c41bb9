# Every target installs what it misses or says exactly what to install.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# A go.work of your own (see CONTRIBUTING.md) is for editors. The targets build each module by its
# own go.mod, and -modfile does not work in a workspace.
export GOWORK := off

GO      ?= go
BIN     := bin
DATA    ?= .data/postgres
TOOL    := $(GO) tool -modfile=tools/go.mod
LEXGEN  := $(BIN)/lexgen
# What the server says about itself: the release tag, and the commit.
VERSION  ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || echo devel)
REVISION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
STAMP    := -X main.version=$(VERSION) -X main.revision=$(REVISION)
DEVDB   := $(BIN)/devdb
KINDS   := $(BIN)/kindcheck
SERVER  := $(BIN)/mls-server
# With the tag mlsdev, which a released binary never has: the pages and the demo for developers.
DEVSERVER := $(BIN)/mls-server-dev

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(DEVDB) ## Build for development, start a private PostgreSQL, migrate and serve on :3000 (FRESH=1 empties it)
	@.ci/playground || echo "the playground was not built; all else is as it should be"
	@$(MAKE) --no-print-directory $(DEVSERVER)
	@MLS_ENV=$${MLS_ENV:-development} APPVIEW_URL=$${APPVIEW_URL:-none} $(DEVDB) run --data $(DATA) $(if $(FRESH),--fresh) -- $(DEVSERVER) serve --migrate --hints

.PHONY: demo
demo: $(DEVSERVER) $(DEVDB) ## Let three people chat, with real MLS clients over a real server, and see what it sees
	@.ci/demo

.PHONY: build
build: $(SERVER) ## Build bin/mls-server

.PHONY: test
test: build $(DEVSERVER) $(DEVDB) $(LEXGEN) deps ## Run all tests: Go, generator, real clients
	@GO='$(GO)' .ci/test

.PHONY: example
example: $(LEXGEN) deps ## Test lexgen's example: its Go server with the Go client and with @atproto/lex
	@GO='$(GO)' .ci/example

.PHONY: e2e
e2e: build $(DEVSERVER) $(DEVDB) deps ## Drive the server with MLS and atproto clients from npm
	@.ci/e2e

.PHONY: e2e-pds
e2e-pds: $(LEXGEN) $(DEVDB) ## Run the server beside real PLC directories and PDSs, old and new, and under a real browser
	@GO='$(GO)' .ci/e2e-pds

.PHONY: pds
pds: deps ## Start a PDS with the accounts alice.test and bob.test, to try clients with beside make run
	@.ci/e2e-pds play

.PHONY: histories
histories: build $(DEVDB) deps ## Play fifty random histories with a hostile member on clients from npm (HISTORIES=n, HISTORY_SEED=n)
	@HISTORIES=$${HISTORIES:-50} .ci/e2e test/histories.test.mjs

.PHONY: interop
interop: build $(DEVDB) deps ## Follow random groups of OpenMLS, mls-rs and ts-mls, and drive the server with them (HISTORIES=n, FULL=1)
	@.ci/interop

.PHONY: gen
gen: $(LEXGEN) ## Generate code from lexicons/ and queries/ (sqlc is compiled once)
	@$(LEXGEN) gen
	@$(LEXGEN) gen --config tools/lexgen/examples/notes/lexgen.json
	@GO='$(GO)' .ci/sqlc generate

.PHONY: gen-check
gen-check: $(LEXGEN) ## Fail and name the file when generated code is out of date
	@$(LEXGEN) check
	@$(LEXGEN) check --config tools/lexgen/examples/notes/lexgen.json
	@GO='$(GO)' .ci/sqlc diff

.PHONY: install-lexgen
install-lexgen: ## Install lexgen where go install puts programs
	@cd tools/lexgen && $(GO) install . && dir=$$($(GO) env GOBIN) && echo "installed $${dir:-$$($(GO) env GOPATH)/bin}/lexgen"

.PHONY: module
module: ## Give the whole repository another module path (MODULE=host.example/owner/name), to publish it
	@[ -n '$(MODULE)' ] || { echo 'make module MODULE=host.example/owner/name'; exit 2; }
	@cd tools && $(GO) run ./module .. '$(MODULE)'
	@$(GO) test ./internal/repo -run '^TestPagesWrap$$' -count=1 -update
	@$(MAKE) --no-print-directory gen

.PHONY: breaking
breaking: $(LEXGEN) ## Compare the lexicons with the last release (before the first: with a fixed commit)
	@.ci/breaking

.PHONY: check
check: gen-check $(KINDS) ## What each commit must pass: generated code, vet, build and quick tests
	@$(GO) vet ./...
	@cd tools/lexgen && $(GO) vet ./...
	@cd tools/lexgen/examples/notes && $(GO) vet ./...
	@cd tools/devdb && $(GO) vet ./...
	@cd bench && $(GO) vet ./...
	@$(KINDS)
	@$(GO) test -short ./lexrt/... ./internal/mls/... ./internal/xrpc/... ./internal/config/... ./internal/handlers/... ./internal/repo/...

.PHONY: lint
lint: $(LEXGEN) $(KINDS) vuln ## Run golangci-lint (with gosec), govulncheck, deadcode and the style rules of lexicons
	@$(LEXGEN) lint --quiet
	@$(KINDS)
	@GO='$(GO)' .ci/deadcode
	@$(TOOL) golangci-lint run --allow-parallel-runners ./...

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the code calls (says so when the database cannot be reached)
	@GO='$(GO)' .ci/vuln

.PHONY: image
image: ## Build the container image mls-server:$(VERSION)
	@docker build --build-arg VERSION='$(VERSION)' --build-arg REVISION='$(REVISION)' -t mls-server:'$(VERSION)' .

.PHONY: instruments
instruments: deps ## Try the alerts, and every panel of the dashboard, on a real Prometheus
	@.ci/deps prometheus
	@$(GO) test -tags instruments -count=1 ./internal/e2e/instruments

.PHONY: oci
oci: $(DEVDB) ## Build the image without an engine into bin/oci, unpack it and start its server
	@.ci/deps umoci
	@GO='$(GO)' VERSION='$(VERSION)' REVISION='$(REVISION)' .ci/oci

.PHONY: reproducible
reproducible: ## Build the released binary twice, from nothing and in two places, and compare
	@GO='$(GO)' .ci/reproducible

.PHONY: release-check
release-check: deps ## What has to be true before VERSION=v1.2.3 is tagged
	@GO='$(GO)' .ci/release-check '$(VERSION)'

.PHONY: release
release: ## Build what the release VERSION=v1.2.3 publishes into dist/: archives, SBOMs, notes, checksums
	@GO='$(GO)' .ci/release '$(VERSION)'

.PHONY: release-lexgen
release-lexgen: ## Tag what go install gets of lexgen, behind the tagged release VERSION=v1.2.3
	@GO='$(GO)' .ci/release-lexgen '$(VERSION)'

.PHONY: licences
licences: ## Write docs/licences.md from the modules in the server's build
	@$(GO) test ./internal/app -run TestLicencesAreListed -count=1 -update

.PHONY: chaos
chaos: deps ## Break everything below two servers while clients are at work; make test plays a short form
	@$(GO) test ./internal/e2e/chaos -run '^TestChaos$$' -count=1 -v -timeout 60m -chaos.long $(CHAOSARGS)

.PHONY: model
model: deps ## Random requests on the server and on its models, ROUNDS=10 rounds with new seeds; make test plays one fixed seed
	@$(GO) test ./internal/e2e -run '^(TestModel|TestHostileMembers)$$' -count=$(or $(ROUNDS),10) -timeout 60m -model.seed=0

.PHONY: flood
flood: ## 10,000 connections to one server (needs ulimit -n 12000); make test opens 2,000
	@MLS_FLOOD_CONNECTIONS=$${MLS_FLOOD_CONNECTIONS:-10000} $(GO) test ./internal/e2e -run TestConnectionFlood -count=1 -v

.PHONY: fmt
fmt: ## Format all hand-written Go code
	@$(TOOL) golangci-lint fmt ./...

.PHONY: migrate
migrate: build ## Apply the migrations to DATABASE_URL
	@$(SERVER) migrate

.PHONY: bench
bench: deps ## Load the released binary on a private, durable PostgreSQL, beside pgbench; writes bench/REPORT.md
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w $(STAMP)' -o $(BIN)/mls-server-release ./cmd/mls-server
	@cd bench && $(GO) build -o ../$(BIN)/load ./load
	@$(BIN)/load -server $(BIN)/mls-server-release -out bench $(BENCHARGS)

.PHONY: bench-micro
bench-micro: ## Benchmarks of the parser, the codecs and the request path
	@$(GO) test -run '^$$' -bench . -benchmem ./lexrt/... ./internal/mls/... ./internal/auth/... ./internal/xrpc/...

.PHONY: bench-verify
bench-verify: deps ## Signature verification: indigo, decred, libsecp256k1 and P-256
	@cd bench && $(GO) test -tags libsecp256k1 -run '^$$' -bench . -benchtime 2000x -count 5 ./verify

.PHONY: bench-lexgen
bench-lexgen: ## Speed of the generator and of what it generates, beside indigo's
	@cd tools/lexgen && $(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: deps
deps: ## Install what the tests need beside Go: PostgreSQL, Redis, Node.js, libsecp256k1
	@.ci/deps

GO_FILES := $(shell find cmd internal lexrt migrations -name '*.go' -not -name '*_test.go' 2>/dev/null) $(wildcard migrations/*.sql)
$(SERVER): $(GO_FILES) go.mod go.sum
	@echo "building $@ (the first time takes a minute or two)"
	@$(GO) build -ldflags='$(STAMP)' -o $@ ./cmd/mls-server
$(DEVSERVER): $(GO_FILES) docs/api/index.html $(wildcard internal/dev/site/*.html internal/dev/site/assets/*) go.mod go.sum
	@echo "building $@ (the first time takes a minute or two)"
	@$(GO) build -tags mlsdev -ldflags='$(STAMP)' -o $@ ./cmd/mls-server
$(LEXGEN): $(shell find tools/lexgen lexrt \( -name '*.go' -o -name page.html -o -name search.js -o -name lexrt.txt -o -name rules.txt \) -not -name '*_test.go' 2>/dev/null) tools/lexgen/go.mod
	@cd tools/lexgen && $(GO) build -o ../../$@ .
$(DEVDB): $(shell find tools/devdb internal/pgcluster -name '*.go' 2>/dev/null) tools/devdb/go.mod
	@cd tools/devdb && $(GO) build -o ../../$@ .

$(KINDS): $(wildcard tools/kindcheck/*.go) tools/go.mod
	@cd tools && $(GO) build -o ../$@ ./kindcheck

.PHONY: bench-stream
bench-stream: deps ## Streams: each event exactly once at full size, then latency, throughput, memory, database work
	@cd bench && $(GO) test -race -count=1 -timeout 30m -v -run '^TestEachEventOnce$$' ./stream -full
	@cd bench && $(GO) test -count=1 -timeout 15m -v -run '^TestFigures$$' ./stream -figures
	@cd bench && $(GO) test -count=1 -timeout 15m -v -run '^TestFigures$$' ./stream -figures -websocket
