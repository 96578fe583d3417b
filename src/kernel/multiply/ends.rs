//! Where the sums of a product begin, and where they go.

use crate::kernel::rows::Rows;

/// Where the sums start, and where the input half comes from.
#[derive(Clone, Copy)]
pub(in crate::kernel) enum Input<'a, E> {
    /// From the bias, with these input rows.
    Rows(Rows<'a, E>),
    /// From input products computed earlier, as [`To::Panels`] left them.
    Hoisted(Rows<'a, E>),
}

impl<'a, E> Input<'a, E> {
    pub(in crate::kernel) fn rows(self) -> Rows<'a, E> {
        match self {
            Self::Rows(rows) | Self::Hoisted(rows) => rows,
        }
    }
}

/// Where the sums go.
#[derive(Clone, Copy)]
pub(in crate::kernel) enum To<'a, E> {
    /// To rows of whole vectors, panel after panel.
    Panels(Rows<'a, E>),
    /// To rows of units, slot after slot, this many numbers apart, written or added. If the last panel has fewer units,
    /// only these are written, unless the whole panel fits before the next slot.
    Slots(Rows<'a, E>, usize, Add),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Add {
    Yes,
    No,
}
