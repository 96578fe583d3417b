//! What can be sent, shared, cloned and printed. If this file compiles, it holds.

use ndarray::{Array2, Array3};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::cells::{GruBuilder, GruWeights, LayerNormLstmBuilder, LayerNormLstmWeights, LstmBuilder, LstmWeights};
use rnn_cell::train::{
    self, Adam, AdamBuilder, BidirectionalTape, BoxedTrainableCell, Checkpointed, Gradients, Parts, RunGradients, Sgd,
    SgdBuilder, Tape, TrainableCell,
};
use rnn_cell::weights::{Tensors, keras, onnx};
use rnn_cell::{
    BasicRnn, Bidirectional, BidirectionalRnn, BoxedCell, Compressed, Dense, DropoutState, DropoutWrapper, DynState,
    DynamicRnn, DynamicRnnWorkspace, Error, Float, Gru, HighwayWrapper, LayerNormLstm, Lstm, LstmState, MultiRnnCell,
    RawRnn, RawStep, ResidualWrapper, RnnCell, StackBidirectionalRnn, State, Stream, raw_rnn,
};
use std::fmt::Debug;
use std::sync::Arc;

fn cell<C: RnnCell + Send + Sync + Clone + Debug + 'static>() {}
fn boxed<C: RnnCell + Send + Sync + Debug + 'static>() {}
fn state<S: State<f32> + Send + Sync + PartialEq + Debug>() {}
fn data<T: Send + Sync + Clone + Debug>() {}
fn sent<T: Send + Debug>() {}

#[test]
fn cells_are_shared_cloned_and_printed() {
    cell::<BasicRnn<f32>>();
    cell::<Gru<f64>>();
    cell::<Lstm<f32>>();
    cell::<LayerNormLstm<f64>>();
    cell::<MultiRnnCell<Vec<Lstm<f32>>>>();
    cell::<MultiRnnCell<(Lstm<f32>, Gru<f32>, BasicRnn<f32>)>>();
    cell::<ResidualWrapper<Gru<f32>>>();
    cell::<DropoutWrapper<HighwayWrapper<Gru<f32>>>>();
    cell::<Arc<Lstm<f32>>>();
    cell::<Compressed<Gru<f32>>>();
    // The boxed cell need not be `Clone`.
    boxed::<BoxedCell<f32>>();
    boxed::<BoxedTrainableCell<f64>>();
    boxed::<MultiRnnCell<Vec<BoxedCell<f32>>>>();
}

#[test]
fn what_is_printed_names_the_type_and_its_options() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let printed = |value: &dyn Debug, expected: &[&str]| {
        let text = format!("{value:?}");
        assert!(text.starts_with(expected[0]) && expected.iter().all(|part| text.contains(part)), "{text}");
        // Printing thousands of weights helps nobody.
        assert!(text.len() < 1000, "{text}");
    };
    let (lstm, gru) = (Lstm::<f32>::new(30, 30, rng), Gru::<f32>::new(30, 30, rng));
    printed(&lstm, &["Lstm", "hidden_size: 30", "forget_bias: 1.0"]);
    printed(&gru, &["Gru", "hidden_size: 30", "Before"]);
    printed(&BasicRnn::<f32>::new(30, 30, rng), &["BasicRnn", "Tanh"]);
    printed(&LayerNormLstm::<f32>::new(30, 30, rng), &["LayerNormLstm", "forget_bias"]);
    printed(&HighwayWrapper::builder(gru.clone()).build(rng).unwrap(), &["HighwayWrapper", "Gru"]);
    printed(&ResidualWrapper::new(gru.clone()).unwrap(), &["ResidualWrapper", "Gru"]);
    printed(&DropoutWrapper::builder(gru.clone()).build().unwrap(), &["DropoutWrapper", "Gru"]);
    printed(&BoxedCell::new(gru.clone()), &["BoxedCell"]);
    let gradient = BoxedTrainableCell::new(gru.clone()).zero_gradient();
    printed(&gradient, &["DynGradient", "\"gates/kernel\"", "\"candidate/bias\""]);
    printed(&<Lstm<f32> as RnnCell>::Workspace::default(), &["Workspace"]);
    printed(&<HighwayWrapper<Gru<f32>> as RnnCell>::Workspace::default(), &["WrapperWorkspace"]);
    printed(&<BoxedCell<f32> as RnnCell>::Workspace::default(), &["DynWorkspace"]);
    let stream = Stream::new(&lstm, 1);
    printed(&stream, &["Stream", "batch_size: 1"]);
    printed(stream.cell(), &["Lstm"]);
    let once = raw_rnn(&BasicRnn::<f32>::new(2, 2, rng), 1, |step| {
        printed(step, &["RawStep", "time: 0", "finished: [false]"]);
        step.finished.fill(true);
    });
    assert_eq!(once.unwrap().0.dim().0, 0);
    printed(&DynamicRnn::new(&lstm), &["DynamicRnn"]);
    printed(&DynamicRnn::new(&lstm).checkpoint_every(3), &["Checkpointed", "every: 3"]);
    printed(&BidirectionalRnn::new(&lstm, &gru).time_major(true), &["BidirectionalRnn", "time_major: true"]);
    let (lstms, grus) = ([&lstm], [&gru]);
    printed(&StackBidirectionalRnn::new(&lstms, &grus), &["StackBidirectionalRnn", "time_major: false"]);
    printed(&RawRnn::new(&gru, 7), &["RawRnn", "batch: 7"]);
    printed(&DynamicRnnWorkspace::<Lstm<f32>>::default(), &["DynamicRnnWorkspace"]);
    printed(&Parts::new([("encoder", &mut gru.clone())]), &["[", "encoder"]);
    let x = Array3::zeros((1, 2, 30));
    let (_, _, tape) = train::dynamic_rnn(&lstm, &x, None, None).unwrap();
    printed(&tape, &["Tape"]);
    let (_, _, tape) = train::bidirectional_dynamic_rnn(&lstm, &gru, &x, None, None, None).unwrap();
    printed(&tape, &["BidirectionalTape"]);
    let (lstms, grus) = ([lstm.clone()], [gru.clone()]);
    let (_, _, tape) = StackBidirectionalRnn::new(&lstms, &grus).record(&x).unwrap();
    printed(&tape, &["StackBidirectionalTape", "BidirectionalTape"]);
    let (outputs, _, tape) = RawRnn::new(&gru, 1).record(|step| step.finished.fill(step.time == 1)).unwrap();
    printed(&tape, &["RawTape", "steps: 1", "batch: 1"]);
    tape.backward(&outputs, |step| printed(step, &["RawStepBack", "d_next_input"])).unwrap();
    printed(&train::LearnedState::new(&lstm), &["LearnedState", "leaves: [(1, "]);
    let residual = ResidualWrapper::with_residual_fns(gru.clone(), |_, _| (), |_| ());
    printed(&residual, &["ResidualWrapper", "Gru"]);
}

