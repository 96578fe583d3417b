//! Dense layers of other frameworks. PyTorch's and Flax's own outputs come from `tools/losses_fixture.py`; Keras and
//! TensorFlow store a layer as Flax does.

use crate::{array, assert_near};
use ndarray::{Array1, Array2, ArrayD};
use rnn_cell::weights::{Tensors, flax, keras, pytorch, tensorflow};
use rnn_cell::{Dense, Error};
use serde_json::Value;

type Import = fn(&mut Tensors<'_, f64>, &str) -> Result<Dense<f64>, Error>;

#[test]
fn dense_layers_are_read_by_prefix() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/losses.json")).unwrap();
    let x = array::<f64, _>(&fixture["x"], (5, 3));
    let imports: [(&str, &str, Import); 4] = [
        ("linear", "decoder.", pytorch::dense),
        ("dense", "model/dense/", keras::dense),
        ("dense", "dense/", tensorflow::dense),
        ("dense", "params/Dense_0/", flax::dense),
    ];
    for (layer, prefix, import) in imports {
        let layer = &fixture[layer];
        let (kernel, shape) = if layer["weight"].is_null() { ("kernel", (3, 2)) } else { ("weight", (2, 3)) };
        let weights: Array2<f64> = array(&layer[kernel], shape);
        let bias: Array1<f64> = array(&layer["bias"], 2);
        let mut tensors = Tensors::new();
        let add = |tensors: &mut Tensors<'_, f64>, name: &str, value: ArrayD<f64>| {
            tensors.insert(format!("{prefix}{name}"), value);
        };
        add(&mut tensors, kernel, weights.clone().into_dyn());
        add(&mut tensors, "bias", bias.clone().into_dyn());
        tensors.insert("other/bias", bias.clone());
        let dense = import(&mut tensors, prefix).unwrap();
        assert_near(prefix, &dense.forward(&x).unwrap(), &layer["y"], 1e-14);
        assert_eq!(tensors.names().collect::<Vec<_>>(), ["other/bias"]);

        add(&mut tensors, kernel, weights.clone().into_dyn());
        let without = import(&mut tensors, prefix).unwrap();
        assert_eq!((without.kernel(), without.bias()), (dense.kernel(), None));

        assert!(matches!(import(&mut tensors, prefix), Err(Error::MissingWeight { .. })), "{prefix}");
        add(&mut tensors, kernel, bias.clone().into_dyn());
        assert!(matches!(import(&mut tensors, prefix), Err(Error::TensorShape { .. })), "{prefix}");
        add(&mut tensors, kernel, weights.into_dyn());
        add(&mut tensors, "bias", Array1::zeros(3).into_dyn());
        match import(&mut tensors, prefix) {
            Err(Error::TensorShape { name, found, .. }) => {
                assert_eq!((name, found), (format!("{prefix}bias"), vec![3]))
            }
            other => panic!("{other:?}"),
        }
    }
}
