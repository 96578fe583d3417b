//! The stated errors of tanh and sigmoid, on each of this machine's instruction sets.

use crate::Float;
use crate::kernel::Element;
use crate::kernel::isa::Isa;
use crate::kernel::math::{sigmoid, tanh};
use pulp::{Simd, WithSimd};

#[derive(Clone, Copy)]
enum Function {
    Tanh,
    Sigmoid,
}

struct Apply<'a, E> {
    function: Function,
    numbers: &'a mut [E],
}

impl<E: Element> WithSimd for Apply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        for numbers in self.numbers.chunks_mut(E::lanes::<S>()) {
            let mask = E::first(s, numbers.len());
            // SAFETY: the mask is as long as the slice.
            unsafe {
                let x = E::load_masked(s, mask, numbers.as_ptr());
                let y = match self.function {
                    Function::Tanh => tanh::<S, E>(s, x),
                    Function::Sigmoid => sigmoid::<S, E>(s, x),
                };
                E::store_masked(s, mask, numbers.as_mut_ptr(), y);
            }
        }
    }
}

fn apply<E: Element>(isa: Isa, function: Function, x: &[E]) -> Vec<E> {
    let mut numbers = x.to_vec();
    isa.run(Apply { function, numbers: &mut numbers });
    numbers
}

/// The largest errors: absolute of tanh and of sigmoid, and of tanh in ULPs where |x| < 1.
#[derive(Debug, Default, Clone, Copy)]
struct Errors {
    tanh: f64,
    sigmoid: f64,
    tanh_ulps: f64,
}

/// The distance from y to the next number of f32 away from 0.
fn ulp(y: f32) -> f64 {
    f64::from(f32::from_bits(y.abs().to_bits() + 1)) - f64::from(y.abs())
}

/// The largest errors over `x` on each of `isas`.
fn f32_errors(isas: &[Isa], x: &[f32]) -> Vec<Errors> {
    let exact: Vec<(f64, f64)> =
        x.iter().map(|&x| f64::from(x)).map(|x| (x.tanh(), 1.0 / (1.0 + (-x).exp()))).collect();
    let errors = |&isa: &Isa| {
        let mut errors = Errors::default();
        let (tanhs, sigmoids) = (apply(isa, Function::Tanh, x), apply(isa, Function::Sigmoid, x));
        for (((&x, &(tanh, sigmoid)), found_tanh), found_sigmoid) in x.iter().zip(&exact).zip(tanhs).zip(sigmoids) {
            let error = (f64::from(found_tanh) - tanh).abs();
            errors.tanh = errors.tanh.max(error);
            errors.sigmoid = errors.sigmoid.max((f64::from(found_sigmoid) - sigmoid).abs());
            if x.abs() < 1.0 {
                errors.tanh_ulps = errors.tanh_ulps.max(error / ulp(tanh as f32));
            }
        }
        errors
    };
    isas.iter().map(errors).collect()
}

fn assert_small(isa: Isa, errors: Errors) {
    assert!(errors.tanh <= 3e-7 && errors.sigmoid <= 3e-7 && errors.tanh_ulps <= 8.0, "{isa:?}: {errors:?}");
}

#[test]
fn f32_errors_are_as_stated() {
    // Every 997th number.
    let x: Vec<f32> = (0..=u32::MAX).step_by(997).map(f32::from_bits).filter(|x| x.is_finite()).collect();
    let isas = Isa::available();
    for (isa, errors) in isas.iter().zip(f32_errors(&isas, &x)) {
        assert_small(*isa, errors);
    }
}

/// Every number there is: minutes in a release build. `cargo test --release --lib every_f32 -- --ignored --nocapture`
#[test]
#[ignore = "all 2³² numbers take minutes"]
fn every_f32() {
    let isas = Isa::available();
    let mut worst = vec![Errors::default(); isas.len()];
    for block in 0..1 << 12 {
        let x: Vec<f32> = (0..1 << 20).map(|at| f32::from_bits(block << 20 | at)).filter(|x| x.is_finite()).collect();
        for (worst, errors) in worst.iter_mut().zip(f32_errors(&isas, &x)) {
            worst.tanh = worst.tanh.max(errors.tanh);
            worst.sigmoid = worst.sigmoid.max(errors.sigmoid);
            worst.tanh_ulps = worst.tanh_ulps.max(errors.tanh_ulps);
        }
    }
    for (isa, worst) in isas.into_iter().zip(worst) {
        println!("{}: {worst:?}", isa.name());
        assert_small(isa, worst);
    }
}

#[test]
fn f64_errors_are_as_stated() {
    let table: Vec<[f64; 3]> = include_str!("../../../tests/math/f64.csv")
        .lines()
        .map(|line| {
            let mut numbers = line.split(',').map(|bits| f64::from_bits(u64::from_str_radix(bits, 16).unwrap()));
            std::array::from_fn(|_| numbers.next().unwrap())
        })
        .collect();
    let x: Vec<f64> = table.iter().map(|row| row[0]).collect();
    for isa in Isa::available() {
        let mut worst = Errors::default();
        let (tanhs, sigmoids) = (apply(isa, Function::Tanh, &x), apply(isa, Function::Sigmoid, &x));
        for ((&[x, tanh, sigmoid], found_tanh), found_sigmoid) in table.iter().zip(tanhs).zip(sigmoids) {
            let error = (found_tanh - tanh).abs();
            worst.tanh = worst.tanh.max(error);
            worst.sigmoid = worst.sigmoid.max((found_sigmoid - sigmoid).abs());
            if x.abs() < 1.0 {
                let ulp = f64::from_bits(tanh.abs().to_bits() + 1) - tanh.abs();
                worst.tanh_ulps = worst.tanh_ulps.max(error / ulp);
            }
        }
        println!("{}: {worst:?}", isa.name());
        assert!(worst.tanh <= 1e-15 && worst.sigmoid <= 1e-15 && worst.tanh_ulps <= 8.0, "{isa:?}: {worst:?}");
    }
}

fn limits<E: Float>() {
    let n = E::from_f64;
    // Not 0: e²ˣ − 1 and e²ˣ would have lost them. The cubes of the last two are below half an ULP.
    let small = [1e-8, -1e-8].map(n);
    let tiny = [1e-30, -1e-30].map(n);
    let ends = [0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e4, -1e4].map(n);
    for isa in Isa::available() {
        assert_eq!(apply(isa, Function::Tanh, &tiny), tiny, "{isa:?}");
        for (found, x) in apply(isa, Function::Tanh, &small).into_iter().zip(small) {
            assert!((found - x).abs() <= E::epsilon() * x.abs(), "{isa:?}: {found} {x}");
        }
        let tanhs = apply(isa, Function::Tanh, &ends);
        assert_eq!(tanhs[..3], [0.0, 1.0, -1.0].map(n), "{isa:?}");
        assert_eq!(tanhs[4..], [1.0, -1.0].map(n), "{isa:?}");
        let sigmoids = apply(isa, Function::Sigmoid, &ends);
        assert_eq!(sigmoids[..3], [0.5, 1.0, 0.0].map(n), "{isa:?}");
        assert_eq!(sigmoids[4..], [1.0, 0.0].map(n), "{isa:?}");
        assert!(tanhs[3].is_nan() && sigmoids[3].is_nan(), "{isa:?}");
    }
}

#[test]
fn limits_are_exact() {
    limits::<f32>();
    limits::<f64>();
    for isa in Isa::available() {
        assert_eq!(apply(isa, Function::Tanh, &[1e-8_f32, -1e-8]), [1e-8, -1e-8], "{isa:?}");
    }
}
