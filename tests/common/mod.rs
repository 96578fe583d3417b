//! Every cell with every option, and every wrapper, in one list. A new cell takes one line here, and every test over
//! the list covers it.

// Each test program uses only a part of this.
#![allow(dead_code)]

pub mod attending;
pub mod description;
pub mod problem;
pub mod rounded;

use attending::{Attending, DEPTH};
use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, ArrayView3, Axis};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::cells::{BasicRnnBuilder, GruBuilder, LayerNormLstmBuilder, LstmBuilder, UgrnnBuilder};
use rnn_cell::seq2seq::{BahdanauAttention, BahdanauMonotonicAttention, LuongAttention, LuongMonotonicAttention};
use rnn_cell::train::{BoxedTrainableCell, TrainableCell};
use rnn_cell::{
    Activation, BasicRnn, BidirectionalRnn, BoxedCell, Compressed, DropoutWrapper, DynamicRnn, Error, Float, Gru,
    GruReset, HighwayWrapper, LayerNormLstm, Lstm, MultiRnnCell, Parameters, ParametersMut, ResidualWrapper, RnnCell,
    State, Ugrnn, WeightFormat,
};
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output};

/// All instruction sets of this machine.
pub fn instruction_sets() -> Vec<&'static str> {
    let mut all = vec!["scalar"];
    #[cfg(target_arch = "x86_64")]
    {
        all.extend((is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some("avx2"));
        all.extend(is_x86_feature_detected!("avx512f").then_some("avx512"));
        all.extend(is_x86_feature_detected!("avx512vnni").then_some("avx512+vnni"));
    }
    #[cfg(target_arch = "aarch64")]
    all.push("neon");
    all
}

/// Runs an ignored test of this program in its own process, on one instruction set.
pub fn run_child(test: &str, isa: impl AsRef<OsStr>) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("RNN_CELL_ISA", isa)
        .output()
        .unwrap()
}

/// The panic's message, or `None` without a panic.
pub fn message(run: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = payload.downcast_ref::<String>().cloned();
    Some(text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.into())).unwrap_or_default())
}

/// The random generator of all tests.
pub type Rng = Xoshiro256PlusPlus;

pub fn rng(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

/// What a test does with each cell.
pub trait Check<E: Float> {
    /// `make` builds the cell for an input size and a hidden size.
    fn check<C>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C)
    where
        C: RnnCell<Elem = E> + ParametersMut<E>;
}

/// What a test does with each cell that can be trained.
pub trait CheckTrainable<E: Float> {
    /// `make` builds the cell for an input size and a hidden size.
    fn check<C>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C)
    where
        C: TrainableCell<Elem = E> + Send + Sync + 'static;
}

/// Erases a cell, so that a check is compiled once and not for every cell.
struct Erased<'a, T>(&'a mut T);

impl<E: Float, T: Check<E>> CheckTrainable<E> for Erased<'_, T> {
    fn check<C>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C)
    where
        C: TrainableCell<Elem = E> + Send + Sync + 'static,
    {
        check_boxed(self.0, name, &|input, hidden, rng| BoxedCell::new(make(input, hidden, rng)));
    }
}

fn check_boxed<E: Float, T: Check<E>>(
    check: &mut T,
    name: &str,
    make: &dyn Fn(usize, usize, &mut Rng) -> BoxedCell<E>,
) {
    check.check(name, make);
}

/// Builds a cell for an input size and a hidden size, and erases it.
pub type MakeBoxed<'a, E> = &'a dyn Fn(usize, usize, &mut Rng) -> BoxedTrainableCell<E>;

/// The trainable cells, erased, so that a test over all of them is compiled only once.
pub fn each_boxed_cell<E: Float>(check: &mut dyn FnMut(&str, MakeBoxed<E>)) {
    struct Boxing<'a, E: Float>(&'a mut dyn FnMut(&str, MakeBoxed<E>));
    impl<E: Float> CheckTrainable<E> for Boxing<'_, E> {
        fn check<C>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C)
        where
            C: TrainableCell<Elem = E> + Send + Sync + 'static,
        {
            (self.0)(name, &|input, hidden, rng| BoxedTrainableCell::new(make(input, hidden, rng)));
        }
    }
    each_trainable_cell(&mut Boxing(check));
}

