#![doc = include_str!("../docs/guide.md")]

// For the pages' links.
#[allow(unused_imports)]
use crate::*;

#[doc = include_str!("../docs/guide/tensorflow.md")]
pub mod tensorflow {}

#[doc = include_str!("../docs/guide/pytorch.md")]
pub mod pytorch {}

#[doc = include_str!("../docs/guide/keras.md")]
pub mod keras {}
