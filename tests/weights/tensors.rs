//! A list of tensors: what it shows, keeps and names.

use ::safetensors::tensor::{Dtype, TensorView};
use ndarray::{Array1, Array2, Array3, array};
use rnn_cell::Error;
use rnn_cell::weights::{self, Tensors, keras, onnx, safetensors, tensorflow};

/// A file with integers of each type beside floats.
fn file() -> Vec<u8> {
    let little = |numbers: &[i64], width: usize| -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()[..width].to_vec()).collect()
    };
    let tensors = [
        ("i64", Dtype::I64, little(&[-3, i64::MAX], 8)),
        ("i32", Dtype::I32, little(&[-3, 70_000], 4)),
        ("i16", Dtype::I16, little(&[-3, 300], 2)),
        ("i8", Dtype::I8, little(&[-3, 127], 1)),
        ("u64", Dtype::U64, little(&[3, i64::MAX], 8)),
        ("u64_large", Dtype::U64, little(&[3, -1], 8)),
        ("u32", Dtype::U32, little(&[3, 4_000_000_000], 4)),
        ("u16", Dtype::U16, little(&[3, 60_000], 2)),
        ("u8", Dtype::U8, little(&[3, 255], 1)),
        ("mask", Dtype::BOOL, vec![0, 1]),
        ("weights", Dtype::F64, [0.1_f64, 2.0].iter().flat_map(|number| number.to_le_bytes()).collect()),
    ];
    let views = tensors.iter().map(|(name, dtype, data)| (*name, TensorView::new(*dtype, vec![2], data).unwrap()));
    ::safetensors::serialize(views, None).unwrap()
}

#[test]
fn integers_of_every_type_are_read() {
    let file = file();
    let mut tensors = safetensors::read_tensors::<f32>(&file).unwrap();
    for (name, expected) in [
        ("i64", [-3, i64::MAX]),
        ("i32", [-3, 70_000]),
        ("i16", [-3, 300]),
        ("i8", [-3, 127]),
        ("u64", [3, i64::MAX]),
        ("u32", [3, 4_000_000_000]),
        ("u16", [3, 60_000]),
        ("u8", [3, 255]),
        ("mask", [0, 1]),
    ] {
        assert_eq!(tensors.take_integers(name).unwrap(), array![expected[0], expected[1]].into_dyn(), "{name}");
        assert!(!tensors.contains(name), "{name}");
    }
    let error = tensors.take_integers("u64_large").unwrap_err();
    assert!(error.to_string().contains("is U64 with 18446744073709551615"), "{error}");
    let error = tensors.take_integers("weights").unwrap_err();
    assert!(error.to_string().contains("is F64, but must be I64"), "{error}");
    // An array in memory must be whole.
    tensors.insert("lengths", array![3.0, -2.0]);
    assert_eq!(tensors.take_integers("lengths").unwrap(), array![3, -2].into_dyn());
    for number in [0.5, f32::NAN, f32::INFINITY, 1e17] {
        tensors.insert("other", array![number]);
        assert!(matches!(tensors.take_integers("other"), Err(Error::TensorDtype { .. })), "{number}");
    }
    assert!(tensors.contains("other") && tensors.contains("u64_large") && tensors.contains("weights"));
}

#[test]
fn what_cannot_be_taken_stays() {
    let file = file();
    let mut tensors = safetensors::read_tensors::<f32>(&file).unwrap();
    for name in ["weights", "i64"] {
        let before = tensors.len();
        assert!(matches!(tensors.take(name), Err(Error::TensorDtype { .. })));
        assert_eq!(tensors.len(), before);
    }
    let mut double = safetensors::read_tensors::<f64>(&file).unwrap();
    assert_eq!(double.take("weights").unwrap(), array![0.1, 2.0].into_dyn());
}