/// The formats of compressed weights.
pub const FORMATS: [WeightFormat; 2] = [WeightFormat::Bf16, WeightFormat::Int8];

/// A compressed cell, without parameters.
#[derive(Clone)]
pub struct Small<C>(pub Compressed<C>);

impl<C: RnnCell<Elem = f32>> RnnCell for Small<C> {
    type Elem = f32;
    type State = C::State;
    type Workspace = C::Workspace;
    fn input_size(&self) -> usize {
        self.0.input_size()
    }
    fn output_size(&self) -> usize {
        self.0.output_size()
    }
    fn zero_state(&self, batch: usize) -> C::State {
        self.0.zero_state(batch)
    }
    fn check_state(&self, state: &C::State) -> Result<(), Error> {
        self.0.check_state(state)
    }
    fn training_state(&self, batch: usize, seed: u64) -> C::State {
        self.0.training_state(batch, seed)
    }
    fn step(&self, x: &ArrayRef2<f32>, state: &mut C::State, y: &mut ArrayRef2<f32>, workspace: &mut C::Workspace) {
        self.0.step(x, state, y, workspace);
    }
    fn unroll(&self, x: &ArrayRef3<f32>, state: &mut C::State, y: &mut ArrayRef3<f32>, workspace: &mut C::Workspace) {
        self.0.unroll(x, state, y, workspace);
    }
}

impl<C> Parameters<f32> for Small<C> {}

impl<C> ParametersMut<f32> for Small<C> {}

/// Runs `check` over the trainable part of the list, compressed in each format.
pub fn each_compressed_cell(check: &mut impl Check<f32>) {
    for format in FORMATS {
        each_boxed_cell::<f32>(&mut |name, make| {
            check_boxed(check, &format!("{name}, {format:?}"), &|input, hidden, rng| {
                BoxedCell::new(Small(Compressed::new(make(input, hidden, rng), format).unwrap()))
            });
        });
    }
}

