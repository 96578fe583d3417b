//! Tensors that do not fit are named.

use super::importers::fixture;
use ndarray::Axis;
use rnn_cell::Error;
use rnn_cell::weights::{Tensors, flax, keras, onnx, pytorch, safetensors, tensorflow};

#[test]
fn pytorch_tensors_that_do_not_fit() {
    let bytes = fixture("pytorch_f64");
    let tensors = || safetensors::read_tensors::<f64>(&bytes).unwrap();

    // One direction of a module with two.
    let error = pytorch::lstm(&mut tensors(), "lstm.").unwrap_err();
    assert!(matches!(&error, Error::UnexpectedWeight { name, .. } if name == "lstm.weight_ih_l0_reverse"), "{error}");
    assert!(error.to_string().contains("bidirectional"), "{error}");
    let error = pytorch::bidirectional_gru(&mut tensors(), "gru.").unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == "gru.weight_ih_l0_reverse"), "{error}");

    // Another kind of module.
    let error = pytorch::bidirectional_gru(&mut tensors(), "lstm.").unwrap_err();
    assert!(matches!(&error, Error::TensorShape { name, .. } if name == "lstm.weight_ih_l0"), "{error}");
    assert_eq!(error.to_string(), "tensor \"lstm.weight_ih_l0\" has shape [16, 3], but must have (3 · hidden, input)");

    // If two matrices disagree, the one at fault is named. A size that nothing tells stays a word.
    let misfit = |name: &str, shape: (usize, usize)| {
        let mut tensors = tensors();
        tensors.insert(name, ndarray::Array2::zeros(shape));
        pytorch::gru(&mut tensors, "gru.").unwrap_err().to_string()
    };
    let hidden = tensors().shape("gru.weight_hh_l0").unwrap()[1];
    assert_eq!(
        misfit("gru.weight_hh_l0", (3 * hidden, hidden + 1)),
        format!(
            "tensor \"gru.weight_hh_l0\" has shape {:?}, but must have {:?}",
            [3 * hidden, hidden + 1],
            [3 * hidden, hidden]
        )
    );
    assert_eq!(
        misfit("gru.weight_ih_l0", (3, 3 * hidden)),
        format!("tensor \"gru.weight_ih_l0\" has shape {:?}, but must have [{}, input]", [3, 3 * hidden], 3 * hidden)
    );

    // One extra tensor, one missing.
    let mut more = tensors();
    more.insert("gru.weight_hr_l0", ndarray::Array2::zeros((2, 4)));
    let error = pytorch::gru(&mut more, "gru.").unwrap_err();
    assert!(matches!(&error, Error::UnexpectedWeight { name, .. } if name == "gru.weight_hr_l0"), "{error}");
    for missing in ["gru.bias_ih_l1", "gru.weight_ih_l1", "gru.weight_ih_l2"] {
        let mut less = tensors();
        less.retain(|name| name != missing);
        let error = pytorch::gru(&mut less, "gru.").unwrap_err();
        assert!(matches!(&error, Error::MissingWeight { name, .. } if name == missing), "{missing}: {error}");
    }
    // A layer without biases cannot be in a module with biases, and the other way round.
    let mut less = tensors();
    less.retain(|name| !["gru.bias_ih_l1", "gru.bias_hh_l1"].contains(&name));
    let error = pytorch::gru(&mut less, "gru.").unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == "gru.bias_ih_l1"), "{error}");
    let mut less = tensors();
    less.retain(|name| !["gru_bidirectional.bias_ih_l0", "gru_bidirectional.bias_hh_l0"].contains(&name));
    let error = pytorch::bidirectional_gru(&mut less, "gru_bidirectional.").unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == "gru_bidirectional.bias_ih_l0"), "{error}");

    // f64 is rounded only on request.
    let mut single = safetensors::read_tensors::<f32>(&bytes).unwrap();
    let error = pytorch::gru(&mut single, "gru.").unwrap_err();
    assert_eq!(error.to_string(), "tensor \"gru.weight_ih_l0\" is F64, but must be F32, F16 or BF16");
    let mut single = tensors().cast::<f32>().unwrap();
    assert_eq!(pytorch::gru(&mut single, "gru.").unwrap().cells().len(), 3);
    let error = single.finish().unwrap_err();
    assert!(matches!(&error, Error::UnexpectedWeight { name, .. } if name == "gru/outputs"), "{error}");
}

