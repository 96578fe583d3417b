//! Scopes of several cells.

use super::super::stack::beginning;
use super::super::{Stack, Tensors};
use crate::{Bidirectional, Error, Float};

/// Imports the cells of a `MultiRNNCell`. Calls `cell` with the prefixes of `cell_0`, `cell_1`, … while there are any, or
/// as many as a [`Stack`] says.
///
/// ```
/// # use ndarray::{Array1, Array2};
/// # use rnn_cell::weights::{Tensors, tensorflow};
/// # let mut tensors = Tensors::<f32>::new();
/// # for (k, input) in [(0, 3), (1, 2)] {
/// #     tensors.insert(format!("rnn/multi_rnn_cell/cell_{k}/lstm_cell/kernel"), Array2::zeros((input + 2, 8)));
/// #     tensors.insert(format!("rnn/multi_rnn_cell/cell_{k}/lstm_cell/bias"), Array1::zeros(8));
/// # }
/// let cells = tensorflow::multi(&mut tensors, "rnn/multi_rnn_cell/", |tensors, prefix| {
///     tensorflow::lstm(tensors, &format!("{prefix}lstm_cell/"), &tensorflow::Options::default())
/// })?;
/// let stack = rnn_cell::MultiRnnCell::new(cells)?;
/// assert_eq!(stack.cells().len(), 2);
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - Those of `cell`, which is called for `cell_0` even if there is none.
/// - [`Error::MissingWeight`] if a cell between two others is missing.
/// - [`Error::MissingWeight`], [`Error::UnexpectedWeight`] or [`Error::ZeroSize`] if the [`Stack`] says another number of
///   cells.
pub fn multi<'a, 'p, E: Float, C>(
    tensors: &mut Tensors<'a, E>,
    stack: impl Into<Stack<'p>>,
    mut cell: impl FnMut(&mut Tensors<'a, E>, &str) -> Result<C, Error>,
) -> Result<Vec<C>, Error> {
    let stack = stack.into();
    let scope = |layer| format!("{}cell_{layer}/", stack.prefix);
    stack.check(|layer| beginning(tensors, scope(layer)))?;
    let mut cells = Vec::new();
    loop {
        let prefix = scope(cells.len());
        if !cells.is_empty() && tensors.first_with(&prefix).is_none() {
            check_last(tensors, &prefix, cells.len())?;
            return Ok(cells);
        }
        cells.push(cell(tensors, &prefix)?);
    }
}

/// `Err` if there are cells above number `missing`, whose prefix this is.
fn check_last<E: Float>(tensors: &Tensors<'_, E>, prefix: &str, missing: usize) -> Result<(), Error> {
    let stack = prefix.trim_end_matches(|letter: char| letter == '/' || letter.is_ascii_digit());
    let number = |name: &str| name.strip_prefix(stack)?.split_once('/')?.0.parse::<usize>().ok();
    match tensors.names().find(|name| number(name).is_some_and(|number| number > missing)) {
        Some(above) => {
            let reason = format!("there is {above:?}, but nothing begins so");
            Err(Error::MissingWeight { name: prefix.into(), reason })
        }
        None => Ok(()),
    }
}

/// Imports both directions of a `bidirectional_dynamic_rnn`. Calls `cell` with the prefixes of `fw` and `bw`.
///
/// # Errors
/// Those of `cell`.
pub fn bidirectional<'a, E: Float, C>(
    tensors: &mut Tensors<'a, E>,
    prefix: &str,
    mut cell: impl FnMut(&mut Tensors<'a, E>, &str) -> Result<C, Error>,
) -> Result<Bidirectional<C>, Error> {
    let fw = cell(tensors, &format!("{prefix}fw/"))?;
    Ok(Bidirectional { fw, bw: cell(tensors, &format!("{prefix}bw/"))? })
}

/// Imports the layers of a `stack_bidirectional_dynamic_rnn` of tf.contrib.rnn for
/// [`stack_bidirectional_dynamic_rnn`](crate::stack_bidirectional_dynamic_rnn). Calls `cell` with the prefixes of
/// `cell_0/bidirectional_rnn/fw`, `…/bw`, `cell_1/…`.
///
/// ```
/// # use ndarray::{Array1, Array2};
/// # use rnn_cell::weights::{Tensors, tensorflow};
/// # let mut tensors = Tensors::<f32>::new();
/// # for (k, input) in [(0, 3), (1, 4)] {
/// #     for side in ["fw", "bw"] {
/// #         let scope = format!("stack_bidirectional_rnn/cell_{k}/bidirectional_rnn/{side}/lstm_cell/");
/// #         tensors.insert(format!("{scope}kernel"), Array2::zeros((input + 2, 8)));
/// #         tensors.insert(format!("{scope}bias"), Array1::zeros(8));
/// #     }
/// # }
/// use rnn_cell::weights::Stack;
///
/// let stack = Stack::new("stack_bidirectional_rnn/").layers(2);
/// let layers = tensorflow::stack_bidirectional(&mut tensors, stack, |tensors, prefix| {
///     tensorflow::lstm(tensors, &format!("{prefix}lstm_cell/"), &tensorflow::Options::default())
/// })?;
/// assert_eq!((layers.fw.len(), layers.bw.len()), (2, 2));
/// # tensors.finish()?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// As [`multi`].
pub fn stack_bidirectional<'a, 'p, E: Float, C>(
    tensors: &mut Tensors<'a, E>,
    stack: impl Into<Stack<'p>>,
    mut cell: impl FnMut(&mut Tensors<'a, E>, &str) -> Result<C, Error>,
) -> Result<Bidirectional<Vec<C>>, Error> {
    let layers = multi(tensors, stack, |tensors, prefix| {
        bidirectional(tensors, &format!("{prefix}bidirectional_rnn/"), &mut cell)
    })?;
    let (fw, bw) = layers.into_iter().map(|layer| (layer.fw, layer.bw)).unzip();
    Ok(Bidirectional { fw, bw })
}
