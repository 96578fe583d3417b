//! Work shared with rayon's pool, without ever waiting for a thread that has not started.
//!
//! [`with_helpers`] runs one function on the calling thread and on those pool threads that come in time. The calling
//! thread can do all of the work alone and does if nobody comes: it is safe from inside a pool, in a pool of one thread,
//! from many threads at once. (`rayon::join` from outside a pool waits until the pool takes the call.)
//!
//! A helper that has been asked for stays in the pool's queue until a thread is free, long after the work is done if the
//! pool is busy. So only a few are asked for ahead: see [`Place`].

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Products, multiply and add, that are worth sharing: 50 to 100 µs of work.
pub(crate) const WORTH_SHARING: usize = 4_000_000;

/// Threads that may share work: those of the current pool, but only this one inside of [`alone`].
pub(crate) fn threads() -> usize {
    if ALONE.get() { 1 } else { rayon::current_num_threads() }
}

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Calls `run`, which shares no work with other threads: they have work of their own.
pub(crate) fn alone<R>(run: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _restore = Restore(ALONE.replace(true));
    run()
}

type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// Runs `work(0)` here, and `work(1)` to `work(helpers)` on whichever pool threads get to it before `work(0)` returns;
/// on fewer where earlier helpers still wait for a thread. Returns when all that began have ended. `work(0)` must leave
/// nothing undone but what another has begun.
///
/// # Panics
/// If one of them panics.
pub(crate) fn with_helpers(helpers: usize, work: &Work<'_>) {
    share(helpers, work, &|helper| rayon::spawn(move || helper.run()));
}

/// [`with_helpers`], who are handed to `spawn`.
fn share(helpers: usize, work: &Work<'_>, spawn: &dyn Fn(Helper)) {
    // SAFETY: the same pointer with its lifetime forgotten. It is followed only inside the door. `close` shuts the door and
    // waits until nobody is inside. It exists before the first helper does, and is dropped before this function is left, by
    // a panic too: `work` is borrowed until then. Helpers that come later find the door shut and do not look at `work`.
    let forgotten = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
    let door = Arc::new(Door { state: AtomicUsize::new(0), work: forgotten, panic: Mutex::new(None) });
    let close = Close(&door);
    let queue = Queue::current();
    for number in 1..=helpers {
        let Some(place) = queue.place() else { break };
        spawn(Helper { number, door: Arc::clone(&door), place });
    }
    // Caught so that a helper's panic, if there is one as well, is not dropped while this one unwinds.
    let own = catch_unwind(AssertUnwindSafe(|| work(0)));
    drop(close);
    let others = door.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (own, others) {
        (Ok(()), None) => {}
        (Ok(()), Some(panic)) => resume_unwind(panic),
        (Err(panic), others) => {
            others.into_iter().for_each(discard);
            resume_unwind(panic)
        }
    }
}

/// How many helpers have been queued and have not started.
#[derive(Clone)]
struct Queue(Arc<AtomicUsize>);

impl Queue {
    /// That of the pool which the calling thread's helpers go to: threads outside of any pool share one, the global pool's.
    /// A pool's thread counts its own, as there is no way to know which other threads are of its pool.
    fn current() -> Self {
        static OUTSIDE: LazyLock<Queue> = LazyLock::new(|| Queue(Arc::default()));
        thread_local! {
            static OF_A_POOLS_THREAD: Queue = Queue(Arc::default());
        }
        if rayon::current_thread_index().is_some() { OF_A_POOLS_THREAD.with(Self::clone) } else { OUTSIDE.clone() }
    }

    /// A place for one helper, unless two for each thread of the pool wait already: the pool is busy, and another would only
    /// fill its queue.
    fn place(&self) -> Option<Place> {
        let most = threads().saturating_mul(2);
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(self.clone()))
    }
}

/// A helper's place in the queue, left when dropped: when it starts, or when nobody will start it any more.
struct Place(Queue);

impl Drop for Place {
    fn drop(&mut self) {
        let Self(Queue(waiting)) = self;
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Somebody who will help, unless the work is over when a thread is free.
struct Helper {
    number: usize,
    door: Arc<Door>,
    place: Place,
}

impl Helper {
    /// Never panics: rayon ends the process if what it was given to run does.
    fn run(self) {
        let Self { number, door, place } = self;
        drop(place);
        door.help(number);
    }
}

/// How many helpers are inside, and whether another may still come in.
struct Door {
    /// Helpers inside, plus `SHUT`.
    state: AtomicUsize,
    work: *const Work<'static>,
    /// The first of the helpers' panics.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

const SHUT: usize = 1 << (usize::BITS - 1);

// SAFETY: all fields but `work` are `Send` and `Sync`; `work` points to a function that is `Sync`, that is, may be called
// from any thread.
unsafe impl Send for Door {}
// SAFETY: as above.
unsafe impl Sync for Door {}

impl Door {
    fn help(&self, number: usize) {
        let Some(_inside) = Inside::enter(self) else { return };
        // SAFETY: we are inside, so that the caller of `with_helpers` waits for us.
        let work = unsafe { &*self.work };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(number))) {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() {
                *first = Some(panic);
            } else {
                drop(first);
                discard(panic);
            }
        }
    }
}

/// Who is inside, until dropped.
struct Inside<'a>(&'a Door);

impl<'a> Inside<'a> {
    /// `None` if the door is shut.
    fn enter(door: &'a Door) -> Option<Self> {
        let open = |state| (state & SHUT == 0).then_some(state + 1);
        door.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, open).ok()?;
        Some(Self(door))
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_sub(1, Ordering::Release);
    }
}

/// Shuts the door when dropped, also by a panic, and waits for those inside: they are running.
struct Close<'a>(&'a Door);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_or(SHUT, Ordering::Relaxed);
        let mut patience = Patience::default();
        while self.0.state.load(Ordering::Acquire) != SHUT {
            patience.wait();
        }
    }
}

/// Drops what a panic carried, even if that panics again.
fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // It may be of the same kind.
        std::mem::forget(again);
    }
}

/// Waits for a running thread: first in a loop, then, in case it was interrupted, leaving it the core.
#[derive(Default)]
pub(super) struct Patience(u32);

impl Patience {
    pub(super) fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(4096) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
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

    /// Runs `run` on one thread of a pool, all others being busy.
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
                let both = AtomicUsize::new(0);
                // Nobody who has come goes before the other is there.
                with_helpers(1, &|_| {
                    both.fetch_add(1, Ordering::Relaxed);
                    while both.load(Ordering::Relaxed) < 2 {
                        std::thread::yield_now();
                    }
                });
                assert_eq!(waiting(), 0);
            }
        });
    }

    #[test]
    fn a_spawn_that_panics_leaves_no_helper_inside() {
        // In a pool, for a queue that no other test uses.
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
            assert_eq!(threads(), 3);
            assert_eq!(alone(|| alone(threads) + threads()), 2);
            assert!(catch_unwind(|| alone(|| panic_any(0))).is_err());
            assert_eq!(threads(), 3);
        });
    }

    /// All members wait for each other, then those that `fails` says panic, and only after that do the others return.
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
}
