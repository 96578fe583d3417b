//! Saving and loading by parameter name: bit-exact round trips, and the errors of files that are not ours.

use crate::common::{Check, Rng, each_cell, rng};
use ndarray::{ArrayViewD, ArrayViewMutD};
use rnn_cell::train::{Adam, Sgd};
use rnn_cell::weights::safetensors;
use rnn_cell::{BasicRnn, Bidirectional, Error, Float, Gru, Lstm, MultiRnnCell, Parameters, ParametersMut, RnnCell};
use std::path::PathBuf;

/// Several cells under prefixes, as wrappers make them.
struct Named<E: Float>(Vec<(&'static str, Box<dyn ParametersMut<E>>)>);

impl<E: Float> Parameters<E> for Named<E> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        for (prefix, cell) in &self.0 {
            cell.visit_parameters(&mut |name, array| visit(&format!("{prefix}{name}"), array));
        }
    }
}

impl<E: Float> ParametersMut<E> for Named<E> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        for (prefix, cell) in &mut self.0 {
            cell.visit_parameters_mut(&mut |name, array| visit(&format!("{prefix}{name}"), array));
        }
    }
}

/// The bits of all numbers.
pub fn bits<E: Float>(parameters: &impl Parameters<E>) -> Vec<u64> {
    let mut bits = Vec::new();
    parameters.visit_parameters(&mut |_, array| {
        let any = |number: &E| {
            let number: &dyn std::any::Any = number;
            number
                .downcast_ref::<f32>()
                .map_or_else(|| number.downcast_ref::<f64>().unwrap().to_bits(), |number| u64::from(number.to_bits()))
        };
        bits.extend(array.iter().map(any));
    });
    bits
}

/// Saves and loads weights with these odd numbers among them.
struct RoundTrip<'a, E>(&'a [E]);

impl<E: Float> Check<E> for RoundTrip<'_, E> {
    fn check<C>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C)
    where
        C: RnnCell<Elem = E> + ParametersMut<E>,
    {
        let [mut saved, mut loaded, mut from_file] = [1, 2, 3].map(|seed| make(3, 5, &mut rng(seed)));
        let odd = self.0;
        saved.visit_parameters_mut(&mut |_, mut array| array.iter_mut().zip(odd).for_each(|(to, from)| *to = *from));
        let expected = bits(&saved);
        assert_ne!(bits(&loaded), expected, "{name}");
        let bytes = safetensors::to_bytes(&saved).unwrap();
        safetensors::from_bytes(&mut loaded, &bytes).unwrap();
        assert_eq!(bits(&loaded), expected, "{name}");

        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("round_trip_{}", size_of::<E>()));
        safetensors::save(&saved, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}");
        safetensors::load(&mut from_file, &path).unwrap();
        assert_eq!(bits(&from_file), expected, "{name}");
    }
}

#[test]
fn the_round_trip_keeps_every_bit_of_every_cell() {
    // The last one is a signalling NaN with a payload.
    each_cell(&mut RoundTrip(&[-0.0, f32::INFINITY, f32::MIN_POSITIVE / 8.0, f32::from_bits(0xffa1_2345)]));
    each_cell(&mut RoundTrip(&[
        -0.0,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE / 8.0,
        f64::from_bits(0xfff4_5678_9abc_def0),
    ]));
}

#[test]
fn a_loaded_cell_computes_what_the_saved_one_does() {
    let saved = Lstm::<f32>::new(3, 4, &mut rng(1));
    let mut loaded = Lstm::<f32>::new(3, 4, &mut rng(2));
    safetensors::from_bytes(&mut loaded, &safetensors::to_bytes(&saved).unwrap()).unwrap();
    let x = ndarray::Array3::from_shape_fn((2, 5, 3), |(b, t, i)| (b + 2 * t + 3 * i) as f32 * 0.1);
    let run = |cell| rnn_cell::dynamic_rnn(cell, &x, None, None).unwrap().0;
    assert_eq!(run(&saved), run(&loaded));
}

