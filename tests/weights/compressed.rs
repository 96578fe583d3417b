//! Files of compressed cells, and weights that others quantized.

use crate::common::{self, FORMATS, array, each_boxed_cell, rng};
use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype, SafeTensors, serialize};
use ndarray::{Array1, Array2, Array3, ArrayD, s};
use rand::RngExt;
use rnn_cell::fused::{Forward, FusedCell, Linear, Stage, Stages, Vector};
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::weights::{Tensors, onnx, safetensors};
use rnn_cell::{Compressed, Compression, Error, Lstm, Parameters, RnnCell, WeightFormat, dynamic_rnn};
use std::collections::BTreeMap;

/// What a file must take beside its numbers: names, shapes and offsets.
const HEADER: usize = 2048;

#[test]
fn every_bit_comes_back() {
    each_boxed_cell::<f32>(&mut |name, make| {
        for format in FORMATS {
            let compressed = |seed| -> Compressed<BoxedTrainableCell<f32>> {
                Compressed::new(make(19, 21, &mut rng(seed)), format).unwrap()
            };
            let (saved, mut cell) = (compressed(1), compressed(2));
            let Ok(bytes) = safetensors::compressed_to_bytes(&saved) else {
                panic!("{name}: every parameter has a name of its own");
            };
            safetensors::compressed_from_bytes(&mut cell, &bytes).unwrap();
            assert_eq!(safetensors::compressed_to_bytes(&cell).unwrap(), bytes, "{name}, {format:?}");
            let x: Array3<f32> = array((4, 5, saved.input_size()), &mut rng(3));
            let (expected, _) = dynamic_rnn(&saved, &x, None, None).unwrap();
            let (found, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
            assert_eq!(expected, found, "{name}, {format:?}");
        }
    });
}

#[test]
fn a_file_is_half_or_a_quarter_as_large() {
    let cell = Lstm::<f32>::new(512, 512, &mut rng(1));
    let full = safetensors::to_bytes(&cell).unwrap().len();
    let weights = 1024 * 2048;
    let sizes = FORMATS.map(|format| {
        let small = Compressed::new(cell.clone(), format).unwrap();
        safetensors::compressed_to_bytes(&small).unwrap().len()
    });
    println!("Lstm (512, 512): f32 {full}, bf16 {}, int8 {} bytes", sizes[0], sizes[1]);
    assert!(sizes[0] < 2 * weights + 4 * 2048 + HEADER);
    assert!(sizes[1] < weights + 3 * 4 * 2048 + HEADER);
}

#[test]
fn a_file_in_16_bits_is_one_for_the_f32_cell() {
    let mut cell = Lstm::<f32>::builder(3, 5).num_proj(2).use_peepholes(true).build(&mut rng(1)).unwrap();
    let small = Compressed::new(cell.clone(), WeightFormat::Bf16).unwrap();
    safetensors::from_bytes(&mut cell, &safetensors::compressed_to_bytes(&small).unwrap()).unwrap();
    let x: Array3<f32> = array((2, 6, 3), &mut rng(2));
    let (expected, _) = dynamic_rnn(&small, &x, None, None).unwrap();
    assert_eq!(expected, dynamic_rnn(&cell, &x, None, None).unwrap().0);
}

#[test]
fn save_and_load() {
    let folder = std::env::temp_dir().join(format!("rnn-cell-compressed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("lstm.safetensors");
    let new = |seed| Compressed::new(Lstm::<f32>::new(2, 3, &mut rng(seed)), WeightFormat::Int8).unwrap();
    let (saved, mut cell) = (new(1), new(2));
    safetensors::save_compressed(&saved, &path).unwrap();
    safetensors::load_compressed(&mut cell, &path).unwrap();
    let bytes = safetensors::compressed_to_bytes(&saved).unwrap();
    assert_eq!(safetensors::compressed_to_bytes(&cell).unwrap(), bytes);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    std::fs::remove_dir_all(folder).unwrap();
    assert!(matches!(safetensors::load_compressed(&mut cell, &path), Err(Error::Io { .. })));
}

/// The tensors of a file, to be changed and written again.
struct File(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl File {
    fn of(bytes: &[u8]) -> Self {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let tensors = file.tensors().into_iter();
        Self(tensors.map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect())
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self
            .0
            .iter()
            .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        serialize(views, None).unwrap()
    }
}

#[test]
fn hostile_files_are_refused_and_change_nothing() {
    let new = |seed, format| Compressed::new(Lstm::<f32>::new(2, 3, &mut rng(seed)), format).unwrap();
    let before = new(2, WeightFormat::Int8);
    let good = safetensors::compressed_to_bytes(&new(1, WeightFormat::Int8)).unwrap();
    let refused = |bytes: &[u8], message: &str| {
        let mut cell = before.clone();
        let error = safetensors::compressed_from_bytes(&mut cell, bytes).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
        let unchanged = safetensors::compressed_to_bytes(&before).unwrap();
        assert_eq!(safetensors::compressed_to_bytes(&cell).unwrap(), unchanged);
    };
    let changed = |message: &str, change: &dyn Fn(&mut File)| {
        let mut file = File::of(&good);
        change(&mut file);
        refused(&file.bytes(), message);
    };
    let scale = |number: f32| {
        move |file: &mut File| file.0.get_mut("kernel/scales").unwrap().2[..4].copy_from_slice(&number.to_le_bytes())
    };
    changed("weight \"kernel\" is missing: the tensors left are \"bias\", \"kernel/scales\"", &|file| {
        file.0.remove("kernel");
    });
    changed("weight \"kernel/scales\" is missing", &|file| {
        file.0.remove("kernel/scales");
    });
    changed("weight \"bias\" is missing", &|file| {
        file.0.remove("bias");
    });
    changed("weight \"more\" is unexpected: besides compressed ones, the parameters are \"bias\"", &|file| {
        file.0.insert("more".into(), (Dtype::F32, vec![1], vec![0; 4]));
    });
    changed("tensor \"kernel\": its codes must be from -127 to 127", &|file| {
        file.0.get_mut("kernel").unwrap().2[7] = 0x80;
    });
    for number in [f32::NAN, f32::INFINITY, -1.0, -0.0] {
        changed("tensor \"kernel/scales\": its scales must be finite and not below 0", &scale(number));
    }
    changed("tensor \"kernel\" has shape [12, 5], but must have [5, 12]", &|file| {
        file.0.get_mut("kernel").unwrap().1 = vec![12, 5];
    });
    changed("tensor \"kernel/scales\" has shape [24], but must have [2, 12]", &|file| {
        file.0.get_mut("kernel/scales").unwrap().1 = vec![24];
    });
    changed("tensor \"kernel\" is U8, but must be I8", &|file| {
        file.0.get_mut("kernel").unwrap().0 = Dtype::U8;
    });
    changed("tensor \"bias\" is I32", &|file| {
        file.0.get_mut("bias").unwrap().0 = Dtype::I32;
    });
    for end in [0, 7, 8, 50, good.len() - 1] {
        refused(&good[..end], "invalid safetensors file");
    }
    // Another format, either way, and the file of the f32 cell.
    let bf16 = safetensors::compressed_to_bytes(&new(1, WeightFormat::Bf16)).unwrap();
    refused(&bf16, "tensor \"kernel\" is BF16, but must be I8");
    refused(&safetensors::to_bytes(&Lstm::<f32>::new(2, 3, &mut rng(1))).unwrap(), "is F32, but must be I8");
    let error = safetensors::compressed_from_bytes(&mut new(1, WeightFormat::Bf16), &good).unwrap_err();
    assert!(error.to_string().contains("tensor \"kernel\" is I8, but must be BF16"), "{error}");
    let mut file = File::of(&bf16);
    file.0.get_mut("kernel").unwrap().2[..2].copy_from_slice(&[0x80, 0x7f]);
    let error = safetensors::compressed_from_bytes(&mut new(1, WeightFormat::Bf16), &file.bytes()).unwrap_err();
    assert!(error.to_string().contains("tensor \"kernel\": its numbers must be finite"), "{error}");
}

/// Random changes: either all of a file is read and comes back, or nothing.
#[test]
fn files_with_random_changes_are_read_whole_or_not_at_all() {
    let rng = &mut rng(9);
    for format in FORMATS {
        let new = |seed| Compressed::new(Lstm::<f32>::new(1, 2, &mut common::rng(seed)), format).unwrap();
        let written = |cell: &Compressed<Lstm<f32>>| safetensors::compressed_to_bytes(cell).unwrap();
        let (good, before) = (written(&new(1)), new(2));
        let (mut read, unchanged) = (0, written(&before));
        for _ in 0..3000 {
            let mut bytes = good.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..4) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes.insert(at, rng.random()),
                    _ => bytes[at] = rng.random(),
                }
            }
            let mut cell = before.clone();
            if safetensors::compressed_from_bytes(&mut cell, &bytes).is_err() {
                assert_eq!(written(&cell), unchanged);
                continue;
            }
            read += 1;
            let mut again = before.clone();
            safetensors::compressed_from_bytes(&mut again, &written(&cell)).unwrap();
            assert_eq!(written(&again), written(&cell));
            dynamic_rnn(&cell, &Array3::ones((2, 3, 1)), None, None).unwrap();
        }
        assert!(read > 100, "{read}");
    }
}

/// A file's `DynamicQuantizeLSTM` and the matrices (directions, depth, 4 · hidden) that it stands for.
fn quantized(directions: usize, per_unit: bool, signed: bool) -> (Vec<u8>, [Array3<f32>; 2], Array2<f32>) {
    let (rng, input, hidden) = (&mut rng(5), 3, 2);
    let mut file = File(BTreeMap::new());
    let floats = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let integer = if signed { Dtype::I8 } else { Dtype::U8 };
    let value = |byte: u8| if signed { f32::from(byte as i8) } else { f32::from(byte) };
    let matrices = [("W", input), ("R", hidden)].map(|(name, depth)| {
        let columns = 4 * hidden;
        let shape = if per_unit { vec![directions, columns] } else { vec![directions] };
        let count: usize = shape.iter().product();
        let codes: Vec<u8> = (0..directions * depth * columns).map(|_| rng.random()).collect();
        let scales: Vec<f32> = (0..count).map(|_| rng.random_range(0.001..0.01)).collect();
        let zeros: Vec<u8> = (0..count).map(|_| rng.random()).collect();
        let at = |direction: usize, column: usize| if per_unit { direction * columns + column } else { direction };
        let matrix = Array3::from_shape_fn((directions, depth, columns), |(direction, row, column)| {
            let code = codes[(direction * depth + row) * columns + column];
            (value(code) - value(zeros[at(direction, column)])) * scales[at(direction, column)]
        });
        file.0.insert(format!("n/{name}"), (integer, vec![directions, depth, columns], codes));
        file.0.insert(format!("n/{name}_scale"), (Dtype::F32, shape.clone(), floats(&scales)));
        file.0.insert(format!("n/{name}_zero_point"), (integer, shape, zeros));
        matrix
    });
    let bias = Array2::from_shape_simple_fn((directions, 8 * hidden), || rng.random_range(-1.0_f32..1.0));
    file.0.insert("n/B".into(), (Dtype::F32, vec![directions, 8 * hidden], floats(bias.as_slice().unwrap())));
    (file.bytes(), matrices, bias)
}

#[test]
fn a_dynamic_quantize_lstm_is_the_lstm_of_its_weights() {
    for (per_unit, signed) in [(false, false), (false, true), (true, false), (true, true)] {
        let (bytes, [w, r], bias) = quantized(2, per_unit, signed);
        let mut plain = Tensors::<f32>::new();
        plain.insert("n/W", w.permuted_axes([0, 2, 1]));
        plain.insert("n/R", r.permuted_axes([0, 2, 1]));
        plain.insert("n/B", bias);
        let expected = onnx::bidirectional_lstm(&mut plain, "n/", &onnx::Options::default()).unwrap();
        let mut tensors = safetensors::read_tensors::<f32>(&bytes).unwrap();
        let found = onnx::bidirectional_dynamic_quantize_lstm(&mut tensors, "n/", &onnx::Options::default()).unwrap();
        tensors.finish().unwrap();
        assert_eq!(found.fw.weights(), expected.fw.weights());
        assert_eq!(found.bw.weights(), expected.bw.weights());
        assert!(Compressed::new(found.fw, WeightFormat::Int8).is_ok());
    }
}

/// ONNX Runtime's numbers: its `LSTM` with the dequantized weights, and its quantized operator.
#[test]
fn a_dynamic_quantize_lstm_gives_onnx_runtimes_numbers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/onnx_int8.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let mut tensors = safetensors::read_tensors::<f32>(&bytes).unwrap();
    for case in ["lstm", "lstm_both"] {
        let mut take = |what: &str| -> Array3<f32> {
            tensors.take(&format!("{case}/{what}")).unwrap().into_dimensionality().unwrap()
        };
        let [x, outputs, int8_outputs] = ["x", "outputs", "int8_outputs"].map(&mut take);
        let (prefix, options) = (format!("{case}/"), onnx::Options::default());
        let cells = if case == "lstm" {
            vec![onnx::dynamic_quantize_lstm(&mut tensors, &prefix, &options).unwrap()]
        } else {
            let pair = onnx::bidirectional_dynamic_quantize_lstm(&mut tensors, &prefix, &options).unwrap();
            vec![pair.fw, pair.bw]
        };
        for (direction, cell) in cells.into_iter().enumerate() {
            let columns = direction * 8..(direction + 1) * 8;
            let run = |cell: &dyn Fn(&Array3<f32>) -> Array3<f32>| match direction {
                0 => cell(&x),
                _ => cell(&x.slice(s![.., ..;-1, ..]).to_owned()).slice(s![.., ..;-1, ..]).to_owned(),
            };
            let distance = |found: &Array3<f32>, all: &Array3<f32>| {
                let expected = all.slice(s![.., .., columns.clone()]);
                found.iter().zip(&expected).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()))
            };
            let small = Compressed::new(cell.clone(), WeightFormat::Int8).unwrap();
            let found = run(&|x| dynamic_rnn(&cell, x, None, None).unwrap().0);
            assert!(distance(&found, &outputs) <= 2e-6, "{case}: {}", distance(&found, &outputs));
            let theirs = distance(&found, &int8_outputs);
            let ours = distance(&run(&|x| dynamic_rnn(&small, x, None, None).unwrap().0), &outputs);
            assert!(ours <= 2.0 * theirs, "{case}: {ours} from f32, theirs {theirs}");
        }
    }
    tensors.finish().unwrap();
}

