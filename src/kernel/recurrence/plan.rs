//! [`Plan`]: the stages of a step, and how wide everything is.

use crate::kernel::isa::Isa;
use crate::kernel::product::Product;
use crate::kernel::registry::Kernels;

/// The most stages, state leaves, temporaries or accumulators of a cell.
pub const MOST: usize = 4;

/// What a product multiplies besides the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    Nothing,
    /// The leaf of the old state with this number.
    State(usize),
    /// The temporary with this number, which an earlier stage has written.
    Temporary(usize),
}

impl std::fmt::Display for Operand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing but inputs"),
            Self::State(leaf) => write!(f, "leaf {leaf} of the state"),
            Self::Temporary(temporary) => write!(f, "temporary {temporary}"),
        }
    }
}

/// A part of a step: a product, if any, and what the equation makes of its sums.
pub struct Stage<'a, E> {
    pub product: Option<&'a Product<E>>,
    pub operand: Operand,
    /// Units of each sum. In a stage without a product, the width of what it works on.
    pub units: usize,
    /// Whether the equation wants all units of a row at once.
    pub whole_rows: bool,
}

impl<E> Clone for Stage<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Stage<'_, E> {}

/// The stages of a step, and the widths of what they hand to each other.
pub struct Plan<'a, E> {
    stages: [Stage<'a, E>; MOST],
    count: usize,
    temporaries: [usize; MOST],
    temporary_count: usize,
    /// Not of one step: sums over the steps of a row, in backward.
    pub(super) accumulators: [usize; MOST],
    accumulator_count: usize,
}

impl<'a, E> Plan<'a, E> {
    pub(crate) fn new() -> Self {
        let none = Stage { product: None, operand: Operand::Nothing, units: 0, whole_rows: false };
        Self {
            stages: [none; MOST],
            count: 0,
            temporaries: [0; MOST],
            temporary_count: 0,
            accumulators: [0; MOST],
            accumulator_count: 0,
        }
    }

    /// # Panics
    /// If there are more than [`MOST`].
    pub(crate) fn stage(mut self, stage: Stage<'a, E>) -> Self {
        assert!(self.count < MOST, "a step has at most {MOST} stages");
        self.stages[self.count] = stage;
        self.count += 1;
        self
    }

    /// # Panics
    /// If there are more than [`MOST`].
    pub(crate) fn temporary(mut self, width: usize) -> Self {
        assert!(self.temporary_count < MOST, "a step has at most {MOST} temporaries");
        self.temporaries[self.temporary_count] = width;
        self.temporary_count += 1;
        self
    }

    /// # Panics
    /// If there are more than [`MOST`].
    pub(crate) fn accumulator(mut self, width: usize) -> Self {
        assert!(self.accumulator_count < MOST, "a step has at most {MOST} accumulators");
        self.accumulators[self.accumulator_count] = width;
        self.accumulator_count += 1;
        self
    }

    pub(super) fn stages(&self) -> &[Stage<'a, E>] {
        &self.stages[..self.count]
    }
}

impl<E: Kernels> Plan<'_, E> {
    /// The instruction set of its products.
    pub(super) fn isa(&self) -> Isa {
        self.stages().iter().find_map(|stage| stage.product).map_or_else(Isa::get, Product::isa)
    }
}

/// The widths of everything that a run holds for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Widths {
    pub inputs: usize,
    pub output: usize,
    /// The numbers of all stages, leaves and temporaries are below this.
    pub used: usize,
    /// The width of all sums of each stage.
    pub sums: [usize; MOST],
    pub units: [usize; MOST],
    /// Units of each stage's product in whole panels.
    pub padded: [usize; MOST],
    pub leaves: [usize; MOST],
    pub temporaries: [usize; MOST],
}

impl Widths {
    /// Sums of each unit of a stage.
    pub(super) fn slots(&self, stage: usize) -> usize {
        self.sums[stage].checked_div(self.units[stage]).unwrap_or(0)
    }

    /// The width of what a product multiplies besides the inputs, if that exists.
    fn of(&self, operand: Operand) -> Option<usize> {
        let one_of = |widths: &[usize; MOST], number: usize| widths.get(number).copied().filter(|&width| width > 0);
        match operand {
            Operand::Nothing => Some(0),
            Operand::State(leaf) => one_of(&self.leaves, leaf),
            Operand::Temporary(temporary) => one_of(&self.temporaries, temporary),
        }
    }

    /// # Panics
    /// If a stage's product does not fit what it multiplies.
    pub(super) fn new<E: Kernels>(plan: &Plan<'_, E>, inputs: usize, output: usize, leaves: [usize; MOST]) -> Self {
        let (none, temporaries) = ([0; MOST], plan.temporaries);
        let kept = leaves.iter().rposition(|&width| width > 0).map_or(0, |last| last + 1);
        let used = plan.count.max(plan.temporary_count).max(kept);
        let mut widths = Self { inputs, output, used, sums: none, units: none, padded: none, leaves, temporaries };
        for (k, stage) in plan.stages().iter().enumerate() {
            widths.units[k] = stage.units;
            let Some(product) = stage.product else { continue };
            let shape = product.shape();
            widths.sums[k] = shape.slots() * shape.units;
            widths.padded[k] = product.forward().padded_units();
            assert_eq!(shape.units, stage.units, "a stage is as wide as its product");
            assert!(
                shape.inputs == inputs || shape.inputs == 0,
                "stage {k} has a product with an input_size of {}, but the cell's inputs have the width {inputs}",
                shape.inputs
            );
            assert!(
                widths.of(stage.operand) == Some(shape.recurrent),
                "stage {k} has a product with a recurrent_size of {} and multiplies {}, but the state's leaves, counted \
                 from 0, have the widths {:?}, and the temporaries {:?}",
                shape.recurrent,
                stage.operand,
                in_use(&leaves),
                in_use(&temporaries)
            );
        }
        widths
    }
}

/// Without the places at the end that the cell does not use, whose number is 0.
pub(super) fn in_use(numbers: &[usize; MOST]) -> &[usize] {
    &numbers[..numbers.iter().rposition(|&number| number > 0).map_or(0, |last| last + 1)]
}