#[test]
fn stacks_and_pairs_are_saved_by_prefixed_names() {
    let stack =
        |seed| MultiRnnCell::new([3, 4].map(|input| Gru::<f32>::new(input, 4, &mut rng(seed))).to_vec()).unwrap();
    let saved = Bidirectional { fw: stack(1), bw: stack(2).into_cells() };
    let bytes = safetensors::to_bytes(&saved).unwrap();
    let names: Vec<String> = safetensors::read_tensors::<f32>(&bytes).unwrap().names().map(String::from).collect();
    assert_eq!(names.len(), 16);
    assert!(names.contains(&"bw/cell_1/candidate/kernel".to_string()), "{names:?}");
    assert!(names.contains(&"fw/cell_0/gates/bias".to_string()), "{names:?}");
    let mut loaded = Bidirectional { fw: stack(3), bw: stack(4).into_cells() };
    safetensors::from_bytes(&mut loaded, &bytes).unwrap();
    assert_eq!(bits(&loaded), bits(&saved));
}

#[test]
fn optimizers_are_saved_with_all_they_remember() {
    fn check<O: ParametersMut<f64> + Clone>(new: &O) -> Vec<u8> {
        let mut saved = new.clone();
        let mut next = 0.0;
        saved.visit_parameters_mut(&mut |_, mut array| {
            array.map_inplace(|number| {
                next += 1.0;
                *number = next;
            });
        });
        let bytes = safetensors::to_bytes(&saved).unwrap();
        let mut loaded = new.clone();
        assert_ne!(bits(&loaded), bits(&saved));
        safetensors::from_bytes(&mut loaded, &bytes).unwrap();
        assert_eq!(bits(&loaded), bits(&saved));
        bytes
    }
    let gru = |seed| Gru::<f64>::new(3, 4, &mut rng(seed));
    let model = Bidirectional { fw: gru(1), bw: gru(2) };
    let shape =
        |bytes: &[u8], name: &str| safetensors::read_tensors::<f64>(bytes).unwrap().shape(name).unwrap().to_vec();
    let adam = check(&Adam::builder().build(&model).unwrap());
    assert_eq!(shape(&adam, "step"), [0; 0]);
    assert_eq!(shape(&adam, "v/bw/gates/kernel"), [7, 8]);
    let sgd = check(&Sgd::builder(0.1).momentum(0.9).build(&model).unwrap());
    assert_eq!(shape(&sgd, "momentum/fw/candidate/bias"), [4]);
}

/// A file of tensors: name, dtype, shape, bytes.
pub fn file(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut header = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        header.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#));
        data.extend(*bytes);
    }
    with_header(&format!("{{{}}}", header.join(",")), &data)
}

pub fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A cell of one input and one unit: `kernel` (2, 1) and `bias` (1).
pub fn small<E: Float>() -> BasicRnn<E> {
    BasicRnn::new(1, 1, &mut rng(1))
}

/// The error of loading `bytes`, which must leave the cell as it was.
pub fn refused(bytes: &[u8]) -> Error {
    let mut cell = small::<f32>();
    let before = bits(&cell);
    let error = safetensors::from_bytes(&mut cell, bytes).unwrap_err();
    assert_eq!(bits(&cell), before, "{error}");
    error
}

#[test]
fn narrower_types_are_widened() {
    // 1.5, -2 and 0.25 in each type.
    let f16 = [0x00, 0x3e, 0x00, 0xc0, 0x00, 0x34];
    let bf16 = [0xc0, 0x3f, 0x00, 0xc0, 0x80, 0x3e];
    let f32: Vec<u8> = [1.5_f32, -2.0, 0.25].iter().flat_map(|number| number.to_le_bytes()).collect();
    for (dtype, numbers) in [("F16", &f16[..]), ("BF16", &bf16), ("F32", &f32)] {
        let (kernel, bias) = numbers.split_at(numbers.len() / 3 * 2);
        let bytes = file(&[("kernel", dtype, &[2, 1], kernel), ("bias", dtype, &[1], bias)]);
        let mut single = small::<f32>();
        safetensors::from_bytes(&mut single, &bytes).unwrap();
        assert_eq!(single.weights().kernel, ndarray::array![[1.5], [-2.0]], "{dtype}");
        assert_eq!(single.weights().bias, Some(ndarray::array![0.25]), "{dtype}");
        let mut double = small::<f64>();
        safetensors::from_bytes(&mut double, &bytes).unwrap();
        assert_eq!(double.weights().kernel, ndarray::array![[1.5], [-2.0]], "{dtype}");
    }
}

