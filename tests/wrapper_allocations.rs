//! After the first step of a size, no wrapper allocates.

use ndarray::{Array2, Array3};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rnn_cell::{
    BoxedCell, DropoutWrapper, Gru, HighwayWrapper, LayerNormLstm, Lstm, MultiRnnCell, Parameters, ResidualWrapper,
    RnnCell,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts each thread's own allocations: the test harness allocates in others.
struct Counting;

// SAFETY: everything is passed on to `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn check<C: RnnCell<Elem = f32>>(cell: &C) {
    for (mut state, batch) in [(cell.zero_state(3), 3), (cell.training_state(3, 1), 3), (cell.training_state(1, 1), 1)]
    {
        let mut workspace = C::Workspace::default();
        let (x, mut out) = (Array2::ones((batch, 4)), Array2::zeros((batch, 4)));
        let (xs, mut outs) = (Array3::ones((9, batch, 4)), Array3::zeros((9, batch, 4)));
        let mut run = || {
            cell.step(&x, &mut state, &mut out, &mut workspace);
            cell.unroll(&xs, &mut state, &mut outs, &mut workspace);
        };
        run();
        let before = ALLOCATIONS.with(Cell::get);
        run();
        run();
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{}", std::any::type_name::<C>());
    }
}

#[test]
fn no_wrapper_allocates_after_the_first_run() {
    let before = ALLOCATIONS.with(Cell::get);
    drop(vec![1]);
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 1, "the allocator counts");

    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    fn dropout<C: RnnCell + Parameters<f32>>(cell: C, state_keep_prob: f64) -> DropoutWrapper<C> {
        let builder = DropoutWrapper::builder(cell).input_keep_prob(0.5).output_keep_prob(0.5);
        builder.state_keep_prob(state_keep_prob).build().unwrap()
    }
    check(&MultiRnnCell::new(vec![Lstm::new(4, 4, rng), Lstm::new(4, 4, rng), Lstm::new(4, 4, rng)]).unwrap());
    check(&MultiRnnCell::new((Lstm::new(4, 7, rng), Gru::new(7, 4, rng))).unwrap());
    check(&ResidualWrapper::new(Gru::new(4, 4, rng)).unwrap());
    check(&dropout(Gru::new(4, 4, rng), 1.0));
    check(&dropout(Gru::new(4, 4, rng), 0.5));
    check(&HighwayWrapper::builder(Gru::new(4, 4, rng)).couple_carry_transform_gates(false).build(rng).unwrap());
    check(&LayerNormLstm::builder(4, 4).dropout_keep_prob(0.5).build(rng).unwrap());
    let mut layer = || BoxedCell::new(ResidualWrapper::new(dropout(Lstm::new(4, 4, rng), 0.9)).unwrap());
    check(&MultiRnnCell::new(vec![layer(), layer()]).unwrap());
}
