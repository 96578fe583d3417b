//! The macros that turn an equation into a cell.

/// `FusedCell::forward_rows` for the cells of this crate, compiled here once per element type instead of in every crate
/// that names them.
macro_rules! forward_compiled_here {
    ($cell:ident) => {
        fn forward_rows(&self, rows: &crate::kernel::recurrence::ForwardRows<'_, E>) {
            use crate::fused::cell::{run_forward, same};
            use crate::kernel::recurrence::{Concrete, ForwardRows};
            #[inline(never)]
            fn of_f32(cell: &$cell<f32>, rows: &ForwardRows<'_, f32>) {
                run_forward(cell, rows);
            }
            #[inline(never)]
            fn of_f64(cell: &$cell<f64>, rows: &ForwardRows<'_, f64>) {
                run_forward(cell, rows);
            }
            match rows.concrete() {
                Concrete::F32(rows) => of_f32(same(self), rows),
                Concrete::F64(rows) => of_f64(same(self), rows),
            }
        }
    };
}

/// Like `forward_compiled_here`, for the backward pass.
macro_rules! backward_compiled_here {
    ($cell:ident) => {
        fn backward_rows(&self, rows: &crate::kernel::recurrence::BackwardRows<'_, E>) {
            use crate::fused::cell::{run_backward, same};
            use crate::kernel::recurrence::{BackwardRows, Concrete};
            #[inline(never)]
            fn of_f32(cell: &$cell<f32>, rows: &BackwardRows<'_, f32>) {
                run_backward(cell, rows);
            }
            #[inline(never)]
            fn of_f64(cell: &$cell<f64>, rows: &BackwardRows<'_, f64>) {
                run_backward(cell, rows);
            }
            match rows.concrete() {
                Concrete::F32(rows) => of_f32(same(self), rows),
                Concrete::F64(rows) => of_f64(same(self), rows),
            }
        }
    };
}

pub(crate) use {backward_compiled_here, forward_compiled_here};

/// Makes a [`FusedCell`](crate::fused::FusedCell) an [`RnnCell`](crate::RnnCell). Type parameters come first, in brackets.
///
/// ```text
/// fused_cell!(MyCell);
/// fused_cell!([E: Float] MyCell<E>);
/// ```
#[macro_export]
macro_rules! fused_cell {
    ([$($generics:tt)*] $cell:ty) => {
        impl<$($generics)*> $crate::RnnCell for $cell {
            type Elem = <Self as $crate::fused::FusedCell>::Elem;
            type State = <Self as $crate::fused::FusedCell>::State;
            type Workspace = $crate::fused::Workspace<<Self as $crate::fused::FusedCell>::Elem>;

            fn input_size(&self) -> usize {
                $crate::fused::FusedCell::input_size(self)
            }
            fn output_size(&self) -> usize {
                $crate::fused::FusedCell::output_size(self)
            }
            fn zero_state(&self, batch: usize) -> Self::State {
                $crate::fused::FusedCell::zero_state(self, batch)
            }
            #[track_caller]
            fn step(
                &self,
                input: &$crate::ndarray::ArrayRef2<Self::Elem>,
                state: &mut Self::State,
                output: &mut $crate::ndarray::ArrayRef2<Self::Elem>,
                workspace: &mut Self::Workspace,
            ) {
                let inputs = input.view().insert_axis($crate::ndarray::Axis(0));
                let mut outputs = output.view_mut().insert_axis($crate::ndarray::Axis(0));
                $crate::fused::unroll(self, &inputs, state, &mut outputs, workspace);
            }
            #[track_caller]
            fn unroll(
                &self,
                inputs: &$crate::ndarray::ArrayRef3<Self::Elem>,
                state: &mut Self::State,
                outputs: &mut $crate::ndarray::ArrayRef3<Self::Elem>,
                workspace: &mut Self::Workspace,
            ) {
                $crate::fused::unroll(self, inputs, state, outputs, workspace);
            }
            fn compress(
                &mut self,
                compression: &mut $crate::Compression<'_, Self::Elem>,
            ) -> ::std::result::Result<(), $crate::Error> {
                $crate::fused::FusedCell::compress(self, compression)
            }
        }
    };
    ($cell:ty) => {
        $crate::fused_cell!([] $cell);
    };
}

/// Makes a [`TrainableFusedCell`](crate::fused::TrainableFusedCell) an [`RnnCell`](crate::RnnCell) and a
/// [`TrainableCell`](crate::train::TrainableCell). Type parameters come first, in brackets.
///
/// ```text
/// trainable_fused_cell!(MyCell);
/// trainable_fused_cell!([E: Float] MyCell<E>);
/// ```
#[macro_export]
macro_rules! trainable_fused_cell {
    ([$($generics:tt)*] $cell:ty) => {
        $crate::fused_cell!([$($generics)*] $cell);

        impl<$($generics)*> $crate::train::TrainableCell for $cell {
            type Record = $crate::fused::Record<<Self as $crate::fused::FusedCell>::Elem>;
            type Gradient = <Self as $crate::fused::TrainableFusedCell>::Gradient;

            fn zero_gradient(&self) -> Self::Gradient {
                $crate::fused::TrainableFusedCell::zero_gradient(self)
            }

            fn step_recording(
                &self,
                input: &$crate::ndarray::ArrayRef2<Self::Elem>,
                state: &mut Self::State,
                output: &mut $crate::ndarray::ArrayRef2<Self::Elem>,
                workspace: &mut Self::Workspace,
            ) -> Self::Record {
                let inputs = input.view().insert_axis($crate::ndarray::Axis(0));
                let mut outputs = output.view_mut().insert_axis($crate::ndarray::Axis(0));
                $crate::fused::unroll_recording(self, &inputs, state, &mut outputs, workspace)
            }
            fn step_backward(
                &self,
                record: Self::Record,
                back: $crate::train::StepBack<'_, Self>,
                workspace: &mut Self::Workspace,
            ) {
                back.as_run(|back| $crate::fused::unroll_backward(self, record, back, workspace));
            }
            fn unroll_recording(
                &self,
                inputs: &$crate::ndarray::ArrayRef3<Self::Elem>,
                state: &mut Self::State,
                outputs: &mut $crate::ndarray::ArrayRef3<Self::Elem>,
                records: &mut Vec<Self::Record>,
                workspace: &mut Self::Workspace,
            ) {
                records.push($crate::fused::unroll_recording(self, inputs, state, outputs, workspace));
            }
            fn unroll_backward(
                &self,
                records: &mut Vec<Self::Record>,
                back: $crate::train::RunBack<'_, Self>,
                workspace: &mut Self::Workspace,
            ) {
                let record = records.pop().expect("each run forward left a record");
                $crate::fused::unroll_backward(self, record, back, workspace);
            }
            fn part_backward(
                &self,
                records: &mut Vec<Self::Record>,
                back: $crate::train::RunBack<'_, Self>,
                workspace: &mut Self::Workspace,
            ) {
                let record = records.pop().expect("each run forward left a record");
                $crate::fused::part_backward(self, record, back, workspace);
            }
            fn finish_backward(
                &self,
                _: &mut Self::State,
                gradient: &mut Self::Gradient,
                workspace: &mut Self::Workspace,
            ) {
                $crate::fused::finish_backward(self, gradient, workspace);
            }
        }
    };
    ($cell:ty) => {
        $crate::trainable_fused_cell!([] $cell);
    };
}
