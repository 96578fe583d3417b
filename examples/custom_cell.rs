//! A cell of your own, in about twenty lines, runs through the same drivers as the built-in ones.

mod common;

use common::{draw, draw_rows};
use ndarray::{Array1, Array2, ArrayRef2, arr1};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::{Error, RnnCell, dynamic_rnn, dynamic_rnn_time_major, init, one_hot};

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

    // Time-major arrays, (seq, batch, features), give the same numbers.
    let by_time = x.permuted_axes([1, 0, 2]);
    let (by_time, _) = dynamic_rnn_time_major(&cell, &by_time, Some(&lengths), None)?;
    println!("dynamic_rnn_time_major gives outputs {:?} = (seq, batch, hidden)", by_time.dim());
    assert_eq!(by_time.permuted_axes([1, 0, 2]), outputs);
    Ok(())
}
