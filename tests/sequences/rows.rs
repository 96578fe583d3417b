//! Lengths, masks and resets, forward and backward, combined at random: each combination gives what plain steps of
//! single rows give, bit for bit.

use crate::differences::*;
use ndarray::{Array2, Array3, Axis, array, s};
use rand::RngExt;
use rnn_cell::train::Checkpointed;
use rnn_cell::{
    BidirectionalRnn, DynamicRnn, DynamicRnnWorkspace, Error, Gru, Lstm, LstmState, RnnCell, StackBidirectionalRnn,
    State,
};

/// A run's options and arrays, batch-major.
pub struct Problem {
    pub lengths: Option<Vec<usize>>,
    pub mask: Option<Array2<bool>>,
    pub repeat: bool,
    pub resets: Option<Array2<bool>>,
    pub to_zero: bool,
    pub time_major: bool,
    pub every: Option<usize>,
    pub x: Array3<f64>,
}

pub fn problem(rng: &mut Rng) -> Problem {
    let (batch, seq) = (rng.random_range(0..4), rng.random_range(0..7));
    let mut marks = |often: f64| {
        let is_set = rng.random_bool(0.7);
        is_set.then(|| Array2::from_shape_simple_fn((batch, seq), || rng.random_bool(often)))
    };
    let (mask, resets) = (marks(0.6), marks(0.4));
    Problem {
        lengths: rng.random_bool(0.5).then(|| (0..batch).map(|_| rng.random_range(0..=seq)).collect()),
        mask,
        repeat: rng.random(),
        resets,
        to_zero: rng.random(),
        time_major: rng.random(),
        every: rng.random_bool(0.5).then(|| rng.random_range(1..4)),
        x: random((batch, seq, 3), rng),
    }
}

pub fn laid_out<T: Clone, D: ndarray::Dimension>(
    array: &ndarray::Array<T, D>,
    time_major: bool,
) -> ndarray::Array<T, D> {
    let mut array = array.clone();
    if time_major {
        array.swap_axes(0, 1);
    }
    array.as_standard_layout().into_owned()
}

impl Problem {
    fn runs(&self, row: usize, step: usize) -> bool {
        step < self.length(row) && self.mask.as_ref().is_none_or(|mask| mask[[row, step]])
    }

    fn length(&self, row: usize) -> usize {
        self.lengths.as_ref().map_or(self.x.dim().1, |lengths| lengths[row])
    }

    /// Inputs with NaN wherever no step runs.
    pub fn given(&self) -> Array3<f64> {
        let mut x = self.x.clone();
        for ((row, step, _), x) in x.indexed_iter_mut() {
            if !self.runs(row, step) {
                *x = f64::NAN;
            }
        }
        x
    }

    /// The specification: outputs, the state after every step read, and the final state.
    fn specified<C: RnnCell<Elem = f64>>(
        &self,
        cell: &C,
        initial: &C::State,
        backward: bool,
    ) -> (Array3<f64>, Vec<C::State>, C::State) {
        let (batch, seq, _) = self.x.dim();
        let (mut outputs, mut last) = (Array3::zeros((batch, seq, cell.output_size())), initial.clone());
        let mut states = vec![initial.clone(); seq];
        for row in 0..batch {
            let start = initial.select_rows(&[row]);
            let mut fresh = start.clone();
            if self.to_zero {
                fresh.visit_mut(&mut |mut leaf| leaf.fill(0.0));
            }
            let (mut state, mut output, mut restarts) = (start, Array2::zeros((1, cell.output_size())), false);
            let mut steps: Vec<usize> = (0..self.length(row)).collect();
            if backward {
                steps.reverse();
            }
            let mut any = false;
            for &step in &steps {
                let marked = self.resets.as_ref().is_some_and(|resets| resets[[row, step]]);
                restarts |= marked && !backward;
                if self.runs(row, step) {
                    if std::mem::take(&mut restarts) && (any || !backward) {
                        state = fresh.clone();
                    }
                    any = true;
                    let x = self.x.slice(s![row..=row, step, ..]);
                    cell.step(&x, &mut state, &mut output, &mut C::Workspace::default());
                    outputs.slice_mut(s![row, step, ..]).assign(&output.row(0));
                } else if self.repeat && !backward {
                    outputs.slice_mut(s![row, step, ..]).assign(&output.row(0));
                }
                restarts |= marked && backward;
                states[step].copy_row(row, &state, 0);
            }
            for later in states.iter_mut().skip(self.length(row)) {
                later.copy_row(row, &state, 0);
            }
            last.copy_row(row, &state, 0);
        }
        (outputs, states, last)
    }

