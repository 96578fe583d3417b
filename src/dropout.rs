//! Dropout masks, and [`DropoutState`], which carries the keys that they are drawn from.
//!
//! A mask is a function of (seed, position in a state made of states, row, step, what is masked, feature). So it
//! follows its row wherever a driver moves it, and a backward pass draws it again instead of storing it.

use crate::checks::check_number;
use crate::seed::{GOLDEN, child_seed, fold, mix};
use crate::{Error, Float, State};
use ndarray::{ArrayRef2, ArrayView2, ArrayViewMut2, Axis};

/// A cell's state and, if dropout is on, the random key and the step of each row.
///
/// The state of [`DropoutWrapper`](crate::DropoutWrapper) and [`LayerNormLstm`](crate::LayerNormLstm). Its leaves and
/// rows are those of the inner state. A row's key is hashed from the seed and the row's number. Key and step move with
/// the row. Dropout is off until [`seed_dropout`](State::seed_dropout) turns it on.
///
/// Copying a row between two states with dropout on also copies its key and step: the row continues as it would have in
/// the other state. If dropout is off in either state, the row keeps its own. To split a batch, seed the whole, then
/// [`select_rows`](State::select_rows) the parts: each row keeps its masks.
#[derive(Debug, Clone, PartialEq)]
pub struct DropoutState<S> {
    pub(crate) inner: S,
    pub(crate) masks: Option<Masks>,
}

impl<S> DropoutState<S> {
    /// Wraps a state, with dropout off.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner, masks: None }
    }

    /// Wraps the state that `inner` makes from its part of the seed, with dropout on.
    pub(crate) fn seeded<E: Float>(seed: u64, inner: impl FnOnce(u64) -> S) -> Self
    where
        S: State<E>,
    {
        let inner = inner(child_seed(seed, 0));
        let masks = Some(Masks::new(seed, inner.batch_size()));
        Self { inner, masks }
    }

    /// The inner state.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The inner state, without its masks.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Whether dropout is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.masks.is_some()
    }
}

impl<E: Float, S: State<E>> State<E> for DropoutState<S> {
    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.inner.visit(visit);
    }
    fn visit_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.inner.visit_mut(visit);
    }
    fn select_rows(&self, rows: &[usize]) -> Self {
        let masks = self.masks.as_ref().map(|masks| Masks { rows: rows.iter().map(|&row| masks.rows[row]).collect() });
        Self { inner: self.inner.select_rows(rows), masks }
    }
    fn truncate_rows(&mut self, rows: usize) {
        self.inner.truncate_rows(rows);
        if let Some(masks) = &mut self.masks {
            masks.rows.truncate(rows);
        }
    }
    fn copy_row(&mut self, row: usize, from: &Self, from_row: usize) {
        self.inner.copy_row(row, &from.inner, from_row);
        if let (Some(to), Some(from)) = (&mut self.masks, &from.masks) {
            to.rows[row] = from.rows[from_row];
        }
    }
    fn copy_from(&mut self, from: &Self) {
        self.inner.copy_from(&from.inner);
        match (&mut self.masks, &from.masks) {
            (Some(to), Some(from)) => to.rows.clone_from(&from.rows),
            (to, from) => *to = from.clone(),
        }
    }
    fn set_to_zero(&mut self) {
        self.inner.set_to_zero();
    }
    fn visit_droppable_mut<'a>(&'a mut self, visit: &mut dyn FnMut(ArrayViewMut2<'a, E>)) {
        self.inner.visit_droppable_mut(visit);
    }
    fn visit_alignments<'a>(&'a self, visit: &mut dyn FnMut(ArrayView2<'a, E>)) {
        self.inner.visit_alignments(visit);
    }
    fn seed_dropout(&mut self, seed: Option<u64>) {
        self.inner.seed_dropout(seed.map(|seed| child_seed(seed, 0)));
        let batch = self.inner.batch_size();
        self.masks = seed.map(|seed| Masks::new(seed, batch));
    }
}

/// The keys and steps that a batch's masks are drawn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Masks {
    rows: Vec<MaskRow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MaskRow {
    key: u64,
    step: u64,
}

/// What a mask is applied to. Each site has its own masks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Site {
    Input,
    Output,
    /// An LSTM's candidate.
    Candidate,
    /// The leaf with this number among those of the state that may be dropped.
    Leaf(usize),
}

impl Site {
    fn word(self) -> u64 {
        match self {
            Self::Input => 0,
            Self::Output => 1,
            Self::Candidate => 2,
            Self::Leaf(leaf) => 3 + leaf as u64,
        }
    }
}

/// A checked keep probability, and whether its masks are the same at every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Keep {
    probability: f64,
    every_step: bool,
}

impl Keep {
    /// # Errors
    /// [`Error::InvalidNumber`] unless 0 < `probability` ≤ 1.
    pub(crate) fn new(argument: &'static str, probability: f64, every_step: bool) -> Result<Self, Error> {
        let right = probability > 0.0 && probability <= 1.0;
        Ok(Self { probability: check_number(argument, probability, right, "above 0 and at most 1")?, every_step })
    }

    pub(crate) fn probability(self) -> f64 {
        self.probability
    }

    pub(crate) fn every_step(self) -> bool {
        self.every_step
    }

    pub(crate) fn all(self) -> bool {
        self.probability == 1.0
    }
}

impl Masks {
    /// The masks of `batch` rows at their first step.
    fn new(seed: u64, batch: usize) -> Self {
        Self { rows: (0..batch as u64).map(|row| MaskRow { key: fold(seed, row), step: 0 }).collect() }
    }

    /// # Panics
    /// If the masks are for another batch size.
    pub(crate) fn check_batch(&self, batch: usize) {
        assert_eq!(self.rows.len(), batch, "the state's dropout masks must have as many rows as the inputs");
    }

    /// Advances every row by `steps` steps.
    pub(crate) fn advance(&mut self, steps: usize) {
        for row in &mut self.rows {
            row.step = row.step.wrapping_add(steps as u64);
        }
    }

    /// Applies the masks of `later` steps from now to all rows of `values`: a dropped value becomes 0, a kept one is
    /// divided by the keep probability. A gradient is masked in the same way.
    pub(crate) fn drop_rows<E: Float>(&self, keep: Keep, site: Site, later: usize, values: &mut ArrayRef2<E>) {
        if keep.all() {
            return;
        }
        for (row, mut values) in values.axis_iter_mut(Axis(0)).enumerate() {
            self.drop_row(keep, site, later, row, values.iter_mut());
        }
    }

    /// [`drop_rows`](Self::drop_rows) for one row.
    pub(crate) fn drop_row<'a, E: Float>(
        &self,
        keep: Keep,
        site: Site,
        later: usize,
        row: usize,
        values: impl Iterator<Item = &'a mut E>,
    ) {
        if keep.all() {
            return;
        }
        let MaskRow { key, step } = self.rows[row];
        let step = if keep.every_step { 0 } else { step.wrapping_add(later as u64) };
        let mut random = fold(fold(key, step), site.word());
        let scale = E::of(keep.probability);
        for value in values {
            random = random.wrapping_add(GOLDEN);
            // 53 bits: uniform in [0, 1), exact in f64.
            let uniform = (mix(random) >> 11) as f64 / (1_u64 << 53) as f64;
            *value = if uniform < keep.probability { *value / scale } else { E::zero() };
        }
    }
}
