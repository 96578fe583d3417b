//! [`Team`]: who runs the panels of a pass, the calling thread alone or together with the pool's threads.
//!
//! All members run the same passes in the same order and share the panels of each in blocks. Nobody waits but for blocks
//! that a running member has claimed; who comes late finds the blocks of earlier passes done and catches up.

use super::sequence::Sequence;
use std::marker::PhantomData;
use std::ops::Range;

/// A member's view of the team. A member that panics in the middle leaves the others waiting: what a kernel is given it
/// asserts before it makes a team.
#[derive(Clone, Copy)]
pub(super) struct Team<'a> {
    #[cfg(feature = "rayon")]
    shared: Option<shared::Member<'a>>,
    _shared: PhantomData<&'a ()>,
}

/// A member's share of one pass: block after block of panels until none is left.
pub(super) struct Turn<'a> {
    #[cfg(feature = "rayon")]
    shared: Option<shared::Member<'a>>,
    _shared: PhantomData<&'a ()>,
    panels: Range<usize>,
}

impl<'a> Team<'a> {
    /// The calling thread alone.
    pub(super) fn alone() -> Self {
        Self {
            #[cfg(feature = "rayon")]
            shared: None,
            _shared: PhantomData,
        }
    }

    /// The next pass, over `panels` panels.
    #[inline(always)]
    pub(super) fn turn(&mut self, panels: usize) -> Turn<'a> {
        Turn {
            #[cfg(feature = "rayon")]
            shared: self.shared.as_mut().map(shared::Member::next_pass),
            _shared: PhantomData,
            panels: 0..panels,
        }
    }
}

impl Turn<'_> {
    /// The next block of panels to run; `None` when all of the pass are done, by whomever.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        #[cfg(feature = "rayon")]
        if let Some(shared) = &mut self.shared {
            return shared.next_block(self.panels.end);
        }
        let panels = self.panels.clone();
        self.panels.start = self.panels.end;
        (!panels.is_empty()).then_some(panels)
    }
}

