//! Lists what a weight file holds: its recurrent layers, each with the line of Rust that loads it, and other tensors.
//!
//!     cargo run --all-features --example inspect -- model.onnx

use rnn_cell::weights::{self, File};
use std::collections::HashSet;

fn main() -> Result<(), rnn_cell::Error> {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: inspect FILE");
        return Ok(());
    };
    print!("{}", described(&weights::open(path)?)?);
    Ok(())
}

/// The layers of a file and its other tensors.
pub fn described(file: &File) -> Result<String, rnn_cell::Error> {
    let layers = file.layers()?;
    let layers_or_one = if layers.len() == 1 { "layer" } else { "layers" };
    let mut text = format!("{}, {} recurrent {layers_or_one}\n", file.format(), layers.len());
    for layer in &layers {
        text += &format!("\n{layer}\n");
    }
    let mut others = file.tensors::<f64>()?;
    let taken: HashSet<&str> = layers.iter().flat_map(|layer| &layer.tensors).map(String::as_str).collect();
    others.retain(|name| !taken.contains(name));
    if !others.is_empty() {
        text += &format!("\nother tensors\n{others}");
    }
    Ok(text)
}
