//! Queues, panics and [`alone`], in pools of several sizes.

use super::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::panic::panic_any;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn waiting() -> usize {
    Queue::current().0.load(Ordering::Relaxed)
}

/// Runs `run` on one thread of a pool while all others are busy.
fn in_a_busy_pool(threads: usize, run: impl FnOnce() + Send) {
    let (started, release) = (Arc::new(Barrier::new(threads)), Arc::new(Barrier::new(threads)));
    pool(threads).install(|| {
        for _ in 1..threads {
            let (started, release) = (Arc::clone(&started), Arc::clone(&release));
            rayon::spawn(move || {
                started.wait();
                release.wait();
            });
        }
        started.wait();
        run();
        release.wait();
    });
}

#[test]
fn a_busy_pools_queue_stays_short() {
    in_a_busy_pool(3, || {
        let calls = AtomicUsize::new(0);
        for _ in 0..10_000 {
            with_helpers(2, &|_| _ = calls.fetch_add(1, Ordering::Relaxed));
            assert!(waiting() <= 6, "{} helpers wait", waiting());
        }
        assert_eq!((calls.into_inner(), waiting()), (10_000, 6));
    });
}

#[test]
fn helpers_leave_the_queue_and_are_asked_for_again() {
    pool(2).install(|| {
        for _ in 0..100 {
            let (meet, look) = (Barrier::new(2), Barrier::new(2));
            // Neither returns before the other has come, nor before one has looked.
            with_helpers(1, &|number| {
                meet.wait();
                // The helper left the queue by starting, not by ending.
                let waits = number == 0 && waiting() > 0;
                look.wait();
                assert!(!waits);
            });
            assert_eq!(waiting(), 0);
        }
    });
}

#[test]
fn a_spawn_that_panics_leaves_no_helper_inside() {
    // In a pool, to have a queue that no other test uses.
    pool(1).install(|| {
        let (kept, called) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let spawn = |helper: Helper| {
            assert!(helper.number < 2, "no more");
            kept.lock().unwrap().push(helper);
        };
        let share = || share(2, &|_| called.store(true, Ordering::Relaxed), &spawn);
        assert!(catch_unwind(AssertUnwindSafe(share)).is_err());
        assert_eq!(waiting(), 1);
        kept.lock().unwrap().drain(..).for_each(Helper::run);
        assert_eq!((waiting(), called.load(Ordering::Relaxed)), (0, false));
    });
}

/// Panics when dropped, with another of the same kind.
struct Wrapped;

impl Drop for Wrapped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_any(Wrapped);
        }
    }
}

#[test]
fn alone_there_is_one_thread_until_it_ends() {
    pool(3).install(|| {
        let all = cores().min(3);
        assert_eq!(threads(), all);
        assert_eq!(alone(|| alone(threads) + threads()), 2);
        assert!(catch_unwind(|| alone(|| panic_any(0))).is_err());
        assert_eq!(threads(), all);
    });
}

/// All members wait for each other. Then those picked by `fails` panic, and the others return.
fn failing(members: usize, fails: impl Fn(usize) -> bool + Sync) -> Result<(), Box<dyn Any + Send>> {
    let all = Barrier::new(members);
    catch_unwind(AssertUnwindSafe(|| {
        pool(members).install(|| {
            with_helpers(members - 1, &|number| {
                all.wait();
                if fails(number) {
                    panic_any(Wrapped);
                }
            });
        });
    }))
}

#[test]
fn panics_come_back_one_at_a_time_whatever_they_carry() {
    for fails in [|number| number == 0, |number| number == 2, |number| number > 0, |_| true] {
        let panic = failing(4, fails).unwrap_err();
        assert!(panic.is::<Wrapped>());
        discard(panic);
    }
    failing(4, |_| false).unwrap();
}
