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
fn bits<E: Float>(parameters: &impl Parameters<E>) -> Vec<u64> {
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
fn file(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut header = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        header.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#));
        data.extend(*bytes);
    }
    with_header(&format!("{{{}}}", header.join(",")), &data)
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A cell of one input and one unit: `kernel` (2, 1) and `bias` (1).
fn small<E: Float>() -> BasicRnn<E> {
    BasicRnn::new(1, 1, &mut rng(1))
}

/// The error of loading `bytes`, which must leave the cell as it was.
fn refused(bytes: &[u8]) -> Error {
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

/// The reason why the bytes are not a file.
fn reason(bytes: &[u8]) -> String {
    let error = refused(bytes);
    let Error::InvalidFile { reason, .. } = &error else { panic!("{error}") };
    assert_eq!(error.to_string(), format!("invalid safetensors file: {reason}"));
    reason.clone()
}

#[test]
fn truncated_files_are_refused_wherever_they_end() {
    let bytes = file(&[("kernel", "F32", &[2, 1], &[0; 8]), ("bias", "F32", &[1], &[0; 4])]);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for len in 0..bytes.len() {
        let expected = match len.checked_sub(8 + header) {
            Some(data) => format!("tensor \"bias\": data_offsets must lie in {data} bytes of data, but are [8, 12]"),
            None if len < 8 => format!("it must have at least 8 bytes, but has {len}"),
            None => format!("its header must have {header} bytes, but has {}", len - 8),
        };
        assert_eq!(reason(&bytes[..len]), expected);
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(reason(&longer), "its tensors end at byte 12 of the data, which has 13 bytes");
}

#[test]
fn a_file_with_any_byte_changed_is_refused_or_read() {
    let bytes = safetensors::to_bytes(&small::<f32>()).unwrap();
    for at in 0..bytes.len() {
        for value in [0, 1, b'"', b'0', b'9', b'-', b'[', b'}', 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let mut cell = small::<f32>();
            let before = bits(&cell);
            if safetensors::from_bytes(&mut cell, &bytes).is_err() {
                assert_eq!(bits(&cell), before);
            } else {
                // The library can read whatever is read here.
                assert!(::safetensors::SafeTensors::deserialize(&bytes).is_ok());
            }
        }
    }
}

#[test]
fn tensors_that_do_not_lie_as_they_say_are_named() {
    let max = usize::MAX;
    let kernel = |dtype: &str, shape: &str, offsets: &str| {
        reason(&with_header(
            &format!(r#"{{"kernel":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#),
            &[0; 8],
        ))
    };
    for (reason, expected) in [
        (kernel("F32", "[2,1]", "[0,16]"), "data_offsets must lie in 8 bytes of data, but are [0, 16]"),
        (kernel("F32", "[2,1]", "[8,0]"), "data_offsets must lie in 8 bytes of data, but are [8, 0]"),
        (kernel("I32", "[2,1]", "[0,9]"), "data_offsets must lie in 8 bytes of data, but are [0, 9]"),
        (kernel("F32", "[2,1]", "[0,4]"), "[2, 1] of F32 takes 8 bytes, but data_offsets are [0, 4]"),
        (kernel("F16", "[2,1]", "[0,8]"), "[2, 1] of F16 takes 4 bytes, but data_offsets are [0, 8]"),
        (kernel("BF16", "[2,1]", "[0,8]"), "[2, 1] of BF16 takes 4 bytes, but data_offsets are [0, 8]"),
        (kernel("F64", "[2,1]", "[0,8]"), "[2, 1] of F64 takes 16 bytes, but data_offsets are [0, 8]"),
    ] {
        assert_eq!(reason, format!("tensor \"kernel\": {expected}"));
    }
    let overflow = kernel("F32", &format!("[{max},{max}]"), "[0,8]");
    assert!(overflow.ends_with("] of F32 takes more bytes than memory has addresses for"), "{overflow}");
    let overflow = kernel("F32", &format!("[{max}]"), "[0,8]");
    assert!(overflow.ends_with("] of F32 takes more bytes than memory has addresses for"), "{overflow}");
    let end = kernel("F32", "[2,1]", &format!("[0,{max}]"));
    assert!(end.contains("must lie in 8 bytes of data"), "{end}");
    assert_eq!(kernel("F32", "[1,1]", "[4,8]"), "tensor \"kernel\" must begin at byte 0 of the data, but begins at 4");

    // Tensors that overlap, a hole between them, and no tensor at all.
    let two = |first: &str, second: &str| {
        let info = |offsets: &str| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}"#);
        reason(&with_header(&format!(r#"{{"a":{},"b":{}}}"#, info(first), info(second)), &[0; 12]))
    };
    assert_eq!(two("[0,4]", "[0,4]"), "tensor \"b\" must begin at byte 4 of the data, but begins at 0");
    assert_eq!(two("[0,4]", "[2,6]"), "tensor \"b\" must begin at byte 4 of the data, but begins at 2");
    assert_eq!(two("[8,12]", "[0,4]"), "tensor \"a\" must begin at byte 4 of the data, but begins at 8");
    assert_eq!(two("[4,8]", "[0,4]"), "its tensors end at byte 8 of the data, which has 12 bytes");
    assert_eq!(reason(&with_header("{}", &[0; 8])), "its tensors end at byte 0 of the data, which has 8 bytes");
}

#[test]
fn headers_that_are_no_header_are_refused() {
    let info = r#"{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}"#;
    let tensor = |from: &str, to: &str| {
        assert!(info.contains(from));
        reason(&with_header(&format!(r#"{{"kernel":{}}}"#, info.replacen(from, to, 1)), &[0; 8]))
    };
    for (reason, expected) in [
        (tensor("2,1", "-2,1"), "invalid value: integer `-2`, expected usize at line 1 column 36"),
        (tensor("2,1", "2.5,1"), "invalid type: floating point `2.5`, expected usize at line 1 column 37"),
        (tensor("2,1", "02,1"), "invalid number at line 1 column 36"),
        (tensor("2,1", "2,"), "trailing comma at line 1 column 37"),
        (
            tensor("2,1", "99999999999999999999"),
            "invalid type: floating point `1e+20`, expected usize at line 1 column 54",
        ),
        (tensor("[2,1]", "null"), "invalid type: null, expected at most 64 axes at line 1 column 37"),
        (tensor("[2,1]", &"[".repeat(100_000)), "invalid type: sequence, expected usize at line 1 column 34"),
        (
            tensor("[2,1]", &format!("[{}0]", "0,".repeat(64))),
            "invalid length 65, expected at most 64 axes at line 1 column 164",
        ),
        (tensor("[0,8]", "[0]"), "invalid length 1, expected an array of length 2 at line 1 column 57"),
        (tensor("[0,8]", "[0,8,8]"), "trailing characters at line 1 column 60"),
        (tensor("\"F32\"", "32"), "invalid type: integer `32`, expected a string at line 1 column 21"),
        (tensor("\"F32\",\"shape\"", "\"F32\",\"dtype\""), "duplicate field `dtype` at line 1 column 32"),
        (tensor("\"dtype\":\"F32\",", ""), "missing field `dtype` at line 1 column 46"),
        (tensor("\"shape\":[2,1],", ""), "missing field `shape` at line 1 column 46"),
        (tensor(",\"data_offsets\":[0,8]", ""), "missing field `data_offsets` at line 1 column 39"),
        (
            tensor("dtype", "type"),
            "unknown field `type`, expected one of `dtype`, `shape`, `data_offsets` at line 1 column 17",
        ),
        (tensor("8]}", "8]]"), "expected `,` or `}` at line 1 column 60"),
    ] {
        assert_eq!(reason, format!("its header cannot be read: tensor \"kernel\": {expected}"));
    }

    let text = |header: &str| {
        let reason = reason(&with_header(header, &[0; 8]));
        reason.strip_prefix("its header cannot be read: ").expect("the header is at fault").to_owned()
    };
    assert_eq!(text("[]"), "invalid type: sequence, expected tensors by name at line 1 column 0");
    assert_eq!(text(""), "EOF while parsing a value at line 1 column 0");
    assert_eq!(text("{} {}"), "trailing characters at line 1 column 4");
    assert_eq!(text("\u{0}"), "expected value at line 1 column 1");
    assert_eq!(
        text("{\"kern\nel"),
        "control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0"
    );
    assert_eq!(text("{\"kernel\\"), "EOF while parsing a string at line 1 column 9");
    assert_eq!(text(r#"{"\x":"#), "invalid escape at line 1 column 4");
    assert_eq!(text(&format!(r#"{{"k":{info},"k":{info}}}"#)), "\"k\" appears twice at line 1 column 111");
    assert_eq!(text(r#"{"__metadata__":{},"__metadata__":{}}"#), "\"__metadata__\" appears twice at line 1 column 37");
    assert_eq!(
        text(r#"{"__metadata__":{"a":"1","b":"2","\u0061":"3"}}"#),
        "__metadata__: \"a\" appears twice at line 1 column 46"
    );
    assert_eq!(
        text(r#"{"__metadata__":["a"]}"#),
        "invalid type: sequence, expected strings by name at line 1 column 16"
    );
    assert_eq!(text(r#"{"__metadata__":{"a":1}}"#), "invalid type: integer `1`, expected a string at line 1 column 22");
    // The message does not repeat a name as long as the file.
    let long = text(&format!(r#"{{"{}":0}}"#, "é".repeat(10_000)));
    assert!(long.starts_with(&format!("tensor \"{}\"…: invalid type: integer `0`", "é".repeat(100))), "{long}");

    let bytes = |len: u64, rest: &[u8]| reason(&[&len.to_le_bytes()[..], rest].concat());
    assert_eq!(bytes(u64::MAX, b"{}"), "its header must have 18446744073709551615 bytes, but has 2");
    assert_eq!(bytes(2, &[b'{', 0xff]), "its header cannot be read: key must be a string at line 1 column 2");
}

/// Messages show only a part of any text in a file, and no terminal control characters.
#[test]
fn no_message_is_as_long_as_the_file_or_commands_the_terminal() {
    let evil = "\\u001b[2J".repeat(500_000);
    let headers = [
        format!(r#"{{"{evil}":0}}"#),
        format!(r#"{{"{evil}":{{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}}}"#),
        format!(r#"{{"kernel":{{"dtype":"{evil}","shape":[2,1],"data_offsets":[0,8]}}}}"#),
        format!(r#"{{"kernel":{{"dtype":"F32","shape":"{evil}","data_offsets":[0,8]}}}}"#),
        format!(r#"{{"kernel":{{"{evil}":0}}}}"#),
        format!(r#"{{"kernel":"{evil}"}}"#),
        format!(r#"{{"__metadata__":{{"{evil}":0}}}}"#),
        format!(r#"{{"__metadata__":{{"{evil}":"","{evil}":""}}}}"#),
        format!(r#"{{"__metadata__":"{evil}"}}"#),
        // A valid file, but of other tensors than ours.
        format!(r#"{{"{evil}":{{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}}}"#),
        format!(
            r#"{{"kernel":{{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}},"bias":{{"dtype":"F32","shape":[1],"data_offsets":[8,12]}},"{evil}":{{"dtype":"F32","shape":[0],"data_offsets":[12,12]}}}}"#
        ),
    ];
    for (at, header) in headers.iter().enumerate() {
        let len = if at == headers.len() - 1 { 12 } else { 8 };
        let error = refused(&with_header(header, &vec![0; len]));
        for message in [error.to_string(), format!("{error:?}")] {
            assert!(message.len() < 20_000, "header {at}: {} bytes", message.len());
            assert!(!message.contains(char::is_control), "header {at}: {message}");
        }
    }
}

#[test]
fn names_may_have_any_character_and_headers_white_space() {
    let header = r#" { "a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀" : { "shape" : [ ] , "\u0064type" : "F\u00332" ,
        "data_offsets" : [ 0 , 4 ] } , "__metadata__" : { "\u0041\u0042" : "\uFFFFx" } }  "#;
    let bytes = with_header(header, &1.5_f32.to_le_bytes());
    let mut tensors = safetensors::read_tensors::<f32>(&bytes).unwrap();
    assert_eq!(tensors.take("a\"\\/\u{8}\u{c}\n\r\té😀é😀").unwrap(), ndarray::arr0(1.5).into_dyn());
    assert_eq!(safetensors::read_metadata(&bytes).unwrap()["AB"], "\u{ffff}x");
    for wrong in [r"\ud83d", r"\ud83dx", r"\ud83d\u0041", r"\ude00", r"\u12", r"\u+123", r"\u12é4", r"\é", r"\", r"\u"]
    {
        let error = reason(&with_header(&format!(r#"{{"{wrong}":"#), &[]));
        assert!(error.contains("its header cannot be read"), "{wrong}: {error}");
    }
}

#[test]
fn odd_files_that_are_files() {
    let max = usize::MAX;
    // The format allows it: an empty tensor whose other axis is larger than any memory.
    let empty = file(&[("kernel", "F32", &[0, max], &[]), ("bias", "F32", &[1], &[0; 4])]);
    assert!(matches!(refused(&empty), Error::TensorShape { .. }));
    let mut tensors = safetensors::read_tensors::<f32>(&empty).unwrap();
    assert!(matches!(tensors.take("kernel"), Err(Error::TensorShape { .. })));
    // A file without tensors is valid, but not ours.
    assert!(matches!(refused(&with_header("{}", &[])), Error::MissingWeight { .. }));
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