#[test]
fn other_types_are_refused() {
    for (dtype, width) in [("F64", 8), ("I64", 8), ("I32", 4), ("U16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1)] {
        let kernel = vec![0; 2 * width];
        let error = refused(&file(&[("kernel", dtype, &[2, 1], &kernel), ("bias", "F32", &[1], &[0; 4])]));
        let expected = "F32, F16 or BF16";
        assert_eq!(error, Error::TensorDtype { name: "kernel".into(), expected, found: dtype.into() });
    }
    // The second tensor is wrong: nothing of the first may have been written.
    let error = refused(&file(&[("kernel", "F32", &[2, 1], &[1; 8]), ("bias", "I32", &[1], &[0; 4])]));
    assert_eq!(error.to_string(), "tensor \"bias\" is I32, but must be F32, F16 or BF16");
    let mut double = small::<f64>();
    let bytes = file(&[("kernel", "F64", &[2, 1], &[0; 16]), ("bias", "F64", &[1], &[0; 8])]);
    safetensors::from_bytes(&mut double, &bytes).unwrap();
    assert_eq!(double.weights().kernel, ndarray::array![[0.0], [0.0]]);
}

#[test]
fn shapes_and_names_must_be_exactly_ours() {
    let kernel: (&str, &str, &[usize], &[u8]) = ("kernel", "F32", &[2, 1], &[1; 8]);
    let bias: (&str, &str, &[usize], &[u8]) = ("bias", "F32", &[1], &[1; 4]);
    let error = refused(&file(&[kernel, ("bias", "F32", &[2], &[1; 8])]));
    assert_eq!(error.to_string(), "tensor \"bias\" has shape [2], but must have [1]");
    // The same numbers in another shape: no reshaping.
    let error = refused(&file(&[("kernel", "F32", &[1, 2], &[1; 8]), bias]));
    assert_eq!(error.to_string(), "tensor \"kernel\" has shape [1, 2], but must have [2, 1]");
    let error = refused(&file(&[kernel]));
    assert_eq!(error.to_string(), "weight \"bias\" is missing: the tensors left are \"kernel\"");
    let error = refused(&file(&[kernel, bias, ("gates/kernel", "F32", &[1], &[1; 4])]));
    let message = "weight \"gates/kernel\" is unexpected: the parameters are \"bias\", \"kernel\" (`Tensors::load` loads a \
                   part of a file)";
    assert_eq!(error.to_string(), message);
    let mut cell = small::<f32>();
    safetensors::from_bytes(&mut cell, &file(&[bias, kernel])).unwrap();
}

#[test]
fn parameters_of_one_name_are_refused() {
    let twice = || Named::<f32>(vec![("", Box::new(small::<f32>())), ("", Box::new(small::<f32>()))]);
    let repeated = Error::RepeatedParameter { name: "kernel".into() };
    assert_eq!(safetensors::to_bytes(&twice()).unwrap_err(), repeated);
    assert_eq!(repeated.to_string(), "two parameters are named \"kernel\", but names must differ");
    let bytes = safetensors::to_bytes(&small::<f32>()).unwrap();
    assert_eq!(safetensors::from_bytes(&mut twice(), &bytes).unwrap_err(), repeated);
}

#[test]
fn metadata_is_read() {
    let bytes = with_header(r#"{"__metadata__":{"cell":"Lstm"}}"#, &[]);
    assert_eq!(safetensors::read_metadata(&bytes).unwrap()["cell"], "Lstm");
    assert!(safetensors::read_metadata(&with_header("{}", &[])).unwrap().is_empty());
    assert!(matches!(safetensors::read_metadata(b"{}"), Err(Error::InvalidFile { .. })));
}

/// Four times the layers must not take sixteen times as long. (A second of slack for the machine: scanning all names
/// for each layer took ten.)
#[test]
fn time_is_in_proportion_to_the_layers() {
    use ndarray::ArrayD;
    use rnn_cell::weights::{Tensors, flax, keras, onnx, pytorch, tensorflow};
    use std::time::{Duration, Instant};

    type Import = fn(&mut Tensors<'_, f32>, usize) -> Result<(), Error>;
    type Layer = fn(usize) -> Vec<(String, Vec<usize>)>;
    fn prefixed(prefix: &str, names: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
        names.iter().map(|(name, shape)| (format!("{prefix}{name}"), shape.to_vec())).collect()
    }
    /// For a name that differs only at its end.
    fn long(k: usize) -> String {
        format!("{}{k}/", "scope/".repeat(40))
    }
    const UNIT: &[usize] = &[1, 1];
    let cases: [(&str, Layer, Import); 7] = [
        (
            "tensorflow",
            |k| prefixed(&format!("cell_{k}/"), &[("kernel", &[2, 1]), ("bias", &[1])]),
            |tensors, n| {
                let cells =
                    tensorflow::multi(tensors, "", |t, prefix| tensorflow::basic_rnn(t, prefix, &Default::default()))?;
                assert_eq!(cells.len(), n);
                Ok(())
            },
        ),
        (
            "pytorch, layers",
            |k| {
                let names = ["weight_ih_l", "weight_hh_l"].map(|name| (format!("{name}{k}"), UNIT.to_vec()));
                names.into()
            },
            |tensors, n| {
                assert_eq!(pytorch::rnn(tensors, "", &Default::default())?.cells().len(), n);
                Ok(())
            },
        ),
        (
            "pytorch, modules",
            |k| prefixed(&long(k), &[("weight_ih_l0", UNIT), ("weight_hh_l0", UNIT)]),
            |tensors, n| (0..n).try_for_each(|k| pytorch::rnn(tensors, &long(k), &Default::default()).map(|_| ())),
        ),
        (
            "keras",
            |k| prefixed(&long(k), &[("kernel", UNIT), ("recurrent_kernel", UNIT)]),
            |tensors, n| (0..n).try_for_each(|k| keras::simple_rnn(tensors, &long(k), &Default::default()).map(|_| ())),
        ),
        (
            "flax",
            |k| prefixed(&long(k), &[("i/kernel", UNIT), ("h/kernel", UNIT), ("i/bias", &[1])]),
            |tensors, n| (0..n).try_for_each(|k| flax::simple(tensors, &long(k)).map(|_| ())),
        ),
        (
            "onnx",
            |k| prefixed(&long(k), &[("W", &[1, 1, 1]), ("R", &[1, 1, 1])]),
            |tensors, n| (0..n).try_for_each(|k| onnx::rnn(tensors, &long(k), &Default::default()).map(|_| ())),
        ),
        (
            "by name",
            |k| prefixed(&format!("cell_{k}/"), &[("kernel", &[2, 1]), ("bias", &[1])]),
            |tensors, n| {
                let mut cells = vec![small::<f32>(); n];
                let bytes = safetensors::to_bytes(&cells)?;
                tensors.retain(|_| false);
                safetensors::from_bytes(&mut cells, &bytes)
            },
        ),
    ];
    for (name, layer, import) in cases {
        let seconds = |n: usize| {
            let run = || {
                let mut tensors = Tensors::new();
                for (name, shape) in (0..n).flat_map(layer) {
                    tensors.insert(name, ArrayD::zeros(shape));
                }
                let start = Instant::now();
                import(&mut tensors, n).unwrap();
                let time = start.elapsed();
                tensors.finish().unwrap();
                time
            };
            (0..2).map(|_| run()).min().unwrap_or(Duration::ZERO)
        };
        let (few, many) = (seconds(10_000), seconds(40_000));
        println!("{name}: {few:?}, {many:?}");
        assert!(many < 8 * few + Duration::from_secs(1), "{name}: {few:?} for 10,000 layers, {many:?} for 40,000");
    }
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let error = safetensors::load(&mut small::<f32>(), "no/such/file.safetensors").unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path == "no/such/file.safetensors"), "{error}");
    let error = safetensors::save(&small::<f32>(), "no/such/folder/file.safetensors").unwrap_err();
    assert!(error.to_string().starts_with("file \"no/such/folder/file.safetensors\": "), "{error}");
}
