//! The arguments of a backward step must fit together. If they do not, it panics and never touches invalid memory.

use crate::common::{gru_options, layer_norm_lstm_options, lstm_options, rng};
use ndarray::Array3;
use rnn_cell::train::{Back, TrainableCell};
use rnn_cell::{BasicRnn, Gru, HighwayWrapper, LayerNormLstm, Lstm, MultiRnnCell, ResidualWrapper};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Shape = (usize, usize, usize);

/// One call of `unroll_backward`: who made the record, gradients and state, and the shapes of the arrays.
struct Call<'a, C> {
    /// Runs forward on (seq, batch).
    recorded: (&'a C, usize, usize),
    gradients: &'a C,
    state: (&'a C, usize),
    inputs: Shape,
    d_inputs: Shape,
    d_outputs: Shape,
}

impl<C: TrainableCell<Elem = f32>> Call<'_, C> {
    fn panics(self, cell: &C) -> bool {
        let Self { recorded: (other, seq, batch), gradients, state, inputs, d_inputs, d_outputs } = self;
        let mut workspace = C::Workspace::default();
        let mut records = Vec::new();
        let x = Array3::from_elem((seq, batch, other.input_size()), 0.5);
        let mut outputs = Array3::zeros((seq, batch, other.output_size()));
        other.unroll_recording(&x, &mut other.zero_state(batch), &mut outputs, &mut records, &mut workspace);
        let mut gradient = gradients.zero_gradient();
        let (x, d_outputs) = (Array3::from_elem(inputs, 0.5), Array3::from_elem(d_outputs, 0.5));
        let (mut d_state, mut d_inputs) = (state.0.zero_state(state.1), Array3::zeros(d_inputs));
        let run = || {
            let (d_state, d_inputs, gradient) = (&mut d_state, &mut d_inputs, &mut gradient);
            let back = Back { inputs: &x, d_outputs: &d_outputs, d_state, d_inputs, gradient };
            cell.unroll_backward(&mut records, back, &mut workspace);
        };
        catch_unwind(AssertUnwindSafe(run)).is_err()
    }
}

/// `others` have the same input size and differ in something else.
fn check<C: TrainableCell<Elem = f32>>(name: &str, cell: &C, others: &[C]) {
    let (seq, batch, input, output) = (3, 4, cell.input_size(), cell.output_size());
    let fits = || Call {
        recorded: (cell, seq, batch),
        gradients: cell,
        state: (cell, batch),
        inputs: (seq, batch, input),
        d_inputs: (seq, batch, input),
        d_outputs: (seq, batch, output),
    };
    assert!(!fits().panics(cell), "{name}: what fits");
    for inputs in [
        (seq + 1, batch, input),
        (seq - 1, batch, input),
        (seq, batch + 1, input),
        (seq, batch - 1, input),
        (seq, batch, input + 1),
        (seq, batch, input - 1),
        (batch, seq, input),
    ] {
        assert!(Call { inputs, ..fits() }.panics(cell), "{name}: inputs {inputs:?}");
        assert!(Call { d_inputs: inputs, ..fits() }.panics(cell), "{name}: d_inputs {inputs:?}");
        assert!(Call { inputs, d_inputs: inputs, ..fits() }.panics(cell), "{name}: inputs and d_inputs {inputs:?}");
        let (steps, rows, _) = inputs;
        let d_outputs = (steps, rows, output + inputs.2 - input);
        assert!(Call { d_outputs, ..fits() }.panics(cell), "{name}: d_outputs {d_outputs:?}");
        let all = Call { inputs, d_inputs: inputs, d_outputs, ..fits() };
        assert!(all.panics(cell), "{name}: all {inputs:?}");
        if inputs.2 == input {
            let all = Call { inputs, d_inputs: inputs, d_outputs, state: (cell, rows), ..fits() };
            assert!(all.panics(cell), "{name}: all and the state {inputs:?}");
            let recorded = Call { recorded: (cell, steps, rows), ..fits() };
            assert!(recorded.panics(cell), "{name}: a record of {inputs:?}");
        }
    }
    for rows in [batch + 1, batch - 1] {
        assert!(Call { state: (cell, rows), ..fits() }.panics(cell), "{name}: a state of {rows} rows");
    }
    for (at, other) in others.iter().enumerate() {
        let d_outputs = (seq, batch, other.output_size());
        let record = || Call { recorded: (other, seq, batch), ..fits() };
        assert!(record().panics(cell), "{name}: a record of cell {at}");
        let all = Call { state: (other, batch), d_outputs, ..record() };
        assert!(all.panics(cell), "{name}: a record, a state and outputs of cell {at}");
        let all = Call { state: (other, batch), d_outputs, gradients: other, ..record() };
        assert!(all.panics(cell), "{name}: all of cell {at}");
        assert!(Call { gradients: other, ..fits() }.panics(cell), "{name}: gradients of cell {at}");
    }
}

#[test]
fn basic_rnn() {
    let rng = &mut rng(1);
    let others = [1, 4, 6, 40].map(|hidden| BasicRnn::new(3, hidden, rng));
    check("basic_rnn", &BasicRnn::new(3, 5, rng), &others);
}

#[test]
fn lstm() {
    for (name, options) in lstm_options() {
        let rng = &mut rng(2);
        let others = [1, 4, 6, 40].map(|hidden| options(Lstm::builder(3, hidden)).build(rng).unwrap());
        check(name, &options(Lstm::builder(3, 5)).build(rng).unwrap(), &others);
    }
    // State and outputs have the same shape, but the records do not.
    let rng = &mut rng(3);
    let (plain, projected) = (Lstm::new(3, 5, rng), Lstm::builder(3, 5).num_proj(5).build(rng).unwrap());
    check("record of a projection", &plain, std::slice::from_ref(&projected));
    check("record without a projection", &projected, &[plain]);
}

#[test]
fn gru() {
    for (name, options) in gru_options() {
        let rng = &mut rng(4);
        let others = [1, 4, 6, 40].map(|hidden| options(Gru::builder(3, hidden)).build(rng).unwrap());
        check(name, &options(Gru::builder(3, 5)).build(rng).unwrap(), &others);
    }
}

#[test]
fn layer_norm_lstm() {
    for (name, options) in layer_norm_lstm_options() {
        let rng = &mut rng(5);
        let others = [1, 4, 6, 40].map(|hidden| options(LayerNormLstm::builder(3, hidden)).build(rng).unwrap());
        check(name, &options(LayerNormLstm::builder(3, 5)).build(rng).unwrap(), &others);
    }
}

#[test]
fn wrappers() {
    let rng = &mut rng(6);
    check("residual", &ResidualWrapper::new(Gru::new(3, 3, rng)).unwrap(), &[]);
    check("highway", &HighwayWrapper::builder(Gru::new(3, 3, rng)).build(rng).unwrap(), &[]);
    let others = [4, 6].map(|hidden| MultiRnnCell::new((Lstm::new(3, hidden, rng), Gru::new(hidden, 5, rng))).unwrap());
    check("multi", &MultiRnnCell::new((Lstm::new(3, 5, rng), Gru::new(5, 5, rng))).unwrap(), &others);
}
