//! Only benchmarks: `cargo bench --manifest-path benches/Cargo.toml`.
