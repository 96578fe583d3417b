//! Rounding to bfloat16, apart from the crate's own.

/// The nearest number with 8 significant bits, ties to even.
pub fn rounded(weight: f32) -> f32 {
    let weight = f64::from(weight);
    let unit = 2_f64.powi(weight.abs().log2().floor() as i32 - 7);
    ((weight / unit).round_ties_even() * unit) as f32
}
