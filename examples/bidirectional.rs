//! Runs two directions over two rows of different lengths. The cells only add up what they read, so you can check every
//! number by eye: `fw` is the sum of the steps up to here, `bw` the sum of the steps from here on.

use ndarray::{ArrayRef3, array};
use rnn_cell::cells::BasicRnnWeights;
use rnn_cell::{Activation, BasicRnn, Error, bidirectional_dynamic_rnn, concat_outputs};

/// h' = x + h: one feature, weights of 1, no activation.
fn adder() -> Result<BasicRnn<f32>, Error> {
    let weights = BasicRnnWeights { kernel: array![[1.0], [1.0]], bias: Some(array![0.0]) };
    BasicRnn::<f32>::builder(1, 1).activation(Activation::Linear).build_from(weights)
}

/// Prints a line for each row and feature, with steps from left to right.
fn draw(name: &str, features: &[&str], array: &ArrayRef3<f32>) {
    println!("{name} {:?} = (batch, seq, features)", array.dim());
    println!("                 step 0  step 1  step 2  step 3");
    for (b, row) in array.outer_iter().enumerate() {
        for (feature, steps) in features.iter().zip(row.columns()) {
            let numbers: String = steps.iter().map(|number| format!("{number:8}")).collect();
            println!("  row {b}  {feature:>5}  {numbers}");
        }
    }
    println!();
}

fn main() -> Result<(), Error> {
    let lengths = [4, 2];
    let nan = f32::NAN; // Padding is never read.
    let x = array![[[1.0], [2.0], [3.0], [4.0]], [[10.0], [20.0], [nan], [nan]]];
    draw("x", &["x"], &x);

    let (cell_fw, cell_bw) = (adder()?, adder()?);
    let ((fw, bw), (state_fw, state_bw)) =
        bidirectional_dynamic_rnn(&cell_fw, &cell_bw, &x, Some(&lengths), None, None)?;

    println!("Row 1 has 2 steps: its backward direction starts at step 1, not in the padding.\n");
    draw("concat_outputs(fw, bw)", &["fw", "bw"], &concat_outputs(&fw, &bw));

    println!("Final states: fw is after a row's last step, bw after step 0. Here both are the row's whole sum.");
    for row in 0..2 {
        println!("  row {row}  state_fw {:3}  state_bw {:3}", state_fw[[row, 0]], state_bw[[row, 0]]);
    }
    Ok(())
}
