//! The stack's backward pass: layer by layer from the top, each over the whole run of steps.

use super::cell::{RunBack, TrainableCell};
use super::runs::{backward_in_parts, steps_as_runs};
use crate::back::{Back, Part};
use crate::wrappers::Layers;
use crate::wrappers::workspace::WrapperWorkspace;
use crate::{Float, MultiRnnCell, ParametersMut};
use ndarray::{Array3, ArrayRef2, ArrayRef3, ArrayView3, Axis};

/// What a recorded run of a [`MultiRnnCell`] keeps: the records of every layer, and the outputs of all except the last.
pub struct MultiRecord<Records, E> {
    records: Records,
    /// The outputs (seq, batch, output) of each layer except the top one, the lowest first.
    between: Vec<Array3<E>>,
}

/// [`Layers`] that can be trained: a `Vec` of trainable cells, or a tuple of one to four. Sealed, like `Layers`.
pub trait TrainableLayers: Layers {
    /// The records of each layer.
    type Records: Send;
    /// The gradients of each layer's parameters.
    type Gradients: ParametersMut<Self::Elem> + Send + 'static;

    #[doc(hidden)]
    fn zero_gradients(&self) -> Self::Gradients;

    #[doc(hidden)]
    fn forward(
        &self,
        up: &mut Up<'_, Self::Elem>,
        state: &mut Self::State,
        workspaces: &mut Self::Workspace,
    ) -> Self::Records;

    #[doc(hidden)]
    fn backward(
        &self,
        down: &mut Down<'_, Self::Elem>,
        back: (Self::Records, &mut Self::Gradients),
        d_state: &mut Self::State,
        workspaces: &mut Self::Workspace,
    );

    #[doc(hidden)]
    fn finish(&self, d_state: &mut Self::State, gradients: &mut Self::Gradients, workspaces: &mut Self::Workspace);
}

/// For a `Vec` of trainable cells, or a tuple of one to four.
impl<Cells: TrainableLayers> TrainableCell for MultiRnnCell<Cells>
where
    Self: ParametersMut<Cells::Elem>,
{
    type Record = MultiRecord<Cells::Records, Cells::Elem>;
    type Gradient = Cells::Gradients;

    fn zero_gradient(&self) -> Cells::Gradients {
        self.cells().zero_gradients()
    }

    steps_as_runs!();

    fn unroll_recording(
        &self,
        inputs: &ArrayRef3<Cells::Elem>,
        state: &mut Cells::State,
        outputs: &mut ArrayRef3<Cells::Elem>,
        records: &mut Vec<Self::Record>,
        workspace: &mut WrapperWorkspace<Cells::Elem, Cells::Workspace>,
    ) {
        let mut up = Up { inputs: inputs.view(), outputs, between: Vec::new() };
        let layers = self.cells().forward(&mut up, state, &mut workspace.inner);
        records.push(MultiRecord { records: layers, between: up.between });
    }

    backward_in_parts!();

    fn part_backward(
        &self,
        records: &mut Vec<Self::Record>,
        back: RunBack<'_, Self>,
        workspace: &mut WrapperWorkspace<Cells::Elem, Cells::Workspace>,
    ) {
        let part = Part(workspace);
        let MultiRecord { records, between } = records.pop().expect("each run forward left a record");
        let Back { inputs, d_outputs, d_state, d_inputs, gradient } = back;
        let mut down = Down { inputs: inputs.view(), between, d_outputs, d_between: None, d_inputs };
        self.cells().backward(&mut down, (records, gradient), d_state, &mut part.0.inner);
        part.end();
    }

    fn finish_backward(
        &self,
        d_state: &mut Cells::State,
        gradient: &mut Cells::Gradients,
        workspace: &mut WrapperWorkspace<Cells::Elem, Cells::Workspace>,
    ) {
        self.cells().finish(d_state, gradient, &mut workspace.inner);
    }
}

/// What flows up through the layers.
#[doc(hidden)]
#[allow(unnameable_types)]
pub struct Up<'a, E> {
    inputs: ArrayView3<'a, E>,
    outputs: &'a mut ArrayRef3<E>,
    between: Vec<Array3<E>>,
}

impl<E: Float> Up<'_, E> {
    fn layer<C: TrainableCell<Elem = E>>(
        &mut self,
        last: bool,
        cell: &C,
        state: &mut C::State,
        workspace: &mut C::Workspace,
    ) -> Vec<C::Record> {
        let mut records = Vec::new();
        let inputs = self.between.last().map_or(self.inputs.view(), |below| below.view());
        if last {
            cell.unroll_recording(&inputs, state, self.outputs, &mut records, workspace);
        } else {
            let (steps, batch, _) = inputs.dim();
            let mut outputs = Array3::zeros((steps, batch, cell.output_size()));
            cell.unroll_recording(&inputs, state, &mut outputs, &mut records, workspace);
            self.between.push(outputs);
        }
        records
    }
}

/// What flows back down.
#[doc(hidden)]
#[allow(unnameable_types)]
pub struct Down<'a, E> {
    inputs: ArrayView3<'a, E>,
    /// The inputs of the remaining layers, except the first.
    between: Vec<Array3<E>>,
    d_outputs: &'a ArrayRef3<E>,
    /// The gradient of the outputs of the next layer, unless it is the top one.
    d_between: Option<Array3<E>>,
    d_inputs: &'a mut ArrayRef3<E>,
}

