# `make demo` runs the main job; `make test` runs every test. Both install what they need.

.PHONY: demo test check setup

demo: setup
	@./scripts/demo.sh

test:
	@./scripts/test.sh

# What must hold before a change lands, without the tests.
check: setup
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings

setup:
	@./scripts/setup.sh
