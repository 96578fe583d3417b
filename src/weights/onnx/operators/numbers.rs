//! Operators that make or change numbers.

use super::axes::positions;
use super::inputs::{Attributes, FLOAT, FLOATS, Failure, Inputs, TENSOR, take};
use crate::weights::onnx::tensor::{dtype, stored};
use crate::weights::stored::{Stored, width};
use half::{bf16, f16};
use ndarray::ArrayD;

pub(super) fn constant<'a>(_: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    if let Some(value) = attributes.get("value")? {
        let tensor = value.message(TENSOR)?.ok_or("has no tensor as value")?;
        return Ok(stored(tensor, "value", attributes.externals)?);
    }
    let of = |dtype: &'static str, shape: Vec<usize>, bytes: Vec<u8>| Ok(Stored::new(dtype, shape, bytes));
    if let Some(value) = attributes.get("value_float")? {
        return of("F32", Vec::new(), value.float(FLOAT)?.to_le_bytes().into());
    }
    if let Some(value) = attributes.integer("value_int")? {
        return of("I64", Vec::new(), value.to_le_bytes().into());
    }
    if let Some(value) = attributes.get("value_floats")? {
        let mut bytes = Vec::new();
        value.numbers::<4>(FLOATS, |stretch| bytes.extend_from_slice(stretch))?;
        return of("F32", vec![bytes.len() / 4], bytes);
    }
    if let Some(values) = attributes.integers("value_ints")? {
        return of("I64", vec![values.len()], values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }
    Err("holds text or a sparse tensor".into())
}

pub(super) fn cast<'a>(inputs: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    let (data, []) = take(inputs)?;
    let to = dtype(attributes.integer("to")?.unwrap_or(0));
    if data.dtype == to {
        return Ok(data);
    }
    let numbers = if data.is_float() {
        data.read::<f64>("")?
    } else {
        // Whole numbers of 8 to 32 bits are f64s, too.
        if width(&data.dtype) == Some(8) {
            return Err(format!("has {}", data.dtype).into());
        }
        data.read_integers("")?.mapv(|number| number as f64)
    };
    encoded(numbers, to)
}

/// Numbers rounded to a type of floats.
fn encoded<'a>(numbers: ArrayD<f64>, to: &'static str) -> Result<Stored<'a>, Failure> {
    let bytes: Vec<u8> = match to {
        "F64" => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        "F32" => numbers.iter().flat_map(|&number| (number as f32).to_le_bytes()).collect(),
        "F16" => numbers.iter().flat_map(|&number| f16::from_f64(number).to_le_bytes()).collect(),
        "BF16" => numbers.iter().flat_map(|&number| bf16::from_f64(number).to_le_bytes()).collect(),
        _ => return Err(format!("makes {to}").into()),
    };
    Ok(Stored::new(to, numbers.shape().to_vec(), bytes))
}

/// (code − zero point) · scale, with one scale or one for each place of an axis.
pub(super) fn dequantize<'a>(inputs: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    let (codes, [scale, zero_point]) = take(inputs)?;
    let scale = scale.ok_or("has no scale")?;
    if attributes.integer("block_size")?.unwrap_or(0) != 0 {
        return Err("has scales for blocks (block_size)".into());
    }
    if attributes.integer("output_dtype")?.unwrap_or(0) != 0 {
        return Err("has an output_dtype".into());
    }
    let zero_point = zero_point.map(|zero_point| zero_point.read_integers("zero_point")).transpose()?;
    let (scales, codes, to) = (scale.read::<f32>("scale")?, codes.read_integers("codes")?, scale.dtype);
    let to = ["F32", "F16", "BF16"].into_iter().find(|name| *name == to).ok_or("has scales that are not floats")?;
    if zero_point.as_ref().is_some_and(|zero_point| zero_point.len() != scales.len()) {
        return Err("has not one zero point for each scale".into());
    }
    let axis = if scales.len() == 1 {
        None
    } else {
        Some(positions(&[attributes.integer("axis")?.unwrap_or(1)], codes.ndim())?[0])
    };
    if scales.ndim() > 1 || axis.is_some_and(|axis| scales.len() != codes.shape()[axis]) {
        return Err(format!("has scales {:?} for {:?}", scales.shape(), codes.shape()).into());
    }
    let (scales, zero_points): (Vec<f32>, Vec<i64>) =
        (scales.into_iter().collect(), zero_point.map_or_else(Vec::new, |all| all.into_iter().collect()));
    let numbers = ArrayD::from_shape_fn(codes.raw_dim(), |at| {
        let place = axis.map_or(0, |axis| at[axis]);
        let difference = codes[&at].saturating_sub(zero_points.get(place).copied().unwrap_or(0));
        f64::from(difference as f32 * scales[place])
    });
    encoded(numbers, to)
}
