//! [`MultiRnnCell`]: layers, one above the other.

use super::workspace::{Buffer, WrapperWorkspace};
use crate::cell::step_as_run;
use crate::compression::Compression;
use crate::seed::child_seed;
use crate::{Error, Float, Parameters, ParametersMut, RnnCell, State};
use ndarray::{ArrayD, ArrayRef3, ArrayView3, ArrayViewD, ArrayViewMut3, ArrayViewMutD};

/// Stacks cells, each of which reads the outputs of the one below: TensorFlow 1's `MultiRNNCell`.
///
/// ```text
/// y₀ = cell_0(x, state₀),  y₁ = cell_1(y₀, state₁),  …;  the output is the last y
/// ```
///
/// `Cells` is a `Vec` of cells of one type, or a tuple of one to four cells of different types. The state is then a
/// `Vec` or a tuple of the cells' states. To mix cells at run time, use a `Vec` of [`BoxedCell`](crate::BoxedCell)s or
/// [`BoxedTrainableCell`](crate::train::BoxedTrainableCell)s. Parameters are prefixed `cell_0/`, `cell_1/`, ….
///
/// `unroll` runs one layer after the other, each over all steps. For the outputs of every layer, see
/// [`DynamicRnn::run_with_layers`](crate::DynamicRnn::run_with_layers).
///
/// ```
/// use rand::SeedableRng;
/// use rnn_cell::{Gru, Lstm, MultiRnnCell, dynamic_rnn, one_hot};
/// let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let cell = MultiRnnCell::new((Lstm::<f32>::new(4, 8, &mut rng), Gru::new(8, 2, &mut rng)))?;
/// let x = one_hot(&["hello"], "helo")?;
/// let (outputs, (lstm, gru)) = dynamic_rnn(&cell, &x, None, None)?;
/// assert_eq!((outputs.dim(), lstm.c.dim(), gru.dim()), ((1, 5, 2), (1, 8), (1, 2)));
/// # Ok::<(), rnn_cell::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MultiRnnCell<Cells> {
    cells: Cells,
    input_size: usize,
    output_size: usize,
}

impl<Cells: Layers> MultiRnnCell<Cells> {
    /// Stacks `cells`, the lowest first.
    ///
    /// # Errors
    /// - [`Error::ZeroSize`] if there are no cells.
    /// - [`Error::CellInputSize`] if a cell's input size is not the output size of the one below.
    pub fn new(cells: Cells) -> Result<Self, Error> {
        let sizes = cells.sizes();
        for (layer, pair) in (1..).zip(sizes.windows(2)) {
            let ((_, expected), (found, _)) = (pair[0], pair[1]);
            if found != expected {
                return Err(Error::CellInputSize { cell: format!("cells[{layer}]"), expected, found });
            }
        }
        match (sizes.first(), sizes.last()) {
            (Some(&(input_size, _)), Some(&(_, output_size))) => Ok(Self { cells, input_size, output_size }),
            _ => Err(Error::ZeroSize { argument: "cells.len()" }),
        }
    }
}

impl<Cells> MultiRnnCell<Cells> {
    /// The cells, the lowest first.
    #[must_use]
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The cells, the lowest first.
    #[must_use]
    pub fn into_cells(self) -> Cells {
        self.cells
    }
}

impl<Cells: Layers> RnnCell for MultiRnnCell<Cells> {
    type Elem = Cells::Elem;
    type State = Cells::State;
    type Workspace = WrapperWorkspace<Cells::Elem, Cells::Workspace>;

    fn input_size(&self) -> usize {
        self.input_size
    }
    fn output_size(&self) -> usize {
        self.output_size
    }
    fn zero_state(&self, batch: usize) -> Self::State {
        self.cells.zero_state(batch)
    }
    fn training_state(&self, batch: usize, seed: u64) -> Self::State {
        self.cells.training_state(batch, seed)
    }
    fn check_state(&self, state: &Self::State) -> Result<(), Error> {
        self.cells.check_state(state)
    }

    step_as_run!();

