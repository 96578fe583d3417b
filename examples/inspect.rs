//! Lists what a weight file holds: its recurrent layers, each with the line of Rust that loads it, and other tensors.
//!
//!     cargo run --all-features --example inspect -- model.onnx

use rnn_cell::weights::{self, File, Layer};
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
    let opening = opening(file, &layers)?;
    if !opening.is_empty() {
        text += &format!("\n    {}\n", opening.join("\n    "));
    }
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

/// The lines before those of the layers, if one can be loaded.
fn opening(file: &File, layers: &[Layer]) -> Result<Vec<String>, rnn_cell::Error> {
    let loads: Vec<&str> = layers.iter().map(|layer| &*layer.load).filter(|load| !load.starts_with("not ")).collect();
    let has = |part: &str| loads.iter().any(|load| load.contains(part));
    let modules = ["flax", "haiku", "keras", "onnx", "pytorch", "tensorflow"];
    let used: String =
        modules.iter().filter(|name| has(&format!("{name}::"))).map(|name| format!(", {name}")).collect();
    let (single, double) = (file.tensors::<f32>()?, file.tensors::<f64>()?);
    // Integers are neither.
    let is_double = |name: &String| {
        let shape = double.shape(name).unwrap_or_default();
        single.check(name, shape).is_err() && double.check(name, shape).is_ok()
    };
    let number = if layers.iter().flat_map(|layer| &layer.tensors).any(is_double) { "f64" } else { "f32" };
    let mut lines = Vec::new();
    if !loads.is_empty() {
        lines.push(match &*used {
            "" => "use rnn_cell::weights;".into(),
            _ => format!("use rnn_cell::weights::{{self{used}}};"),
        });
        lines.push(format!("let file = weights::open({:?})?;", file.path().display().to_string()));
    }
    if has("&mut model.tensors") {
        lines.push(format!("let mut model = file.keras::<{number}>()?;"));
    }
    if has("= model.node(") {
        lines.push("let model = file.onnx().expect(\"it is an ONNX model\");".into());
    }
    if has("(&mut tensors") {
        lines.push(format!("let mut tensors = file.tensors::<{number}>()?;"));
    }
    Ok(lines)
}
