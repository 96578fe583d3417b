//! A random cell as a value that proptest draws, prints and shrinks: any cell and option, wrapped and stacked freely.

// Each test file uses only a part of this.
#![allow(dead_code)]

use crate::common::{Rng, randomized};
use ndarray::{Array2, ArrayRef2};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use rnn_cell::GruReset;
use rnn_cell::train::{BoxedTrainableCell, StepBack, TrainableCell};
use rnn_cell::{
    Activation, BasicRnn, BoxedCell, DropoutWrapper, Float, Gru, HighwayWrapper, LayerNormLstm, Lstm, MultiRnnCell,
    Parameters, ParametersMut, ResidualWrapper, RnnCell, Ugrnn,
};
use std::ops::Range;

/// Runs the same `cases` cases every time, so that only the change is judged; half as many without the feature `slow`.
/// `PROPTEST_CASES` or `PROPTEST_RNG_SEED` give new ones. Failures are kept in a file beside the test and tried first
/// from then on.
pub fn config(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if cfg!(feature = "slow") { cases } else { cases / 2 };
    let search = ["PROPTEST_CASES", "PROPTEST_RNG_SEED"].map(|name| std::env::var_os(name).is_some());
    ProptestConfig {
        cases: if search[0] { config.cases } else { cases },
        rng_seed: if search.contains(&true) { config.rng_seed } else { RngSeed::Fixed(1) },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..config
    }
}

/// Cuts 0..seq into pieces, some possibly empty.
pub fn pieces(seq: usize, cuts: &[Index]) -> Vec<Range<usize>> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(seq + 1)).chain([0, seq]).collect();
    ends.sort_unstable();
    ends.windows(2).map(|piece| piece[0]..piece[1]).collect()
}

#[derive(Debug, Clone)]
pub enum Description {
    /// A user's cell that implements only the step.
    Leaky {
        hidden: usize,
    },
    BasicRnn {
        hidden: usize,
        activation: Activation,
        use_bias: bool,
    },
    Gru {
        hidden: usize,
        reset: GruReset,
        activation: Activation,
        gate_activation: Activation,
        use_bias: bool,
    },
    Lstm(LstmDescription),
    LayerNormLstm {
        hidden: usize,
        layer_norm: bool,
        keep: f64,
        activation: Activation,
    },
    Ugrnn {
        hidden: usize,
        activation: Activation,
    },
    Stack(Vec<Description>),
    /// A stack of one to four cells of different types.
    Tuple(Vec<Description>),
    Residual(Box<Description>),
    Highway {
        cell: Box<Description>,
        coupled: bool,
    },
    Dropout {
        cell: Box<Description>,
        input: f64,
        output: f64,
        state: f64,
        variational: bool,
    },
}

#[derive(Debug, Clone)]
pub struct LstmDescription {
    hidden: usize,
    activation: Activation,
    gate_activation: Activation,
    use_bias: bool,
    use_peepholes: bool,
    forget_bias: f64,
    cell_clip: Option<f64>,
    num_proj: Option<usize>,
    proj_clip: Option<f64>,
}

/// Wrappers around the cell of a description that cannot be trained.
#[derive(Debug, Clone, Copy)]
pub enum Around {
    Nothing,
    ResidualFunction,
    StackOfBoxedCells,
}

const ACTIVATIONS: [Activation; 7] = [
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Softsign,
    Activation::HardSigmoid,
    Activation::Elu,
    Activation::Relu,
    Activation::Linear,
];

/// Any cell, its layers `hidden` wide.
pub fn description(hidden: impl Strategy<Value = usize> + Clone + 'static) -> impl Strategy<Value = Description> {
    leaf(hidden)
        .prop_recursive(3, 8, 3, |inner| (vec(inner, 1..=4), wrap()).prop_map(|(layers, wrap)| wrap.around(layers)))
}

/// What is built from some layers. Shrinking ends at `Bare`, and thus at what was inside.
#[derive(Debug, Clone)]
enum Wrap {
    Bare,
    Stack,
    Tuple,
    Residual,
    Highway { coupled: bool },
    Dropout { keep: [f64; 3], variational: bool },
}

