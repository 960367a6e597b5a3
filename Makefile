# What each target does is in CONTRIBUTING.md. Two are enough to begin with: make quickstart, make test.

GO ?= go
BIN := bin/bifrost

# As the program is built, so that what the linters need is compiled once.
PLAIN := CGO_ENABLED=0 GOFLAGS=-trimpath
SOURCES := $(shell git ls-files -co --exclude-standard '*.go' '*.sh' '*.star' 2>/dev/null) go.mod go.sum

.PHONY: build quickstart test lint scripts fmt docs deps bench bench-quick bench-deps lines money

build: $(BIN)

$(BIN): $(SOURCES)
	$(PLAIN) $(GO) build -ldflags '-s -w' -o $@ ./cmd/bifrost

# The main job, end to end, on this machine: no account, no network, no set-up.
quickstart: build
	cd examples && ../$(BIN) exec quickstart.star

# Everything that CI checks. CI=true makes a missing program a failure; otherwise the tests that need
# it say that they were left out.
test: deps lint scripts
	$(GO) test -vet=off $$(.ci/race) $(if $(CI),-count=1) -timeout 14m ./...
	$(MAKE) --no-print-directory docs
	@git diff --exit-code --stat -- docs || { echo 'docs/ is not up to date: commit what make docs wrote'; exit 1; }

lint:
	$(PLAIN) $(GO) vet ./...
	$(PLAIN) $(GO) tool staticcheck ./...
	@unformatted="$$($(GO) tool gofumpt -l .)"; test -z "$$unformatted" || { echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; }

# The scripts of this repository, by the program itself. Those under examples/embed belong to a program that
# adds names of its own.
scripts: build
	$(BIN) fmt --check examples starlark/std
	$(BIN) check examples/*.star
	$(BIN) test examples starlark/std

fmt: build
	$(GO) tool gofumpt -w .
	$(BIN) fmt examples starlark/std

# Lines of code of the ported scripts, for the table in docs/porting.md.
lines:
	@.ci/lines examples/outlier_features.star examples/speedrun.star examples/integration_evaluation.star examples/lib/rl.star examples/tito_correctness.star

docs:
	$(GO) run ./builtins/gendoc docs/reference.md

# What the tests run on: installed where we are root on a Debian, listed as missing elsewhere.
deps:
	@.ci/deps

# What docs/performance.md describes: ours beside rsync, scp, ssh, git over links of 0, 40 and 100 ms.
# Writes bench/RESULTS.md; under 20 minutes on a quiet machine.
bench: bench-deps
	$(GO) run ./bench -o bench/RESULTS.md

# The same with fewer runs of less, and nothing written: 3 minutes.
bench-quick: bench-deps
	$(GO) run ./bench -quick

# The peers that the benchmarks compare with, beside what the tests run on.
bench-deps:
	@.ci/deps rsync:rsync /usr/lib/python3/dist-packages/paramiko:python3-paramiko

# The tables of docs/money.md: every fault at every call of every provider, and crashes. Some minutes.
money:
	BIFROST_MONEY_ALL=1 $(GO) test -count=1 -v -timeout 30m ./engine/moneytest
