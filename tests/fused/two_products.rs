//! Compressed cells whose stages multiply the inputs in different ways.

use ndarray::{Array2, Array3, Axis};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rnn_cell::fused::*;
use rnn_cell::{Compressed, Compression, Error, Stream, WeightFormat, dynamic_rnn};

rnn_cell::parameters! {
    /// m = x · A,  h' = tanh(\[x, m ⊙ h\] · B). The first product takes the inputs alone.
    cell pub struct Pair {
        "first" first: Linear<E>,
        "second" second: Linear<E>,
        ;
        compressed: [bool; 2],
    }
}

impl FusedCell for Pair<f32> {
    type Elem = f32;
    type State = Array2<f32>;

    fn input_size(&self) -> usize {
        self.first.input_size()
    }
    fn output_size(&self) -> usize {
        self.second.units()
    }
    fn zero_state(&self, batch: usize) -> Array2<f32> {
        Array2::zeros((batch, self.second.units()))
    }
    fn stages(&self) -> Stages<'_, f32> {
        Stages::new([Stage::new(&self.first), Stage::new(&self.second).temporary(0)]).temporary(self.second.units())
    }
    fn compress(&mut self, compression: &mut Compression<'_, f32>) -> Result<(), Error> {
        if self.compressed[0] {
            self.first.compress("first", compression)?;
        }
        if self.compressed[1] {
            self.second.compress("second", compression)?;
        }
        Ok(())
    }
    #[inline(always)]
    fn forward<V: Vector<f32>>(&self, stage: usize, row: &mut Forward<'_, f32>) {
        let [sum] = row.sums(stage);
        if stage == 0 {
            let (h, product) = (row.state(0), row.temporary(0));
            for at in V::units(sum.len()) {
                (V::load(sum, at) * V::load(h, at)).store(product, at);
            }
            return;
        }
        let (h, output) = (row.new_state(0), row.output());
        for at in V::units(sum.len()) {
            let next = V::load(sum, at).tanh();
            next.store(h, at);
            next.store(output, at);
        }
    }
}

rnn_cell::fused_cell!(Pair<f32>);

/// A run of many steps computes inputs for many of them at once, if that pays for any of its products.
#[test]
fn many_steps_are_single_steps() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(61);
    let (inputs, units) = (20, 19);
    for rows in [1, 3, 7] {
        for compressed in [[true, true], [true, false], [false, true]] {
            for format in [WeightFormat::Int8, WeightFormat::Bf16] {
                let first = Linear::<f32>::builder(units).input_size(inputs).build(&mut rng).unwrap();
                let second =
                    Linear::<f32>::builder(units).input_size(inputs).recurrent_size(units).build(&mut rng).unwrap();
                let cell = Pair { first, second, compressed };
                let x = Array3::from_shape_fn((rows, 51, inputs), |(b, t, i)| ((7 * b + 5 * t + 3 * i) as f32).sin());
                let (exact, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
                let cell = Compressed::new(cell, format).unwrap();
                let (found, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
                let mut stream = Stream::new(&cell, rows);
                let case = format!("{rows} rows, {compressed:?}, {format:?}");
                for (time, x) in x.axis_iter(Axis(1)).enumerate() {
                    let expected = stream.push(&x).unwrap();
                    assert_eq!(found.index_axis(Axis(1), time), expected, "{case}, step {time}");
                }
                let error = found.iter().zip(&exact).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()));
                assert!(error > 0.0 && error < 0.05, "{case}: {error}");
            }
        }
    }
}