#[test]
fn a_cast_leaves_integers_as_they_are() {
    let file = file();
    let mut cast = safetensors::read_tensors::<f64>(&file).unwrap().cast::<f32>().unwrap();
    assert_eq!(cast.take("weights").unwrap(), array![0.1_f32, 2.0].into_dyn());
    let error = cast.take("i16").unwrap_err().to_string();
    assert_eq!(error, "tensor \"i16\" is I16, but must be F32, F16 or BF16");
    assert_eq!(cast.take_integers("i16").unwrap(), array![-3, 300].into_dyn());
    assert_eq!(cast.len(), 9);
}

#[test]
fn all_that_is_left_is_listed() {
    let mut tensors = Tensors::<f32>::new();
    assert_eq!(tensors.clone().finish(), Ok(()));
    tensors.insert("a", array![1.0]);
    let message = |tensors: &Tensors<'_, f32>| tensors.clone().finish().unwrap_err().to_string();
    assert_eq!(message(&tensors), "weight \"a\" is unexpected: nothing took it");
    tensors.insert("b", array![1.0]);
    tensors.insert("c", array![1.0]);
    assert_eq!(message(&tensors), "weight \"a\" is unexpected: nothing took it, nor \"b\", \"c\"");
    for k in 0..200 {
        tensors.insert(format!("d{k}"), array![1.0]);
    }
    assert!(message(&tensors).ends_with("… (102 more)"), "{}", message(&tensors));
}

#[test]
fn the_nearest_names_come_first() {
    let mut tensors = Tensors::<f32>::new();
    for layer in 0..30 {
        for kind in ["bias_hh", "bias_ih", "weight_hh", "weight_ih"] {
            tensors.insert(format!("model.encoder.{kind}_l{layer}"), array![1.0]);
        }
    }
    let message = tensors.take("model.encoder.bias_h_l17").unwrap_err().to_string();
    let start = "weight \"model.encoder.bias_h_l17\" is missing: the nearest of the 120 tensors left are \
                 \"model.encoder.bias_hh_l17\", \"model.encoder.bias_ih_l17\"";
    assert!(message.starts_with(start), "{message}");
    let message = tensors.take("encoder.weight_hh_l3").unwrap_err().to_string();
    assert!(message.contains("left are \"model.encoder.weight_hh_l3\", "), "{message}");
    tensors.retain(|name| name.ends_with("hh_l5"));
    assert_eq!(
        tensors.take("weight_hh").unwrap_err().to_string(),
        "weight \"weight_hh\" is missing: the tensors left are \"model.encoder.bias_hh_l5\", \
         \"model.encoder.weight_hh_l5\""
    );
}

#[test]
fn a_list_is_a_table() {
    let file = file();
    let mut tensors = safetensors::read_tensors::<f32>(&file).unwrap();
    tensors.retain(|name| ["i8", "mask"].contains(&name));
    tensors.insert("encoder/kernel\u{1b}", Array2::zeros((3, 16)));
    let table = "encoder/kernel\\u{1b}  [3, 16]  F32\n\
                 i8                    [2]      I8\n\
                 mask                  [2]      BOOL\n";
    assert_eq!(tensors.to_string(), table);
    assert_eq!(Tensors::<f64>::new().to_string(), "");
}

