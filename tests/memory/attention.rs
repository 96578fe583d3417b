//! A cell that attends allocates nothing after its first step, and a transducer nothing after its first chunk.

use crate::allocator::allocations;
use crate::common::{array, rng};
use crate::one_thread;
use ndarray::{Array2, Array3, ArrayRef2, Axis};
use rnn_cell::seq2seq::{
    AttentionWrapper, BahdanauAttention, BahdanauMonotonicAttention, LuongAttention, LuongMonotonicAttention,
    TransducerBuilder,
};
use rnn_cell::{Embedding, Gru, Lstm, RnnCell, State, Stream};

#[test]
fn attention_allocates_nothing_while_stepping() {
    one_thread(|| {
        let mut rng = rng(1);
        let mechanisms = [
            LuongAttention::builder(8).memory_depth(3).scale(true).build::<f32, _>(&mut rng).unwrap(),
            BahdanauAttention::builder(5).memory_depth(3).query_depth(8).normalize(true).build(&mut rng).unwrap(),
            LuongMonotonicAttention::builder(8).memory_depth(3).build(&mut rng).unwrap(),
            BahdanauMonotonicAttention::builder(5).memory_depth(3).query_depth(8).build(&mut rng).unwrap(),
        ];
        for layers in [None, Some(vec![3, 2, 4, 1])] {
            let attention = layers.as_ref().map_or(12, |layers| layers.iter().sum());
            let builder = AttentionWrapper::builder(Lstm::new(2 + attention, 8, &mut rng), mechanisms.clone());
            let builder = match layers {
                Some(layers) => builder.attention_layer_size(layers),
                None => builder,
            };
            let cell = builder.build(&mut rng).unwrap();
            for batch in [1, 7] {
                let memory: Array3<f32> = array((batch, 6, 3), &mut rng);
                let lengths: Vec<usize> = (0..batch).map(|row| 1 + row % 6).collect();
                let initial = cell.attend(&memory, Some(&lengths)).unwrap();
                let mut state = initial.clone();
                let x: Array3<f32> = array((10, batch, 2), &mut rng);
                let mut output = Array2::zeros((batch, cell.output_size()));
                let mut workspace = Default::default();
                cell.step(&x.index_axis(Axis(0), 0), &mut state, &mut output, &mut workspace);
                let count = allocations(|| {
                    for input in x.outer_iter() {
                        cell.step(&input, &mut state, &mut output, &mut workspace);
                    }
                });
                assert_eq!(count, 0, "steps of {batch} rows");
                assert_eq!(allocations(|| state.copy_from(&initial)), 0, "a copy of {batch} rows");
                let mut stream = Stream::with_initial_state(&cell, batch, initial).unwrap();
                stream.push_steps(&x).unwrap();
                let count = allocations(|| {
                    stream.reset_row(batch - 1).unwrap();
                    stream.push_steps(&x).unwrap();
                    stream.reset();
                    stream.push_steps(&x).unwrap();
                });
                assert_eq!(count, 0, "a stream of {batch} rows");
            }
        }
    });
}

#[test]
fn a_transducer_allocates_nothing_after_its_first_chunk() {
    one_thread(|| {
        let mut rng = rng(2);
        let cell = Gru::<f32>::new(2, 4, &mut rng);
        let embedding = Embedding::new(3, 2, &mut rng);
        // Says what the frame says, whatever was said before.
        let join = |frames: &ArrayRef2<f32>, _: &ArrayRef2<f32>, logits: &mut ArrayRef2<f32>| logits.assign(frames);
        let mut stream = TransducerBuilder::new(4).max_symbols(2).build(&cell, &embedding, join, 3).unwrap();
        let frames: Array3<f32> = array((12, 3, 4), &mut rng);
        let tokens: usize = stream.push(&frames, None).unwrap().iter().map(Vec::len).sum();
        assert!(tokens > 10);
        let count = allocations(|| {
            for _ in 0..5 {
                stream.push(&frames, None).unwrap();
            }
        });
        assert_eq!(count, 0);
    });
}
