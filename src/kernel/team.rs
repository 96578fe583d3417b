//! [`Team`]: the threads that run the panels of a pass, the calling one alone or together with the pool's.
//!
//! All members run the same passes in the same order and share the panels of each in blocks. A member waits only for
//! blocks claimed by running members. One that joins late finds the blocks of earlier passes done and catches up.

use std::marker::PhantomData;
use std::ops::Range;

/// A member's view of the team. Once a member has panicked, in a user's equation, the others get no more blocks and
/// finish. The panic comes back from [`with_team`].
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
    /// The next block of panels to run. `None` once all blocks of the pass are done, by any member, or after a panic.
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

/// The size of what is run, which decides how many members run it.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "rayon"), allow(dead_code))]
pub(super) struct Work {
    /// Passes, each shared separately.
    pub passes: usize,
    /// Rows of a pass.
    pub rows: usize,
    /// Panels of a pass. One member computes all rows of a panel.
    pub panels: usize,
    /// Multiply-adds of a row in a pass.
    pub products: usize,
}

/// Calls `run` as a team of one or, if `work` is worth it, as each member of a team of threads.
///
/// # Safety
/// `run` may be called on several threads at once, though it need not be `Sync`. Every call runs the same passes in the
/// same order. In memory that calls share and write, a pass writes only what belongs to the blocks its turn hands out,
/// and reads only what earlier passes wrote or what belongs to the same block.
#[cfg_attr(not(feature = "rayon"), allow(unused_variables))]
pub(super) unsafe fn with_team(work: Work, run: impl Fn(Team<'_>)) {
    #[cfg(feature = "rayon")]
    {
        let members = shared::members(work);
        if members > 1 {
            let run = AnyThread(run);
            return shared::run(members, work, &|team| run.call(team));
        }
    }
    run(Team::alone());
}

/// What [`with_team`] runs.
#[cfg(feature = "rayon")]
struct AnyThread<T>(T);

// SAFETY: it is made only in `with_team`, from the `run` that the caller promises may be called on any thread. Members see
// what a block wrote once they go on to the next pass: blocks are done with Release, awaited with Acquire.
#[cfg(feature = "rayon")]
unsafe impl<T> Sync for AnyThread<T> {}

#[cfg(feature = "rayon")]
impl<T: Fn(Team<'_>)> AnyThread<T> {
    fn call(&self, team: Team<'_>) {
        (self.0)(team);
    }
}

#[cfg(feature = "rayon")]
mod shared {
    use super::{Team, Work};
    use crate::kernel::threads::{Patience, WORTH_SHARING, threads, with_helpers};
    use std::marker::PhantomData;
    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Multiply-adds of a pass for which a second thread pays: half a microsecond of work.
    const PRODUCTS: usize = 24_000;
    /// Multiply-adds that make a block worth claiming separately.
    const BLOCK: usize = 1_000_000;
    /// Most blocks per member. Several even out members of different speed.
    const MOST_BLOCKS: usize = 4;

    impl Work {
        /// Multiply-adds of a pass, at most what a `usize` holds.
        fn pass(&self) -> usize {
            self.rows.saturating_mul(self.products)
        }
    }

    /// As many members as pay. Each waits for all others after every pass, so twice as many need four times the work.
    pub(super) fn members(work: Work) -> usize {
        if work.passes.saturating_mul(work.pass()) < WORTH_SHARING {
            return 1;
        }
        // One row has too few sums in one panel to hide an addition's latency.
        let panels = if work.rows == 1 { work.panels / 2 } else { work.panels };
        threads().min(panels).min(1 + (work.pass() / PRODUCTS).isqrt())
    }

    /// A share of every pass: 2 · pass until claimed, 1 more until done, then 2 more. Alone in its cache lines.
    #[repr(align(128))]
    struct Block(AtomicUsize);

    #[derive(Clone, Copy)]
    pub(super) struct Member<'a> {
        /// The same number in every pass; some may be empty.
        blocks: &'a [Block],
        panicked: &'a AtomicBool,
        /// Where its search begins. The same in every pass, so that a panel's weights stay in one core's cache.
        first: usize,
        pass: usize,
        tried: usize,
        claimed: Option<&'a Block>,
    }

    /// Calls `run` as each member of a team.
    pub(super) fn run(members: usize, work: Work, run: &(impl Fn(Team<'_>) + Sync)) {
        let each = (work.pass() / members / BLOCK).clamp(1, MOST_BLOCKS);
        let blocks: Vec<_> = (0..members * each).map(|_| Block(AtomicUsize::new(0))).collect();
        let panicked = AtomicBool::new(false);
        with_helpers(members - 1, &|member| {
            let _alarm = Alarm(&panicked);
            let (blocks, panicked) = (&blocks, &panicked);
            let member = Member { blocks, panicked, first: member * each, pass: 0, tried: 0, claimed: None };
            run(Team { shared: Some(member), _shared: PhantomData });
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
        /// A copy of this member at its current pass. The member itself goes on to the next.
        pub(super) fn next_pass(&mut self) -> Self {
            let now = *self;
            self.pass += 1;
            now
        }

        pub(super) fn next_block(&mut self, panels: usize) -> Option<Range<usize>> {
            let (unclaimed, claimed, done) = (2 * self.pass, 2 * self.pass + 1, 2 * self.pass + 2);
            if let Some(Block(state)) = self.claimed.take() {
                // Release: a member that sees it done sees what it wrote.
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
                // Loading first spares the others' cache lines. A block that has moved past a pass never returns to it.
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

#[cfg(all(test, feature = "rayon"))]
mod tests {
    use super::{Work, shared};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// More members than many machines have cores, which `members` would never ask for.
    #[test]
    fn each_panel_runs_once_a_pass_and_after_the_pass_before() {
        const PASSES: usize = 300;
        for (members, panels) in [(2, 2), (3, 40), (8, 40), (8, 5)] {
            let passed: Vec<_> = (0..panels).map(|_| AtomicUsize::new(0)).collect();
            let work = Work { passes: PASSES, rows: 1, panels, products: 1 };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(members).build().unwrap();
            pool.install(|| {
                shared::run(members, work, &|mut team| {
                    for pass in 0..PASSES {
                        let mut turn = team.turn(panels);
                        while let Some(block) = turn.next() {
                            assert!(passed.iter().all(|passed| passed.load(Ordering::Relaxed) >= pass));
                            block.for_each(|at| assert_eq!(passed[at].fetch_add(1, Ordering::Relaxed), pass));
                        }
                    }
                });
            });
            assert!(passed.iter().all(|passed| passed.load(Ordering::Relaxed) == PASSES), "{members} members");
        }
    }
}
