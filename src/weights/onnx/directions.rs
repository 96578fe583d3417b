//! The tensors of an operator to the cells of its directions.

use super::options::Options;
use crate::cells::{BasicRnnWeights, LstmWeights, Peepholes};
use crate::weights::Tensors;
use crate::weights::layout::{BlockGru, IOFC, ZRH, pick, put};
use crate::{BasicRnn, Error, Float, Gru, GruReset, Lstm};
use ndarray::{Array2, ArrayD, ArrayView1, ArrayView2, Axis};

pub(super) fn rnn_directions<E: Float, const N: usize>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &[Options; N],
) -> Result<[BasicRnn<E>; N], Error> {
    let shapes = Shapes::<N>::new(tensors, prefix, 1)?;
    let mut kernels: [_; N] = std::array::from_fn(|_| Array2::zeros((shapes.input + shapes.hidden, shapes.hidden)));
    shapes.matrices(tensors, |direction, row, from| put(&mut kernels[direction], row, from, &[0]))?;
    let biases = shapes.biases(tensors)?;
    each(kernels, |direction, kernel| {
        let bias = biases.as_ref().map(|biases| biases.direction(direction)).map(|[w, r]| &w + &r);
        BasicRnn::<E>::builder(shapes.input, shapes.hidden)
            .activation(options[direction].activation)
            .use_bias(bias.is_some())
            .build_from(BasicRnnWeights { kernel, bias })
    })
}

pub(super) fn lstm_directions<E: Float, const N: usize>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &[Options; N],
) -> Result<[Lstm<E>; N], Error> {
    let shapes = Shapes::<N>::new(tensors, prefix, 4)?;
    let hidden = shapes.hidden;
    let p = format!("{prefix}P");
    if tensors.contains(&p) {
        tensors.check(&p, &[N, 3 * hidden])?;
    }
    let mut kernels: [_; N] = std::array::from_fn(|_| Array2::zeros((shapes.input + hidden, 4 * hidden)));
    shapes.matrices(tensors, |direction, row, from| put(&mut kernels[direction], row, from, &IOFC))?;
    let biases = shapes.biases(tensors)?;
    let peepholes = tensors.contains(&p).then(|| tensors.take_matrix(&p, (N, 3 * hidden))).transpose()?;
    each(kernels, |direction, kernel| {
        let bias = biases.as_ref().map(|biases| biases.direction(direction)).map(|[w, r]| &w + &r);
        let bias = bias.map(|bias| pick(bias.view(), hidden, &IOFC));
        let peepholes = peepholes.as_ref().map(|peepholes| {
            let [w_i_diag, w_o_diag, w_f_diag] =
                [0, 1, 2].map(|block| pick(peepholes.row(direction), hidden, &[block]));
            Peepholes { w_f_diag, w_i_diag, w_o_diag }
        });
        Lstm::builder(shapes.input, hidden)
            .forget_bias(E::zero())
            .use_bias(bias.is_some())
            .use_peepholes(peepholes.is_some())
            .activation(options[direction].activation)
            .gate_activation(options[direction].gate_activation)
            .build_from(LstmWeights { kernel, bias, peepholes, projection: None })
    })
}

pub(super) fn gru_directions<E: Float, const N: usize>(
    tensors: &mut Tensors<'_, E>,
    prefix: &str,
    options: &[Options; N],
) -> Result<[Gru<E>; N], Error> {
    let shapes = Shapes::<N>::new(tensors, prefix, 3)?;
    let mut grus: [_; N] = std::array::from_fn(|_| BlockGru::new(shapes.input, shapes.hidden, ZRH));
    shapes.matrices(tensors, |direction, row, from| grus[direction].put(row, from))?;
    let biases = shapes.biases(tensors)?;
    each(grus, |direction, gru| {
        let options = options[direction];
        let reset = if options.linear_before_reset { GruReset::After } else { GruReset::Before };
        let biases = biases.as_ref().map(|biases| biases.direction(direction));
        gru.build(biases, reset, [options.activation, options.gate_activation])
    })
}

