//! [`Kernels`]: every kernel of a number type, compiled once and here for every instruction set, not again in every
//! crate that names a cell.

use super::Element;
use super::attend::Attend;
use super::compact::{self, codes::Encode};
use super::isa::Isa;
use super::multiply::Panels;
use super::pack::Fill;
use super::slices::Apply;
use super::weight_gradients::WeightGradients;

/// The kernels of `f32` and of `f64`.
pub trait Kernels: Element {
    #[doc(hidden)]
    fn fill(isa: Isa, fill: Fill<'_, Self>);
    #[doc(hidden)]
    fn multiply(panels: Panels<'_, '_, Self>);
    #[doc(hidden)]
    fn encode(isa: Isa, encode: Encode<'_, Self>);
    #[doc(hidden)]
    fn multiply_compact(panels: compact::Panels<'_, '_, Self>);
    #[doc(hidden)]
    fn weight_gradients(isa: Isa, gradients: WeightGradients<'_, '_, Self>);
    #[doc(hidden)]
    fn apply(isa: Isa, apply: Apply<'_, Self>);
    #[doc(hidden)]
    fn attend(isa: Isa, attend: Attend<'_, Self>);
}

/// Weights of `f64` are never compressed.
macro_rules! compact_kernels {
    (f32) => {
        fn encode(isa: Isa, encode: Encode<'_, Self>) {
            encode.run_on_machine(isa);
        }
        fn multiply_compact(panels: compact::Panels<'_, '_, Self>) {
            panels.run_on_machine();
        }
    };
    (f64) => {
        fn encode(_: Isa, _: Encode<'_, Self>) {
            unreachable!("only weights of f32 are compressed");
        }
        fn multiply_compact(_: compact::Panels<'_, '_, Self>) {
            unreachable!("only weights of f32 are compressed");
        }
    };
}

macro_rules! kernels {
    ($($number:tt)+) => {$(
        impl Kernels for $number {
            fn fill(isa: Isa, fill: Fill<'_, Self>) {
                isa.run(fill);
            }
            fn multiply(panels: Panels<'_, '_, Self>) {
                panels.isa().run(panels);
            }
            compact_kernels!($number);
            fn weight_gradients(isa: Isa, gradients: WeightGradients<'_, '_, Self>) {
                isa.run(gradients);
            }
            fn apply(isa: Isa, apply: Apply<'_, Self>) {
                isa.run(apply);
            }
            fn attend(isa: Isa, attend: Attend<'_, Self>) {
                isa.run(attend);
            }
        }
    )+};
}

kernels!(f32 f64);