#[test]
fn numbers_have_the_names_of_num_traits() {
    // Called on the type, as generic code does: `Float` must not bring a second function with such a name.
    fn norm<E: Float>(a: E, b: E) -> E {
        E::sqrt(E::abs(E::mul_add(a, a, E::mul(b, b)))) + E::sub(E::add(a, b), E::div(E::max(a, b), E::one()))
    }
    assert_eq!(norm(3.0_f32, 4.0), 8.0);
}

#[test]
fn states_are_sent_shared_and_compared() {
    state::<Array2<f32>>();
    state::<LstmState<f32>>();
    state::<DropoutState<LstmState<f32>>>();
    state::<Vec<LstmState<f32>>>();
    state::<(LstmState<f32>, Array2<f32>)>();
    data::<DynState<f32>>();
}

#[test]
fn drivers_and_tapes_are_sent_and_printed() {
    sent::<Stream<Lstm<f32>>>();
    sent::<Stream<Arc<BoxedCell<f32>>>>();
    sent::<DynamicRnn<'_, '_, Lstm<f32>>>();
    sent::<BidirectionalRnn<'_, '_, Lstm<f32>, Gru<f32>>>();
    sent::<StackBidirectionalRnn<'_, '_, Lstm<f32>, Gru<f32>>>();
    sent::<RawRnn<'_, Lstm<f32>>>();
    sent::<Checkpointed<DynamicRnn<'_, '_, Lstm<f32>>>>();
    sent::<DynamicRnnWorkspace<BoxedCell<f32>>>();
    sent::<RawStep<'_, Lstm<f32>>>();
    sent::<Tape<'_, Lstm<f32>>>();
    sent::<Tape<'_, MultiRnnCell<Vec<BoxedTrainableCell<f32>>>>>();
    sent::<BidirectionalTape<'_, Lstm<f32>, Gru<f32>>>();
    sent::<train::StackBidirectionalTape<'_, Lstm<f32>, Gru<f32>>>();
    sent::<train::RawTape<'_, Lstm<f32>>>();
    sent::<train::RawStepBack<'_, Lstm<f32>>>();
    sent::<train::ResidualRecord<f32, f32>>();
    fn printed<T: Debug>() {}
    printed::<Parts<'_, Lstm<f32>>>();
}

#[test]
fn data_is_sent_shared_cloned_and_printed() {
    data::<LstmBuilder<f32>>();
    data::<LstmWeights<f32>>();
    data::<GruBuilder<f32>>();
    data::<GruWeights<f32>>();
    data::<LayerNormLstmBuilder<f32>>();
    data::<LayerNormLstmWeights<f32>>();
    data::<Bidirectional<Lstm<f32>>>();
    data::<Gradients<f32>>();
    data::<train::LearnedState<f32, LstmState<f32>>>();
    data::<RunGradients<f32, LstmState<f32>>>();
    data::<train::BidirectionalGradients<f32, LstmState<f32>>>();
    data::<Dense<f32>>();
    data::<Adam<f32>>();
    data::<Sgd<f32>>();
    data::<AdamBuilder<f32>>();
    data::<SgdBuilder<f32>>();
    data::<train::RmsProp<f32>>();
    data::<train::RmsPropBuilder<f32>>();
    data::<train::Schedule>();
    data::<train::SequenceLoss>();
    data::<rnn_cell::data::Batches>();
    data::<rnn_cell::data::Batch>();
    data::<keras::Options>();
    data::<onnx::Options>();
    data::<Tensors<'static, f32>>();
}

#[test]
fn errors_pass_through_box_dyn_error() {
    fn error<E: std::error::Error + Send + Sync + Clone + PartialEq + 'static>() {}
    error::<Error>();
}
