# Swell's chores. `make help` lists them.
GO      ?= go
BIN     := bin
TOOL    := $(GO) tool -modfile=tools/go.mod
UI      := internal/web/ui
DIST    := internal/web/dist
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOFILES := $(shell git ls-files '*.go' 2>/dev/null) go.mod go.sum

.DEFAULT_GOAL := help
.PHONY: help build ui demo test deps check lint vuln fuzz bench bench-proxy fmt clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: $(BIN)/swell ## build bin/swell, dashboard included

$(BIN)/swell: $(GOFILES) $(DIST)/index.html
	$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $@ ./cmd/swell

ui: $(DIST)/index.html ## bundle the dashboard

$(DIST)/index.html: $(UI)/node_modules/.package-lock.json $(shell find $(UI)/src -type f 2>/dev/null) $(wildcard internal/web/bundle/*.go)
	$(GO) run ./internal/web/bundle

$(UI)/node_modules/.package-lock.json: $(UI)/package.json $(UI)/package-lock.json
	npm --prefix $(UI) ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: shop
shop: ## build the example shop's services
	$(GO) build -trimpath -ldflags "-s -w" -o examples/shop/bin/ ./examples/shop/...

demo: build shop ## run the example shop under a rising and falling load
	$(BIN)/swell up examples/shop --load wave --rate 20/s --peak 200/s --duration 90s

deps: ## install what the tests need, where this user may (Debian packages as root)
	@./scripts/deps.sh

test: deps ui check ## install what the tests need and run them all
	$(GO) test -race -timeout 20m ./...
	$(GO) test ./internal/proxy/... ./internal/scale # allocations and memory, which the race detector hides

check: ## formatting, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted by gofmt (make fmt):"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

lint: check ## check, and golangci-lint
	$(TOOL) golangci-lint run ./...

vuln: ## known vulnerabilities in what the binary reaches (asks vuln.go.dev)
	$(TOOL) govulncheck ./...

FUZZTIME ?= 1m
fuzz: ## every fuzz target for FUZZTIME each
	@./scripts/fuzz.sh $(FUZZTIME)

bench: ## the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

bench-proxy: build ## CPU per request and p99 beside nginx, HAProxy, Caddy and Go's ReverseProxy
	@./scripts/deps.sh bench
	$(GO) run ./benchmarks/proxy --swell $(BIN)/swell

fmt: ## format the Go code
	gofmt -w $$(git ls-files '*.go')

clean: ## remove what was built
	rm -rf $(BIN) examples/shop/bin $(UI)/node_modules
	find $(DIST) -mindepth 1 ! -name .gitkeep -delete
