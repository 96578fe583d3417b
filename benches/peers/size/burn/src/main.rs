//! An LSTM over a sequence, forward.

use burn::nn::LstmConfig;
use burn::tensor::{Device, Tensor};

fn main() {
    let device = Device::default();
    let cell = LstmConfig::new(64, 128, true).init(&device);
    let (outputs, _) = cell.forward(Tensor::<3>::ones([1, 100, 64], &device), None);
    println!("{:?} {}", outputs.dims(), outputs.sum().into_scalar::<f32>());
}
