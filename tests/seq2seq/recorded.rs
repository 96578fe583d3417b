//! Recorded decoders: gradients through outputs that are fed back.

use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::seq2seq::{
    BasicDecoder, DynamicDecode, GreedyEmbeddingHelper, InferenceHelper, ScheduledOutputTrainingHelper, dynamic_decode,
};
use rnn_cell::{Dense, Embedding, Error, Gru, RnnCell};

const LENGTHS: [usize; 4] = [6, 0, 3, 5];

struct Model {
    cell: Gru<f64>,
    dense: Dense<f64>,
    x: Array3<f64>,
    cotangent: Array3<f64>,
}

type Scheduled<'a> = DynamicDecode<BasicDecoder<'a, Gru<f64>, ScheduledOutputTrainingHelper<'a, f64>>>;

impl Model {
    fn new() -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let (cell, dense) = (Gru::new(2, 3, &mut rng), Dense::new(3, 2, &mut rng));
        let mut array = || Array3::from_shape_simple_fn((4, 6, 2), || rng.random_range(-1.0..1.0));
        Self { x: array(), cotangent: array(), cell, dense }
    }

    /// Reads the squares of its outputs half of the time.
    fn decoder<'a>(&'a self, x: &'a Array3<f64>, impute: bool) -> Scheduled<'a> {
        let helper = ScheduledOutputTrainingHelper::new(x, &LENGTHS, 0.5).seed(3);
        let helper = helper
            .next_inputs_fn(|output| output.iter().map(|y| y * y).collect())
            .backward_fn(|output, d| output.iter().zip(d).map(|(y, d)| 2.0 * y * d).collect());
        let decoder = BasicDecoder::new(&self.cell, helper, self.cell.zero_state(4)).output_layer(&self.dense);
        dynamic_decode(decoder).impute_finished(impute)
    }

    fn loss(&self, x: &Array3<f64>, impute: bool) -> f64 {
        (&self.decoder(x, impute).run().unwrap().rnn_output * &self.cotangent).sum()
    }
}

#[test]
fn gradients_of_given_inputs_agree_with_central_differences() {
    let model = Model::new();
    for impute in [true, false] {
        let (decoded, tape) = model.decoder(&model.x, impute).record().unwrap();
        assert_eq!(decoded, model.decoder(&model.x, impute).run().unwrap());
        let fed = decoded.sample_id.iter().filter(|&&fed| fed).count();
        assert!((3..20).contains(&fed), "a mixture: {fed}");
        let mut d_outputs = model.cotangent.clone();
        for (row, &length) in LENGTHS.iter().enumerate().filter(|_| impute) {
            d_outputs.slice_mut(ndarray::s![row, length.., ..]).fill(f64::NAN);
        }
        let back = tape.backward(&d_outputs).unwrap();
        for (at, &found) in back.inputs.indexed_iter() {
            let mut x = model.x.clone();
            let mut shifted = |by: f64| {
                x[at] = model.x[at] + by;
                model.loss(&x, impute)
            };
            let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
            assert!((found - expected).abs() < 1e-8, "{at:?}: {found}, but central differences give {expected}");
        }
    }
}

#[test]
fn gradients_of_weights_agree_with_central_differences() {
    let mut model = Model::new();
    let (_, tape) = model.decoder(&model.x, true).record().unwrap();
    let back = tape.backward(&model.cotangent).unwrap();
    let (kernel, bias) = (model.dense.kernel().clone(), model.dense.bias().cloned());
    let found = back.output_layer.unwrap();
    for (at, found) in found.get("kernel").unwrap().indexed_iter() {
        let mut shifted = |by: f64| {
            let mut kernel = kernel.clone();
            *kernel.iter_mut().nth(at[0] * 2 + at[1]).unwrap() += by;
            model.dense = Dense::from_weights(kernel, bias.clone()).unwrap();
            model.loss(&model.x, true)
        };
        let expected = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
        assert!((found - expected).abs() < 1e-8, "{at:?}: {found}, but central differences give {expected}");
    }
}

#[test]
fn a_function_without_a_derivative_is_an_error() {
    let model = Model::new();
    let helper = ScheduledOutputTrainingHelper::new(&model.x, &LENGTHS, 1.0).next_inputs_fn(<[f64]>::to_vec);
    let decoder = BasicDecoder::new(&model.cell, helper, model.cell.zero_state(4)).output_layer(&model.dense);
    let (decoded, tape) = dynamic_decode(decoder).record().unwrap();
    let error = tape.backward(&decoded.rnn_output).unwrap_err();
    assert!(matches!(error, Error::NoDerivative { argument: "next_inputs_fn" }), "{error}");

    let start = Array2::zeros((4, 2));
    let helper = InferenceHelper::new(&start, <[f64]>::to_vec, |_| false);
    let decoder = BasicDecoder::new(&model.cell, helper, model.cell.zero_state(4)).output_layer(&model.dense);
    let (decoded, tape) = dynamic_decode(decoder).maximum_iterations(2).record().unwrap();
    let error = tape.backward(&decoded.rnn_output).unwrap_err();
    assert!(matches!(error, Error::NoDerivative { argument: "sample_fn" }), "{error}");
    assert!(error.to_string().contains("backward_fn"));
}

#[test]
fn limits_and_shapes_are_checked() {
    let model = Model::new();
    let embedding = Embedding::new(2, 2, &mut Xoshiro256PlusPlus::seed_from_u64(1));
    let greedy = || {
        let helper = GreedyEmbeddingHelper::new(&embedding, vec![0; 4], 1);
        dynamic_decode(BasicDecoder::new(&model.cell, helper, model.cell.zero_state(4)).output_layer(&model.dense))
    };
    assert!(matches!(greedy().record(), Err(Error::Endless)));
    let (decoded, tape) = greedy().maximum_iterations(0).record().unwrap();
    assert_eq!(decoded, greedy().maximum_iterations(0).run().unwrap());
    let back = tape.backward(&decoded.rnn_output).unwrap();
    assert_eq!((back.inputs.dim(), back.initial_state), ((4, 0, 2), model.cell.zero_state(4)));
    let (_, tape) = greedy().maximum_iterations(3).record().unwrap();
    let error = tape.backward(&Array3::zeros((4, 9, 2))).unwrap_err().to_string();
    assert!(error.starts_with("d_rnn_output has shape"), "{error}");
    let (decoded, tape) = greedy().maximum_iterations(3).output_time_major(true).record().unwrap();
    let back = tape.backward(&decoded.rnn_output).unwrap();
    assert_eq!(back.inputs.dim(), (decoded.rnn_output.dim().0, 4, 2));
}
