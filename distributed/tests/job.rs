//! What each process of a job checks. `test.sh` starts this with the name of a case and `mpirun`; without a name it runs,
//! in one process, the cases that need no others.

use mpi::traits::Equivalence;
use ndarray::{Array1, Array2, Array3, s};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::train::{
    Adam, Gradients, Optimizer, Parts, Schedule, clip_by_global_norm, sequence_loss, sequence_weights,
};
use rnn_cell::{Dense, DynamicRnn, Error as CellError, Float, Lstm, ParametersMut};
use rnn_cell_distributed::{Error, Shard, Shards, World, checksum, run};
use std::ops::Range;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let case = arguments.first().map_or("alone", String::as_str);
    run(|world| match case {
        "alone" => alone(world),
        "bits" => {
            let [count, checkpoint_every] = [1, 2].map(|at: usize| arguments[at].parse().unwrap());
            let in_f32 = bits::<f32>(world, count, checkpoint_every)?;
            // Sums are in f64, so only numbers of f64 tell in which order.
            let in_f64 = bits::<f64>(world, count, checkpoint_every)?;
            if world.is_first() {
                println!("checksum {in_f32:016x} {in_f64:016x}");
            }
            Ok(())
        }
        "refused" => refused(world),
        "broadcast" => broadcast(world),
        "panic" => panicking(world),
        "error" => failing(world),
        other => panic!("no case {other}"),
    })
}

/// A model and a batch of 13 rows of different lengths.
struct Task<E: Float> {
    cell: Lstm<E>,
    dense: Dense<E>,
    x: Array3<E>,
    lengths: Vec<usize>,
    targets: Array2<usize>,
    checkpoint_every: usize,
}

const ROWS: usize = 13;
const STEPS: usize = 9;

impl<E: Float> Task<E> {
    fn new(seed: u64, checkpoint_every: usize) -> Self {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
        let (cell, dense) = (Lstm::new(3, 17, rng), Dense::new(17, 4, rng));
        let x = Array3::from_shape_simple_fn((ROWS, STEPS, 3), || E::of(rng.random_range(-1.0..1.0)));
        let lengths = (0..ROWS).map(|row| [9, 0, 4, 7, 1][row % 5]).collect();
        let targets = Array2::from_shape_simple_fn((ROWS, STEPS), || rng.random_range(0..4));
        Self { cell, dense, x, lengths, targets, checkpoint_every }
    }

    /// The loss of some rows, averaged over their steps.
    fn shard(&self, rows: Range<usize>) -> Result<Shard<E>, CellError> {
        let lengths = &self.lengths[rows.clone()];
        let x = self.x.slice(s![rows.clone(), .., ..]);
        let driver = DynamicRnn::new(&self.cell).sequence_length(lengths);
        let (outputs, _, tape) = match self.checkpoint_every {
            0 => driver.record(&x)?,
            every => driver.checkpoint_every(every).record(&x)?,
        };
        let logits = self.dense.forward(&outputs)?;
        let weights = sequence_weights(lengths, STEPS)?;
        let (loss, d_logits) = sequence_loss(&logits, &self.targets.slice(s![rows, ..]), &weights)?;
        let (d_outputs, d_dense) = self.dense.backward(&outputs, &d_logits)?;
        let d_cell = tape.backward(&d_outputs)?.parameters;
        let gradients = Gradients::join([("cell", d_cell), ("dense", d_dense)]);
        Ok(Shard { loss: loss.as_f64(), weight: weights.iter().map(|weight| weight.as_f64()).sum(), gradients })
    }

    fn parts(&mut self) -> Parts<'_, &mut dyn ParametersMut<E>> {
        Parts::new([("cell", &mut self.cell), ("dense", &mut self.dense)])
    }

    fn adam(&mut self) -> Adam<E> {
        let schedule = Schedule::cosine_decay(0.02, 50).warm_up(3);
        Adam::builder().learning_rate(schedule).build(&self.parts()).unwrap()
    }
}

