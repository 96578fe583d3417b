//! Where the sums of a product begin, and where they go.

use crate::kernel::rows::Rows;

/// Where the sums start and the input half comes from.
#[derive(Clone, Copy)]
pub(in crate::kernel) enum Input<'a, E> {
    /// From the bias, with these input rows.
    Rows(Rows<'a, E>),
    /// From input products computed before, as [`To::Panels`] left them.
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
    /// To rows of units, slot after slot, as far apart as said; added to what is there, or not. Of a last panel with fewer
    /// units only these are written, unless there is room for all of it before the next slot.
    Slots(Rows<'a, E>, usize, Add),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Add {
    Yes,
    No,
}
