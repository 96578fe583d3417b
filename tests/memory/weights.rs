//! What loading takes besides the file: the cell's own arrays and one tensor.

use crate::allocator::measured;
use ndarray::ArrayD;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::weights::{Tensors, flax, keras, onnx, pytorch, safetensors, tensorflow};
use rnn_cell::{Error, Lstm};

/// Names, shapes and the parsed header.
const SMALL: usize = 64 << 10;

/// Imports a module with tensors of these names and shapes, and keeps the cells.
fn check<T>(tensors: &[(&str, &[usize])], import: impl FnOnce(&mut Tensors<'_, f32>) -> Result<T, Error>) {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("memory.safetensors");
    let mut file = Tensors::<f32>::new();
    for (name, shape) in tensors {
        file.insert(*name, ArrayD::zeros(*shape));
    }
    safetensors::save_tensors(file, &path).unwrap();
    let file = std::fs::read(path).unwrap();
    let sizes = tensors.iter().map(|(_, shape)| size_of::<f32>() * shape.iter().product::<usize>());
    let (all, largest): (usize, usize) = (sizes.clone().sum(), sizes.max().unwrap());
    let (cells, kept, peak) = measured(|| {
        let mut tensors = safetensors::read_tensors(&file).unwrap();
        let cells = import(&mut tensors).unwrap();
        tensors.finish().unwrap();
        cells
    });
    let first = tensors[0].0;
    assert!(kept + SMALL >= 2 * all, "{first}: public and packed weights are {kept} bytes, but tensors {all}");
    assert!(peak <= kept + largest + SMALL, "{first}: {peak} bytes, but cells are {kept} and the largest {largest}");
    drop(cells);
}

fn borrowed(tensors: &[(String, Vec<usize>)]) -> Vec<(&str, &[usize])> {
    tensors.iter().map(|(name, shape)| (&**name, &**shape)).collect()
}

/// Every importer, with `x` inputs and `h` units.
fn each_importer(x: usize, h: usize) {
    let reset_before = keras::Options::default().reset_after(false);
    let linear_before_reset = onnx::Options::default().linear_before_reset(true);
    let p = h / 2;
    let lstm = |layer: usize, input| {
        let names =
            ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"].map(|kind| format!("{kind}_l{layer}"));
        let shapes = [vec![4 * h, input], vec![4 * h, p], vec![4 * h], vec![4 * h], vec![p, h]];
        names.into_iter().zip(shapes)
    };
    let layers: Vec<(String, Vec<usize>)> = lstm(0, x).chain(lstm(1, p)).collect();
    check(&borrowed(&layers), |t| pytorch::lstm(t, ""));
    let both: &[(&str, &[usize])] = &[
        ("weight_ih_l0", &[3 * h, x]),
        ("weight_hh_l0", &[3 * h, h]),
        ("weight_ih_l0_reverse", &[3 * h, x]),
        ("weight_hh_l0_reverse", &[3 * h, h]),
    ];
    check(both, |t| pytorch::bidirectional_gru(t, ""));
    check(&[("weight_ih_l0", &[h, x]), ("weight_hh_l0", &[h, h])], |t| pytorch::rnn(t, "", &Default::default()));

    check(&[("kernel", &[x, 4 * h]), ("recurrent_kernel", &[h, 4 * h]), ("bias", &[4 * h])], |t| {
        keras::lstm(t, "", &keras::Options::default())
    });
    check(&[("kernel", &[x, 3 * h]), ("recurrent_kernel", &[h, 3 * h]), ("bias", &[3 * h])], |t| {
        keras::gru(t, "", &reset_before)
    });

    let peepholes: &[(&str, &[usize])] = &[("w_f_diag", &[h]), ("w_i_diag", &[h]), ("w_o_diag", &[h])];
    let projected: &[(&str, &[usize])] =
        &[("kernel", &[x + p, 4 * h]), ("bias", &[4 * h]), ("projection/kernel", &[h, p])];
    check(&[projected, peepholes].concat(), |t| tensorflow::lstm(t, "", &Default::default()));
    let gru: &[(&str, &[usize])] = &[
        ("gates/kernel", &[x + h, 2 * h]),
        ("gates/bias", &[2 * h]),
        ("candidate/kernel", &[x + h, h]),
        ("candidate/bias", &[h]),
    ];
    check(gru, |t| tensorflow::gru(t, "", &Default::default()));

    check(&[("W", &[2, 4 * h, x]), ("R", &[2, 4 * h, h]), ("B", &[2, 8 * h]), ("P", &[2, 3 * h])], |t| {
        onnx::bidirectional_lstm(t, "", &onnx::Options::default())
    });
    check(&[("W", &[1, 3 * h, x]), ("R", &[1, 3 * h, h])], |t| onnx::gru(t, "", &linear_before_reset));

    let gates = |gates: &[&str], rows: usize| -> Vec<(String, Vec<usize>)> {
        gates.iter().map(|gate| (format!("{gate}/kernel"), vec![rows, h])).collect()
    };
    let biases = |gates: &[&str]| -> Vec<(String, Vec<usize>)> {
        gates.iter().map(|gate| (format!("{gate}/bias"), vec![h])).collect()
    };
    let (input, hidden) = (["ii", "if", "ig", "io"], ["hi", "hf", "hg", "ho"]);
    let lstm = [gates(&input, x), gates(&hidden, h), biases(&hidden)].concat();
    check(&borrowed(&lstm), |t| flax::lstm(t, ""));
}

/// A file with zeros in F16.
fn half_precision(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let mut end = 0;
    let infos = tensors.iter().map(|(name, shape)| {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        format!(r#""{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
    });
    let header = format!("{{{}}}", infos.collect::<Vec<_>>().join(","));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; end]].concat()
}