fn wrap() -> impl Strategy<Value = Wrap> {
    prop_oneof![
        2 => Just(Wrap::Bare),
        1 => Just(Wrap::Stack),
        2 => Just(Wrap::Tuple),
        2 => Just(Wrap::Residual),
        2 => any::<bool>().prop_map(|coupled| Wrap::Highway { coupled }),
        3 => ([keep(), keep(), keep()], any::<bool>()).prop_map(|(keep, variational)| Wrap::Dropout { keep, variational }),
    ]
}

impl Wrap {
    fn around(self, mut layers: Vec<Description>) -> Description {
        match self {
            Self::Tuple => return Description::Tuple(layers),
            Self::Stack => return Description::Stack(layers),
            _ => {}
        }
        let cell = if layers.len() == 1 { layers.remove(0) } else { Description::Stack(layers) };
        match self {
            Self::Residual => Description::Residual(Box::new(cell)),
            Self::Highway { coupled } => Description::Highway { cell: Box::new(cell), coupled },
            Self::Dropout { keep: [input, output, state], variational } => {
                Description::Dropout { cell: Box::new(cell), input, output, state, variational }
            }
            Self::Bare | Self::Stack | Self::Tuple => cell,
        }
    }
}

fn leaf(hidden: impl Strategy<Value = usize> + Clone + 'static) -> impl Strategy<Value = Description> {
    let activation = || select(&ACTIVATIONS[..]);
    let reset = select(&[GruReset::Before, GruReset::After][..]);
    prop_oneof![
        1 => hidden.clone().prop_map(|hidden| Description::Leaky { hidden }),
        2 => (hidden.clone(), activation(), any::<bool>())
            .prop_map(|(hidden, activation, use_bias)| Description::BasicRnn { hidden, activation, use_bias }),
        3 => (hidden.clone(), reset, activation(), gate_activation(), any::<bool>()).prop_map(
            |(hidden, reset, activation, gate_activation, use_bias)| {
                Description::Gru { hidden, reset, activation, gate_activation, use_bias }
            }
        ),
        4 => lstm(hidden.clone()).prop_map(Description::Lstm),
        1 => (hidden.clone(), activation()).prop_map(|(hidden, activation)| Description::Ugrnn { hidden, activation }),
        2 => (hidden, any::<bool>(), keep(), activation()).prop_map(|(hidden, layer_norm, keep, activation)| {
            Description::LayerNormLstm { hidden, layer_norm, keep, activation }
        }),
    ]
}

fn lstm(hidden: impl Strategy<Value = usize> + Clone) -> impl Strategy<Value = LstmDescription> {
    let clip = || proptest::option::of(select(&[0.25, 0.05][..]));
    (
        (hidden.clone(), proptest::option::of(hidden)),
        (select(&ACTIVATIONS[..]), gate_activation()),
        (any::<bool>(), any::<bool>(), select(&[1.0, 0.0, -0.5][..])),
        (clip(), clip()),
    )
        .prop_map(|(sizes, activations, (use_bias, use_peepholes, forget_bias), clips)| LstmDescription {
            hidden: sizes.0,
            activation: activations.0,
            gate_activation: activations.1,
            use_bias,
            use_peepholes,
            forget_bias,
            cell_clip: clips.0,
            num_proj: sizes.1,
            proj_clip: clips.1,
        })
}

/// Only activations that bound a gate. Others let states grow without end, and gradients beyond what differences show.
fn gate_activation() -> impl Strategy<Value = Activation> {
    prop_oneof![3 => Just(Activation::Sigmoid), 2 => select(&ACTIVATIONS[..4])]
}

fn keep() -> impl Strategy<Value = f64> {
    select(&[1.0, 0.8, 0.5][..])
}

impl Description {
    /// The cell of these weights, for `input` features.
    pub fn build<E: Float>(&self, input: usize, rng: &mut Rng) -> BoxedTrainableCell<E> {
        self.sized(input, false, rng)
    }

    /// The same, inside a wrapper that cannot be trained.
    pub fn build_around<E: Float>(&self, around: Around, input: usize, rng: &mut Rng) -> BoxedCell<E> {
        let cell = self.build(input, rng);
        match around {
            Around::Nothing => BoxedCell::new(cell),
            Around::ResidualFunction => BoxedCell::new(ResidualWrapper::with_residual_fn(cell, |x, y| {
                for (x, mut y) in x.rows().into_iter().zip(y.rows_mut()) {
                    y.mapv_inplace(|y| y * x[0]);
                }
            })),
            Around::StackOfBoxedCells => {
                let above = self.build(cell.output_size(), rng);
                BoxedCell::new(MultiRnnCell::new(vec![BoxedCell::new(cell), BoxedCell::new(above)]).unwrap())
            }
        }
    }

