//! Times training steps of an LSTM with 512 units on batches of 64 rows, 100 steps each; and the parts of one that more
//! processes do not share: the optimizer's step, and an exchange.
//!
//! ```text
//! mpirun -np 2 --bind-to core target/release/examples/batch64 [steps] [shards]
//! ```

use ndarray::{Array3, s};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{self, Gradients, Sgd};
use rnn_cell::{Lstm, Parameters};
use rnn_cell_distributed::{Error, Shard, Shards, World, run};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    run(measure)
}

fn measure(world: &World) -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let steps = arguments.next().unwrap_or(9);
    let shards = Shards::builder(world).count(arguments.next().unwrap_or(world.size())).build()?;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut cell = Lstm::<f32>::new(512, 512, &mut rng);
    let x = Array3::from_shape_simple_fn((64, 100, 512), || rng.random_range(-1.0..1.0));
    let d = Array3::from_elem((64, 100, 512), 1e-4_f32);
    let mut sgd = Sgd::builder(1e-3).build(&cell)?;
    let zeros = Gradients::zeros(&cell);

    let [mut step_times, mut apply_times, mut exchange_times] = [(); 3].map(|()| Vec::new());
    for _ in 0..=steps {
        let start = Instant::now();
        let (_, gradients) = shards.gradients(64, |rows| {
            let weight = rows.len() as f64;
            let x = x.slice(s![rows.clone(), .., ..]);
            let (_, _, tape) = train::dynamic_rnn(&cell, &x, None, None)?;
            let gradients = tape.backward(&d.slice(s![rows, .., ..]))?.parameters;
            Ok(Shard { loss: 0.0, weight, gradients })
        })?;
        let apply = Instant::now();
        shards.apply(&mut sgd, &mut cell, &gradients)?;
        apply_times.push(apply.elapsed().as_secs_f64());
        step_times.push(start.elapsed().as_secs_f64());

        let start = Instant::now();
        let _ = shards.gradients(64, |_| Ok(Shard { loss: 0.0, weight: 1.0, gradients: zeros.clone() }))?;
        exchange_times.push(start.elapsed().as_secs_f64());
    }
    if world.is_first() {
        // The first finds memory and caches cold.
        let median = |times: &mut Vec<f64>| -> f64 {
            times.remove(0);
            times.sort_by(f64::total_cmp);
            1e3 * times[times.len() / 2]
        };
        let (processes, shards, numbers) = (world.size(), shards.count(), cell.parameter_count());
        let [step, apply, exchange] = [&mut step_times, &mut apply_times, &mut exchange_times].map(median);
        println!(
            "{processes} processes, {shards} shards, {numbers} numbers: step {step:.1} ms, of which the optimizer \
             {apply:.1} ms; an exchange alone {exchange:.1} ms"
        );
    }
    Ok(())
}
