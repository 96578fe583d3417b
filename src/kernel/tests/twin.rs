//! The safe scalar twin of every kernel: one row, one step, loops anyone can check, in `f64`.

use crate::kernel::Activation;
use ndarray::{Array1, Array2};

/// A gate's weights: (inputs + recurrent, units), and its bias.
#[derive(Clone)]
pub(super) struct Dense {
    pub weights: Array2<f64>,
    pub bias: Array1<f64>,
}

impl Dense {
    /// Σ values · their rows of weights, starting at row `first`, without the bias.
    fn product(&self, values: &[f64], first: usize) -> Vec<f64> {
        (0..self.weights.ncols())
            .map(|unit| values.iter().enumerate().map(|(k, value)| value * self.weights[[first + k, unit]]).sum())
            .collect()
    }

    fn sums(&self, x: &[f64], h: &[f64]) -> Vec<f64> {
        let (x, h) = (self.product(x, 0), self.product(h, x.len()));
        x.iter().zip(&h).zip(&self.bias).map(|((x, h), b)| x + h + b).collect()
    }
}

pub(super) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::Elu if x > 0.0 => x,
        Activation::Elu => x.exp_m1(),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::HardSigmoid => (0.2 * x + 0.5).clamp(0.0, 1.0),
        Activation::Linear => x,
        Activation::HardSigmoidWith { slope, offset } => (slope * x + offset).clamp(0.0, 1.0),
        Activation::LeakyRelu { alpha } if x < 0.0 => alpha * x,
        Activation::ThresholdedRelu { alpha } if x <= alpha => 0.0,
        Activation::LeakyRelu { .. } | Activation::ThresholdedRelu { .. } => x,
        Activation::EluWith { .. } if x > 0.0 => x,
        Activation::EluWith { alpha } => alpha * x.exp_m1(),
        Activation::ScaledTanh { alpha, beta } => alpha * (beta * x).tanh(),
        Activation::Affine { alpha, beta } => alpha * x + beta,
    }
}

pub(super) fn rnn(gate: &Dense, activation: Activation, x: &[f64], h: &mut Vec<f64>) {
    *h = gate.sums(x, h).into_iter().map(|sum| activate(activation, sum)).collect();
}

/// What an LSTM may have besides its gates.
#[derive(Clone)]
pub(super) struct LstmExtras {
    pub activation: Activation,
    pub gate_activation: Activation,
    /// f, i, o.
    pub peepholes: Option<[Array1<f64>; 3]>,
    pub cell_clip: Option<f64>,
    pub projection: Option<Dense>,
    pub proj_clip: Option<f64>,
}

/// Gates i, j, f, o. The forget gate's offset is in its bias.
pub(super) fn lstm(gates: &[Dense], extras: &LstmExtras, x: &[f64], c: &mut [f64], h: &mut Vec<f64>) {
    let sums: Vec<Vec<f64>> = gates.iter().map(|gate| gate.sums(x, h)).collect();
    let see = |gate: usize, unit: usize, c: f64| extras.peepholes.as_ref().map_or(0.0, |w| w[gate][unit] * c);
    let gate = |x| activate(extras.gate_activation, x);
    let mut m = Vec::new();
    for (unit, c) in c.iter_mut().enumerate() {
        let f = gate(sums[2][unit] + see(0, unit, *c));
        let i = gate(sums[0][unit] + see(1, unit, *c));
        *c = f * *c + i * activate(extras.activation, sums[1][unit]);
        if let Some(clip) = extras.cell_clip {
            *c = c.clamp(-clip, clip);
        }
        m.push(gate(sums[3][unit] + see(2, unit, *c)) * activate(extras.activation, *c));
    }
    *h = match &extras.projection {
        None => m,
        Some(projection) => {
            let clip = extras.proj_clip.unwrap_or(f64::INFINITY);
            projection.product(&m, 0).into_iter().map(|p| p.clamp(-clip, clip)).collect()
        }
    };
}

/// Gates r, u and the candidate. With `recurrent_bias`, the reset gate comes after the product.
pub(super) fn gru(
    [r, u, n]: [&Dense; 3],
    recurrent_bias: Option<&Array1<f64>>,
    (gate_activation, activation): (Activation, Activation),
    x: &[f64],
    h: &mut [f64],
) {
    let gate =
        |gate: &Dense| -> Vec<f64> { gate.sums(x, h).into_iter().map(|sum| activate(gate_activation, sum)).collect() };
    let (r, u) = (gate(r), gate(u));
    let from_x = n.product(x, 0);
    let reset: Vec<f64> = h.iter().zip(&r).map(|(h, r)| h * r).collect();
    let from_h = match recurrent_bias {
        None => n.product(&reset, x.len()),
        Some(bias) => (n.product(h, x.len()).iter().zip(bias).zip(&r)).map(|((sum, b), r)| r * (sum + b)).collect(),
    };
    for (unit, h) in h.iter_mut().enumerate() {
        let candidate = activate(activation, from_x[unit] + n.bias[unit] + from_h[unit]);
        *h = u[unit] * *h + (1.0 - u[unit]) * candidate;
    }
}
