//! An LSTM over a sequence, forward.

use burn::backend::NdArray;
use burn::nn::LstmConfig;
use burn::tensor::Tensor;

fn main() {
    let device = Default::default();
    let cell = LstmConfig::new(64, 128, true).init::<NdArray>(&device);
    let (outputs, _) = cell.forward(Tensor::<NdArray, 3>::ones([1, 100, 64], &device), None);
    println!("{:?} {}", outputs.dims(), outputs.sum().into_scalar());
}
