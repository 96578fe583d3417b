//! Inputs that arrive one at a time: a stream keeps the state between them. Two streams share one cell, and each row of
//! a stream can start anew at any step.
//!
//! The cell only adds up what it reads, so you can check every number by eye.

use ndarray::array;
use rnn_cell::cells::BasicRnnWeights;
use rnn_cell::{Activation, BasicRnn, Error, Stream, dynamic_rnn};
use std::sync::Arc;

fn main() -> Result<(), Error> {
    // h' = x + h: one feature, weights of 1, no activation.
    let weights = BasicRnnWeights { kernel: array![[1.0], [1.0]], bias: Some(array![0.0]) };
    let cell = BasicRnn::<f32>::builder(1, 1).activation(Activation::Linear).build_from(weights)?;
    let cell = Arc::new(cell);
    let mut stream = Stream::new(Arc::clone(&cell), 2); // two rows: two sensors read at the same time
    let mut other = Stream::new(Arc::clone(&cell), 1); // the same weights, its own state

    println!("input (2, 1) = (batch, input)     output (2, 1) = (batch, hidden)");
    for (t, [a, b]) in [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]].into_iter().enumerate() {
        if t == 2 {
            stream.reset_row(1)?;
            println!("                                                     row 1 starts anew");
        }
        let output = stream.push(&array![[a], [b]])?;
        let (row_0, row_1) = (output[[0, 0]], output[[1, 0]]);
        println!("push {t}:  row 0 {a:3}   row 1 {b:3}     row 0 {row_0:3}   row 1 {row_1:3}");
    }

    println!("\nthe other stream has its own state:     {}", other.push(&array![[5.0]])?[[0, 0]]);

    // A stream gives the same as dynamic_rnn over the whole sequence.
    let whole = array![[[1.0], [2.0], [3.0], [4.0]]]; // (batch, seq, input) = (1, 4, 1)
    let (outputs, _) = dynamic_rnn(&cell, &whole, None, None)?;
    println!("dynamic_rnn over row 0 at once:         {:?}", outputs.as_slice().unwrap_or_default());
    println!("row 0 of the stream after its last push: {}", stream.output()[[0, 0]]);
    Ok(())
}
