//! [`Team`]: who runs the panels of a pass, the calling thread alone or together with the pool's threads.
//!
//! All members run the same passes in the same order and share the panels of each in blocks. Nobody waits but for blocks
//! that a running member has claimed; who comes late finds the blocks of earlier passes done and catches up.

use std::marker::PhantomData;
use std::ops::Range;

/// A member's view of the team. After a member has panicked, in an equation of a user's, nothing is left for the others: they
/// come to their end, and the panic comes back from [`with_team`].
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

/// What is to be run, as far as it matters by how many.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "rayon"), allow(dead_code))]
pub(super) struct Work {
    /// Passes, each shared by itself.
    pub passes: usize,
    /// Rows of a pass.
    pub rows: usize,
    /// Panels of a pass: a panel's rows are one member's.
    pub panels: usize,
    /// Products, multiply and add, of a row in a pass.
    pub products: usize,
}

/// Calls `run` as a team of one; or, where `work` is worth it, as each member of a team of threads.
///
/// # Safety
/// `run` may be called on several threads at once, though it need not be `Sync`. Every call runs the same passes in the
/// same order. Of the memory that calls share and write, a pass writes only what belongs to the blocks its turn hands out,
/// and reads only what earlier passes wrote or what belongs to the same block.
#[cfg_attr(not(feature = "rayon"), allow(unused_variables))]
pub(super) unsafe fn with_team(work: Work, run: impl Fn(Team<'_>)) {
    #[cfg(feature = "rayon")]
    {
        let members = shared::members(work);
        if members > 1 {
            // SAFETY: the caller's promise.
            return unsafe { shared::run(members, work, &run) };
        }
    }
    run(Team::alone());
}

#[cfg(feature = "rayon")]
mod shared {
    use super::{Team, Work};
    use crate::kernel::threads::{Patience, WORTH_SHARING, threads, with_helpers};
    use std::marker::PhantomData;
    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Products of a pass for which a second thread pays, half a microsecond of work each.
    const PRODUCTS: usize = 24_000;
    /// Products of a block that is worth claiming by itself.
    const BLOCK: usize = 1_000_000;
    /// More blocks even out members of different speed.
    const MOST_BLOCKS: usize = 4;

    impl Work {
        /// Products of a pass, up to what a `usize` holds.
        fn pass(&self) -> usize {
            self.rows.saturating_mul(self.products)
        }
    }

    /// As many as pay: each waits for all others after every pass, so that twice as many need four times the work.
    pub(super) fn members(work: Work) -> usize {
        if work.passes.saturating_mul(work.pass()) < WORTH_SHARING {
            return 1;
        }
        // One row has too few sums in one panel to hide an addition's latency.
        let panels = if work.rows == 1 { work.panels / 2 } else { work.panels };
        threads().min(panels).min(1 + (work.pass() / PRODUCTS).isqrt())
    }

    /// A share of every pass: 2 · pass until somebody claims it, then one more until it is done. Alone in its cache lines.
    #[repr(align(128))]
    struct Block(AtomicUsize);

    #[derive(Clone, Copy)]
    pub(super) struct Member<'a> {
        /// Every pass has as many, some perhaps empty.
        blocks: &'a [Block],
        panicked: &'a AtomicBool,
        /// Where its search begins: the same in every pass, so that a panel's weights stay in one core's cache.
        first: usize,
        pass: usize,
        tried: usize,
        claimed: Option<&'a Block>,
    }

    /// # Safety
    /// As [`with_team`](super::with_team).
    pub(super) unsafe fn run(members: usize, work: Work, run: &impl Fn(Team<'_>)) {
        struct AnyThread<T>(T);
        // SAFETY: it is made below and nowhere else, of the `run` that the caller promises may be called on any thread. What
        // one block writes is seen by whoever goes on to the next pass: blocks are done with Release, awaited with Acquire.
        unsafe impl<T> Sync for AnyThread<T> {}
        impl<T: Fn(Team<'_>)> AnyThread<&T> {
            fn call(&self, team: Team<'_>) {
                (self.0)(team);
            }
        }

        let run = AnyThread(run);
        let each = (work.pass() / members / BLOCK).clamp(1, MOST_BLOCKS);
        let blocks: Vec<_> = (0..members * each).map(|_| Block(AtomicUsize::new(0))).collect();
        let panicked = AtomicBool::new(false);
        with_helpers(members - 1, &|member| {
            let _alarm = Alarm(&panicked);
            let (blocks, panicked) = (&blocks, &panicked);
            let member = Member { blocks, panicked, first: member * each, pass: 0, tried: 0, claimed: None };
            run.call(Team { shared: Some(member), _shared: PhantomData });
        });
    }

    /// Tells the others when a member panics.
    struct Alarm<'a>(&'a AtomicBool);

    impl Drop for Alarm<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.store(true, Ordering::Relaxed);
            }
        }
    }

    impl Member<'_> {
        /// This member at the pass it has come to; it itself goes on to the one after.
        pub(super) fn next_pass(&mut self) -> Self {
            let now = *self;
            self.pass += 1;
            now
        }

        pub(super) fn next_block(&mut self, panels: usize) -> Option<Range<usize>> {
            let (unclaimed, claimed, done) = (2 * self.pass, 2 * self.pass + 1, 2 * self.pass + 2);
            if let Some(Block(state)) = self.claimed.take() {
                // Release: who sees it done sees what it wrote.
                state.store(done, Ordering::Release);
            }
            let count = self.blocks.len();
            if self.panicked.load(Ordering::Relaxed) {
                return None;
            }
            while self.tried < count {
                let index = (self.first + self.tried) % count;
                self.tried += 1;
                let block = &self.blocks[index];
                let Block(state) = block;
                // The first load spares the others' cache lines. A block of an earlier pass has moved on and stays so.
                if state.load(Ordering::Relaxed) == unclaimed
                    && state.compare_exchange(unclaimed, claimed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                {
                    self.claimed = Some(block);
                    return Some(panels * index / count..panels * (index + 1) / count);
                }
            }
            let mut patience = Patience::default();
            for Block(state) in self.blocks {
                // Acquire: as above.
                while state.load(Ordering::Acquire) < done && !self.panicked.load(Ordering::Relaxed) {
                    patience.wait();
                }
            }
            None
        }
    }
}
