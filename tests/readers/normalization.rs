//! Keras's normalizations, whose weights its new format only numbers.

use crate::keras::expected;
use crate::npz::zip;
use crate::{check_close, fixture, run};
use rnn_cell::weights::Tensors;
use rnn_cell::weights::keras;

/// The names under a prefix.
fn names(tensors: &Tensors<'_, f32>, prefix: &str) -> Vec<String> {
    tensors.names().filter_map(|name| name.strip_prefix(prefix)).map(String::from).collect()
}

#[test]
fn a_model_with_normalizations_runs_as_in_keras() {
    let bytes = fixture("keras3_normalized.keras");
    let mut model = keras::read_model::<f32>(&bytes).unwrap();
    let [x, outputs] = expected("keras3_normalized.npz");
    let layer = model.layer("lstm").unwrap();
    let mut lstm = keras::lstm(&mut model.tensors, layer.prefix(), &layer.options().unwrap()).unwrap();
    let first = keras::batch_norm(&mut model.tensors, "layers/batch_normalization/", 1e-3).unwrap();
    first.fold_into(&mut lstm).unwrap();
    assert!(!model.tensors.contains("layers/batch_normalization_1/gamma"));
    let mut dense = keras::dense(&mut model.tensors, "layers/dense/").unwrap();
    let second = keras::batch_norm(&mut model.tensors, "layers/batch_normalization_1/", 1e-3).unwrap();
    second.fold_into(&mut dense).unwrap();
    check_close("normalized", &dense.forward(&run(&lstm, &x)).unwrap(), &outputs);
    model.tensors.finish().unwrap();
}

/// Of three weights without a configuration, one is gamma or beta.
#[test]
fn weights_alone_are_named_if_they_are_all() {
    let bytes = fixture("keras3_normalized.weights.h5");
    let tensors = keras::read_model::<f32>(&bytes).unwrap().tensors;
    let all = ["beta", "gamma", "moving_mean", "moving_variance"];
    assert_eq!(names(&tensors, "layers/batch_normalization/"), all);
    assert_eq!(names(&tensors, "layers/batch_normalization_1/"), ["vars/0", "vars/1", "vars/2"]);
    assert_eq!(names(&tensors, "layers/layer_normalization/"), all[..2]);
    // As a configuration says.
    for (options, expected) in [
        (r#""scale":false"#, ["beta", "moving_mean", "moving_variance"]),
        (r#""center":false"#, ["gamma", "moving_mean", "moving_variance"]),
        // Of another model.
        (r#""scale":true"#, ["vars/0", "vars/1", "vars/2"]),
    ] {
        let layer = |options| format!(r#"{{"class_name":"BatchNormalization","config":{{"name":"norm",{options}}}}}"#);
        let layers = [layer(r#""axis":-1"#), layer(options)].join(",");
        let config = format!(r#"{{"class_name":"Sequential","config":{{"layers":[{layers}]}}}}"#);
        let bytes = zip(&[
            ("metadata.json", br#"{"keras_version":"3.0.0"}"#.to_vec()),
            ("config.json", config.into_bytes()),
            ("model.weights.h5", bytes.clone()),
        ]);
        let tensors = keras::read_model::<f32>(&bytes).unwrap().tensors;
        assert_eq!(names(&tensors, "layers/batch_normalization/"), all, "{options}");
        assert_eq!(names(&tensors, "layers/batch_normalization_1/"), expected, "{options}");
    }
}
