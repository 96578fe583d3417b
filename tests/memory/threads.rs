//! Requests do not pile up in a busy pool: any number of calls takes the same memory.

use crate::allocator::measured;
use ndarray::Array3;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rayon::ThreadPoolBuilder;
use rnn_cell::{Gru, dynamic_rnn};
use std::sync::{Arc, Barrier};

#[test]
fn calls_leave_nothing_in_the_queue_of_a_busy_pool() {
    let cell = Gru::<f32>::new(8, 512, &mut Xoshiro256PlusPlus::seed_from_u64(1));
    // Enough work to share: rows among threads, and units of a single row.
    let inputs = [(12, 2, 8), (1, 16, 8)].map(Array3::<f32>::zeros);
    let calls = |count: usize| {
        for _ in 0..count {
            for x in &inputs {
                dynamic_rnn(&cell, x, None, None).unwrap();
            }
        }
    };
    let barriers = Arc::new((Barrier::new(2), Barrier::new(2)));
    ThreadPoolBuilder::new().num_threads(2).build().unwrap().install(|| {
        let theirs = Arc::clone(&barriers);
        rayon::spawn(move || {
            theirs.0.wait();
            theirs.1.wait();
        });
        barriers.0.wait();
        calls(10);
        let ((), kept, _) = measured(|| calls(100));
        barriers.1.wait();
        assert_eq!(kept, 0, "bytes are kept");
    });
}
