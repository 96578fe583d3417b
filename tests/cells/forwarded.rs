//! A cell, a state and weights that override every provided method: whatever holds one must call the override.

use ndarray::{Array1, Array2, Array3, ArrayD, ArrayRef2, ArrayRef3, ArrayView2, ArrayViewD, ArrayViewMut2, Axis};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{Back, BoxedTrainableCell, Gradients, RunBack, StepBack, TrainableCell};
use rnn_cell::{
    Bidirectional, BoxedCell, DropoutState, DropoutWrapper, DynState, Float, HighwayWrapper, MultiRnnCell, Parameters,
    ParametersMut, ResidualWrapper, RnnCell, State,
};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    /// The overrides that ran.
    static CALLED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

fn called(method: &'static str) {
    CALLED.with_borrow_mut(|called| called.push(method));
}

/// Runs `run` and returns the overrides that it called.
fn calls(run: impl FnOnce()) -> Vec<&'static str> {
    CALLED.take();
    run();
    CALLED.take()
}

/// A state of two leaves, one of which may be dropped.
#[derive(Clone)]
struct Loud([Array2<f64>; 2]);

impl State<f64> for Loud {
    fn batch_size(&self) -> usize {
        self.0[0].nrows()
    }
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, f64>)) {
        self.0.iter().for_each(|leaf| visit(leaf.view()));
    }
    fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, f64>)) {
        self.0.iter_mut().for_each(|leaf| visit(leaf.view_mut()));
    }
    fn select_rows(&self, rows: &[usize]) -> Self {
        Self([0, 1].map(|leaf| self.0[leaf].select(Axis(0), rows)))
    }
    fn truncate_rows(&mut self, rows: usize) {
        self.0.iter_mut().for_each(|leaf| State::<f64>::truncate_rows(leaf, rows));
    }
    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
        self.0.iter_mut().zip(&from.0).for_each(|(to, from)| to.copy_row(row, from, from_row));
    }
    fn copy_from(&mut self, from: &Self) {
        called("copy_from");
        self.0.clone_from(&from.0);
    }
    fn set_to_zero(&mut self) {
        called("set_to_zero");
    }
    fn visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, f64>)) {
        called("visit_droppable_mut");
        visit(self.0[1].view_mut());
    }
    fn seed_dropout(&mut self, _: Option<u64>) {
        called("seed_dropout");
    }
}

/// Adds a weight to its input.
#[derive(Clone)]
struct Shout(Array1<f64>);

impl RnnCell for Shout {
    type Elem = f64;
    type State = Loud;
    type Workspace = ();

    fn input_size(&self) -> usize {
        self.0.len()
    }
    fn output_size(&self) -> usize {
        self.0.len()
    }
    fn zero_state(&self, batch: usize) -> Loud {
        Loud([0, 1].map(|_| Array2::zeros((batch, self.0.len()))))
    }
    fn training_state(&self, batch: usize, _: u64) -> Loud {
        called("training_state");
        self.zero_state(batch)
    }
    fn step(&self, input: &ArrayRef2<f64>, _: &mut Loud, output: &mut ArrayRef2<f64>, (): &mut ()) {
        output.assign(&(&input.view() + &self.0));
    }
    fn unroll(&self, inputs: &ArrayRef3<f64>, _: &mut Loud, outputs: &mut ArrayRef3<f64>, (): &mut ()) {
        called("unroll");
        outputs.assign(&(&inputs.view() + &self.0));
    }
}

impl Parameters<f64> for Shout {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, f64>)) {
        visit("loud", self.0.view().into_dyn());
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<f64>)) {
        called("take_parameters");
        take("loud", self.0.into_dyn());
    }
}

impl ParametersMut<f64> for Shout {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ndarray::ArrayViewMutD<'_, f64>)) {
        called("visit_parameters_mut");
        visit("loud", self.0.view_mut().into_dyn());
    }
}

impl TrainableCell for Shout {
    type Record = ();
    type Gradient = Self;

