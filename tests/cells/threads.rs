//! Threads change only the time: the same bits from any pool, from inside one, and from many callers at once.

use crate::common::driver;
use ndarray::{Array2, Array3, ArrayRef2, Axis};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rayon::{ThreadPool, ThreadPoolBuilder};
use rnn_cell::fused::{Forward, FusedCell, Linear, Stage, Stages, Vector};
use rnn_cell::{
    BasicRnn, Float, Gru, GruReset, Lstm, LstmState, RnnCell, State, Stream, bidirectional_dynamic_rnn, dynamic_rnn,
};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn random<E: Float>(shape: (usize, usize, usize), rng: &mut Xoshiro256PlusPlus) -> Array3<E> {
    Array3::from_shape_simple_fn(shape, || E::of(rng.random_range(-1.0..1.0)))
}

/// A cell's batch, with lengths if it is ragged.
struct Case {
    batch: usize,
    seq: usize,
    lengths: Option<Vec<usize>>,
}

/// Large enough to use other threads, by rows and by units, and a small one. Ragged (sorted or not) and not ragged.
fn cases(rng: &mut Xoshiro256PlusPlus) -> Vec<Case> {
    let mut ragged = |batch: usize, seq: usize| (0..batch).map(|_| rng.random_range(0..=seq)).collect::<Vec<_>>();
    let unsorted = ragged(29, 40);
    let mut sorted = ragged(26, 40);
    sorted.sort_by_key(|&length| std::cmp::Reverse(length));
    vec![
        Case { batch: 1, seq: 60, lengths: None },
        Case { batch: 1, seq: 60, lengths: Some(vec![57]) },
        Case { batch: 3, seq: 60, lengths: Some(vec![30, 60, 55]) },
        Case { batch: 11, seq: 30, lengths: None },
        Case { batch: 32, seq: 20, lengths: None },
        Case { batch: 29, seq: 40, lengths: Some(unsorted) },
        Case { batch: 26, seq: 40, lengths: Some(sorted) },
        Case { batch: 2, seq: 2, lengths: None },
    ]
}

type Leaves<E> = Vec<Vec<E>>;

/// All numbers a run returns.
fn run<C: RnnCell>(cell: &C, inputs: &Array3<C::Elem>, lengths: Option<&[usize]>) -> Leaves<C::Elem> {
    let (outputs, state) = dynamic_rnn(cell, inputs, lengths, None).unwrap();
    let mut all = vec![outputs.iter().copied().collect()];
    state.visit(&mut |leaf| all.push(leaf.iter().copied().collect()));
    all
}

/// Compares every case in pools of 1, 2, 3 and 8 threads, from inside and outside, with one thread.
fn same_bits<C: RnnCell>(cell: &C, seed: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let pools = [pool(1), pool(2), pool(3), pool(8)];
    for Case { batch, seq, lengths } in cases(&mut rng) {
        let inputs = random((batch, seq, cell.input_size()), &mut rng);
        let expected = pools[0].install(|| run(cell, &inputs, lengths.as_deref()));
        for pool in &pools[1..] {
            for _ in 0..3 {
                let found = pool.install(|| run(cell, &inputs, lengths.as_deref()));
                assert!(found == expected, "batch {batch}, seq {seq}, {} threads", pool.current_num_threads());
            }
        }
        let found = run(cell, &inputs, lengths.as_deref());
        assert!(found == expected, "batch {batch}, seq {seq}, from outside a pool");
    }
}

#[test]
fn basic_rnn() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    same_bits(&BasicRnn::<f32>::new(40, 517, &mut rng), 11);
    same_bits(&BasicRnn::<f64>::new(3, 300, &mut rng), 12);
}

#[test]
fn lstm() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    same_bits(&Lstm::<f32>::new(70, 256, &mut rng), 21);
    let all = Lstm::<f64>::builder(5, 259).use_peepholes(true).cell_clip(0.5).num_proj(61).proj_clip(0.4);
    same_bits(&all.build(&mut rng).unwrap(), 22);
}

#[test]
fn gru() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    same_bits(&Gru::<f32>::new(33, 256, &mut rng), 31);
    let after: Gru<f32> = Gru::<f32>::builder(33, 300).reset(GruReset::After).build(&mut rng).unwrap();
    same_bits(&after, 32);
}

