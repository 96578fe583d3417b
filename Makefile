# What a contributor needs. `.ci/run` is what must pass.

.PHONY: test check doc bench ci asan tsan valgrind miri

# The quick check. The kernels' own tests are not part of `cargo test`.
test:
	cargo test
	cargo test --lib

check:
	cargo fmt --check
	cargo clippy --all-targets --all-features -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --open

bench:
	cargo bench --manifest-path benches/Cargo.toml --bench forward

ci:
	.ci/run

# Memory, as CONTRIBUTING says. Some tests ask for more than there is, which is no error of theirs.
ASAN = ASAN_OPTIONS=allocator_may_return_null=1 RUSTFLAGS=-Zsanitizer=address RUSTDOCFLAGS=-Zsanitizer=address \
	cargo +nightly test --all-features --no-fail-fast --target x86_64-unknown-linux-gnu --target-dir target/asan

asan:
	$(ASAN) --lib
	$(ASAN)

tsan:
	RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --features rayon \
		--target x86_64-unknown-linux-gnu --target-dir target/tsan --test cells --test training threads

# Tests that are not optimized would take an hour under it.
VALGRIND = CARGO_PROFILE_TEST_OPT_LEVEL=2 CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='valgrind -q --error-exitcode=9'

# The kernels' own tests try each instruction set that valgrind knows, those of backward the widest.
valgrind:
	$(VALGRIND) cargo test --lib
	$(VALGRIND) cargo test --test training gradients
	RNN_CELL_ISA=scalar $(VALGRIND) cargo test --test training gradients

miri:
	cargo +nightly miri test --target-dir target/miri --lib every_kernel