    fn zero_gradient(&self) -> Self {
        Self(Array1::zeros(self.0.len()))
    }
    fn step_recording(&self, x: &ArrayRef2<f64>, state: &mut Loud, output: &mut ArrayRef2<f64>, (): &mut ()) {
        self.step(x, state, output, &mut ());
    }
    fn step_backward(&self, (): (), back: StepBack<'_, Self>, (): &mut ()) {
        back.gradient.0 += &back.d_outputs.sum_axis(Axis(0));
        back.d_inputs.assign(back.d_outputs);
    }
    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<f64>,
        state: &mut Loud,
        outputs: &mut ArrayRef3<f64>,
        records: &mut Vec<()>,
        (): &mut (),
    ) {
        called("unroll_recording");
        self.unroll(inputs, state, outputs, &mut ());
        records.push(());
    }
    fn unroll_backward(&self, records: &mut Vec<()>, back: RunBack<'_, Self>, (): &mut ()) {
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let part = Back { inputs, d_outputs, d_state: &mut *d_state, d_inputs, gradient: &mut *gradient };
        self.part_backward(records, part, &mut ());
        self.finish_backward(d_state, gradient, &mut ());
    }
    fn part_backward(&self, records: &mut Vec<()>, back: RunBack<'_, Self>, (): &mut ()) {
        called("part_backward");
        records.pop().unwrap();
        back.d_inputs.assign(back.d_outputs);
    }
    fn finish_backward(&self, _: &mut Loud, gradient: &mut Self, (): &mut ()) {
        called("finish_backward");
        gradient.0 += 1.0;
    }
}

fn shout() -> Shout {
    Shout(Array1::ones(3))
}

/// `inside` says how many of these cells are in `cell`.
fn cell_is_heard<C: RnnCell<Elem = f64>>(name: &str, inside: usize, cell: &C) {
    let expected = |method: &'static str| vec![method; inside];
    assert_eq!(calls(|| _ = cell.training_state(2, 7)), expected("training_state"), "{name}");
    let (x, mut y) = (Array3::ones((4, 2, 3)), Array3::zeros((4, 2, 3)));
    let mut state = cell.zero_state(2);
    let unroll = calls(|| cell.unroll(&x, &mut state, &mut y, &mut C::Workspace::default()));
    assert_eq!(unroll, expected("unroll"), "{name}");
    state_is_heard(name, inside, &mut state);
}

fn state_is_heard<S: State<f64>>(name: &str, inside: usize, state: &mut S) {
    let expected = |method: &'static str| vec![method; inside];
    let other = state.select_rows(&[0]);
    assert_eq!(calls(|| state.copy_from(&other)), expected("copy_from"), "{name}");
    assert_eq!(state.batch_size(), 1, "{name}");
    let mut leaves = 0;
    let visits = calls(|| state.visit_droppable_mut(&mut |_| leaves += 1));
    assert_eq!((visits, leaves), (expected("visit_droppable_mut"), inside), "{name}");
    assert_eq!(calls(|| state.seed_dropout(Some(1))), expected("seed_dropout"), "{name}");
    assert_eq!(calls(|| state.set_to_zero()), expected("set_to_zero"), "{name}");
}

fn weights_are_heard<P: ParametersMut<f64>>(name: &str, inside: usize, mut parameters: P) {
    let expected = |method: &'static str| vec![method; inside];
    let visits = calls(|| parameters.visit_parameters_mut(&mut |_, _| ()));
    assert_eq!(visits, expected("visit_parameters_mut"), "{name}");
    let count = parameters.parameter_count();
    let mut taken = 0;
    let takes = calls(|| parameters.take_parameters(&mut |_, array| taken += array.len()));
    assert_eq!((takes, taken), (expected("take_parameters"), count), "{name}");
}

fn trainable_is_heard<C: TrainableCell<Elem = f64>>(name: &str, inside: usize, cell: &C) {
    cell_is_heard(name, inside, cell);
    let (x, mut y) = (Array3::ones((4, 2, 3)), Array3::zeros((4, 2, 3)));
    let (mut state, mut records, mut workspace) = (cell.zero_state(2), Vec::new(), C::Workspace::default());
    let forward = calls(|| cell.unroll_recording(&x, &mut state, &mut y, &mut records, &mut workspace));
    assert_eq!(forward, ["unroll_recording", "unroll"].repeat(inside), "{name}");
    let (mut d_x, mut gradient) = (Array3::zeros((4, 2, 3)), cell.zero_gradient());
    let back = RunBack::<C> {
        inputs: &x,
        d_outputs: &y,
        d_state: &mut cell.zero_state(2),
        d_inputs: &mut d_x,
        gradient: &mut gradient,
    };
    let backward = calls(|| cell.unroll_backward(&mut records, back, &mut workspace));
    assert_eq!(backward, [vec!["part_backward"; inside], vec!["finish_backward"; inside]].concat(), "{name}");
    cell.unroll_recording(&x, &mut state, &mut y, &mut records, &mut workspace);
    let mut d_state = cell.zero_state(2);
    let back =
        RunBack::<C> { inputs: &x, d_outputs: &y, d_state: &mut d_state, d_inputs: &mut d_x, gradient: &mut gradient };
    let backward = calls(|| cell.part_backward(&mut records, back, &mut workspace));
    assert_eq!(backward, vec!["part_backward"; inside], "{name}");
    let finish = calls(|| cell.finish_backward(&mut d_state, &mut gradient, &mut workspace));
    assert_eq!(finish, vec!["finish_backward"; inside], "{name}");
    assert_eq!(calls(|| _ = Gradients::of(gradient)), vec!["take_parameters"; inside], "{name}");
}