#[test]
fn a_dynamic_quantize_lstm_needs_its_scales() {
    let (bytes, ..) = quantized(1, true, true);
    let import = |change: &dyn Fn(&mut Tensors<'_, f64>)| {
        let mut tensors = safetensors::read_tensors::<f64>(&bytes).unwrap();
        change(&mut tensors);
        onnx::dynamic_quantize_lstm(&mut tensors, "n/", &onnx::Options::default()).map(drop)
    };
    import(&|_| ()).unwrap();
    for name in ["n/W", "n/R", "n/W_scale", "n/R_scale", "n/W_zero_point", "n/R_zero_point"] {
        let error = import(&|tensors| tensors.retain(|own| own != name)).unwrap_err();
        assert!(matches!(&error, Error::MissingWeight { name: missing, .. } if missing == name), "{error}");
    }
    let error = import(&|tensors| tensors.insert("n/W_scale", Array1::zeros(2))).unwrap_err();
    assert!(error.to_string().contains("\"n/W_scale\" has shape [2], but must have [1] or [1, 8]"), "{error}");
    let error = import(&|tensors| tensors.insert("n/R", Array2::zeros((3, 3)))).unwrap_err();
    assert!(matches!(error, Error::TensorShape { .. }), "{error}");
    // Numbers where codes must be, and codes where numbers must be.
    let swapped = |from: &'static str, to: &'static str| import(&move |tensors| tensors.rename(from, to).unwrap());
    let error = swapped("n/R_scale", "n/R_zero_point").unwrap_err();
    assert!(matches!(error, Error::MissingWeight { .. }), "{error}");
    let (bytes, ..) = quantized(2, true, true);
    let mut tensors = safetensors::read_tensors::<f32>(&bytes).unwrap();
    let error = onnx::dynamic_quantize_lstm(&mut tensors, "n/", &onnx::Options::default()).unwrap_err();
    assert!(error.to_string().contains("(1, input or hidden, 4 · hidden)"), "{error}");
    let mut tensors = safetensors::read_tensors::<f32>(&bytes).unwrap();
    let zeros: ArrayD<f32> = tensors.take("n/W_scale").unwrap();
    assert_eq!(zeros.slice(s![.., ..]).dim(), (2, 8));
    assert!(matches!(tensors.take("n/W_zero_point"), Err(Error::TensorDtype { .. })));
}