    pub fn marks(&self) -> [Option<Array2<bool>>; 2] {
        [&self.mask, &self.resets].map(|marks| marks.as_ref().map(|marks| laid_out(marks, self.time_major)))
    }
}

/// Sets the options that all builders share.
macro_rules! with_rows {
    ($driver:expr, $problem:expr, $marks:expr) => {{
        let mut driver = $driver.time_major($problem.time_major).resets_to_zero($problem.to_zero);
        if let Some(lengths) = &$problem.lengths {
            driver = driver.sequence_length(lengths);
        }
        if let Some(mask) = &$marks[0] {
            driver = driver.mask(mask);
        }
        if let Some(resets) = &$marks[1] {
            driver = driver.resets(resets);
        }
        driver
    }};
}

/// Records with or without checkpoints, with the method `record` or another one.
macro_rules! recorded {
    ($driver:expr, $problem:expr, $x:expr) => {
        recorded!($driver, $problem, $x, record)
    };
    ($driver:expr, $problem:expr, $x:expr, $record:ident) => {
        match $problem.every {
            None => $driver.$record($x).unwrap(),
            Some(every) => $driver.checkpoint_every(every).$record($x).unwrap(),
        }
    };
}

pub(crate) use {recorded, with_rows};

#[test]
fn one_way_is_plain_steps() {
    let rng = &mut rng(1);
    for _ in 0..300 {
        let (cell, problem) = (Lstm::<f64>::new(3, 2, rng), problem(rng));
        let initial = random_state(cell.zero_state(problem.x.dim().0), rng);
        let (expected, expected_states, expected_last) = problem.specified(&cell, &initial, false);
        let (x, marks) = (laid_out(&problem.given(), problem.time_major), problem.marks());
        let driver = || {
            let driver = DynamicRnn::new(&cell).repeat_masked_outputs(problem.repeat);
            with_rows!(driver, problem, marks).initial_state(initial.clone())
        };
        let check = |outputs: &Array3<f64>, last: &LstmState<f64>| {
            assert_eq!(&laid_out(outputs, problem.time_major), &expected);
            assert_eq!(last, &expected_last);
        };
        let (outputs, last) = driver().run(&x).unwrap();
        check(&outputs, &last);
        let (outputs, states, last) = driver().run_with_states(&x).unwrap();
        check(&outputs, &last);
        assert_eq!(states, expected_states);
        let (outputs, _, _) = recorded!(driver(), problem, &x);
        check(&outputs, &last);
        let mut dirty = outputs.mapv(|_| f64::NAN);
        let mut workspace = DynamicRnnWorkspace::default();
        for _ in 0..2 {
            let last = driver().run_into(&x, &mut dirty, &mut workspace).unwrap();
            check(&dirty, &last);
        }
    }
}