impl<E: Float> Down<'_, E> {
    fn layer<C: TrainableCell<Elem = E>>(
        &mut self,
        cell: &C,
        (mut records, gradient): (Vec<C::Record>, &mut C::Gradient),
        d_state: &mut C::State,
        workspace: &mut C::Workspace,
    ) {
        let d_outputs = &self.d_between.as_ref().map_or(self.d_outputs.view(), |d| d.view());
        match self.between.pop() {
            None => {
                let back = Back { inputs: &self.inputs, d_outputs, d_state, d_inputs: self.d_inputs, gradient };
                cell.part_backward(&mut records, back, workspace);
            }
            Some(inputs) => {
                let mut d_inputs = Array3::zeros(inputs.raw_dim());
                let back = Back { inputs: &inputs, d_outputs, d_state, d_inputs: &mut d_inputs, gradient };
                cell.part_backward(&mut records, back, workspace);
                self.d_between = Some(d_inputs);
            }
        }
    }
}

impl<C: TrainableCell> TrainableLayers for Vec<C> {
    type Records = Vec<Vec<C::Record>>;
    type Gradients = Vec<C::Gradient>;

    fn zero_gradients(&self) -> Vec<C::Gradient> {
        self.iter().map(C::zero_gradient).collect()
    }

    fn forward(
        &self,
        up: &mut Up<'_, C::Elem>,
        state: &mut Vec<C::State>,
        workspaces: &mut Vec<C::Workspace>,
    ) -> Self::Records {
        assert_eq!(state.len(), self.len(), "the state must have as many layers as the stack");
        workspaces.resize_with(self.len(), C::Workspace::default);
        let layers = (1..).zip(self).zip(state).zip(workspaces);
        layers.map(|(((number, cell), state), work)| up.layer(number == self.len(), cell, state, work)).collect()
    }

    fn backward(
        &self,
        down: &mut Down<'_, C::Elem>,
        (records, gradients): (Self::Records, &mut Vec<C::Gradient>),
        d_state: &mut Vec<C::State>,
        workspaces: &mut Vec<C::Workspace>,
    ) {
        assert_eq!(d_state.len(), self.len(), "the state's gradient must have as many layers as the stack");
        workspaces.resize_with(self.len(), C::Workspace::default);
        assert_eq!(gradients.len(), self.len(), "the gradient must have as many layers as the stack");
        let back = records.into_iter().zip(gradients);
        for (((cell, back), d_state), workspace) in self.iter().zip(back).zip(d_state).zip(workspaces).rev() {
            down.layer(cell, back, d_state, workspace);
        }
    }

    fn finish(
        &self,
        d_state: &mut Vec<C::State>,
        gradients: &mut Vec<C::Gradient>,
        workspaces: &mut Vec<C::Workspace>,
    ) {
        for (((cell, gradient), d_state), workspace) in self.iter().zip(gradients).zip(d_state).zip(workspaces) {
            cell.finish_backward(d_state, gradient, workspace);
        }
    }
}

macro_rules! tuple_layers {
    ($last:literal: $first:ident 0 $($name:ident $index:tt)*; $($top:tt)*) => {
        impl<$first: TrainableCell $(, $name: TrainableCell<Elem = $first::Elem>)*> TrainableLayers
            for ($first, $($name,)*)
        {
            type Records = (Vec<$first::Record>, $(Vec<$name::Record>,)*);
            type Gradients = ($first::Gradient, $($name::Gradient,)*);

            fn zero_gradients(&self) -> Self::Gradients {
                (self.0.zero_gradient(), $(self.$index.zero_gradient(),)*)
            }

            fn forward(
                &self,
                up: &mut Up<'_, Self::Elem>,
                state: &mut Self::State,
                workspaces: &mut Self::Workspace,
            ) -> Self::Records {
                (
                    up.layer($last == 0, &self.0, &mut state.0, &mut workspaces.0),
                    $(up.layer($last == $index, &self.$index, &mut state.$index, &mut workspaces.$index),)*
                )
            }

            fn backward(
                &self,
                down: &mut Down<'_, Self::Elem>,
                (records, gradients): (Self::Records, &mut Self::Gradients),
                d_state: &mut Self::State,
                workspaces: &mut Self::Workspace,
            ) {
                $(down.layer(&self.$top, (records.$top, &mut gradients.$top), &mut d_state.$top, &mut workspaces.$top);)*
            }

            fn finish(
                &self,
                d_state: &mut Self::State,
                gradients: &mut Self::Gradients,
                workspaces: &mut Self::Workspace,
            ) {
                $(self.$top.finish_backward(&mut d_state.$top, &mut gradients.$top, &mut workspaces.$top);)*
            }
        }
    };
}

tuple_layers!(0: A 0; 0);
tuple_layers!(1: A 0 B 1; 1 0);
tuple_layers!(2: A 0 B 1 C 2; 2 1 0);
tuple_layers!(3: A 0 B 1 C 2 D 3; 3 2 1 0);