/// The checksum of the weights after 50 steps.
fn bits<E: Float + Equivalence>(world: &World, count: usize, checkpoint_every: usize) -> Result<u64, Error> {
    let mut task = Task::<E>::new(1, checkpoint_every);
    let mut adam = task.adam();
    let shards = Shards::builder(world).count(count).build()?;
    let (mut first, mut last) = (None, 0.0);
    for _ in 0..50 {
        let (loss, mut gradients) = shards.gradients(ROWS, |rows| task.shard(rows))?;
        clip_by_global_norm(&mut gradients, E::one())?;
        shards.apply(&mut adam, &mut task.parts(), &gradients)?;
        first.get_or_insert(loss);
        last = loss;
    }
    assert!(last < 0.9 * first.unwrap(), "it learns: {first:?} to {last}");
    Ok(checksum(&task.parts()))
}

/// One shard is the plain step; many are the gradient of the whole batch, but for rounding.
fn alone(world: &World) -> Result<(), Error> {
    let task = Task::<f64>::new(1, 0);
    let whole = task.shard(0..ROWS)?;
    for count in 1..=ROWS {
        let shards = Shards::builder(world).count(count).build()?;
        let (loss, gradients) = shards.gradients(ROWS, |rows| task.shard(rows))?;
        if count == 1 {
            assert_eq!((loss, &gradients), (whole.loss, &whole.gradients));
        }
        assert!((loss - whole.loss).abs() < 1e-14, "{count} shards: {loss}, not {}", whole.loss);
        for (found, expected) in gradients.arrays().iter().flatten().zip(whole.gradients.arrays().iter().flatten()) {
            assert!((found - expected).abs() < 1e-14, "{count} shards: {found}, not {expected}");
        }
        let mut taken = Vec::new();
        shards.gradients(ROWS, |rows| {
            taken.extend(rows.clone());
            task.shard(rows)
        })?;
        assert_eq!(taken, (0..ROWS).collect::<Vec<_>>());
    }
    // A shard of weight 0 adds nothing, not even NaN. Without any weight the loss is 0.
    let shards = Shards::builder(world).count(2).build()?;
    let number = |loss: f64, weight: f64| {
        let dense = Dense::from_weights(Array2::from_elem((1, 1), loss), None)?;
        Ok(Shard { loss, weight, gradients: Gradients::of(dense) })
    };
    let of = |weights: [f64; 2]| {
        let mut each = [(3.0, weights[0]), (f64::NAN, weights[1])].into_iter();
        shards.gradients(2, |_| each.next().map(|(loss, weight)| number(loss, weight)).unwrap())
    };
    let (loss, gradients) = of([2.0, 0.0])?;
    assert_eq!((loss, gradients.arrays()[0][[0, 0]]), (3.0, 3.0));
    let (loss, gradients) = of([0.0, 0.0])?;
    assert_eq!((loss, gradients.arrays()[0][[0, 0]]), (0.0, 0.0));
    let mut widths = 1..;
    let growing = |_: Range<usize>| {
        let dense = Dense::<f64>::from_weights(Array2::zeros((1, widths.next().unwrap())), None)?;
        Ok(Shard { loss: 0.0, weight: 1.0, gradients: Gradients::of(dense) })
    };
    assert_eq!(shards.gradients(2, growing).err(), Some(Error::Layout { shard: 1 }));
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let message = of([1.0, bad]).unwrap_err().to_string();
        assert_eq!(message, format!("the weight of shard 1 is {bad}, but must be finite and at least 0"));
    }
    println!("one process: passed");
    Ok(())
}

fn message<T>(result: Result<T, Error>) -> String {
    result.err().expect("an error").to_string()
}

