//! An LSTM over a sequence, forward.

use candle_core::{DType, Device, Error, Tensor};
use candle_nn::{RNN, VarBuilder, VarMap, rnn::LSTMConfig, rnn::lstm};

fn main() -> Result<(), Error> {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let cell = lstm(64, 128, LSTMConfig::default(), builder)?;
    let states = cell.seq(&Tensor::ones((1, 100, 64), DType::F32, &Device::Cpu)?)?;
    let outputs = cell.states_to_tensor(&states)?;
    println!("{:?} {}", outputs.dims(), outputs.sum_all()?.to_scalar::<f32>()?);
    Ok(())
}
