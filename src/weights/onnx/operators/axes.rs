//! Operators that move numbers: they work on bytes, whatever the type.

use super::inputs::{Attributes, Failure, Inputs, take};
use crate::weights::onnx::tensor::MAX_AXES;
use crate::weights::stored::{Stored, width};
use ndarray::{ArrayViewD, Axis, IxDyn, Slice, concatenate};

/// A tensor's bytes with one more axis: the bytes of a number.
fn view<'v>(tensor: &'v Stored<'_>) -> Result<ArrayViewD<'v, u8>, Failure> {
    let mut shape = tensor.shape.clone();
    shape.push(width(&tensor.dtype).ok_or_else(|| format!("has {}", tensor.dtype))?);
    ArrayViewD::from_shape(shape, &tensor.bytes).map_err(|_| format!("has a tensor of shape {:?}", tensor.shape).into())
}

/// A tensor of the same type from such bytes.
fn made<'a>(like: &Stored<'a>, bytes: ArrayViewD<'_, u8>) -> Stored<'a> {
    let shape = bytes.shape()[..bytes.ndim() - 1].to_vec();
    Stored::new(like.dtype.clone(), shape, bytes.iter().copied().collect::<Vec<u8>>())
}

pub(super) fn transpose<'a>(inputs: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    let (data, []) = take(inputs)?;
    let axes = data.shape.len();
    let mut order = match axes_of(None, "perm", attributes)? {
        Some(order) => positions(&order, axes)?,
        None => (0..axes).rev().collect(),
    };
    if order.len() != axes || (0..axes).any(|axis| !order.contains(&axis)) {
        return Err(format!("has perm {order:?} for {axes} axes").into());
    }
    order.push(axes);
    Ok(made(&data, view(&data)?.permuted_axes(IxDyn(&order))))
}

/// Axes counted from the front or, negative, from the back.
pub(super) fn positions(axes: &[i64], count: usize) -> Result<Vec<usize>, Failure> {
    let position = |&axis: &i64| {
        let from_front = if axis < 0 { axis.checked_add_unsigned(count as u64) } else { Some(axis) };
        let position = from_front.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < count);
        position.ok_or_else(|| Failure::Refused(format!("has axis {axis} of {count} axes")))
    };
    axes.iter().map(position).collect()
}

/// The axes of an input or, in older models, of an attribute: no more than a tensor may have.
fn axes_of<'a>(
    input: Option<Stored<'a>>,
    name: &str,
    attributes: &Attributes<'_, 'a>,
) -> Result<Option<Vec<i64>>, Failure> {
    let axes: Option<Vec<i64>> = match input {
        Some(list) => Some(list.read_integers(name)?.into_iter().collect()),
        None => attributes.integers(name)?,
    };
    match axes.as_ref().map(Vec::len) {
        Some(count) if count > MAX_AXES => {
            Err(format!("has {name} of {count} numbers, but at most {MAX_AXES} are read").into())
        }
        _ => Ok(axes),
    }
}

pub(super) fn unsqueeze<'a>(inputs: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    let (mut data, [axes]) = take(inputs)?;
    let axes = axes_of(axes, "axes", attributes)?.ok_or("has no axes")?;
    let count = data.shape.len() + axes.len();
    if count > MAX_AXES {
        return Err(format!("makes {count} axes, but at most {MAX_AXES} are read").into());
    }
    let mut axes = positions(&axes, count)?;
    axes.sort_unstable();
    axes.dedup();
    for axis in axes {
        if axis > data.shape.len() {
            return Err(format!("has axis {axis} twice").into());
        }
        data.shape.insert(axis, 1);
    }
    Ok(data)
}

pub(super) fn squeeze<'a>(inputs: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    let (mut data, [axes]) = take(inputs)?;
    let axes = match axes_of(axes, "axes", attributes)? {
        Some(axes) => positions(&axes, data.shape.len())?,
        None => (0..data.shape.len()).filter(|&axis| data.shape[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| data.shape[axis] != 1) {
        return Err(format!("removes axis {axis} of {:?}", data.shape).into());
    }
    data.shape = (0..data.shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| data.shape[axis]).collect();
    Ok(data)
}

pub(super) fn reshape<'a>(inputs: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    let (mut data, [shape]) = take(inputs)?;
    let wanted = axes_of(shape, "shape", attributes)?.ok_or("has no shape")?;
    let keeps_zero = attributes.integer("allowzero")?.unwrap_or(0) != 0;
    let misfit = || Failure::Refused(format!("makes {wanted:?} of {:?}", data.shape));
    let mut shape = Vec::new();
    for (axis, &len) in wanted.iter().enumerate() {
        shape.push(match len {
            0 if !keeps_zero => *data.shape.get(axis).ok_or_else(misfit)?,
            -1 => 1,
            len => usize::try_from(len).map_err(|_| misfit())?,
        });
    }
    let count = |shape: &[usize]| shape.iter().try_fold(1_usize, |all, &len| all.checked_mul(len));
    let (all, known) = (count(&data.shape).ok_or_else(misfit)?, count(&shape).ok_or_else(misfit)?);
    if let Some(free) = wanted.iter().position(|&len| len == -1) {
        shape[free] = all.checked_div(known).ok_or_else(misfit)?;
    }
    if count(&shape) != Some(all) || wanted.iter().filter(|&&len| len == -1).count() > 1 {
        return Err(misfit());
    }
    data.shape = shape;
    Ok(data)
}

pub(super) fn slice<'a>(inputs: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    let (data, [starts, ends, axes, steps]) = take(inputs)?;
    let starts = axes_of(starts, "starts", attributes)?.ok_or("has no starts")?;
    let ends = axes_of(ends, "ends", attributes)?.ok_or("has no ends")?;
    let axes = axes_of(axes, "axes", attributes)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    if axes_of(steps, "steps", attributes)?.is_some_and(|steps| steps.iter().any(|&step| step != 1)) {
        return Err("has steps other than 1".into());
    }
    if starts.len() != ends.len() || axes.len() != starts.len() {
        return Err("has not one start and one end for each axis".into());
    }
    let mut bytes = view(&data)?;
    for ((axis, start), end) in positions(&axes, data.shape.len())?.into_iter().zip(starts).zip(ends) {
        let len = bytes.len_of(Axis(axis)) as i64;
        let place = |at: i64| if at < 0 { at.saturating_add(len) } else { at }.clamp(0, len) as isize;
        let (start, end) = (place(start), place(end));
        bytes.slice_axis_inplace(Axis(axis), Slice::new(start, Some(end.max(start)), 1));
    }
    Ok(made(&data, bytes))
}

pub(super) fn concat<'a>(inputs: Inputs<'a>, attributes: &Attributes<'_, 'a>) -> Result<Stored<'a>, Failure> {
    let parts: Option<Vec<Stored>> = inputs.into_iter().collect();
    let parts = parts.filter(|parts| !parts.is_empty()).ok_or("has no input")?;
    let first = &parts[0];
    let axis = positions(&[attributes.integer("axis")?.unwrap_or(0)], first.shape.len())?[0];
    if let Some(other) = parts.iter().find(|part| part.dtype != first.dtype) {
        return Err(format!("joins {} and {}", first.dtype, other.dtype).into());
    }
    let views: Result<Vec<_>, _> = parts.iter().map(view).collect();
    let bytes = concatenate(Axis(axis), &views?)
        .map_err(|_| format!("joins tensors of other shapes than {:?}", first.shape))?;
    Ok(made(first, bytes.view()))
}
