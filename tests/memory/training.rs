//! Training takes as much memory as the recorded drivers say.

use crate::allocator::measured;
use crate::one_thread;
use ndarray::Array3;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{self, Optimizer, Sgd, TrainableCell};
use rnn_cell::{
    BasicRnn, DropoutWrapper, DynamicRnn, Gru, HighwayWrapper, LayerNormLstm, Lstm, MultiRnnCell, ResidualWrapper,
    Ugrnn,
};

#[test]
fn tapes_keep_what_their_page_says() {
    one_thread(tapes);
}

#[test]
fn a_hundred_thousand_steps_fit_a_small_machine() {
    one_thread(checkpoints);
}

/// Numbers per step and row, as `train::dynamic_rnn` lists them.
fn tapes() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let (size, lstm) = (64, 5 * 64 + 64);
    let mut cell = || Lstm::<f32>::new(size, size, &mut *rng);
    tape_keeps("Lstm", &cell(), lstm);
    tape_keeps("MultiRnnCell", &MultiRnnCell::new(vec![cell(), cell()]).unwrap(), lstm + size + lstm);
    tape_keeps("ResidualWrapper", &ResidualWrapper::new(cell()).unwrap(), lstm);
    tape_keeps("DropoutWrapper", &DropoutWrapper::builder(cell()).output_keep_prob(0.5).build().unwrap(), lstm);
    let (coupled, apart) = (HighwayWrapper::builder(cell()), HighwayWrapper::builder(cell()));
    tape_keeps("HighwayWrapper, coupled", &coupled.build(rng).unwrap(), lstm + 2 * size);
    let apart = apart.couple_carry_transform_gates(false);
    tape_keeps("HighwayWrapper", &apart.build(rng).unwrap(), lstm + 3 * size);
    tape_keeps("projection", &Lstm::<f32>::builder(3, size).num_proj(9).build(rng).unwrap(), 6 * size + 2 * 9);
    tape_keeps("Gru", &Gru::<f32>::new(3, size, rng), 4 * size + size);
    tape_keeps("BasicRnn", &BasicRnn::<f32>::new(3, size, rng), 2 * size);
    tape_keeps("LayerNormLstm", &LayerNormLstm::<f32>::new(3, size, rng), 11 * size + 5);
    tape_keeps("Ugrnn", &Ugrnn::<f32>::new(3, size, rng), 3 * size);
}

fn tape_keeps<C: TrainableCell<Elem = f32>>(name: &str, cell: &C, numbers: usize) {
    let (batch, seq) = (16, 200);
    let (x, initial) = (Array3::zeros((batch, seq, cell.input_size())), cell.training_state(batch, 1));
    let (recorded, kept, _) = measured(|| train::dynamic_rnn(cell, &x, None, Some(initial)).unwrap());
    let found = (kept - recorded.0.len() * size_of::<f32>()) as f64 / (batch * seq * size_of::<f32>()) as f64;
    // Besides the steps: the states before and after all of them, and the workspace.
    let expected = numbers as f64..1.05 * numbers as f64;
    assert!(expected.contains(&found), "{name} keeps {found} numbers, not {expected:?}");
}

/// Checkpoints about √T apart: besides the results, at most 1 KiB per state and per step of one window.
fn checkpoints() {
    const STEPS: usize = 100_000;
    const EVERY: usize = 316;
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let mut cell = Lstm::<f64>::new(2, 8, rng);
    let x = Array3::from_shape_simple_fn((1, STEPS, 2), || rng.random_range(-1.0..1.0));
    // The loss is half the sum of all squares: the gradient of the outputs is the outputs.
    let run = |cell: &Lstm<f64>, every: Option<usize>| {
        measured(|| {
            let (outputs, _, tape) = match every {
                None => DynamicRnn::new(cell).record(&x).unwrap(),
                Some(every) => DynamicRnn::new(cell).checkpoint_every(every).record(&x).unwrap(),
            };
            (tape.backward(&outputs).unwrap(), outputs)
        })
    };
    let ((plain, outputs), kept, plain_peak) = run(&cell, None);
    let returned = (outputs.len() + plain.inputs.len()) * size_of::<f64>();
    assert!(kept.abs_diff(returned) < 64 << 10, "{kept} bytes are kept, {returned} returned");
    let bound = (STEPS / EVERY + EVERY) << 10;
    assert!(plain_peak - returned > 20 * bound, "the plain tape takes {} bytes", plain_peak - returned);

    let mut sgd = Sgd::builder(1e-6).build(&cell).unwrap();
    let mut losses = Vec::new();
    for _ in 0..2 {
        let ((gradients, outputs), _, peak) = run(&cell, Some(EVERY));
        assert!(peak - returned < bound, "{} bytes, but at most {bound} were promised", peak - returned);
        if losses.is_empty() {
            for (found, plain) in gradients.parameters.arrays().iter().zip(plain.parameters.arrays()) {
                let largest = plain.iter().fold(1.0_f64, |largest, g| largest.max(g.abs()));
                let close = found.iter().zip(plain).all(|(found, plain)| (found - plain).abs() <= 1e-12 * largest);
                assert!(close, "{found}, plain {plain}");
            }
        }
        losses.push(outputs.iter().map(|y| y * y).sum::<f64>() / 2.0);
        sgd.apply_gradients(&mut cell, &gradients.parameters).unwrap();
    }
    assert!(losses[1] < losses[0], "{losses:?}");
}

#[test]
fn a_cell_holds_its_weights_twice_and_transposed_once_trained() {
    one_thread(copies);
}

fn copies() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let weights = size_of::<f32>() * (64 + 128 + 1) * 4 * 128;
    let near = |bytes: usize, copies: usize| {
        assert!(
            (copies * weights * 9 / 10..=copies * weights * 11 / 10).contains(&bytes),
            "{bytes}, not {copies} copies"
        );
    };
    let (cell, kept, _) = measured(|| Lstm::<f32>::new(64, 128, rng));
    near(kept, 2);
    let x = Array3::ones((1, 2, 64));
    let train = || {
        let (outputs, _, tape) = train::dynamic_rnn(&cell, &x, None, None).unwrap();
        drop(tape.backward(&outputs).unwrap());
    };
    let ((), kept, _) = measured(train);
    near(kept, 1);
    let ((), kept, _) = measured(train);
    assert_eq!(kept, 0);
}
