//! Work shared with rayon's pool, without ever waiting for a thread that has not started.
//!
//! [`with_helpers`] runs one function on the calling thread and on those pool threads that come in time. The calling
//! thread can do all of the work alone and does if nobody comes: it is safe from inside a pool, in a pool of one thread,
//! from many threads at once. (`rayon::join` from outside a pool waits until the pool takes the call.)

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Products, multiply and add, that are worth sharing: 50 to 100 µs of work.
pub(crate) const WORTH_SHARING: usize = 4_000_000;

/// Threads of the current pool.
pub(crate) fn threads() -> usize {
    rayon::current_num_threads()
}

type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// Runs `work(0)` here, and `work(1)` to `work(helpers)` on whichever pool threads get to it before `work(0)` returns.
/// Returns when all that began have ended. `work(0)` must leave nothing undone but what another has begun.
///
/// # Panics
/// If one of them panics.
pub(crate) fn with_helpers(helpers: usize, work: &Work<'_>) {
    // SAFETY: the same pointer with its lifetime forgotten. It is followed only inside the door, and `close`, dropped at the
    // latest when this function is left, by a panic too, shuts the door and waits until nobody is inside: `work` is borrowed
    // until then. Helpers that come later find the door shut and do not look at `work`.
    let forgotten = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
    let door = Arc::new(Door { state: AtomicUsize::new(0), work: forgotten, panic: Mutex::new(None) });
    for helper in 1..=helpers {
        let door = Arc::clone(&door);
        rayon::spawn(move || door.help(helper));
    }
    let close = Close(&door);
    work(0);
    drop(close);
    let panic = door.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

/// How many helpers are inside, and whether another may still come in.
struct Door {
    /// Helpers inside, plus `SHUT`.
    state: AtomicUsize,
    work: *const Work<'static>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

const SHUT: usize = 1 << (usize::BITS - 1);

// SAFETY: all fields but `work` are `Send` and `Sync`; `work` points to a function that is `Sync`, that is, may be called
// from any thread.
unsafe impl Send for Door {}
// SAFETY: as above.
unsafe impl Sync for Door {}

impl Door {
    fn help(&self, helper: usize) {
        let open = |state| (state & SHUT == 0).then_some(state + 1);
        if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, open).is_err() {
            return;
        }
        // SAFETY: we are inside, so that the caller of `with_helpers` waits for us.
        let work = unsafe { &*self.work };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(helper))) {
            *self.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(panic);
        }
        self.state.fetch_sub(1, Ordering::Release);
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
