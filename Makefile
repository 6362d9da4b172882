# Short names for what is done often. The work is done by cargo and by the scripts, which can be run by themselves.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test test-long fuzz bench plugins lint setup

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## three supervisords and a server to play with; Ctrl-C ends and removes all of it
	@exec scripts/demo.sh

test: ## everything that CI runs
	@exec scripts/test.sh

test-long: ## more cases of every property, half an hour of fuzzing, and everything that CI runs
	@PROPTEST_CASES=20000 OMNIVISOR_FUZZ_SECONDS=1800 exec scripts/test.sh

fuzz: ## half an hour of components that nobody wrote, or OMNIVISOR_FUZZ_SECONDS of them
	@scripts/setup.sh build plugins
	@scripts/build-plugins.sh
	@OMNIVISOR_FUZZ_SECONDS=$${OMNIVISOR_FUZZ_SECONDS:-1800} cargo test --locked -p tests --test hostile -- --nocapture fuzz

bench: ## the figures of docs/benchmarks.md
	@scripts/setup.sh build plugins supervisord uws
	@scripts/build-plugins.sh
	@cargo build --locked --release --workspace --bin omnivisor
	@cargo bench --locked --workspace

plugins: ## pack the plugins as components
	@scripts/setup.sh build plugins
	@exec scripts/build-plugins.sh

lint: ## the quick checks alone: format, rules of the source, clippy, documentation
	@exec scripts/test.sh lint

setup: ## install what building, testing and the demo need
	@scripts/setup.sh build plugins supervisord oidc kosoku curl
