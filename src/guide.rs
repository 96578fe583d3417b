// Targets of the pages' links to one another. Left out when code is tested, so that a failure names its page.
#![cfg_attr(not(doctest), doc = "[tensorflow]: crate::guide::tensorflow")]
#![cfg_attr(not(doctest), doc = "[pytorch]: crate::guide::pytorch")]
#![cfg_attr(not(doctest), doc = "[keras]: crate::guide::keras")]
#![cfg_attr(not(doctest), doc = "[sequences]: crate::guide::sequences")]
#![cfg_attr(not(doctest), doc = "[porting]: crate::guide::porting")]
#![cfg_attr(not(doctest), doc = "[accuracy]: crate::guide::accuracy")]
#![cfg_attr(not(doctest), doc = "[compressed]: crate::guide::compressed")]
#![cfg_attr(not(doctest), doc = "[seq2seq]: crate::guide::seq2seq")]
#![doc = include_str!("../docs/guide.md")]

// For the pages' links to items.
#[allow(unused_imports)]
use crate::*;

#[doc = include_str!("../docs/guide/tensorflow.md")]
pub mod tensorflow {}

pub mod seq2seq {
    #![doc = include_str!("../docs/guide/seq2seq.md")]

    // For the page's links to items.
    #[allow(unused_imports)]
    use crate::seq2seq::*;
}

#[doc = include_str!("../docs/guide/pytorch.md")]
pub mod pytorch {}

#[cfg_attr(not(doctest), doc = "[training]: crate::guide::tensorflow#training")]
#[doc = include_str!("../docs/guide/keras.md")]
pub mod keras {}

#[doc = include_str!("../docs/guide/sequences.md")]
pub mod sequences {}

#[cfg_attr(not(doctest), doc = "[accuracy]: crate::guide::accuracy")]
#[doc = include_str!("../docs/guide/porting.md")]
pub mod porting {}

#[doc = include_str!("../docs/guide/accuracy.md")]
pub mod accuracy {}

#[doc = include_str!("../docs/guide/compressed.md")]
pub mod compressed {}