    /// The cell; if `square`, its output is as wide as its input, as residuals and highways need it.
    fn sized<E: Float>(&self, input: usize, square: bool, rng: &mut Rng) -> BoxedTrainableCell<E> {
        let width = |hidden: usize| if square { input } else { hidden };
        match self {
            Self::Leaky { hidden } => {
                BoxedTrainableCell::new(Leaky { input, hidden: width(*hidden), half: E::of(0.5) })
            }
            Self::BasicRnn { hidden, activation, use_bias } => {
                let builder = BasicRnn::builder(input, width(*hidden)).activation(*activation).use_bias(*use_bias);
                random_box(builder.build(rng).unwrap(), rng)
            }
            Self::Gru { hidden, reset, activation, gate_activation, use_bias } => {
                let builder = Gru::builder(input, width(*hidden)).reset(*reset).use_bias(*use_bias);
                let builder = builder.activation(*activation).gate_activation(*gate_activation);
                random_box(builder.build(rng).unwrap(), rng)
            }
            Self::Lstm(lstm) => random_box(lstm.build(input, square, rng), rng),
            Self::LayerNormLstm { hidden, layer_norm, keep, activation } => {
                let builder = LayerNormLstm::builder(input, width(*hidden)).layer_norm(*layer_norm);
                let builder = builder.dropout_keep_prob(*keep).activation(*activation);
                let mut cell = randomized(builder.build(rng).unwrap(), rng);
                // Normalizing a nearly constant row is too steep for differences to show gradients. Large sums vary.
                cell.visit_parameters_mut(&mut |name, mut weight| {
                    if *layer_norm && name == "kernel" {
                        weight.mapv_inplace(|weight| weight * E::of(4.0));
                    }
                });
                BoxedTrainableCell::new(cell)
            }
            Self::Ugrnn { hidden, activation } => {
                let builder = Ugrnn::builder(input, width(*hidden)).activation(*activation);
                random_box(builder.build(rng).unwrap(), rng)
            }
            Self::Stack(layers) => {
                BoxedTrainableCell::new(MultiRnnCell::new(layers_of(layers, input, square, rng)).unwrap())
            }
            Self::Tuple(layers) => tuple(layers_of(layers, input, square, rng)),
            Self::Residual(cell) => {
                BoxedTrainableCell::new(ResidualWrapper::new(cell.sized(input, true, rng)).unwrap())
            }
            Self::Highway { cell, coupled } => {
                // In a stack of one, whose parameters have a prefix: nested highways need different names.
                let inner = MultiRnnCell::new(vec![cell.sized(input, true, rng)]).unwrap();
                let builder = HighwayWrapper::builder(inner).couple_carry_transform_gates(*coupled);
                random_box(builder.build(rng).unwrap(), rng)
            }
            Self::Dropout { cell, input: keep, output, state, variational } => {
                let builder = DropoutWrapper::builder(cell.sized(input, square, rng)).input_keep_prob(*keep);
                let builder = builder.output_keep_prob(*output).state_keep_prob(*state);
                BoxedTrainableCell::new(builder.variational_recurrent(*variational).build().unwrap())
            }
        }
    }

    /// Whether the cell, or one inside, is such a leaf.
    pub fn any(&self, leaf: &dyn Fn(&Description) -> bool) -> bool {
        match self {
            Self::Stack(layers) | Self::Tuple(layers) => layers.iter().any(|layer| layer.any(leaf)),
            Self::Residual(cell) | Self::Highway { cell, .. } | Self::Dropout { cell, .. } => cell.any(leaf),
            _ => leaf(self),
        }
    }

    /// Whether some derivative of the cell jumps.
    pub fn has_kinks(&self) -> bool {
        let smooth =
            |activation: &Activation| matches!(activation, Activation::Tanh | Activation::Sigmoid | Activation::Linear);
        self.any(&|leaf| match leaf {
            Self::BasicRnn { activation, .. }
            | Self::LayerNormLstm { activation, .. }
            | Self::Ugrnn { activation, .. } => !smooth(activation),
            Self::Gru { activation, gate_activation, .. } => !smooth(activation) || !smooth(gate_activation),
            Self::Lstm(lstm) => {
                let clips = lstm.cell_clip.is_some() || lstm.num_proj.is_some() && lstm.proj_clip.is_some();
                !smooth(&lstm.activation) || !smooth(&lstm.gate_activation) || clips
            }
            _ => false,
        })
    }
}