#[test]
fn every_wrapper_calls_what_a_cell_overrides() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let dropout = || DropoutWrapper::builder(shout()).build().unwrap();
    let residual = || ResidualWrapper::new(shout()).unwrap();
    let mut highway = || HighwayWrapper::builder(shout()).build(rng).unwrap();
    let list = || MultiRnnCell::new(vec![shout(), shout()]).unwrap();
    let one = || MultiRnnCell::new((shout(),)).unwrap();
    let tuple = || MultiRnnCell::new((shout(), residual(), dropout(), shout())).unwrap();
    let nested = || DropoutWrapper::builder(MultiRnnCell::new(vec![BoxedTrainableCell::new(residual())]).unwrap());
    macro_rules! heard {
        ($($name:literal $inside:literal $make:expr,)+) => {$(
            trainable_is_heard($name, $inside, &$make);
            weights_are_heard($name, $inside, $make);
        )+};
    }
    heard! {
        "a cell" 1 shout(),
        "dropout" 1 dropout(),
        "residual" 1 residual(),
        "highway" 1 highway(),
        "stack of a list" 2 list(),
        "stack of one" 1 one(),
        "stack of a tuple" 4 tuple(),
        "boxed trainable cell" 1 BoxedTrainableCell::new(shout()),
        "nested" 1 nested().build().unwrap(),
    }
    trainable_is_heard("box", 1, &Box::new(shout()));
    cell_is_heard("boxed cell", 1, &BoxedCell::new(shout()));
    weights_are_heard("boxed cell", 1, BoxedCell::new(shout()));
    cell_is_heard("reference", 1, &&shout());
    cell_is_heard("arc", 1, &Arc::new(shout()));
    let residual = ResidualWrapper::with_residual_fn(shout(), |_, _| ());
    cell_is_heard("residual function", 1, &residual);
    weights_are_heard("residual function", 1, residual);
    weights_are_heard("two directions", 2, Bidirectional { fw: shout(), bw: shout() });
    weights_are_heard("a list", 2, vec![shout(), shout()]);
    weights_are_heard("a tuple", 3, (shout(), shout(), shout()));
}

#[test]
fn every_state_calls_what_a_state_overrides() {
    let loud = || shout().zero_state(2);
    state_is_heard("a state", 1, &mut loud());
    state_is_heard("a list", 2, &mut vec![loud(), loud()]);
    state_is_heard("a tuple", 4, &mut (loud(), loud(), loud(), loud()));
    state_is_heard("dropout", 1, &mut DropoutState::new(loud()));
    state_is_heard("any", 1, &mut DynState::new(loud()));
    // Copied from a state of another type, it becomes that.
    let mut any = DynState::new(loud());
    any.copy_from(&DynState::new(Array2::<f64>::ones((3, 3))));
    assert_eq!(any.downcast_ref(), Some(&Array2::<f64>::ones((3, 3))));
}

/// A training state is the same whether a wrapper makes it or the seed is set afterwards.
#[test]
fn a_training_state_is_a_seeded_zero_state() {
    fn check<C: RnnCell>(cell: &C)
    where
        C::State: PartialEq + std::fmt::Debug,
    {
        let mut seeded = cell.zero_state(3);
        seeded.seed_dropout(Some(9));
        assert_eq!(cell.training_state(3, 9), seeded);
    }
    fn lstm<E: Float>() -> rnn_cell::LayerNormLstm<E> {
        rnn_cell::LayerNormLstm::new(4, 4, &mut Xoshiro256PlusPlus::seed_from_u64(1))
    }
    let dropout = || DropoutWrapper::builder(lstm::<f32>()).input_keep_prob(0.5).build().unwrap();
    check(&dropout());
    check(&MultiRnnCell::new((dropout(), ResidualWrapper::new(dropout()).unwrap())).unwrap());
    check(&DropoutWrapper::builder(MultiRnnCell::new(vec![dropout(), dropout()]).unwrap()).build().unwrap());
}