/// The errors say which function or option to use instead.
#[test]
fn the_other_form_is_named() {
    let mut tensors = Tensors::<f32>::new();
    for (name, rows) in [("kernel", 2), ("recurrent_kernel", 4)] {
        tensors.insert(name, Array2::zeros((rows, 12)));
    }
    let gru = |bias: ndarray::ArrayD<f32>, after| {
        let mut tensors = tensors.clone();
        tensors.insert("bias", bias);
        keras::gru(&mut tensors, "", &keras::Options::default().reset_after(after)).unwrap_err().to_string()
    };
    assert_eq!(
        gru(Array1::zeros(12).into_dyn(), true),
        "tensor \"bias\" has shape [12], but must have [2, 12] with `reset_after(true)`; set it to false for [12]"
    );
    assert_eq!(
        gru(Array2::zeros((2, 12)).into_dyn(), false),
        "tensor \"bias\" has shape [2, 12], but must have [12] with `reset_after(false)`; set it to true for [2, 12]"
    );
    let cudnn = "tensor \"bias\" has shape [24], but must have one bias: two are a CuDNN layer's, whose kernels have \
                 another layout, too";
    assert_eq!(gru(Array1::zeros(24).into_dyn(), true), cudnn);
    assert_eq!(gru(Array1::zeros(24).into_dyn(), false), cudnn);

    for directions in [1, 2] {
        let mut tensors = Tensors::<f32>::new();
        tensors.insert("W", Array3::zeros((directions, 16, 3)));
        tensors.insert("R", Array3::zeros((directions, 16, 4)));
        let options = onnx::Options::default();
        let error = match directions {
            1 => onnx::bidirectional_lstm(&mut tensors, "", &options).map(drop),
            _ => onnx::lstm(&mut tensors, "", &options).map(drop),
        };
        let function = ["`lstm` reads one direction", "`bidirectional_lstm` reads two directions"][directions - 1];
        let message = format!(
            "tensor \"W\" has shape [{directions}, 16, 3], but must have {} as its first axis ({function})",
            3 - directions
        );
        assert_eq!(error.unwrap_err().to_string(), message);
    }
}

#[test]
fn the_only_layer_needs_no_prefix() {
    let mut tensors = Tensors::<f32>::new();
    tensors.insert("dense/kernel", Array2::zeros((4, 2)));
    let error = weights::only_layer(&tensors).unwrap_err().to_string();
    assert_eq!(error, "weight \"recurrent layer\" is missing: none is known among the tensors \"dense/kernel\"");
    let mut insert = |prefix: &str| {
        for (name, rows) in [("kernel", 3), ("recurrent_kernel", 4)] {
            tensors.insert(format!("{prefix}{name}"), Array2::zeros((rows, 16)));
        }
        weights::only_layer(&tensors)
    };
    assert_eq!(insert("lstm/").unwrap().prefix, "lstm/");
    let message = "weight \"lstm/\" is unexpected: it is one of 2 recurrent layers, \"lstm/\", \"lstm_1/\"";
    assert_eq!(insert("lstm_1/").unwrap_err().to_string(), message);
}

/// A gap in a stack is no end.
#[test]
fn a_missing_cell_of_a_stack_is_named() {
    let mut tensors = Tensors::<f32>::new();
    for (cell, input) in [(0, 3), (1, 4), (10, 4)] {
        tensors.insert(format!("rnn/cell_{cell}/kernel"), Array2::zeros((input + 4, 16)));
        tensors.insert(format!("rnn/cell_{cell}/bias"), Array1::zeros(16));
    }
    let stack = |tensors: &mut Tensors<'_, f32>| {
        let cells = tensorflow::multi(tensors, "rnn/", |tensors, prefix| {
            tensorflow::lstm(tensors, prefix, &Default::default())
        });
        cells.map(|cells| cells.len())
    };
    let message = "weight \"rnn/cell_2/\" is missing: there is \"rnn/cell_10/bias\", but nothing begins so";
    assert_eq!(stack(&mut tensors.clone()).unwrap_err().to_string(), message);
    // What is beside the stack, or the optimizer's, is none of it.
    tensors.retain(|name| !name.contains("cell_10"));
    for name in ["rnn/cell_0/kernel/Adam", "rnn/cell_norm/scale", "rnn/cells/9/x", "other/cell_7/kernel"] {
        tensors.insert(name, Array1::zeros(1));
    }
    assert_eq!(stack(&mut tensors).unwrap(), 2);
}

#[cfg(not(feature = "onnx"))]
#[test]
fn a_feature_that_is_off_is_named() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/onnx/attributes.onnx");
    let error = rnn_cell::weights::open(path).unwrap_err();
    assert!(matches!(error, Error::FeatureOff { feature: "onnx", .. }), "{error}");
    let end = "attributes.onnx\" is an ONNX model: to read it, turn on the feature \"onnx\" of rnn-cell";
    assert!(error.to_string().ends_with(end), "{error}");
}