/// Their names and types in a file.
#[test]
fn parameters_of_a_compressed_cell_are_what_is_not_compressed() {
    let cell = Lstm::<f32>::builder(2, 3).use_peepholes(true).build(&mut rng(1)).unwrap();
    let mut names = Vec::new();
    cell.visit_parameters(&mut |name, _| names.push(name.to_owned()));
    let small = Compressed::new(cell, WeightFormat::Int8).unwrap();
    let bytes = safetensors::compressed_to_bytes(&small).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for name in names {
        let dtype = if name == "kernel" { Dtype::I8 } else { Dtype::F32 };
        assert_eq!(file.tensor(&name).unwrap().dtype(), dtype, "{name}");
    }
    assert_eq!(file.tensor("kernel/scales").unwrap().shape(), [2, 12]);
}

rnn_cell::parameters! {
    /// Calls its product by another name when it is compressed.
    cell pub struct Misnamed {
        "gates" gates: Linear<E>,
    }
}

impl FusedCell for Misnamed<f32> {
    type Elem = f32;
    type State = Array2<f32>;

    fn input_size(&self) -> usize {
        self.gates.input_size()
    }
    fn output_size(&self) -> usize {
        self.gates.units()
    }
    fn zero_state(&self, batch: usize) -> Array2<f32> {
        Array2::zeros((batch, self.gates.units()))
    }
    fn stages(&self) -> Stages<'_, f32> {
        Stages::new([Stage::new(&self.gates)])
    }
    fn compress(&mut self, compression: &mut Compression<'_, f32>) -> Result<(), Error> {
        self.gates.compress("gate", compression)
    }
    fn forward<V: Vector<f32>>(&self, _: usize, row: &mut Forward<'_, f32>) {
        let [sum] = row.sums(0);
        row.new_state(0).copy_from_slice(sum);
        row.output().copy_from_slice(sum);
    }
}

rnn_cell::fused_cell!(Misnamed<f32>);

#[test]
fn a_product_of_another_name_is_not_saved() {
    for format in FORMATS {
        let gates = Linear::<f32>::builder(3).input_size(2).build(&mut rng(1)).unwrap();
        let refused =
            safetensors::compressed_to_bytes(&Compressed::new(Misnamed { gates }, format).unwrap()).unwrap_err();
        assert!(matches!(&refused, Error::MissingWeight { name, .. } if name == "gate/kernel"), "{refused}");
    }
}