/// Each tensor of a module under `prefix` in turn is missing (except `optional` ones), has an extra axis, or holds
/// integers. The error must name it.
fn each_misfit(
    file: &str,
    prefix: &str,
    optional: &[&str],
    import: impl Fn(&mut Tensors<'_, f32>, &str) -> Result<(), Error>,
) {
    let bytes = fixture(file);
    let tensors = safetensors::read_tensors::<f32>(&bytes).unwrap();
    let other = |name: &str| name.ends_with("/x") || name.ends_with("/outputs") || name.contains("Adam");
    let names: Vec<&str> = tensors.names().filter(|name| name.starts_with(prefix) && !other(name)).collect();
    assert!(names.len() > 1, "{prefix}");
    import(&mut tensors.clone(), prefix).unwrap();
    for misfit in names {
        let mut less = tensors.clone();
        less.retain(|name| name != misfit);
        match import(&mut less, prefix) {
            Err(Error::MissingWeight { name, .. }) if name == misfit => {}
            other => assert!(optional.contains(&&misfit[prefix.len()..]), "without {misfit}: {other:?}"),
        }
        let mut deep = tensors.clone();
        let array = deep.take(misfit).unwrap();
        deep.insert(misfit, array.insert_axis(Axis(0)));
        let error = import(&mut deep, prefix).unwrap_err();
        assert!(matches!(&error, Error::TensorShape { name, .. } if name == misfit), "{misfit}: {error}");

        let (info, integers) =
            (format!("\"{misfit}\":{{\"dtype\":\"F32\""), format!("\"{misfit}\":{{\"dtype\":\"I32\""));
        let at = bytes.windows(info.len()).position(|window| window == info.as_bytes()).unwrap();
        let bytes = [&bytes[..at], integers.as_bytes(), &bytes[at + info.len()..]].concat();
        let error = import(&mut safetensors::read_tensors(&bytes).unwrap(), prefix).unwrap_err();
        assert!(matches!(&error, Error::TensorDtype { name, .. } if name == misfit), "{misfit}: {error}");
    }
}

#[test]
fn the_tensor_that_does_not_fit_is_named() {
    each_misfit("pytorch_f32", "rnn_tanh.", &[], |t, p| {
        pytorch::bidirectional_rnn(t, p, &Default::default()).map(drop)
    });
    each_misfit("pytorch_f32", "lstm.", &[], |t, p| pytorch::bidirectional_lstm(t, p).map(drop));
    let projections = ["weight_hr_l0", "weight_hr_l0_reverse", "weight_hr_l1", "weight_hr_l1_reverse"];
    each_misfit("pytorch_f32", "lstm_proj.", &projections, |t, p| pytorch::bidirectional_lstm(t, p).map(drop));
    each_misfit("pytorch_f32", "gru.", &[], |t, p| pytorch::gru(t, p).map(drop));

    let (keras, before) = (keras::Options::default(), keras::Options::default().reset_after(false));
    each_misfit("keras_f32", "simple_rnn/simple_rnn/simple_rnn_cell/", &["bias"], |t, p| {
        keras::simple_rnn(t, p, &keras).map(drop)
    });
    each_misfit("keras_f32", "lstm/lstm/lstm_cell/", &["bias"], |t, p| keras::lstm(t, p, &keras).map(drop));
    each_misfit("keras_f32", "gru/gru/gru_cell/", &["bias"], |t, p| keras::gru(t, p, &keras).map(drop));
    each_misfit("keras_f32", "gru_reset_before/gru_1/gru_cell/", &["bias"], |t, p| keras::gru(t, p, &before).map(drop));

    each_misfit("tensorflow_f32", "basic_rnn/rnn/basic_rnn_cell/", &[], |t, p| {
        tensorflow::basic_rnn(t, p, &Default::default()).map(drop)
    });
    each_misfit("tensorflow_f32", "lstm/rnn/lstm_cell/", &["projection/kernel"], |t, p| {
        tensorflow::lstm(t, p, &Default::default()).map(drop)
    });
    each_misfit("tensorflow_f32", "bidirectional/bidirectional_rnn/fw/gru_cell/", &[], |t, p| {
        tensorflow::gru(t, p, &Default::default()).map(drop)
    });

    each_misfit("onnx_f32", "rnn/", &["B"], |t, p| onnx::rnn(t, p, &Default::default()).map(drop));
    each_misfit("onnx_f32", "lstm_both/", &["B", "P"], |t, p| {
        onnx::bidirectional_lstm(t, p, &Default::default()).map(drop)
    });
    each_misfit("onnx_f32", "gru/", &["B"], |t, p| onnx::gru(t, p, &Default::default()).map(drop));

    each_misfit("flax_f32", "simple/cell/", &[], |t, p| flax::simple(t, p).map(drop));
    each_misfit("flax_f32", "lstm/cell/", &[], |t, p| flax::lstm(t, p).map(drop));
    each_misfit("flax_f32", "gru/cell/", &[], |t, p| flax::gru(t, p).map(drop));
}

#[test]
fn a_kernel_of_no_whole_gates_is_named() {
    let mut tensors = Tensors::new();
    tensors.insert("kernel", ndarray::Array2::<f32>::zeros((5, 10)));
    tensors.insert("bias", ndarray::Array1::<f32>::zeros(10));
    let error = tensorflow::lstm(&mut tensors, "", &Default::default()).unwrap_err();
    assert_eq!(error.to_string(), "tensor \"kernel\" has shape [5, 10], but must have [5, 8]");
    // All rows are the state's: there are none for inputs.
    tensors.insert("kernel", ndarray::Array2::<f32>::zeros((2, 8)));
    tensors.insert("bias", ndarray::Array1::<f32>::zeros(8));
    let error = tensorflow::lstm(&mut tensors, "", &Default::default()).unwrap_err();
    let message = "tensor \"kernel\" has shape [2, 8], but must have more than 2 rows (input + 2)";
    assert_eq!(error.to_string(), message);
}
