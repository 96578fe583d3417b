//! What loading takes beside the file: the cell's own arrays and one tensor.

#[path = "common/allocator.rs"]
mod allocator;

use allocator::measured;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::weights::{pytorch, safetensors};
use rnn_cell::{Lstm, RnnCell};

/// Names, shapes and the parsed header.
const SMALL: usize = 64 << 10;

#[test]
fn loading_takes_the_cell_and_one_tensor() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let hidden = 192;
    let cells = [(64, 1), (hidden, 2)]
        .map(|(input, seed)| Lstm::<f32>::new(input, hidden, &mut Xoshiro256PlusPlus::seed_from_u64(seed)));

    // By parameter name, into a cell that is there: nothing beside the file.
    let file = safetensors::to_bytes(&cells[1]).unwrap();
    let mut cell = Lstm::<f32>::new(hidden, hidden, rng);
    let (result, _, peak) = measured(|| safetensors::from_bytes(&mut cell, &file));
    result.unwrap();
    assert!(peak < SMALL, "{peak} bytes beside a file of {}", file.len());

    // Through an importer: the largest tensor beside the cells.
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("memory.safetensors");
    safetensors::save_tensors(pytorch::export_lstm(&cells, None, "").unwrap(), &path).unwrap();
    let file = std::fs::read(path).unwrap();
    let tensor = 4 * hidden * hidden * size_of::<f32>();
    let (imported, kept, peak) = measured(|| {
        let mut tensors = safetensors::read_tensors::<f32>(&file).unwrap();
        let cells = pytorch::lstm(&mut tensors, "").unwrap();
        tensors.finish().unwrap();
        cells
    });
    assert_eq!(imported.output_size(), hidden);
    assert!(kept >= 4 * tensor, "packed and public weights of two layers are {kept} bytes, and a tensor {tensor}");
    assert!(peak <= kept + tensor + SMALL, "{peak} bytes, but cells are {kept} and the largest tensor {tensor}");

    // A claim without bytes behind it takes nothing.
    let claim = br#"{"kernel":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}"#;
    let file = [&(claim.len() as u64).to_le_bytes()[..], claim].concat();
    let (result, _, peak) = measured(|| safetensors::from_bytes(&mut cell, &file));
    assert!(result.is_err());
    assert!(peak < SMALL, "{peak} bytes");
}