    fn unroll(
        &self,
        inputs: &ArrayRef3<Self::Elem>,
        state: &mut Self::State,
        outputs: &mut ArrayRef3<Self::Elem>,
        workspace: &mut Self::Workspace,
    ) {
        let [below, above] = &mut workspace.buffers;
        let mut pipe = Pipe { inputs: inputs.view(), outputs: outputs.view_mut(), below, above };
        self.cells.visit_layers(&mut pipe, state, &mut workspace.inner);
    }

    fn compress(&mut self, compression: &mut Compression<'_, Self::Elem>) -> Result<(), Error> {
        self.cells.compress(compression)
    }
}

/// The cells of a [`MultiRnnCell`]: a `Vec` of cells, or a tuple of one to four. Sealed.
pub trait Layers: Sync + sealed::Sealed {
    /// `f32` or `f64`.
    type Elem: Float;
    /// The cells' states.
    type State: State<Self::Elem>;
    /// The cells' workspaces.
    type Workspace: Default + Send;

    #[doc(hidden)]
    fn sizes(&self) -> Vec<(usize, usize)>;
    #[doc(hidden)]
    fn zero_state(&self, batch: usize) -> Self::State;
    #[doc(hidden)]
    fn training_state(&self, batch: usize, seed: u64) -> Self::State;
    #[doc(hidden)]
    fn check_state(&self, state: &Self::State) -> Result<(), Error>;
    #[doc(hidden)]
    fn visit_layers(
        &self,
        visitor: &mut impl LayerVisitor<Self::Elem>,
        state: &mut Self::State,
        workspaces: &mut Self::Workspace,
    );
    #[doc(hidden)]
    fn compress(&mut self, compression: &mut Compression<'_, Self::Elem>) -> Result<(), Error>;
}

/// What a run does with each layer in turn, from the lowest up.
#[doc(hidden)]
#[allow(unnameable_types)]
pub trait LayerVisitor<E> {
    /// Runs a layer, whose position and number of layers come first.
    fn layer<C: RnnCell<Elem = E>>(
        &mut self,
        position: (usize, usize),
        cell: &C,
        state: &mut C::State,
        workspace: &mut C::Workspace,
    );
}

#[allow(unnameable_types)]
mod sealed {
    pub trait Sealed {}
}

/// What flows through the layers: from `inputs` to `outputs`, through two buffers in turn.
struct Pipe<'a, E> {
    inputs: ArrayView3<'a, E>,
    outputs: ArrayViewMut3<'a, E>,
    below: &'a mut Buffer<E>,
    above: &'a mut Buffer<E>,
}

impl<E: Float> LayerVisitor<E> for Pipe<'_, E> {
    fn layer<C: RnnCell<Elem = E>>(
        &mut self,
        (index, layers): (usize, usize),
        cell: &C,
        state: &mut C::State,
        workspace: &mut C::Workspace,
    ) {
        let (steps, batch, _) = self.inputs.dim();
        let inputs = match index {
            0 => self.inputs.view(),
            _ => self.below.written((steps, batch, cell.input_size())),
        };
        if index + 1 == layers {
            cell.unroll(&inputs, state, &mut self.outputs, workspace);
        } else {
            let mut outputs = self.above.array((steps, batch, cell.output_size()));
            cell.unroll(&inputs, state, &mut outputs, workspace);
            // Swaps the references, not the buffers: every run finds each buffer as large as the last run left it.
            std::mem::swap(&mut self.below, &mut self.above);
        }
    }
}

/// The prefix of a layer's parameters.
fn layer_name(layer: usize) -> String {
    format!("cell_{layer}")
}

impl<C> sealed::Sealed for Vec<C> {}

impl<C: RnnCell> Layers for Vec<C> {
    type Elem = C::Elem;
    type State = Vec<C::State>;
    type Workspace = Vec<C::Workspace>;

