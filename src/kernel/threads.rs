//! Shares work with rayon's pool without ever waiting for a thread that has not started.
//!
//! [`with_helpers`] runs one function on the calling thread and on the pool threads that join in time. If none joins,
//! the calling thread does all the work alone. So it is safe inside a pool, in a pool of one thread, and from many
//! threads at once. (`rayon::join` from outside a pool waits until the pool takes the call.)
//!
//! A requested helper stays in the pool's queue until a thread is free: in a busy pool, long after the work is done. So
//! only a few may wait there: see [`Place`].

#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::available_parallelism;

/// Multiply-adds that are worth sharing: 50 to 100 µs of work.
pub(crate) const WORTH_SHARING: usize = 4_000_000;

/// Threads that may share work: those of the current pool, or only this one inside [`alone`]. No more than there are
/// cores: the members of a team wait for each other after every pass, and one without a core holds up all of them.
pub(crate) fn threads() -> usize {
    if ALONE.get() { 1 } else { rayon::current_num_threads().min(cores()) }
}

/// Cores that this process may use.
fn cores() -> usize {
    // Asked only once, as it takes system calls.
    static CORES: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(usize::MAX, NonZero::get));
    *CORES
}

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Calls `run` without letting it share work with other threads, which have work of their own.
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

/// Runs `work(0)` here, and `work(1)` to `work(helpers)` on the pool threads that get to it before `work(0)` returns.
/// Asks for fewer helpers if earlier ones still wait for a thread. Returns when all calls that began have ended.
/// `work(0)` must leave nothing undone except what another call has begun.
///
/// # Panics
/// If one of the calls panics.
pub(crate) fn with_helpers(helpers: usize, work: &Work<'_>) {
    share(helpers, work, &|helper| rayon::spawn(move || helper.run()));
}

/// [`with_helpers`], handing the helpers to `spawn`.
fn share(helpers: usize, work: &Work<'_>, spawn: &dyn Fn(Helper)) {
    // SAFETY: this is the same reference with its lifetime forgotten, used only inside the door. `close` shuts the door
    // and waits until nobody is inside. It exists before the first helper and is dropped before this function returns
    // or unwinds; `work` is borrowed until then. Later helpers find the door shut and do not look at `work`.
    let forgotten = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
    let work_inside = MaybeUninit::new(forgotten);
    let door = Arc::new(Door { state: AtomicUsize::new(0), work: work_inside, panic: Mutex::new(None) });
    let close = Close(&door);
    let queue = Queue::current();
    for number in 1..=helpers {
        let Some(place) = queue.place() else { break };
        spawn(Helper { number, door: Arc::clone(&door), place });
    }
    // Caught so that a helper's panic, if any, is not dropped while this one unwinds.
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

/// How many helpers are queued and have not started.
#[derive(Clone)]
struct Queue(Arc<AtomicUsize>);

impl Queue {
    /// The queue of the pool that the calling thread's helpers go to. Threads outside any pool share the global pool's.
    /// A pool's thread counts its own helpers only: it cannot know which other threads belong to its pool.
    fn current() -> Self {
        static OUTSIDE: LazyLock<Queue> = LazyLock::new(|| Queue(Arc::default()));
        thread_local! {
            static OF_A_POOLS_THREAD: Queue = Queue(Arc::default());
        }
        if rayon::current_thread_index().is_some() { OF_A_POOLS_THREAD.with(Self::clone) } else { OUTSIDE.clone() }
    }

    /// A place for one helper, unless two per thread of the pool already wait. Then the pool is busy, and another would
    /// only fill its queue.
    fn place(&self) -> Option<Place> {
        let most = rayon::current_num_threads().saturating_mul(2);
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(self.clone()))
    }
}

/// A helper's place in the queue. Dropping it leaves the queue: when the helper starts, or when it never will.
struct Place(Queue);

impl Drop for Place {
    fn drop(&mut self) {
        let Self(Queue(waiting)) = self;
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a share of the work on a free thread, unless the work is over by then.
struct Helper {
    number: usize,
    door: Arc<Door>,
    place: Place,
}

impl Helper {
    /// Never panics: rayon ends the process if a spawned function does.
    fn run(self) {
        let Self { number, door, place } = self;
        drop(place);
        door.help(number);
    }
}

/// How many helpers are inside, and whether more may enter.
struct Door {
    /// Helpers inside, plus `SHUT`.
    state: AtomicUsize,
    /// Valid while somebody is inside. Later it dangles, as what is inside `MaybeUninit` may.
    work: MaybeUninit<&'static Work<'static>>,
    /// The first panic of a helper.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

const SHUT: usize = 1 << (usize::BITS - 1);

impl Door {
    fn help(&self, number: usize) {
        let Some(_inside) = Inside::enter(self) else { return };
        // SAFETY: we are inside, so the caller of `with_helpers` waits for us.
        let work = unsafe { self.work.assume_init() };
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

/// A helper inside the door, until dropped.
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

/// Shuts the door when dropped, also by a panic, and waits for the helpers inside, which are running.
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

/// Drops the payload of a panic, even if that panics again.
fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Dropping this one may panic too.
        std::mem::forget(again);
    }
}

/// Waits for a running thread in a loop. Every few microseconds (a spin takes up to 150 cycles) it yields the core, in
/// case that thread was interrupted and waits for it.
#[derive(Default)]
pub(super) struct Patience(u32);

impl Patience {
    pub(super) fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(256) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}
