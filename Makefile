# What a contributor needs. `.ci/run` is what must pass.

.PHONY: test check doc bench ci

# The quick check.
test:
	cargo test

check:
	cargo fmt --check
	cargo clippy --all-targets --all-features -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --open

bench:
	cargo bench --bench forward

ci:
	.ci/run
