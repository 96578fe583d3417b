//! [`Plain`]: compressed matrices row by row, as files hold them.

use super::{Compact, Half, WeightFormat};
use crate::kernel::buffer::Buffer;
use crate::kernel::isa::Isa;
use crate::kernel::shape::PackShape;
use std::ops::Range;

/// A compressed matrix, row-major. Its columns are the units of one or more gates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    /// The upper halves of f32 numbers.
    Bf16 { bits: Vec<u16>, columns: usize },
    /// Codes from −127 to 127. `scales` is (2, columns): of the rows for inputs, and of those for recurrent values.
    Int8 { codes: Vec<i8>, scales: Vec<f32>, columns: usize },
}

/// The nearest bf16 number, ties to even.
fn bf16(number: f32) -> u16 {
    let bits = number.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

impl Plain {
    /// Compresses a matrix with `columns` columns, whose first `inputs` rows multiply inputs. `None` if a number is not
    /// finite, or becomes infinite in bf16.
    pub(crate) fn of(format: WeightFormat, matrix: &[f32], columns: usize, inputs: usize) -> Option<Self> {
        if !matrix.iter().all(|number| number.is_finite()) {
            return None;
        }
        match format {
            WeightFormat::Bf16 => {
                let bits: Vec<u16> = matrix.iter().map(|&number| bf16(number)).collect();
                let finite = bits.iter().all(|&bits| f32::from_bits(u32::from(bits) << 16).is_finite());
                finite.then_some(Self::Bf16 { bits, columns })
            }
            WeightFormat::Int8 => {
                let (mut codes, mut scales) = (Vec::with_capacity(matrix.len()), Vec::with_capacity(2 * columns));
                for rows in [&matrix[..inputs * columns], &matrix[inputs * columns..]] {
                    let mut largest = vec![0.0_f32; columns];
                    for row in rows.chunks_exact(columns) {
                        largest.iter_mut().zip(row).for_each(|(most, weight)| *most = most.max(weight.abs()));
                    }
                    for row in rows.chunks_exact(columns) {
                        codes.extend(row.iter().zip(&largest).map(|(&weight, &most)| code(weight, most)));
                    }
                    scales.extend(largest.iter().map(|&most| most / 127.0));
                }
                Some(Self::Int8 { codes, scales, columns })
            }
        }
    }

    pub(crate) fn columns(&self) -> usize {
        match *self {
            Self::Bf16 { columns, .. } | Self::Int8 { columns, .. } => columns,
        }
    }

    fn format(&self) -> WeightFormat {
        match self {
            Self::Bf16 { .. } => WeightFormat::Bf16,
            Self::Int8 { .. } => WeightFormat::Int8,
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Bf16 { bits, columns } => bits.len() / columns,
            Self::Int8 { codes, columns, .. } => codes.len() / columns,
        }
    }

    /// The words of adjacent columns for the rows from `row` to `end`, as many as a word holds.
    fn words(&self, row: usize, end: usize, columns: Range<usize>, to: &mut [u32]) {
        match self {
            Self::Bf16 { bits, columns: width } => {
                for (to, column) in to.iter_mut().zip(columns) {
                    let bits = |row: usize| if row < end { u32::from(bits[row * width + column]) } else { 0 };
                    *to = bits(row) | bits(row + 1) << 16;
                }
            }
            Self::Int8 { codes, columns: width, .. } => {
                for (to, column) in to.iter_mut().zip(columns) {
                    let byte = |row: usize| if row < end { codes[row * width + column] as u8 } else { 0 };
                    *to = u32::from_le_bytes([0, 1, 2, 3].map(|k| byte(row + k)));
                }
            }
        }
    }
}

/// The code of a weight beside the largest of its unit. In f64, where nothing under- or overflows.
fn code(weight: f32, largest: f32) -> i8 {
    if largest == 0.0 { 0 } else { (f64::from(weight) * 127.0 / f64::from(largest)).round_ties_even() as i8 }
}

impl Compact {
    /// Packs matrices whose columns, one matrix after another, are the units of all gates.
    ///
    /// # Panics
    /// If there are other rows, columns or formats than the shape says.
    pub(crate) fn pack(isa: Isa, shape: PackShape, matrices: &[Plain]) -> Self {
        let (lanes, format) = (isa.lanes::<f32>(), matrices[0].format());
        let columns: usize = matrices.iter().map(Plain::columns).sum();
        assert_eq!(columns, shape.gates * shape.units, "matrices have a column for each unit of each gate");
        for matrix in matrices {
            assert_eq!((matrix.format(), matrix.rows()), (format, shape.depth()), "matrices have a row for each input");
        }
        let depths = [0..shape.inputs, shape.inputs..shape.depth()];
        let mut half = 0;
        let halves = depths.map(|depths| {
            half += 1;
            Half::pack(isa, shape, lanes, (half - 1, depths), matrices)
        });
        Self { isa, shape, lanes, format, halves }
    }

    /// The matrix whose columns are the units of these gates.
    #[cfg_attr(not(feature = "safetensors"), allow(dead_code))]
    pub(crate) fn plain(&self, gates: Range<usize>) -> Plain {
        let (shape, lanes) = (self.shape, self.lanes);
        let columns = gates.len() * shape.units;
        let (mut numbers, mut scales) = (vec![0_u16; shape.depth() * columns], vec![0.0_f32; 2 * columns]);
        let per_word = self.format.inputs_per_word();
        let mut first_row = 0;
        for (number, half) in self.halves.iter().enumerate() {
            for vector in Self::vectors(shape, lanes).filter(|vector| gates.contains(&vector.gate)) {
                let column = (vector.gate - gates.start) * shape.units;
                for (lane, unit) in vector.units.clone().enumerate() {
                    if self.format == WeightFormat::Int8 {
                        scales[number * columns + column + unit] = half.scales.as_slice()[vector.at * lanes + lane];
                    }
                    for k in 0..half.depth {
                        let at = Self::word(shape, lanes, half.groups, vector.at, k / per_word) + lane;
                        let word = half.words.as_slice()[at] >> (32 / per_word * (k % per_word));
                        numbers[(first_row + k) * columns + column + unit] = word as u16;
                    }
                }
            }
            first_row += half.depth;
        }
        match self.format {
            WeightFormat::Bf16 => Plain::Bf16 { bits: numbers, columns },
            WeightFormat::Int8 => {
                Plain::Int8 { codes: numbers.iter().map(|&code| code as i8).collect(), scales, columns }
            }
        }
    }
}

impl Half {
    fn pack(
        isa: Isa,
        shape: PackShape,
        lanes: usize,
        (number, rows): (usize, Range<usize>),
        matrices: &[Plain],
    ) -> Self {
        let per_word = matrices[0].format().inputs_per_word();
        let (depth, groups) = (rows.len(), rows.len().div_ceil(per_word));
        let (mut words, mut scales, mut corrections) = (Buffer::default(), Buffer::default(), Buffer::default());
        let vectors = shape.panels(lanes) * shape.vectors(lanes);
        words.grow([vectors, groups, lanes]);
        if per_word == 4 {
            scales.grow([vectors, lanes]);
            corrections.grow([vectors, lanes]);
        }
        for vector in Compact::vectors(shape, lanes) {
            let (matrix, first) = column_of(matrices, vector.gate * shape.units);
            let columns = first + vector.units.start..first + vector.units.end;
            for group in 0..groups {
                let to = &mut words.as_mut_slice()[Compact::word(shape, lanes, groups, vector.at, group)..];
                matrix.words(rows.start + group * per_word, rows.end, columns.clone(), to);
            }
            if let Plain::Int8 { codes, scales: from, columns: width } = matrix {
                for (lane, column) in columns.enumerate() {
                    let at = vector.at * lanes + lane;
                    scales.as_mut_slice()[at] = from[number * width + column];
                    let sum: i32 = rows.clone().map(|row| i32::from(codes[row * width + column])).sum();
                    corrections.as_mut_slice()[at] = -i32::from(isa.code_bias()) * sum;
                }
            }
        }
        Self { depth, groups, words, scales, corrections }
    }
}

/// The matrix that has this column of all matrices, and which of its own it is.
fn column_of(matrices: &[Plain], column: usize) -> (&Plain, usize) {
    let mut first = 0;
    for matrix in matrices {
        if column < first + matrix.columns() {
            return (matrix, column - first);
        }
        first += matrix.columns();
    }
    unreachable!("columns were counted")
}