#[test]
fn both_ways_are_plain_steps() {
    let rng = &mut rng(2);
    for _ in 0..200 {
        let (fw, bw, mut problem) = (Lstm::<f64>::new(3, 2, rng), Gru::<f64>::new(3, 1, rng), problem(rng));
        problem.repeat = false;
        let batch = problem.x.dim().0;
        let initial = (random_state(fw.zero_state(batch), rng), random_state(bw.zero_state(batch), rng));
        let (expected_fw, _, last_fw) = problem.specified(&fw, &initial.0, false);
        let (expected_bw, _, last_bw) = problem.specified(&bw, &initial.1, true);
        let (x, marks) = (laid_out(&problem.given(), problem.time_major), problem.marks());
        let driver = || {
            let driver = with_rows!(BidirectionalRnn::new(&fw, &bw), problem, marks);
            driver.initial_state_fw(initial.0.clone()).initial_state_bw(initial.1.clone())
        };
        let (plain, states) = driver().run(&x).unwrap();
        let (recorded, recorded_states, _) = recorded!(driver(), problem, &x);
        for (outputs, states) in [(plain, states), (recorded, recorded_states)] {
            assert_eq!(laid_out(&outputs.0, problem.time_major), expected_fw);
            assert_eq!(laid_out(&outputs.1, problem.time_major), expected_bw);
            assert_eq!(states, (last_fw.clone(), last_bw.clone()));
        }
        let (cells_fw, cells_bw) = ([fw.clone()], [bw.clone()]);
        let stack = with_rows!(StackBidirectionalRnn::new(&cells_fw, &cells_bw), problem, marks);
        let stack = stack.initial_states_fw(vec![initial.0.clone()]).initial_states_bw(vec![initial.1.clone()]);
        let (outputs, states_fw, states_bw) = stack.run(&x).unwrap();
        let expected = ndarray::concatenate![Axis(2), expected_fw, expected_bw];
        assert_eq!(laid_out(&outputs, problem.time_major), expected);
        assert_eq!((&states_fw[0], &states_bw[0]), (&last_fw, &last_bw));
    }
}

/// In a bidirectional run each piece between two resets is a row of its own.
#[test]
fn resets_make_rows_of_pieces_in_both_directions() {
    let rng = &mut rng(5);
    let (fw, bw) = (Gru::<f64>::new(3, 2, rng), Gru::<f64>::new(3, 2, rng));
    let x = random((1, 7, 3), rng);
    let resets = array![[true, false, false, true, false, true, false]];
    let (outputs, states) = BidirectionalRnn::new(&fw, &bw).resets(&resets).run(&x).unwrap();
    for piece in [0..3, 3..5, 5..7] {
        let part = s![.., piece.clone(), ..];
        let (alone, alone_states) = BidirectionalRnn::new(&fw, &bw).run(&x.slice(part)).unwrap();
        assert_eq!((outputs.0.slice(part), outputs.1.slice(part)), (alone.0.view(), alone.1.view()));
        if piece.end == 7 {
            assert_eq!(states.0, alone_states.0);
        }
        if piece.start == 0 {
            assert_eq!(states.1, alone_states.1);
        }
    }
}

#[test]
fn marks_of_another_shape_are_errors() {
    let cell = Gru::<f64>::new(3, 2, &mut rng(6));
    let (x, turned) = (Array3::zeros((2, 3, 3)), Array2::from_elem((3, 2), true));
    let both = || BidirectionalRnn::new(&cell, &cell);
    let cells = [cell.clone()];
    let stack = || StackBidirectionalRnn::new(&cells, &cells);
    let found: [(Error, &str); 7] = [
        (DynamicRnn::new(&cell).mask(&turned).run(&x).unwrap_err(), "mask"),
        (DynamicRnn::new(&cell).mask(&turned).record(&x).map(|_| ()).unwrap_err(), "mask"),
        (DynamicRnn::new(&cell).resets(&turned).resets_to_zero(true).run(&x).unwrap_err(), "resets"),
        (both().mask(&turned).run(&x).unwrap_err(), "mask"),
        (both().resets(&turned).run(&x).unwrap_err(), "resets"),
        (stack().mask(&turned).run(&x).unwrap_err(), "mask"),
        (stack().resets(&turned).run(&x).unwrap_err(), "resets"),
    ];
    for (error, name) in found {
        assert_eq!(error.to_string(), format!("{name} has shape [3, 2], but must have [2, 3]"));
    }
    let checkpointed: Checkpointed<_> = DynamicRnn::new(&cell).mask(&turned).checkpoint_every(2);
    assert!(checkpointed.record(&x).is_err());
}
