//! What people see of [`Tensors`]: a table, and the names that resemble one that is missing.

use super::Tensors;
use crate::error::{list_to, shown};
use crate::{Error, Float};
use std::cmp::Reverse;
use std::fmt;

impl<E: Float> Tensors<'_, E> {
    /// The error of a tensor that is not there. It lists the names that resemble it most.
    pub(super) fn missing(&self, name: &str) -> Error {
        const MAX_NAMES: usize = 12;
        let mut names: Vec<&str> = self.names().collect();
        names.sort_by_cached_key(|other| Reverse(resemblance(name, other)));
        let reason = match names.len() {
            0 => "no tensors are left".into(),
            len @ ..=MAX_NAMES => {
                format!("the tensors left are {}", list_to(names.into_iter(), len))
            }
            len => {
                format!("the nearest of the {len} tensors left are {}", list_to(names.into_iter().take(MAX_NAMES), len))
            }
        };
        Error::MissingWeight { name: name.into(), reason }
    }
}

/// The names, shapes and types as a table, a tensor a line, in alphabetical order.
impl<E: Float> fmt::Display for Tensors<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_WIDTH: usize = 60;
        let rows: Vec<[String; 3]> = self
            .map
            .iter()
            .map(|(name, tensor)| [shown(name), format!("{:?}", tensor.shape()), shown(tensor.dtype())])
            .collect();
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).min(MAX_WIDTH);
        let (names, shapes) = (width(0), width(1));
        for [name, shape, dtype] in &rows {
            writeln!(f, "{name:names$}  {shape:shapes$}  {dtype}")?;
        }
        Ok(())
    }
}

/// How much two names have in common: letters at their beginnings, where their layer is, and at their ends.
fn resemblance(a: &str, b: &str) -> usize {
    let shorter = a.len().min(b.len());
    let beginning = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let end = a.bytes().rev().zip(b.bytes().rev()).take(shorter - beginning).take_while(|(a, b)| a == b).count();
    beginning + end
}