/// The cells of all directions, or the first error.
fn each<T, C, const N: usize>(
    parts: [T; N],
    mut cell: impl FnMut(usize, T) -> Result<C, Error>,
) -> Result<[C; N], Error> {
    let cells: Result<Vec<C>, Error> = parts.into_iter().enumerate().map(|(i, part)| cell(i, part)).collect();
    Ok(cells?.try_into().unwrap_or_else(|_| unreachable!("one cell per direction")))
}

/// An operator with `N` directions: its prefix and its sizes, which come from the checked shapes.
struct Shapes<'p, const N: usize> {
    prefix: &'p str,
    gates: usize,
    input: usize,
    hidden: usize,
    use_bias: bool,
}

/// `B`, (directions, 2 · gates · hidden).
struct Biases<E>(Array2<E>);

impl<E: Float> Biases<E> {
    /// The biases of W and R for one direction.
    fn direction(&self, direction: usize) -> [ArrayView1<'_, E>; 2] {
        let (w, r) = self.0.index_axis(Axis(0), direction).split_at(Axis(0), self.0.ncols() / 2);
        [w, r]
    }
}

impl<'p, const N: usize> Shapes<'p, N> {
    fn new<E: Float>(tensors: &Tensors<'_, E>, prefix: &'p str, gates: usize) -> Result<Self, Error> {
        let [w, r, b] = ["W", "R", "B"].map(|name| format!("{prefix}{name}"));
        for name in [&w, &r] {
            check_directions::<N>(gates, name, tensors.shape(name)?)?;
        }
        let [_, _, input] = tensors.axes(&w, &format!("({N}, {gates} · hidden, input)"))?;
        let [_, _, hidden] = tensors.axes(&r, &format!("({N}, {gates} · hidden, hidden)"))?;
        tensors.check(&r, &[N, gates * hidden, hidden])?;
        tensors.check(&w, &[N, gates * hidden, input])?;
        let use_bias = tensors.contains(&b);
        if use_bias {
            tensors.check(&b, &[N, 2 * gates * hidden])?;
        }
        Ok(Self { prefix, gates, input, hidden, use_bias })
    }

    /// Calls `put` with each direction's weight matrices, transposed, and the row of our kernel where each begins.
    fn matrices<E: Float>(
        &self,
        tensors: &mut Tensors<'_, E>,
        mut put: impl FnMut(usize, usize, ArrayView2<E>),
    ) -> Result<(), Error> {
        for (name, row) in [("W", 0), ("R", self.input)] {
            let matrices: ArrayD<E> = tensors.take(&format!("{}{name}", self.prefix))?;
            for (direction, matrix) in matrices.outer_iter().enumerate() {
                put(direction, row, matrix.into_dimensionality().expect("three axes were checked").reversed_axes());
            }
        }
        Ok(())
    }

    fn biases<E: Float>(&self, tensors: &mut Tensors<'_, E>) -> Result<Option<Biases<E>>, Error> {
        let shape = (N, 2 * self.gates * self.hidden);
        let name = format!("{}B", self.prefix);
        self.use_bias.then(|| tensors.take_matrix(&name, shape).map(Biases)).transpose()
    }
}

/// An error if there are two directions instead of one, or the other way round. It names the function to call.
fn check_directions<const N: usize>(gates: usize, name: &str, found: &[usize]) -> Result<(), Error> {
    let function = match gates {
        1 => "rnn",
        3 => "gru",
        _ => "lstm",
    };
    let hint = match (N, found) {
        (1, [2, _, _]) => format!("`bidirectional_{function}` reads two directions"),
        (2, [1, _, _]) => format!("`{function}` reads one direction"),
        _ => return Ok(()),
    };
    let expected = format!("{N} as its first axis ({hint})");
    Err(Error::TensorShape { name: name.into(), expected, found: found.into() })
}
