//! Reading and writing weight files.

#[path = "../common/mod.rs"]
mod common;
mod compressed;
mod damaged;
mod exporters;
mod files;
mod g2p;
mod importers;
mod misfits;
#[path = "../../examples/g2p/model.rs"]
mod model;
mod parts;
mod porting;
mod saving;
mod tensors;
#[path = "../../examples/g2p/text.rs"]
mod text;
