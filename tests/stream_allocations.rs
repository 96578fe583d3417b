//! After its first push a stream allocates nothing, whatever built-in cell it runs.

use ndarray::{Array2, ShapeBuilder};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::GruReset;
use rnn_cell::{Activation, BasicRnn, Float, Gru, Lstm, RnnCell, Stream};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what the thread that asks allocates: the test harness has threads of its own.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is handed on to the system's allocator. (`realloc` and `alloc_zeroed` come down to `alloc`.)
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

const INPUT: usize = 19;

fn check<C: RnnCell>(name: &str, cell: &C) {
    for batch in [1, 2, 5, 7, 16, 33] {
        let rows = Array2::<C::Elem>::ones((batch, INPUT));
        let columns = Array2::<C::Elem>::ones((batch, INPUT).f());
        for input in [rows, columns] {
            let mut stream = Stream::new(cell, batch);
            stream.push(&input).unwrap();
            let count = allocations(|| {
                for _ in 0..30 {
                    stream.push(&input).unwrap();
                }
                stream.reset_row(batch - 1).unwrap();
                stream.reset();
                stream.push(&input).unwrap();
            });
            assert_eq!(count, 0, "{name}, batch {batch}, strides {:?}", input.strides());
        }
    }
}

fn check_all<E: Float>() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(3);
    let half = E::from_f64(0.5);
    for hidden in [3, 16, 37] {
        check("BasicRnn", &BasicRnn::<E>::new(INPUT, hidden, rng));
        let builder = BasicRnn::<E>::builder(INPUT, hidden).use_bias(false).activation(Activation::Relu);
        check("BasicRnn relu, no bias", &builder.build(rng).unwrap());

        let lstm = || Lstm::<E>::builder(INPUT, hidden);
        check("Lstm", &lstm().build(rng).unwrap());
        check("Lstm no bias", &lstm().use_bias(false).build(rng).unwrap());
        check("Lstm peepholes", &lstm().use_peepholes(true).build(rng).unwrap());
        check("Lstm cell_clip", &lstm().cell_clip(half).build(rng).unwrap());
        check("Lstm num_proj", &lstm().num_proj(5).build(rng).unwrap());
        check("Lstm wide num_proj", &lstm().num_proj(50).build(rng).unwrap());
        let all = lstm().use_peepholes(true).cell_clip(half).num_proj(5).proj_clip(half).activation(Activation::Relu);
        check("Lstm all", &all.gate_activation(Activation::Tanh).build(rng).unwrap());

        let gru = || Gru::<E>::builder(INPUT, hidden);
        check("Gru", &gru().build(rng).unwrap());
        check("Gru no bias", &gru().use_bias(false).build(rng).unwrap());
        check("Gru reset after", &gru().reset(GruReset::After).build(rng).unwrap());
        check("Gru relu", &gru().activation(Activation::Relu).build(rng).unwrap());
    }
}

#[test]
fn pushes_after_the_first_allocate_nothing() {
    assert_ne!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 0, "the allocator counts");
    check_all::<f32>();
    check_all::<f64>();
}
