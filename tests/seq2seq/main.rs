//! The module `seq2seq`: attention, decoders, beam search.

mod attention;
mod compressed;
mod decoders;
mod edges;
mod gradients;
mod models;
mod recorded;
#[path = "../common/rounded.rs"]
mod rounded;
mod transducers;