#[test]
fn eight_callers_at_once() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
    let cell = Lstm::<f32>::new(32, 256, &mut rng);
    let (one, pool) = (pool(1), pool(2));
    let inputs: Vec<_> =
        cases(&mut rng).into_iter().map(|case| (random((case.batch, case.seq, 32), &mut rng), case.lengths)).collect();
    let expected: Vec<_> =
        inputs.iter().map(|(x, lengths)| one.install(|| run(&cell, x, lengths.as_deref()))).collect();
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let (cell, pool, inputs, expected) = (&cell, &pool, &inputs, &expected);
            scope.spawn(move || {
                for at in 0..inputs.len() {
                    let at = (at + caller) % inputs.len();
                    let (x, lengths) = &inputs[at];
                    // Half of the calls come from inside the pool. The others use the global pool from outside.
                    let found = match caller % 2 {
                        0 => pool.install(|| run(cell, x, lengths.as_deref())),
                        _ => run(cell, x, lengths.as_deref()),
                    };
                    assert!(found == expected[at], "caller {caller}, case {at}");
                }
            });
        }
    });
}

/// All other threads are busy until the run is over: waiting for one to start would take forever.
#[test]
fn nobody_waits_for_a_busy_pool() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let cell = Lstm::<f32>::new(32, 256, &mut rng);
    let [one_row, rows] = [1, 24].map(|batch| random((batch, 40, 32), &mut rng));
    let held = |spawn: &dyn Fn(Box<dyn FnOnce() + Send>), workers: usize, run: &dyn Fn()| {
        let started = Arc::new(Barrier::new(workers + 1));
        let release = Arc::new(Barrier::new(workers + 1));
        for _ in 0..workers {
            let (started, release) = (Arc::clone(&started), Arc::clone(&release));
            spawn(Box::new(move || {
                started.wait();
                release.wait();
            }));
        }
        started.wait();
        run();
        release.wait();
    };
    let run = || {
        run(&cell, &one_row, None);
        run(&cell, &rows, None);
    };
    // From outside a pool, where help would come from the global one, and from a pool of two workers.
    held(&|job| rayon::spawn(job), rayon::current_num_threads(), &run);
    pool(2).install(|| held(&|job| rayon::spawn(job), 1, &run));
}

/// A step that panics in a helper or in the caller ends the call, not the process.
#[test]
fn a_panic_comes_back() {
    struct Fails(usize);
    impl RnnCell for Fails {
        type Elem = f64;
        type State = Array2<f64>;
        type Workspace = ();
        fn input_size(&self) -> usize {
            64
        }
        fn output_size(&self) -> usize {
            512
        }
        fn zero_state(&self, batch: usize) -> Array2<f64> {
            Array2::zeros((batch, 512))
        }
        fn step(
            &self,
            input: &ndarray::ArrayRef2<f64>,
            _: &mut Array2<f64>,
            _: &mut ndarray::ArrayRef2<f64>,
            (): &mut (),
        ) {
            // Long enough for a second thread to join.
            std::thread::sleep(std::time::Duration::from_millis(5));
            assert!(!input.iter().any(|&x| x == self.0 as f64), "the row is here");
        }
    }
    let mut x = Array3::zeros((24, 2, 64));
    for row in 0..24 {
        x.index_axis_mut(ndarray::Axis(0), row).fill((row + 1) as f64);
    }
    let pool = pool(2);
    for row in [1, 24] {
        let failed =
            catch_unwind(AssertUnwindSafe(|| pool.install(|| dynamic_rnn(&Fails(row), &x, None, None).map(|_| ()))));
        assert!(failed.is_err());
    }
    assert!(pool.install(|| dynamic_rnn(&Fails(99), &x, None, None)).is_ok());
}

#[test]
fn time_major_with_an_initial_state() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
    let cell = Lstm::<f32>::new(16, 256, &mut rng);
    let x = random((30, 25, 16), &mut rng);
    let lengths: Vec<_> = (0..25).map(|row| row * 30 / 24).collect();
    let matrix = |rng: &mut Xoshiro256PlusPlus| Array2::from_shape_simple_fn((25, 256), || rng.random_range(-1.0..1.0));
    let initial = LstmState { c: matrix(&mut rng), h: matrix(&mut rng) };
    let run = || driver(&cell, Some(&lengths), Some(initial.clone())).time_major(true).run(&x).unwrap();
    assert!(pool(3).install(run) == pool(1).install(run));
}