#[test]
fn loading_takes_the_cell_and_one_tensor() {
    let hidden = 192;
    // By parameter name into an existing cell: nothing besides the file.
    let [saved, mut cell] =
        [1, 2].map(|seed| Lstm::<f32>::new(hidden, hidden, &mut Xoshiro256PlusPlus::seed_from_u64(seed)));
    let file = safetensors::to_bytes(&saved).unwrap();
    let (result, _, peak) = measured(|| safetensors::from_bytes(&mut cell, &file));
    result.unwrap();
    assert!(peak < SMALL, "{peak} bytes beside a file of {}", file.len());

    // With an importer: the largest tensor besides the cells.
    each_importer(64, hidden);

    // A cell with one unit is packed in whole vectors, and takes no more.
    let inputs = 100_000;
    let vector = 64;
    let one_unit = |gates: usize, import: &dyn Fn(&mut Tensors<'_, f32>)| {
        let file = half_precision(&[("weight_ih_l0", &[gates, inputs]), ("weight_hh_l0", &[gates, 1])]);
        let ((), _, peak) = measured(|| {
            let mut tensors = safetensors::read_tensors(&file).unwrap();
            import(&mut tensors);
            tensors.finish().unwrap();
        });
        // The tensor, the cell's kernel and the packed one.
        let expected = inputs * gates * (4 + 4 + vector);
        assert!(peak < expected + SMALL, "{gates} gates: {peak} bytes for a file of {}", file.len());
    };
    one_unit(1, &|t| drop(pytorch::rnn(t, "", &Default::default()).unwrap()));
    one_unit(3, &|t| drop(pytorch::gru(t, "").unwrap()));
    one_unit(4, &|t| drop(pytorch::lstm(t, "").unwrap()));

    // A claim without bytes behind it allocates nothing.
    let claim = br#"{"kernel":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}"#;
    let file = [&(claim.len() as u64).to_le_bytes()[..], claim].concat();
    let (result, _, peak) = measured(|| safetensors::from_bytes(&mut cell, &file));
    assert!(result.is_err());
    assert!(peak < SMALL, "{peak} bytes");
}
