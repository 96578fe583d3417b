//! Names that PyTorch's wrappers leave in a state dict.

use super::Tensors;
use crate::{Error, Float};
use ndarray::{ArrayD, Axis};

/// Removes the `module.` that `DataParallel` and `DistributedDataParallel` put after `prefix`, if all tensors under
/// `prefix` have it: `module.encoder.weight` becomes `encoder.weight`.
///
/// ```
/// # use ndarray::Array1;
/// # use rnn_cell::weights::{Tensors, pytorch};
/// let mut tensors = Tensors::<f32>::new();
/// tensors.insert("model.module.bias", Array1::zeros(2));
/// pytorch::drop_data_parallel(&mut tensors, "model.");
/// assert!(tensors.contains("model.bias"));
/// ```
pub fn drop_data_parallel<E: Float>(tensors: &mut Tensors<'_, E>, prefix: &str) {
    let wrapped = format!("{prefix}module.");
    let names: Vec<String> = tensors.names().filter(|name| name.starts_with(prefix)).map(String::from).collect();
    if names.iter().all(|name| name.starts_with(&wrapped)) {
        for name in names {
            let bare = format!("{prefix}{}", &name[wrapped.len()..]);
            tensors.rename(&name, bare).expect("it is in the list");
        }
    }
}

/// Multiplies out what `weight_norm` took apart: a weight is g · v / ‖v‖, where the norm is over the axes along which g
/// has length 1 (over all, if g has no axes).
///
/// `weight_hh_l0_g` and `weight_hh_l0_v` become `weight_hh_l0`. So do `parametrizations.weight_hh_l0.original0` and
/// `…original1`, the names of `torch.nn.utils.parametrizations`. Tensors without a partner stay as they are.
///
/// ```
/// # use ndarray::array;
/// # use rnn_cell::weights::{Tensors, pytorch};
/// let mut tensors = Tensors::<f32>::new();
/// tensors.insert("linear.weight_g", array![[10.0]]);
/// tensors.insert("linear.weight_v", array![[3.0, 4.0]]);
/// pytorch::fold_weight_norm(&mut tensors)?;
/// assert_eq!(tensors.take_matrix("linear.weight", (1, 2))?, array![[6.0, 8.0]]);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::TensorShape`] if g's shape is not v's with every axis but one of length 1.
/// - [`Error::TensorDtype`] if one of the two cannot be read without loss.
/// - [`Error::UnexpectedWeight`] if the weight is there already.
pub fn fold_weight_norm<E: Float>(tensors: &mut Tensors<'_, E>) -> Result<(), Error> {
    let names: Vec<String> = tensors.names().map(String::from).collect();
    for g in names {
        let Some((v, weight)) = partner(&g) else { continue };
        if !tensors.contains(&v) {
            continue;
        }
        if tensors.contains(&weight) {
            let reason = format!("{g:?} and {v:?} make a weight of this name too");
            return Err(Error::UnexpectedWeight { name: weight, reason });
        }
        let shape = tensors.shape(&v)?.to_vec();
        let norms = tensors.shape(&g)?.to_vec();
        let is_along = |axis: usize| {
            let expected = |other: usize| if other == axis { shape[other] } else { 1 };
            norms.len() == shape.len() && norms.iter().enumerate().all(|(other, &len)| len == expected(other))
        };
        if !norms.is_empty() && !(0..shape.len()).any(is_along) {
            let expected = "the shape of its direction with every axis but one of length 1".into();
            return Err(Error::TensorShape { name: g, expected, found: norms });
        }
        let g = tensors.take(&g)?;
        let v = tensors.take(&v)?;
        tensors.insert(weight, folded(g, v));
    }
    Ok(())
}

/// The names of the direction and of the weight that belong to a magnitude's.
fn partner(g: &str) -> Option<(String, String)> {
    if let Some(weight) = g.strip_suffix("_g") {
        return Some((format!("{weight}_v"), weight.into()));
    }
    let (module, weight) = g.strip_suffix(".original0")?.rsplit_once("parametrizations.")?;
    let is_whole = module.is_empty() || module.ends_with('.');
    is_whole.then(|| (format!("{module}parametrizations.{weight}.original1"), format!("{module}{weight}")))
}

fn folded<E: Float>(g: ArrayD<E>, mut v: ArrayD<E>) -> ArrayD<E> {
    let scale = |mut v: ndarray::ArrayViewMutD<'_, E>, g: E| {
        let square: f64 = v.iter().map(|number| number.as_f64() * number.as_f64()).sum();
        let factor = g.as_f64() / square.sqrt();
        v.mapv_inplace(|number| E::of(number.as_f64() * factor));
    };
    match (0..g.ndim()).find(|&axis| g.len_of(Axis(axis)) > 1) {
        Some(axis) => v.axis_iter_mut(Axis(axis)).zip(&g).for_each(|(part, &g)| scale(part, g)),
        None => g.iter().for_each(|&g| scale(v.view_mut(), g)),
    }
    v
}