/// What all processes refuse, and then go on.
fn refused(world: &World) -> Result<(), Error> {
    let (rank, last) = (world.rank(), world.size() - 1);
    assert!(last > 0, "this needs two processes");
    let mut task = Task::<f32>::new(1, 0);
    let shards = Shards::builder(world).count(4).build()?;
    assert_eq!(
        message(shards.gradients(3, |rows| task.shard(rows))),
        "shards is 4, but must be at most the number of rows, 3"
    );
    let few = Shards::builder(world).count(last).build().err().unwrap();
    assert_eq!(few, Error::ShardCount { shards: last, bound: last + 1, of: "processes" });
    let differ = |what: &str| format!("{what} of rank {last} differ from those of rank 0");
    let count = if rank == last { 5 } else { 4 };
    assert_eq!(message(Shards::builder(world).count(count).build()), differ("the number of shards"));
    let rows = if rank == last { ROWS - 1 } else { ROWS };
    assert_eq!(message(shards.gradients(rows, |rows| task.shard(rows))), differ("the number of rows"));

    // Too few rows in one process only, and an error or other gradients of one process only.
    let rows = if rank == last { 3 } else { ROWS };
    let found = shards.gradients(rows, |rows| task.shard(rows)).err().unwrap();
    let own = Error::ShardCount { shards: 4, bound: 3, of: "rows" };
    assert_eq!(found, if rank == last { own } else { Error::Other { rank: last } });
    let zero = CellError::ZeroSize { argument: "rows" };
    let failing = |rows| if rank == last { Err(zero.clone()) } else { task.shard(rows) };
    let found = shards.gradients(ROWS, failing).err().unwrap();
    assert_eq!(found, if rank == last { Error::Own(zero) } else { Error::Other { rank: last } });
    let other = |rows| {
        let mut shard = task.shard(rows)?;
        if rank == last {
            shard.gradients = Gradients::join([("other", shard.gradients)]);
        }
        Ok(shard)
    };
    assert_eq!(message(shards.gradients(ROWS, other)), differ("the names and shapes of the gradients"));

    // Options and weights.
    let options = if rank == last { "width 16" } else { "width 17" };
    assert_eq!(message(world.agree_on_options(options)), differ("the options"));
    world.agree_on_parameters(&task.parts())?;
    let mut adam = task.adam();
    if rank == last {
        adam.set_learning_rate(0.5)?;
    }
    let (_, gradients) = shards.gradients(ROWS, |rows| task.shard(rows))?;
    let applied = shards.apply(&mut adam, &mut task.parts(), &gradients);
    assert_eq!(message(applied), differ("after a step, the weights"));
    assert_eq!(message(world.agree_on_parameters(&task.parts())), differ("the parameters"));
    let unwritable = world.save(&task.parts(), "/nowhere/at/all").err().unwrap();
    assert!(matches!((rank, unwritable), (0, Error::Own(_)) | (1.., Error::Other { rank: 0 })));
    if world.is_first() {
        println!("refused: passed");
    }
    Ok(())
}

/// Processes that start apart have rank 0's weights afterwards, from memory and from its file.
fn broadcast(world: &World) -> Result<(), Error> {
    let mut task = Task::<f64>::new(world.rank() as u64, 0);
    let of_first = checksum(&Task::<f64>::new(0, 0).parts());
    assert_eq!(checksum(&task.parts()) == of_first, world.is_first());
    world.broadcast(&mut task.parts())?;
    assert_eq!(checksum(&task.parts()), of_first);
    let path = std::env::temp_dir().join(format!("rnn-cell-distributed-{}", std::process::id()));
    world.save(&task.parts(), &path)?;
    let mut other = Task::<f64>::new(9, 0);
    world.load(&mut other.parts(), &path)?;
    assert_eq!(checksum(&other.parts()), of_first);
    assert_eq!(path.exists(), world.is_first());
    if world.is_first() {
        std::fs::remove_file(path).expect("it was written");
        println!("broadcast: passed");
    }
    let mut wrong =
        Dense::from_weights(Array2::<f64>::zeros((1, 1 + world.rank())), Some(Array1::zeros(1 + world.rank())))?;
    assert_eq!(
        message(world.broadcast(&mut wrong)),
        "the names and shapes of the parameters of rank 1 differ from those of rank 0"
    );
    Ok(())
}

/// The last process panics while the others wait for it.
fn panicking(world: &World) -> Result<(), Error> {
    assert!(world.rank() + 1 < world.size(), "as it should");
    world.agree_on_options("")
}

/// The last process fails by itself while the others wait for it.
fn failing(world: &World) -> Result<(), Error> {
    if world.rank() + 1 == world.size() {
        return Err(CellError::ZeroSize { argument: "disk" }.into());
    }
    world.agree_on_options("")
}