/// Options of a builder, by name.
pub type Options<B> = Vec<(&'static str, fn(B) -> B)>;

pub fn basic_rnn_options<E: Float>() -> Options<BasicRnnBuilder<E>> {
    vec![
        ("basic_rnn", |b| b),
        ("basic_rnn, no bias", |b| b.use_bias(false)),
        ("basic_rnn, relu", |b| b.activation(Activation::Relu)),
        ("basic_rnn, elu", |b| b.activation(Activation::Elu)),
        ("basic_rnn, softsign", |b| b.activation(Activation::Softsign)),
        ("basic_rnn, sigmoid", |b| b.activation(Activation::Sigmoid)),
    ]
}

pub fn lstm_options<E: Float>() -> Options<LstmBuilder<E>> {
    vec![
        ("lstm", |b| b),
        ("lstm, no bias", |b| b.use_bias(false)),
        ("lstm, forget_bias -0.5", |b| b.forget_bias(E::of(-0.5))),
        ("lstm, peepholes", |b| b.use_peepholes(true)),
        ("lstm, cell_clip", |b| b.cell_clip(E::of(0.25))),
        ("lstm, projection", |b| b.num_proj(3)),
        ("lstm, wide projection", |b| b.num_proj(37)),
        ("lstm, proj_clip", |b| b.num_proj(5).proj_clip(E::of(0.1))),
        ("lstm, softsign and hard sigmoid", |b| {
            b.activation(Activation::Softsign).gate_activation(Activation::HardSigmoid)
        }),
        ("lstm, relu and tanh gates", |b| {
            let b = b.use_peepholes(true).cell_clip(E::of(0.5)).num_proj(5).proj_clip(E::of(0.5));
            b.activation(Activation::Relu).gate_activation(Activation::Tanh)
        }),
        ("lstm, everything", |b| {
            let b = b.use_peepholes(true).cell_clip(E::of(0.5)).num_proj(2).proj_clip(E::of(0.3));
            b.forget_bias(E::of(0.25)).activation(Activation::Sigmoid).use_bias(false)
        }),
    ]
}

pub fn gru_options<E: Float>() -> Options<GruBuilder<E>> {
    vec![
        ("gru", |b| b),
        ("gru, no bias", |b| b.use_bias(false)),
        ("gru, relu", |b| b.activation(Activation::Relu)),
        ("gru, linear and hard sigmoid", |b| b.activation(Activation::Linear).gate_activation(Activation::HardSigmoid)),
        ("gru, reset after", |b| b.reset(GruReset::After)),
        ("gru, reset after, no bias", |b| b.reset(GruReset::After).use_bias(false)),
        ("gru, reset after, softsign", |b| b.reset(GruReset::After).activation(Activation::Softsign)),
    ]
}

pub fn layer_norm_lstm_options<E: Float>() -> Options<LayerNormLstmBuilder<E>> {
    vec![
        ("layer_norm_lstm", |b| b),
        ("layer_norm_lstm, dropout", |b| b.dropout_keep_prob(0.6)),
        ("layer_norm_lstm, no layer norm", |b| b.layer_norm(false).forget_bias(E::of(0.5))),
        ("layer_norm_lstm, relu", |b| b.activation(Activation::Relu)),
    ]
}

pub fn ugrnn_options<E: Float>() -> Options<UgrnnBuilder<E>> {
    vec![
        ("ugrnn", |b| b),
        ("ugrnn, forget_bias -0.5, relu", |b| b.forget_bias(E::of(-0.5)).activation(Activation::Relu)),
    ]
}

/// Runs `check` over the whole list, each cell in a [`BoxedCell`].
pub fn each_cell<E: Float>(check: &mut impl Check<E>) {
    each_trainable_cell(&mut Erased(check));
    check_boxed(check, "multi of boxed cells", &|i, h, rng| {
        BoxedCell::new(stack(vec![BoxedCell::new(lstm::<E>(i, h, rng)), BoxedCell::new(residual(gru(3, 3, rng)))]))
    });
    check_boxed(check, "residual function", &|i, h, rng| {
        BoxedCell::new(ResidualWrapper::with_residual_fn(gru::<E>(i, h, rng), |x, y| {
            for (x, mut y) in x.rows().into_iter().zip(y.rows_mut()) {
                y.mapv_inplace(|y| y * x[0]);
            }
        }))
    });
}

/// Runs `check` over the trainable part of the list.
pub fn each_trainable_cell<E: Float>(check: &mut impl CheckTrainable<E>) {
    for (name, options) in basic_rnn_options() {
        check.check(name, |i, h, rng| randomized(options(BasicRnn::<E>::builder(i, h)).build(rng).unwrap(), rng));
    }
    for (name, options) in lstm_options() {
        check.check(name, |i, h, rng| randomized(options(Lstm::<E>::builder(i, h)).build(rng).unwrap(), rng));
    }
    for (name, options) in gru_options() {
        check.check(name, |i, h, rng| randomized(options(Gru::<E>::builder(i, h)).build(rng).unwrap(), rng));
    }
    for (name, options) in layer_norm_lstm_options() {
        check.check(name, |i, h, rng| randomized(options(LayerNormLstm::<E>::builder(i, h)).build(rng).unwrap(), rng));
    }
    for (name, options) in ugrnn_options() {
        check.check(name, |i, h, rng| randomized(options(Ugrnn::<E>::builder(i, h)).build(rng).unwrap(), rng));
    }
    check.check("box", |i, h, rng| Box::new(gru::<E>(i, h, rng)));
    check.check("boxed trainable cell", |i, h, rng| BoxedTrainableCell::new(gru::<E>(i, h, rng)));
    check.check("multi of a vec", |i, h, rng| stack(vec![gru::<E>(i, h, rng), gru(h, h, rng), gru(h, h, rng)]));
    check.check("multi of a tuple", |i, h, rng| MultiRnnCell::new((lstm::<E>(i, h, rng), gru(3, h, rng))).unwrap());
    check.check("residual", |i, _, rng| residual(gru::<E>(i, i, rng)));
    check.check("dropout", |i, h, rng| dropout(gru::<E>(i, h, rng), 1.0, false));
    check.check("dropout of the state", |i, h, rng| dropout(lstm::<E>(i, h, rng), 0.7, false));
    check.check("dropout, variational", |i, h, rng| dropout(lstm::<E>(i, h, rng), 0.7, true));
    check.check("highway", |i, _, rng| highway(gru::<E>(i, i, rng), true, rng));
    check.check("highway, uncoupled", |i, _, rng| highway(gru::<E>(i, i, rng), false, rng));
    check.check("attention, luong", |i, h, rng| {
        let luong = LuongAttention::builder(h).memory_depth(DEPTH).scale(true).build(rng).unwrap();
        Attending::new(gru::<E>(i + DEPTH, h, rng), [luong], None, rng)
    });
    check.check("attention, bahdanau", |i, h, rng| {
        let bahdanau = BahdanauAttention::builder(h).memory_depth(DEPTH).query_depth(3).normalize(true);
        let bahdanau = bahdanau.build(rng).unwrap();
        Attending::new(lstm::<E>(i + h, h, rng), [bahdanau], Some(vec![h]), rng)
    });
    check.check("attention, monotonic", |i, h, rng| {
        let luong = LuongMonotonicAttention::builder(3).memory_depth(DEPTH).build(rng).unwrap();
        let bahdanau = BahdanauMonotonicAttention::builder(h).memory_depth(DEPTH).query_depth(3).build(rng).unwrap();
        let cell = dropout(lstm::<E>(i + 1 + h, h, rng), 0.7, false);
        Attending::new(cell, [luong, bahdanau], Some(vec![1, h]), rng)
    });
    check.check("residual of a highway of dropout of a stack", |i, h, rng| {
        let lower = BoxedTrainableCell::new(dropout(lstm::<E>(i, h, rng), 0.7, false));
        let layers = vec![lower, BoxedTrainableCell::new(gru(3, i, rng))];
        residual(highway(dropout(stack(layers), 0.6, true), true, rng))
    });
}

pub fn gru<E: Float>(input: usize, hidden: usize, rng: &mut Rng) -> Gru<E> {
    randomized(Gru::new(input, hidden, rng), rng)
}

/// With a projection to 3.
pub fn lstm<E: Float>(input: usize, hidden: usize, rng: &mut Rng) -> Lstm<E> {
    randomized(Lstm::builder(input, hidden).num_proj(3).build(rng).unwrap(), rng)
}

pub fn stack<C: RnnCell>(cells: Vec<C>) -> MultiRnnCell<Vec<C>> {
    MultiRnnCell::new(cells).unwrap()
}

pub fn residual<C: RnnCell>(cell: C) -> ResidualWrapper<C> {
    ResidualWrapper::new(cell).unwrap()
}

pub fn dropout<C: RnnCell>(cell: C, state_keep_prob: f64, variational: bool) -> DropoutWrapper<C> {
    let builder = DropoutWrapper::builder(cell).input_keep_prob(0.8).output_keep_prob(0.7);
    builder.state_keep_prob(state_keep_prob).variational_recurrent(variational).build().unwrap()
}

pub fn highway<C: RnnCell + ParametersMut<C::Elem>>(cell: C, coupled: bool, rng: &mut Rng) -> HighwayWrapper<C> {
    let highway = HighwayWrapper::builder(cell).couple_carry_transform_gates(coupled).build(rng).unwrap();
    randomized(highway, rng)
}

/// The cell with random numbers in all its weights. Initial biases of 0 would hide mistakes.
pub fn randomized<E: Float, P: ParametersMut<E>>(mut cell: P, rng: &mut Rng) -> P {
    cell.visit_parameters_mut(&mut |_, mut weight| weight.mapv_inplace(|_| number(rng, 0.5)));
    cell
}

/// Uniform in ±`limit`.
pub fn number<E: Float>(rng: &mut Rng, limit: f64) -> E {
    E::of(rng.random_range(-limit..limit))
}

pub fn array<E: Float>(shape: (usize, usize, usize), rng: &mut Rng) -> Array3<E> {
    Array3::from_shape_simple_fn(shape, || number(rng, 2.0))
}

/// A state of random numbers, with dropout on if the cell has any.
pub fn state<C: RnnCell>(cell: &C, batch: usize, rng: &mut Rng) -> C::State {
    let mut state = cell.training_state(batch, rng.random());
    state.visit_mut(&mut |mut leaf| leaf.mapv_inplace(|_| number(rng, 1.0)));
    state
}

/// The leaves of a state.
pub fn leaves<E: Float, S: State<E>>(state: &S) -> Vec<Array2<E>> {
    let mut leaves = Vec::new();
    state.visit(&mut |leaf| leaves.push(leaf.to_owned()));
    leaves
}

/// All numbers of a run in one row, to compare with another run.
pub fn numbers<E: Float, S: State<E>>(outputs: ArrayView3<E>, state: &S) -> Vec<E> {
    outputs.iter().copied().chain(leaves(state).iter().flat_map(|leaf| leaf.iter().copied())).collect()
}

/// Runs `cell` step by step, without a driver, over `x` (batch, seq, input).
pub fn by_steps<C: RnnCell>(cell: &C, x: ArrayView3<C::Elem>, mut state: C::State) -> (Array3<C::Elem>, C::State) {
    let (batch, seq, _) = x.dim();
    let mut outputs = Array3::zeros((batch, seq, cell.output_size()));
    let mut workspace = C::Workspace::default();
    for (input, mut output) in x.axis_iter(Axis(1)).zip(outputs.axis_iter_mut(Axis(1))) {
        cell.step(&input, &mut state, &mut output, &mut workspace);
    }
    (outputs, state)
}

/// A cell whose output and state are its input. It shows what a wrapper did to the input.
#[derive(Debug, Clone)]
pub struct Echo(pub usize);

impl RnnCell for Echo {
    type Elem = f64;
    type State = Array2<f64>;
    type Workspace = ();
    fn input_size(&self) -> usize {
        self.0
    }
    fn output_size(&self) -> usize {
        self.0
    }
    fn zero_state(&self, batch: usize) -> Array2<f64> {
        Array2::zeros((batch, self.0))
    }
    fn step(&self, input: &ArrayRef2<f64>, state: &mut Array2<f64>, output: &mut ArrayRef2<f64>, _: &mut ()) {
        state.assign(input);
        output.assign(input);
    }
}

impl Parameters<f64> for Echo {}

impl ParametersMut<f64> for Echo {}

/// [`DynamicRnn`] with options that may be left out.
pub fn driver<'a, C: RnnCell>(
    cell: &'a C,
    lengths: Option<&'a [usize]>,
    initial: Option<C::State>,
) -> DynamicRnn<'a, 'a, C> {
    let mut driver = DynamicRnn::new(cell);
    if let Some(lengths) = lengths {
        driver = driver.sequence_length(lengths);
    }
    if let Some(initial) = initial {
        driver = driver.initial_state(initial);
    }
    driver
}

/// The same for both directions with one cell.
pub fn driver_both<'a, C: RnnCell>(
    cell: &'a C,
    lengths: Option<&'a [usize]>,
    initial: [Option<C::State>; 2],
) -> BidirectionalRnn<'a, 'a, C> {
    let mut driver = BidirectionalRnn::new(cell, cell);
    if let Some(lengths) = lengths {
        driver = driver.sequence_length(lengths);
    }
    let [fw, bw] = initial;
    if let Some(fw) = fw {
        driver = driver.initial_state_fw(fw);
    }
    if let Some(bw) = bw {
        driver = driver.initial_state_bw(bw);
    }
    driver
}
