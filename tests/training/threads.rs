//! Law 8 for training: the number of threads does not change a bit.

use ndarray::Array3;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rnn_cell::GruReset;
use rnn_cell::train::{self, Adam, Gradients, Optimizer, Parts, TrainableCell, mean_squared_error};
use rnn_cell::{BasicRnn, Dense, DynamicRnn, Gru, Lstm, Parameters, State};

/// The bits of outputs, final state and every gradient of a run in a pool of `threads`.
fn bits<C: TrainableCell<Elem = f32> + Send>(cell: &C, batch: usize, seq: usize, threads: usize) -> Vec<u32> {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(9);
    let x = Array3::from_shape_simple_fn((batch, seq, cell.input_size()), || rng.random_range(-1.0..1.0f32));
    let lengths: Vec<usize> = (0..batch).map(|row| seq - (row * 5) % (seq / 2)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut bits = Vec::new();
        for lengths in [None, Some(&lengths[..])] {
            let (outputs, state, tape) = train::dynamic_rnn(cell, &x, lengths, None).unwrap();
            let gradients = tape.d_final_state(state.clone()).backward(&outputs).unwrap();
            bits.extend(outputs.iter().map(|v| v.to_bits()));
            bits.extend(gradients.inputs.iter().map(|v| v.to_bits()));
            for state in [&state, &gradients.initial_state] {
                state.visit(&mut |leaf| bits.extend(leaf.iter().map(|v| v.to_bits())));
            }
            bits.extend(gradients.parameters.arrays().iter().flatten().map(|v| v.to_bits()));
        }
        bits
    })
}

fn check<C: TrainableCell<Elem = f32> + Send>(name: &str, cell: &C) {
    for (batch, seq) in [(17, 20), (1, 300)] {
        let alone = bits(cell, batch, seq, 1);
        assert!(alone.iter().any(|&bits| bits != 0));
        for threads in [2, 5] {
            assert!(alone == bits(cell, batch, seq, threads), "{name}, batch {batch}, {threads} threads");
        }
    }
}

#[test]
fn gradients_have_the_same_bits_on_any_number_of_threads() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(4);
    check("lstm", &Lstm::new(40, 72, rng));
    let all = Lstm::builder(40, 72).use_peepholes(true).cell_clip(0.4).num_proj(50).proj_clip(0.3);
    check("lstm, all options", &all.build(rng).unwrap());
    check("gru", &Gru::<f32>::builder(70, 100).reset(GruReset::After).build(rng).unwrap());
    check("gru, reset before", &Gru::new(70, 100, rng));
    check("rnn", &BasicRnn::new(150, 160, rng));
    check("large lstm at batch 1", &Lstm::new(64, 256, rng));
}

/// Enough samples for sums to use their second level.
#[test]
fn so_have_those_of_many_samples() {
    let cell = Lstm::builder(20, 40).use_peepholes(true).build(&mut Xoshiro256PlusPlus::seed_from_u64(8)).unwrap();
    let alone = bits(&cell, 64, 260, 1);
    assert!(alone == bits(&cell, 64, 260, 2) && alone == bits(&cell, 64, 260, 5));
}

#[test]
fn so_have_those_of_every_cell_and_wrapper() {
    crate::common::each_boxed_cell::<f32>(&mut |name, make| check(name, &make(40, 72, &mut crate::common::rng(5))));
}

#[test]
fn so_has_a_whole_training() {
    let trained = |threads: usize| {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(6);
        let (mut cell, mut dense) = (Lstm::<f32>::new(40, 72, rng), Dense::new(72, 3, rng));
        let mut adam = Adam::builder().build(&Parts::new([("cell", &mut cell), ("dense", &mut dense)])).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for _ in 0..4 {
            let mut random = |width| Array3::from_shape_simple_fn((20, 15, width), || rng.random_range(-1.0..1.0f32));
            let (x, y) = (random(40), random(3));
            pool.install(|| {
                let (outputs, _, tape) = DynamicRnn::new(&cell).checkpoint_every(4).record(&x).unwrap();
                let (_, d_y) = mean_squared_error(&dense.forward(&outputs).unwrap(), &y).unwrap();
                let (d_outputs, d_dense) = dense.backward(&outputs, &d_y).unwrap();
                let d_cell = tape.backward(&d_outputs).unwrap().parameters;
                let gradients = Gradients::join([("cell", d_cell), ("dense", d_dense)]);
                let mut model = Parts::new([("cell", &mut cell), ("dense", &mut dense)]);
                adam.apply_gradients(&mut model, &gradients).unwrap();
            });
        }
        let mut bits = Vec::new();
        let all = Parts::new([("cell", &mut cell), ("dense", &mut dense), ("adam", &mut adam)]);
        all.visit_parameters(&mut |_, value| bits.extend(value.iter().map(|v| v.to_bits())));
        bits
    };
    let alone = trained(1);
    assert!(alone == trained(2) && alone == trained(5));
}