    fn sizes(&self) -> Vec<(usize, usize)> {
        self.iter().map(|cell| (cell.input_size(), cell.output_size())).collect()
    }
    fn zero_state(&self, batch: usize) -> Self::State {
        self.iter().map(|cell| cell.zero_state(batch)).collect()
    }
    fn training_state(&self, batch: usize, seed: u64) -> Self::State {
        self.iter().enumerate().map(|(index, cell)| cell.training_state(batch, child_seed(seed, index))).collect()
    }
    fn check_state(&self, state: &Self::State) -> Result<(), Error> {
        self.iter().zip(state).try_for_each(|(cell, state)| cell.check_state(state))
    }
    fn visit_layers(
        &self,
        visitor: &mut impl LayerVisitor<C::Elem>,
        state: &mut Self::State,
        workspaces: &mut Self::Workspace,
    ) {
        assert_eq!(state.len(), self.len(), "the state must have as many layers as the stack");
        workspaces.resize_with(self.len(), C::Workspace::default);
        for (index, ((cell, state), workspace)) in self.iter().zip(state).zip(workspaces).enumerate() {
            visitor.layer((index, self.len()), cell, state, workspace);
        }
    }
    fn compress(&mut self, compression: &mut Compression<'_, C::Elem>) -> Result<(), Error> {
        let mut layers = self.iter_mut().enumerate();
        layers.try_for_each(|(layer, cell)| compression.within(&layer_name(layer), |within| cell.compress(within)))
    }
}

impl<E: Float, Cells: Parameters<E>> Parameters<E> for MultiRnnCell<Cells> {
    fn visit_parameters<'a>(&'a self, visit: &mut dyn FnMut(&str, ArrayViewD<'a, E>)) {
        self.cells.visit_parameters(visit);
    }
    fn take_parameters(self, take: &mut dyn FnMut(&str, ArrayD<E>)) {
        self.cells.take_parameters(take);
    }
}

impl<E: Float, Cells: ParametersMut<E>> ParametersMut<E> for MultiRnnCell<Cells> {
    fn visit_parameters_mut(&mut self, visit: &mut dyn FnMut(&str, ArrayViewMutD<'_, E>)) {
        self.cells.visit_parameters_mut(visit);
    }
}

macro_rules! tuple_layers {
    ($count:literal: $first:ident 0 $($name:ident $index:tt)*) => {
        impl<$first $(, $name)*> sealed::Sealed for ($first, $($name,)*) {}

        impl<$first: RnnCell $(, $name: RnnCell<Elem = $first::Elem>)*> Layers for ($first, $($name,)*) {
            type Elem = $first::Elem;
            type State = ($first::State, $($name::State,)*);
            type Workspace = ($first::Workspace, $($name::Workspace,)*);

            fn sizes(&self) -> Vec<(usize, usize)> {
                vec![(self.0.input_size(), self.0.output_size())
                    $(, (self.$index.input_size(), self.$index.output_size()))*]
            }
            fn zero_state(&self, batch: usize) -> Self::State {
                (self.0.zero_state(batch), $(self.$index.zero_state(batch),)*)
            }
            fn training_state(&self, batch: usize, seed: u64) -> Self::State {
                (
                    self.0.training_state(batch, child_seed(seed, 0)),
                    $(self.$index.training_state(batch, child_seed(seed, $index)),)*
                )
            }
            fn check_state(&self, state: &Self::State) -> Result<(), Error> {
                self.0.check_state(&state.0)?;
                $(self.$index.check_state(&state.$index)?;)*
                Ok(())
            }
            fn visit_layers(
                &self,
                visitor: &mut impl LayerVisitor<Self::Elem>,
                state: &mut Self::State,
                workspaces: &mut Self::Workspace,
            ) {
                visitor.layer((0, $count), &self.0, &mut state.0, &mut workspaces.0);
                $(visitor.layer(($index, $count), &self.$index, &mut state.$index, &mut workspaces.$index);)*
            }
            fn compress(&mut self, compression: &mut Compression<'_, Self::Elem>) -> Result<(), Error> {
                compression.within(&layer_name(0), |within| self.0.compress(within))?;
                $(compression.within(&layer_name($index), |within| self.$index.compress(within))?;)*
                Ok(())
            }
        }
    };
}

tuple_layers!(1: A 0);
tuple_layers!(2: A 0 B 1);
tuple_layers!(3: A 0 B 1 C 2);
tuple_layers!(4: A 0 B 1 C 2 D 3);
