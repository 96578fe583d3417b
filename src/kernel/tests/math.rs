//! Checks the stated errors of tanh and sigmoid on each of this machine's instruction sets.

use crate::Float;
use crate::kernel::Element;
use crate::kernel::isa::Isa;
use crate::kernel::lanes::Lanes;
use crate::kernel::vector::Vector;
use pulp::{Simd, WithSimd};

/// The bounds that `Activation` and `math.rs` state: `every_f32` found 1.4892e-7, 2.4984 and 2 for tanh, 8.9308e-8, 2.4808
/// and 0 for sigmoid, the same on AVX-512, AVX2 and scalar.
const TANH_F32: Error = Error { absolute: 1.5e-7, ulps: 2.5, fall: 2.0 };
const SIGMOID_F32: Error = Error { absolute: 9.0e-8, ulps: 2.5, fall: 0.0 };
/// For a table, whose numbers are too far apart for values to fall.
const TANH_F64: Error = Error { absolute: 2.3e-16, ulps: 2.0, fall: 0.0 };
const SIGMOID_F64: Error = Error { absolute: 1.2e-16, ulps: 2.0, fall: 0.0 };
/// sigmoid returns 0 below this, where its exact value is less than 2e-38.
const SIGMOID_F32_ZERO: f64 = -87.0;

/// The largest differences from a function over ascending numbers.
#[derive(Debug, Default, Clone, Copy)]
struct Error {
    absolute: f64,
    /// In units of the last place of the exact value.
    ulps: f64,
    /// How far a value is below that of a smaller number, in units of its last place. 0 for a monotone function.
    fall: f64,
}

#[derive(Debug, Clone, Copy)]
enum Function {
    Tanh,
    Sigmoid,
}

impl Function {
    fn exact(self, x: f64) -> f64 {
        match self {
            Self::Tanh => x.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }
}

struct Apply<'a, E> {
    function: Function,
    numbers: &'a mut [E],
}

impl<E: Element> WithSimd for Apply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for at in Lanes::<S, E>::units(self.numbers.len()) {
            let x = Lanes::<S, E>::load(self.numbers, at);
            let y = match self.function {
                Function::Tanh => x.tanh(),
                Function::Sigmoid => x.sigmoid(),
            };
            y.store(self.numbers, at);
        }
    }
}

fn apply<E: Element>(isa: Isa, function: Function, x: &[E]) -> Vec<E> {
    let mut numbers = x.to_vec();
    isa.run(Apply { function, numbers: &mut numbers });
    numbers
}

fn ulp_f32(y: f64) -> f64 {
    let y = (y as f32).abs();
    f64::from(y.next_up()) - f64::from(y)
}

fn ulp_f64(y: f64) -> f64 {
    y.abs().next_up() - y.abs()
}

/// Errors of one function on one instruction set, gathered over ascending numbers.
#[derive(Clone, Copy)]
struct Measure {
    isa: Isa,
    function: Function,
    error: Error,
    /// The largest value so far.
    highest: f64,
}

impl Measure {
    fn all(function: Function) -> Vec<Self> {
        let of = |isa| Self { isa, function, error: Error::default(), highest: f64::NEG_INFINITY };
        Isa::available().into_iter().map(of).collect()
    }

    fn add<E: Float>(&mut self, x: &[E], exact: &[f64], ulp: fn(f64) -> f64) {
        let Self { isa, function, error, highest } = self;
        for ((x, &exact), y) in x.iter().zip(exact).zip(apply(*isa, *function, x)) {
            let (x, y) = (x.as_f64(), y.as_f64());
            if x.is_nan() {
                assert!(y.is_nan(), "{isa:?} {function:?}: NaN became {y}");
                continue;
            }
            if x.is_infinite() {
                assert!(y == exact, "{isa:?} {function:?}: {x} became {y}");
            }
            let difference = (y - exact).abs();
            error.absolute = error.absolute.max(difference);
            error.fall = error.fall.max((*highest - y) / ulp(y));
            *highest = highest.max(y);
            if size_of::<E>() == 4 && matches!(function, Function::Sigmoid) && x < SIGMOID_F32_ZERO {
                assert!(y == 0.0 && exact < 2e-38, "{isa:?} {function:?}: {x} became {y}");
            } else {
                error.ulps = error.ulps.max(difference / ulp(exact));
            }
        }
    }

    fn assert(&self, stated: Error) {
        let Self { isa, function, error, .. } = self;
        println!("{} {function:?}: {error:?}", isa.name());
        let within = error.absolute <= stated.absolute && error.ulps <= stated.ulps && error.fall <= stated.fall;
        assert!(within, "{isa:?} {function:?}: {error:?}, but stated are {stated:?}");
    }
}

/// The numbers of f32 in ascending order, NaNs first and last: 0 is the number before −∞, 2³¹ is 0.
fn ascending(at: u32) -> f32 {
    f32::from_bits(if at < 1 << 31 { !at } else { at ^ 1 << 31 })
}

/// Every number of `blocks`, each ascending and above the one before.
fn f32_errors(blocks: impl Iterator<Item = Vec<f32>>) {
    let mut measures = [Function::Tanh, Function::Sigmoid].map(Measure::all);
    for x in blocks {
        for measures in &mut measures {
            let function = measures[0].function;
            let exact: Vec<f64> = x.iter().map(|&x| function.exact(f64::from(x))).collect();
            measures.iter_mut().for_each(|measure| measure.add(&x, &exact, ulp_f32));
        }
    }
    for (measures, stated) in measures.iter().zip([TANH_F32, SIGMOID_F32]) {
        measures.iter().for_each(|measure| measure.assert(stated));
    }
}

#[test]
fn f32_errors_are_as_stated() {
    f32_errors(std::iter::once((0..=u32::MAX).step_by(997).map(ascending).collect()));
}

/// All numbers: minutes in a release build. `cargo test --release --lib every_f32 -- --ignored --nocapture`
#[test]
#[ignore = "all 2³² numbers take minutes"]
fn every_f32() {
    const BLOCK: u32 = 1 << 20;
    f32_errors((0..1 << 12).map(|block| (0..BLOCK).map(|at| ascending(block * BLOCK + at)).collect()));
}

#[test]
fn f64_errors_are_as_stated() {
    let mut table: Vec<[f64; 3]> = include_str!("numbers/f64.csv")
        .lines()
        .map(|line| {
            let mut numbers = line.split(',').map(|bits| f64::from_bits(u64::from_str_radix(bits, 16).unwrap()));
            std::array::from_fn(|_| numbers.next().unwrap())
        })
        .collect();
    table.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [x, tanh, sigmoid] = [0, 1, 2].map(|column| table.iter().map(|row| row[column]).collect::<Vec<f64>>());
    for (function, exact, stated) in [(Function::Tanh, tanh, TANH_F64), (Function::Sigmoid, sigmoid, SIGMOID_F64)] {
        for mut measure in Measure::all(function) {
            measure.add(&x, &exact, ulp_f64);
            measure.assert(stated);
        }
    }
}

fn limits<E: Float>() {
    let n = E::of;
    // These must not become 0, as e²ˣ − 1 computed from e²ˣ would. The cubes of `tiny` are below half an ULP.
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
