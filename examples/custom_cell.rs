//! A cell of your own, in about twenty lines, works with the same drivers as the built-in cells.

mod common;

use common::{draw, draw_rows};
use ndarray::{Array1, Array2, ArrayRef2, Axis, arr1};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::{
    DynamicRnn, Error, RnnCell, Stream, bidirectional_dynamic_rnn, dynamic_rnn, init, one_hot, raw_rnn,
    stack_bidirectional_dynamic_rnn, static_bidirectional_rnn, static_rnn,
};

/// An independently recurrent network, after Li et al. (2018), with tanh: h' = tanh(x · w + u ⊙ h).
struct IndRnn {
    w: Array2<f32>, // (input, hidden)
    u: Array1<f32>, // (hidden)
}

impl RnnCell for IndRnn {
    type Elem = f32;
    type State = Array2<f32>;
    type Workspace = ();

    fn input_size(&self) -> usize {
        self.w.nrows()
    }
    fn output_size(&self) -> usize {
        self.w.ncols()
    }
    fn zero_state(&self, batch: usize) -> Array2<f32> {
        Array2::zeros((batch, self.w.ncols()))
    }
    fn step(&self, x: &ArrayRef2<f32>, h: &mut Array2<f32>, output: &mut ArrayRef2<f32>, _: &mut ()) {
        *h = (x.dot(&self.w) + &*h * &self.u).mapv_into(f32::tanh);
        output.assign(h);
    }
}

fn main() -> Result<(), Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(42);
    let words = ["hello", "eolll", "lleel"];
    let lengths = [5, 3, 4];
    let x = one_hot(&words, "helo")?;
    let cell = IndRnn { w: init::glorot_uniform((4, 2), &mut rng), u: arr1(&[0.9, -0.5]) };

    let (outputs, state) = dynamic_rnn(&cell, &x, Some(&lengths), None)?;

    draw("outputs", "hidden", &outputs, &words, &lengths);
    draw_rows("state", "hidden", &state, &words);

    println!("The other drivers take it unchanged:\n");
    let by_time = x.view().permuted_axes([1, 0, 2]);
    let (outputs, states, _) =
        DynamicRnn::new(&cell).sequence_length(&lengths).time_major(true).run_with_states(&by_time)?;
    println!("DynamicRnn                       {:?} = (seq, batch, hidden)", outputs.dim());
    println!("                                 and {} states of {:?} = (batch, hidden)", states.len(), states[0].dim());

    let ((fw, bw), _) = bidirectional_dynamic_rnn(&cell, &cell, &x, Some(&lengths), None, None)?;
    println!("bidirectional_dynamic_rnn        {:?} forward, {:?} backward", fw.dim(), bw.dim());

    let layers = [cell];
    let (outputs, ..) = stack_bidirectional_dynamic_rnn(&layers, &layers, &x, Some(&lengths), None, None)?;
    println!("stack_bidirectional_dynamic_rnn  {:?} = (batch, seq, 2 · hidden)", outputs.dim());

    let [cell] = layers;
    let steps: Vec<_> = x.axis_iter(Axis(1)).collect();
    let (outputs, _) = static_rnn(&cell, &steps, Some(&lengths), None)?;
    println!("static_rnn                       {} steps of {:?} = (batch, hidden)", outputs.len(), outputs[0].dim());

    let (outputs, ..) = static_bidirectional_rnn(&cell, &cell, &steps, Some(&lengths), None, None)?;
    println!("static_bidirectional_rnn         {} steps of {:?}", outputs.len(), outputs[0].dim());

    let (outputs, _) = raw_rnn(&cell, words.len(), |step| {
        for (row, &length) in lengths.iter().enumerate() {
            step.finished[row] = step.time >= length;
        }
        if let Some(input) = steps.get(step.time) {
            step.next_input.assign(input);
        }
    })?;
    println!("raw_rnn                          {:?} = (seq, batch, hidden)", outputs.dim());

    let mut stream = Stream::new(&cell, words.len());
    for input in &steps {
        stream.push(input)?;
    }
    println!("Stream                           {:?} = (batch, hidden), from the last step", stream.output().dim());
    Ok(())
}
