# `make` lists the targets. `make demo` and `make test` install what is missing and need nothing prepared.
SHELL := /bin/bash
.DEFAULT_GOAL := help

SWIFT    ?= swift
PREFIX   ?= /usr/local
BUILD    := --static-swift-stdlib -Xswiftc -Osize
RELEASE  := .build/release
PACKAGES := libssl-dev libsqlite3-dev pkg-config openssl curl procps python3-venv
# Programs that tests run muster against: without one its tests skip, or look at less.
TEST_PACKAGES := tinyproxy-bin squid openssh-server openssh-client rsync zsh fish man-db
PYTHON   := .venv/bin/python
AS_ROOT  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/\1|/' | awk -F'|' '{ printf "  make %-9s %s\n", $$1, $$2 }'

.PHONY: demo
demo: build ## Build, enrol three servers on this machine, run commands on them, clean up
	@PATH="$(CURDIR)/$(RELEASE):$$PATH" bash docs/demo.sh

# Processes that run the end-to-end tests side by side, a file each. They wait more than they compute.
WORKERS ?= 4

.PHONY: test
test: test-packages python ## Build and run every test: unit, end to end, conformance with boto3 and the AWS CLI
	$(SWIFT) build --build-tests
	Tests/steady.sh $(SWIFT) test --skip-build --no-parallel
	MUSTER_BIN="$(CURDIR)/.build/debug" Tests/steady.sh $(PYTHON) -m pytest -q -n $(WORKERS) --dist loadfile Tests/ConformanceTests Tests/EndToEndTests
	MUSTER_BIN="$(CURDIR)/.build/debug" MUSTER_TRANSPORT=poll Tests/steady.sh $(PYTHON) -m pytest -q -n $(WORKERS) --dist loadfile Tests/EndToEndTests/test_crash.py Tests/EndToEndTests/test_rate_control.py

.PHONY: check
check: packages ## Look for format differences, undeclared imports of our modules and unit files systemd would refuse
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests
	$(SWIFT) build --explicit-target-dependency-import-check error
	@if command -v systemd-analyze >/dev/null; then bash Tests/RepositoryTests/units.sh; else echo "systemd-analyze is not installed: units not checked"; fi

.PHONY: format
format: ## Format all Swift files in place
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests

.PHONY: build
build: packages ## Build the release binaries into .build/release
	$(SWIFT) build -c release $(BUILD)

.PHONY: bench
bench: packages python ## Measure the targets that docs/benchmarks.md lists, and print them beside the figures
	MUSTER_BENCHMARKS=1 $(SWIFT) build -c release $(BUILD)
	MUSTER_BIN="$(CURDIR)/$(RELEASE)" $(PYTHON) Benchmarks/run.py

SWARM ?= 500,1000,2000

.PHONY: swarm
swarm: packages ## Measure a controller with thousands of agents in one process (SWARM=500,1000,2000)
	MUSTER_BENCHMARKS=1 $(SWIFT) build -c release $(BUILD)
	$(RELEASE)/muster-swarm --agents $(SWARM)

.PHONY: crash
crash: test-packages python ## Run the crash tests twenty times over
	$(SWIFT) build
	MUSTER_BIN="$(CURDIR)/.build/debug" MUSTER_CRASH_ROUNDS=20 $(PYTHON) -m pytest -q Tests/EndToEndTests/test_crash.py

.PHONY: soak
soak: test-packages python ## Run the tests that take minutes: gigabytes of output, long outages, slow boxes
	$(SWIFT) build
	MUSTER_BIN="$(CURDIR)/.build/debug" MUSTER_SOAK=1 $(PYTHON) -m pytest -q -m soak Tests/EndToEndTests

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= all

.PHONY: fuzz
fuzz: packages ## Run every fuzz target for FUZZ_SECONDS (60), or those of FUZZ_TARGETS; see Fuzz/README.md
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_TARGETS="$(FUZZ_TARGETS)" SWIFT="$(SWIFT)" bash Fuzz/run.sh

.PHONY: sanitize
sanitize: test-packages ## Run the Swift tests under the address and the thread sanitizer (two more builds, in .build-address and .build-thread)
	bash Tests/sanitize.sh address thread

.PHONY: pages
pages: build # Manual pages and completions, as the programs define them
	rm -rf .build/share && mkdir -p .build/share/completions
	python3 docs/manual.py $(RELEASE) .build/share/man
	for p in muster muster-agent muster-controller; do for s in bash zsh fish; do \
	  $(RELEASE)/$$p --generate-completion-script $$s > .build/share/completions/$$p.$$s || exit 1; done; done

.PHONY: install
install: pages ## Install binaries, manual pages and completions below PREFIX (default /usr/local), configuration below /etc/muster, the units
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/etc/muster $(DESTDIR)/usr/lib/systemd/system
	install -m 0755 -s $(RELEASE)/muster $(RELEASE)/muster-agent $(RELEASE)/muster-controller $(DESTDIR)$(PREFIX)/bin
	for s in 1 8; do install -d $(DESTDIR)$(PREFIX)/share/man/man$$s; \
	  install -m 0644 .build/share/man/man$$s/* $(DESTDIR)$(PREFIX)/share/man/man$$s; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	for p in muster muster-agent muster-controller; do c=.build/share/completions/$$p; \
	  install -m 0644 $$c.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$p; \
	  install -m 0644 $$c.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$$p; \
	  install -m 0644 $$c.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$$p.fish; done
	for f in agent-config/agent.json5 controller-config/controller.json5; do \
	  [ -e $(DESTDIR)/etc/muster/$$(basename $$f) ] || install -m 0644 $$f $(DESTDIR)/etc/muster/; done
	for u in agent-config/muster-agent.service controller-config/muster-controller.service; do \
	  sed 's#/usr/local/bin#$(PREFIX)/bin#' $$u > $(DESTDIR)/usr/lib/systemd/system/$$(basename $$u); done

define install-missing
@missing=""; for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then echo "Installing:$$missing"; \
  $(AS_ROOT) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(AS_ROOT) apt-get install -y -qq --no-install-recommends $$missing; fi
endef

.PHONY: packages
packages: # Debian packages that are missing
	$(call install-missing,$(PACKAGES))

.PHONY: test-packages
test-packages: packages # and those for the tests
	$(call install-missing,$(TEST_PACKAGES))

.PHONY: python
python: .venv/stamp # boto3, the AWS CLI and pytest in a folder of this checkout
.venv/stamp: Tests/requirements.txt
	python3 -m venv .venv
	.venv/bin/pip install -q --disable-pip-version-check -r Tests/requirements.txt
	touch $@
