//! The module `seq2seq`: attention, decoders, beam search.

mod attention;
mod gradients;
mod models;
