//! After the first step, stepping allocates nothing: a counting allocator is the witness.

mod common;

use common::{Check, Rng, array, each_cell, rng, state};
use ndarray::{Array2, Array3, Axis};
use rnn_cell::{Float, Parameters, RnnCell};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: all calls go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `run` asks this thread's allocator for memory.
fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0_u8; 100]))), 1);
}

struct NoAllocation;

impl<E: Float> Check<E> for NoAllocation {
    fn check<C: RnnCell<Elem = E> + Parameters<E>>(&mut self, name: &str, make: impl Fn(usize, usize, &mut Rng) -> C) {
        for (batch, seq) in [(1, 30), (3, 5), (8, 5), (33, 2)] {
            let rng = &mut rng(9);
            let cell = make(7, 17, rng);
            let x: Array3<E> = array((seq, batch, cell.input_size()), rng);
            let mut hidden = state(&cell, batch, rng);

            let mut workspace = C::Workspace::default();
            let mut output = Array2::zeros((batch, cell.output_size()));
            cell.step(&x.index_axis(Axis(0), 0), &mut hidden, &mut output, &mut workspace);
            let stepping = allocations(|| {
                for input in x.outer_iter() {
                    cell.step(&input, &mut hidden, &mut output, &mut workspace);
                }
            });
            assert_eq!(stepping, 0, "{name}: {seq} steps of {batch} rows");

            let mut workspace = C::Workspace::default();
            let mut outputs = Array3::zeros((seq, batch, cell.output_size()));
            cell.unroll(&x, &mut hidden, &mut outputs, &mut workspace);
            let again = allocations(|| cell.unroll(&x, &mut hidden, &mut outputs, &mut workspace));
            assert_eq!(again, 0, "{name}: unroll again over {seq} steps of {batch} rows");
            let smaller = allocations(|| {
                cell.step(&x.index_axis(Axis(0), 0), &mut hidden, &mut output, &mut workspace);
            });
            assert_eq!(smaller, 0, "{name}: a step after unroll");

            // Features apart go through the workspace's buffers.
            let strided = Array3::from_shape_fn((cell.input_size(), batch, seq), |(i, b, t)| x[[t, b, i]]);
            let mut outputs = Array3::zeros((cell.output_size(), batch, seq));
            let mut run = || {
                let mut outputs = outputs.view_mut().reversed_axes();
                cell.unroll(&strided.view().reversed_axes(), &mut hidden, &mut outputs, &mut workspace);
            };
            run();
            assert_eq!(allocations(run), 0, "{name}: unroll again over strided arrays");
        }
    }
}

#[test]
fn after_the_first_step_nothing_is_allocated() {
    each_cell::<f32>(&mut NoAllocation);
    each_cell::<f64>(&mut NoAllocation);
}
