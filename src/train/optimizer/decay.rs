//! [`WeightDecay`]: pulls weights to 0.

use crate::Error;
use crate::checks::check_number;

/// How much each parameter is pulled to 0: the option `weight_decay` of every optimizer, and which parameters it is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightDecay {
    pub(super) amount: f64,
    pub(super) of: fn(&str) -> bool,
}

impl Default for WeightDecay {
    fn default() -> Self {
        Self { amount: 0.0, of: |_| true }
    }
}

impl WeightDecay {
    pub(super) fn check(&self) -> Result<(), Error> {
        let amount = self.amount;
        let right = amount.is_finite() && amount >= 0.0;
        check_number("weight_decay", amount, right, "finite and at least 0").map(|_| ())
    }

    /// The decay of the parameter with this name.
    pub(super) fn for_parameter(&self, name: &str) -> f64 {
        if (self.of)(name) { self.amount } else { 0.0 }
    }
}

/// The options of a builder that holds a [`WeightDecay`] in this field; `$does` says what the optimizer does with it.
macro_rules! weight_decay_options {
    ($($field:ident).+, $does:literal) => {
        #[doc = $does]
        /// Finite and at least 0. Default: 0.
        pub fn weight_decay(mut self, weight_decay: f64) -> Self {
            self.$($field).+.amount = weight_decay;
            self
        }

        /// Which parameters decay, by name. Default: all. Biases are often left out: `|name| !name.ends_with("bias")`.
        pub fn weight_decay_of(mut self, decays: fn(&str) -> bool) -> Self {
            self.$($field).+.of = decays;
            self
        }
    };
}
pub(super) use weight_decay_options;
