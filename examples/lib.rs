//! Only examples: `cargo run --release --example batch`, from any folder of the project.