impl LstmDescription {
    fn build<E: Float>(&self, input: usize, square: bool, rng: &mut Rng) -> Lstm<E> {
        let number = |number: f64| E::of(number);
        // With a projection, that sets the output's width.
        let hidden = if square && self.num_proj.is_none() { input } else { self.hidden };
        let mut builder = Lstm::builder(input, hidden)
            .activation(self.activation)
            .gate_activation(self.gate_activation)
            .use_bias(self.use_bias)
            .use_peepholes(self.use_peepholes)
            .forget_bias(number(self.forget_bias));
        if let Some(clip) = self.cell_clip {
            builder = builder.cell_clip(number(clip));
        }
        if let Some(num_proj) = self.num_proj {
            builder = builder.num_proj(if square { input } else { num_proj });
        }
        if let Some(clip) = self.proj_clip {
            builder = builder.proj_clip(number(clip));
        }
        builder.build(rng).unwrap()
    }
}

fn random_box<E, C>(cell: C, rng: &mut Rng) -> BoxedTrainableCell<E>
where
    E: Float,
    C: TrainableCell<Elem = E> + Send + Sync + 'static,
{
    BoxedTrainableCell::new(randomized(cell, rng))
}

fn layers_of<E: Float>(
    layers: &[Description],
    mut input: usize,
    square: bool,
    rng: &mut Rng,
) -> Vec<BoxedTrainableCell<E>> {
    let build = |layer: &Description| {
        let cell = layer.sized(input, square, rng);
        input = cell.output_size();
        cell
    };
    layers.iter().map(build).collect()
}

fn tuple<E: Float>(cells: Vec<BoxedTrainableCell<E>>) -> BoxedTrainableCell<E> {
    let mut cells = cells.into_iter();
    match std::array::from_fn(|_| cells.next()) {
        [Some(a), None, None, None] => BoxedTrainableCell::new(MultiRnnCell::new((a,)).unwrap()),
        [Some(a), Some(b), None, None] => BoxedTrainableCell::new(MultiRnnCell::new((a, b)).unwrap()),
        [Some(a), Some(b), Some(c), None] => BoxedTrainableCell::new(MultiRnnCell::new((a, b, c)).unwrap()),
        [Some(a), Some(b), Some(c), Some(d)] => BoxedTrainableCell::new(MultiRnnCell::new((a, b, c, d)).unwrap()),
        _ => unreachable!("a tuple is of one to four"),
    }
}

/// h' = h / 2 + x, units past the inputs taking the inputs again; unrolled by the provided methods alone.
struct Leaky<E> {
    input: usize,
    hidden: usize,
    half: E,
}

impl<E: Float> RnnCell for Leaky<E> {
    type Elem = E;
    type State = Array2<E>;
    type Workspace = ();

    fn input_size(&self) -> usize {
        self.input
    }
    fn output_size(&self) -> usize {
        self.hidden
    }
    fn zero_state(&self, batch: usize) -> Array2<E> {
        Array2::zeros((batch, self.hidden))
    }
    fn step(&self, input: &ArrayRef2<E>, state: &mut Array2<E>, output: &mut ArrayRef2<E>, _: &mut ()) {
        for ((row, unit), h) in state.indexed_iter_mut() {
            *h = *h * self.half + input[[row, unit % self.input]];
        }
        output.assign(state);
    }
}

impl<E: Float> Parameters<E> for Leaky<E> {}

impl<E: Float> ParametersMut<E> for Leaky<E> {}

impl<E: Float> TrainableCell for Leaky<E> {
    type Record = ();
    type Gradient = ();

    fn zero_gradient(&self) {}

    fn step_recording(&self, input: &ArrayRef2<E>, state: &mut Array2<E>, output: &mut ArrayRef2<E>, _: &mut ()) {
        self.step(input, state, output, &mut ());
    }
    fn step_backward(&self, (): (), back: StepBack<'_, Self>, _: &mut ()) {
        back.d_inputs.fill(E::default());
        for ((row, unit), d) in back.d_state.indexed_iter_mut() {
            *d += back.d_outputs[[row, unit]];
            back.d_inputs[[row, unit % self.input]] += *d;
            *d *= self.half;
        }
    }
}