/// A cell that notes on which threads its equation runs.
struct Watched {
    product: Linear<f32>,
    seen: Mutex<HashSet<ThreadId>>,
}

impl FusedCell for Watched {
    type Elem = f32;
    type State = Array2<f32>;

    fn input_size(&self) -> usize {
        self.product.input_size()
    }
    fn output_size(&self) -> usize {
        self.product.units()
    }
    fn zero_state(&self, batch: usize) -> Array2<f32> {
        Array2::zeros((batch, self.product.units()))
    }
    fn stages(&self) -> Stages<'_, f32> {
        Stages::new([Stage::new(&self.product).state(0)])
    }
    #[inline(always)]
    fn forward<V: Vector<f32>>(&self, _: usize, row: &mut Forward<'_, f32>) {
        self.seen.lock().unwrap().insert(std::thread::current().id());
        let ([sum], h, output) = (row.sums(0), row.new_state(0), row.output());
        for at in V::units(sum.len()) {
            let next = V::load(sum, at).tanh();
            next.store(h, at);
            next.store(output, at);
        }
    }
}

rnn_cell::fused_cell!(Watched);

#[test]
fn a_large_single_step_is_shared() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let product = Linear::<f32>::builder(1024).input_size(1024).recurrent_size(1024).build(&mut rng).unwrap();
    let cell = Watched { product, seen: Mutex::default() };
    for batch in [3, 40] {
        let x = random::<f32>((1, batch, 1024), &mut rng);
        let x = x.index_axis(Axis(0), 0);
        // On a busy machine helpers come late, and find nothing left: ten steps, and more until somebody has helped.
        let pushed = |threads: usize, enough: usize| {
            pool(threads).install(|| {
                cell.seen.lock().unwrap().clear();
                let mut stream = Stream::new(&cell, batch);
                let outputs: Vec<_> = (0..10).map(|_| stream.push(&x).unwrap().to_owned()).collect();
                let mut more = 0;
                while cell.seen.lock().unwrap().len() < enough && more < 20_000 {
                    stream.push(&x).unwrap();
                    more += 1;
                }
                (outputs, cell.seen.lock().unwrap().len())
            })
        };
        let (expected, alone) = pushed(1, 1);
        let (found, together) = pushed(3, 2);
        assert!(found == expected, "batch {batch}");
        assert!(alone == 1 && together > 1, "batch {batch}: {alone} and {together} threads");
    }
}

/// A cell that does nothing, but is as large as one that is worth another thread. A step waits until two threads have
/// come.
#[derive(Default)]
struct Meets {
    threads: Mutex<HashSet<ThreadId>>,
    came: Condvar,
}

impl RnnCell for Meets {
    type Elem = f32;
    type State = Array2<f32>;
    type Workspace = ();
    fn input_size(&self) -> usize {
        1
    }
    fn output_size(&self) -> usize {
        1000
    }
    fn zero_state(&self, batch: usize) -> Array2<f32> {
        Array2::zeros((batch, 1))
    }
    fn step(&self, _: &ArrayRef2<f32>, _: &mut Array2<f32>, output: &mut ArrayRef2<f32>, _: &mut ()) {
        output.fill(0.0);
        let mut threads = self.threads.lock().unwrap();
        threads.insert(std::thread::current().id());
        self.came.notify_all();
        let wait = self.came.wait_timeout_while(threads, Duration::from_secs(60), |threads| threads.len() < 2);
        assert!(!wait.unwrap().1.timed_out(), "no second thread came");
    }
}

#[test]
fn directions_and_rows_run_at_the_same_time() {
    pool(2).install(|| {
        let (cell, x) = (Meets::default(), Array3::zeros((1, 4, 1)));
        bidirectional_dynamic_rnn(&cell, &cell, &x, None, None, None).unwrap();
        let (cell, x) = (Meets::default(), Array3::zeros((12, 1, 1)));
        dynamic_rnn(&cell, &x, None, None).unwrap();
    });
}
