//! Only tests and examples: `cargo test`, `cargo run --release --example batch`.
