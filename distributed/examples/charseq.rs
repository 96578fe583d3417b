//! The library's example `charseq`, trained by many processes:
//!
//! ```text
//! mpirun -np 2 target/release/examples/charseq [--shards 4] [--steps 300] [--save FILE]
//! ```
//!
//! With `--save` it saves after every tenth step, and continues from the file if there is one.

#[allow(dead_code)]
#[path = "../../examples/charseq.rs"]
mod charseq;

use rnn_cell::train::{Optimizer, Parts, clip_by_global_norm};
use rnn_cell_distributed::{Error, Shard, Shards, World, checksum, run};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    run(learn)
}

struct Options {
    shards: usize,
    steps: usize,
    save: Option<PathBuf>,
}

fn options() -> Options {
    let mut options = Options { shards: 4, steps: 300, save: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
        let number = || value.parse().unwrap_or_else(|_| panic!("{name} is {value}, but must be a number"));
        match &*name {
            "--shards" => options.shards = number(),
            "--steps" => options.steps = number(),
            "--save" => options.save = Some(value.into()),
            _ => panic!("unknown option {name}"),
        }
    }
    options
}

fn learn(world: &World) -> Result<(), Error> {
    let Options { shards, steps, save } = options();
    world.agree_on_options(&format!("{steps} steps, {save:?}"))?;
    let shards = Shards::builder(world).count(shards).build()?;
    let (mut model, lesson, mut adam) = charseq::start()?;
    if let Some(path) = save.as_ref().filter(|path| world.first_says(path.exists())) {
        world.load(&mut Parts::new([("model", &mut model.parts()), ("adam", &mut adam)]), path)?;
    }
    world.agree_on_parameters(&model.parts())?;

    while adam.steps() < steps {
        let (loss, mut gradients) = shards.gradients(lesson.windows(), |rows| {
            let weight = rows.len() as f64;
            let (loss, gradients) = model.gradients(&lesson.rows(rows))?;
            Ok(Shard { loss: loss.into(), weight, gradients })
        })?;
        clip_by_global_norm(&mut gradients, 1.0)?;
        shards.apply(&mut adam, &mut model.parts(), &gradients)?;

        let step = adam.steps();
        if step % 10 == 0 {
            if let Some(path) = &save {
                world.save(&Parts::new([("model", &mut model.parts()), ("adam", &mut adam)]), path)?;
            }
            if world.is_first() {
                println!("step {step:3}  loss {loss:.4}");
            }
        }
    }
    if world.is_first() {
        println!("accuracy {:.3}", model.accuracy(&lesson)?);
        println!("checksum {:016x}", checksum(&model.parts()));
    }
    Ok(())
}
