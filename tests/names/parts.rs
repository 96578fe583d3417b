//! A part of a file that holds more.

use crate::{bits, randomized, rng};
use rnn_cell::train::{Adam, Parts};
use rnn_cell::weights::{Tensors, safetensors};
use rnn_cell::{Dense, Error, Lstm, MultiRnnCell};

fn model(seed: u64) -> (Lstm<f64>, Dense<f64>) {
    let rng = &mut rng(seed);
    (randomized(Lstm::new(3, 4, rng), seed), randomized(Dense::new(4, 2, rng), seed))
}

fn saved() -> Vec<u8> {
    let (cell, dense) = model(1);
    let adam = Adam::builder().build(&Parts::shared([("cell", &cell), ("dense", &dense)])).unwrap();
    safetensors::to_bytes(&Parts::shared([("cell", &cell), ("dense", &dense), ("adam", &adam)])).unwrap()
}

#[test]
fn a_model_is_loaded_without_its_optimizer() {
    let (bytes, trained, (mut cell, mut dense)) = (saved(), model(1), model(2));
    let mut tensors = safetensors::read_tensors::<f64>(&bytes).unwrap();
    let all = tensors.len();
    tensors.load("", &mut Parts::new([("cell", &mut cell), ("dense", &mut dense)])).unwrap();
    assert_eq!((bits(&cell), bits(&dense)), (bits(&trained.0), bits(&trained.1)));
    assert_eq!(all - tensors.len(), 4);
    assert!(tensors.names().all(|name| name.starts_with("adam/")), "{tensors}");
    // The optimizer is in the rest.
    let mut adam = Adam::builder().build(&Parts::shared([("cell", &cell), ("dense", &dense)])).unwrap();
    tensors.load("adam/", &mut adam).unwrap();
    tensors.finish().unwrap();
}

#[test]
fn one_part_is_loaded_by_its_prefix() {
    let (bytes, trained, (mut cell, mut dense)) = (saved(), model(1), model(2));
    let mut tensors = safetensors::read_tensors::<f64>(&bytes).unwrap();
    tensors.load("dense/", &mut dense).unwrap();
    tensors.load("cell/", &mut cell).unwrap();
    assert_eq!((bits(&cell), bits(&dense)), (bits(&trained.0), bits(&trained.1)));
    // A cell saved alone is a layer of a stack.
    let mut tensors = safetensors::read_tensors::<f64>(&bytes).unwrap();
    for name in ["kernel", "bias"] {
        tensors.rename(&format!("cell/{name}"), format!("cell_0/{name}")).unwrap();
    }
    let mut stack = MultiRnnCell::new(vec![model(2).0]).unwrap();
    tensors.load("", &mut stack).unwrap();
    assert_eq!(bits(&stack.cells()[0]), bits(&trained.0));
}

#[test]
fn a_file_that_holds_more_says_how_to_load_a_part() {
    let (mut cell, _) = model(2);
    let error = safetensors::from_bytes(&mut Parts::new([("cell", &mut cell)]), &saved()).unwrap_err();
    let end = "the parameters are \"cell/bias\", \"cell/kernel\" (`Tensors::load` loads a part of a file)";
    assert!(error.to_string().ends_with(end), "{error}");
}

#[test]
fn an_error_changes_nothing() {
    let bytes = saved();
    let (mut cell, _) = model(2);
    let before = bits(&cell);
    let mut tensors = safetensors::read_tensors::<f64>(&bytes).unwrap();
    let all = tensors.len();
    let error = tensors.load("", &mut cell).unwrap_err();
    assert!(matches!(&error, Error::MissingWeight { name, .. } if name == "kernel"), "{error}");
    let mut wide = Lstm::<f64>::new(5, 4, &mut rng(1));
    let error = tensors.load("cell/", &mut wide).unwrap_err();
    assert_eq!(error.to_string(), "tensor \"cell/kernel\" has shape [7, 16], but must have [9, 16]");
    // Two parts of one name.
    let (mut first, mut second) = (model(3).0, model(4).0);
    let error = tensors.load("", &mut Parts::new([("cell", &mut first), ("cell", &mut second)])).unwrap_err();
    assert!(matches!(&error, Error::RepeatedParameter { name } if name == "cell/kernel"), "{error}");
    assert_eq!((bits(&cell), tensors.len()), (before, all));
    // Numbers of another type are not rounded.
    let mut single = safetensors::read_tensors::<f32>(&bytes).unwrap();
    let error = single.load("cell/", &mut Lstm::<f32>::new(3, 4, &mut rng(1))).unwrap_err();
    assert!(matches!(&error, Error::TensorDtype { name, .. } if name == "cell/kernel"), "{error}");
    let mut memory = Tensors::<f64>::new();
    memory.insert("kernel", cell.weights().kernel.view());
    memory.insert("bias", cell.weights().bias.as_ref().unwrap().view());
    let (mut other, _) = model(5);
    memory.load("", &mut other).unwrap();
    assert_eq!(bits(&other), bits(&cell));
    assert!(memory.is_empty());
}