/// Calls `run` as a team of one; or, where a long run of steps has too few rows to give each thread its own and units
/// enough for more than one, as each member of a team of threads. `weights` are read once a step and row.
///
/// # Safety
/// `run` may be called on several threads at once, though it need not be `Sync`. Every call runs the same passes in the
/// same order. Of the memory that calls share and write, a pass writes only what belongs to the blocks its turn hands out,
/// and reads only what earlier passes wrote or what belongs to the same block.
#[cfg_attr(not(feature = "rayon"), allow(unused_variables))]
pub(super) unsafe fn with_team<E>(sequence: &Sequence<E>, units: usize, weights: usize, run: impl Fn(Team<'_>)) {
    #[cfg(feature = "rayon")]
    if sequence.steps > 1
        && sequence.rows < 2 * super::threads::ROWS_A_THREAD
        && units >= shared::UNITS
        && product(&[sequence.steps, sequence.rows, weights]) >= super::threads::WORTH_SHARING
    {
        let members = super::threads::threads().min(2 * units / shared::UNITS);
        if members > 1 {
            // SAFETY: the caller's promise.
            return unsafe { shared::run(members, &run) };
        }
    }
    run(Team::alone());
}

/// [`with_team`] for training, whose driver leaves all rows together: whatever their number, `passes` passes of
/// `products` products each (these numbers multiplied) are shared if they are worth it.
///
/// # Safety
/// As [`with_team`].
#[cfg_attr(not(feature = "rayon"), allow(unused_variables))]
pub(super) unsafe fn with_training_team(passes: usize, products: &[usize], run: impl Fn(Team<'_>)) {
    #[cfg(feature = "rayon")]
    {
        let products = product(products);
        if products >= shared::PRODUCTS && product(&[passes, products]) >= super::threads::WORTH_SHARING {
            let members = super::threads::threads().min(products / shared::PRODUCTS + 1);
            if members > 1 {
                // SAFETY: the caller's promise.
                return unsafe { shared::run(members, &run) };
            }
        }
    }
    run(Team::alone());
}

/// Work is counted up to what a `usize` holds.
#[cfg(feature = "rayon")]
fn product(numbers: &[usize]) -> usize {
    numbers.iter().fold(1, |product: usize, &number| product.saturating_mul(number))
}

#[cfg(feature = "rayon")]
mod shared {
    use super::Team;
    use crate::kernel::threads::{Patience, with_helpers};
    use std::marker::PhantomData;
    use std::ops::Range;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Units from which on a second thread pays, and then another for every half of it.
    pub(super) const UNITS: usize = 256;
    /// Products of a pass, multiply and add, from which on a second thread pays: several microseconds of work.
    pub(super) const PRODUCTS: usize = 300_000;
    /// More even out members of different speed, fewer cost less to claim.
    const BLOCKS_A_MEMBER: usize = 4;

    /// The blocks of the current pass; every pass has as many, some perhaps empty.
    struct Blocks {
        /// For each block the first pass that has not claimed it.
        unclaimed: Vec<AtomicUsize>,
        /// Blocks done in all passes together.
        done: AtomicUsize,
    }

    #[derive(Clone, Copy)]
    pub(super) struct Member<'a> {
        blocks: &'a Blocks,
        /// Where its search begins: the same in every pass, so that a panel's weights stay in one core's cache.
        first: usize,
        pass: usize,
        tried: usize,
        claimed: bool,
    }

    /// # Safety
    /// As [`with_team`](super::with_team).
    pub(super) unsafe fn run(members: usize, run: &impl Fn(Team<'_>)) {
        struct AnyThread<T>(T);
        // SAFETY: it is made below and nowhere else, of the `run` that the caller promises may be called on any thread. What
        // one block writes is seen by whoever goes on to the next pass: `done` counts with Release and Acquire.
        unsafe impl<T> Sync for AnyThread<T> {}
        impl<T: Fn(Team<'_>)> AnyThread<&T> {
            fn call(&self, team: Team<'_>) {
                (self.0)(team);
            }
        }

        let run = AnyThread(run);
        let unclaimed = (0..members * BLOCKS_A_MEMBER).map(|_| AtomicUsize::new(0)).collect();
        let blocks = Blocks { unclaimed, done: AtomicUsize::new(0) };
        with_helpers(members - 1, &|member| {
            let first = member * BLOCKS_A_MEMBER;
            let member = Member { blocks: &blocks, first, pass: 0, tried: 0, claimed: false };
            run.call(Team { shared: Some(member), _shared: PhantomData });
        });
    }

    impl Member<'_> {
        /// This member at the pass it has come to; it itself goes on to the one after.
        pub(super) fn next_pass(&mut self) -> Self {
            let now = *self;
            self.pass += 1;
            now
        }

        pub(super) fn next_block(&mut self, panels: usize) -> Option<Range<usize>> {
            let Blocks { unclaimed, done } = self.blocks;
            let count = unclaimed.len();
            if self.claimed {
                // Release: who sees the count sees what this block wrote.
                done.fetch_add(1, Ordering::Release);
                self.claimed = false;
            }
            while self.tried < count {
                let block = (self.first + self.tried) % count;
                self.tried += 1;
                let unclaimed = &unclaimed[block];
                // The first load spares the others' cache lines. A block of an earlier pass has moved on and stays so.
                if unclaimed.load(Ordering::Relaxed) == self.pass
                    && unclaimed
                        .compare_exchange(self.pass, self.pass + 1, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok()
                {
                    self.claimed = true;
                    return Some(panels * block / count..panels * (block + 1) / count);
                }
            }
            let all = (self.pass + 1) * count;
            let mut patience = Patience::default();
            // Acquire: as above.
            while done.load(Ordering::Acquire) < all {
                patience.wait();
            }
            None
        }
    }
}
