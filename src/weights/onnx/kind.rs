//! The operators that are read, and their directions.

use std::fmt;

/// The operator of a [`Node`](super::Node).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `RNN`.
    Rnn,
    /// `LSTM`.
    Lstm,
    /// `GRU`.
    Gru,
    /// ONNX Runtime's `DynamicQuantizeLSTM`, which becomes an [`Lstm`](crate::Lstm) of its dequantized weights.
    DynamicQuantizeLstm,
}

impl Kind {
    pub(super) fn of(op: &str, domain: &str) -> Option<Self> {
        match (domain, op) {
            ("" | "ai.onnx", "RNN") => Some(Self::Rnn),
            ("" | "ai.onnx", "LSTM") => Some(Self::Lstm),
            ("" | "ai.onnx", "GRU") => Some(Self::Gru),
            ("com.microsoft", "DynamicQuantizeLSTM") => Some(Self::DynamicQuantizeLstm),
            _ => None,
        }
    }

    /// The operator's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rnn => "RNN",
            Self::Lstm => "LSTM",
            Self::Gru => "GRU",
            Self::DynamicQuantizeLstm => "DynamicQuantizeLSTM",
        }
    }

    pub(super) fn is_lstm(self) -> bool {
        matches!(self, Self::Lstm | Self::DynamicQuantizeLstm)
    }

    /// The name of the functions that read it.
    pub(super) fn function(self) -> &'static str {
        match self {
            Self::Rnn => "rnn",
            Self::Gru => "gru",
            Self::Lstm | Self::DynamicQuantizeLstm => "lstm",
        }
    }

    /// The inputs that hold weights, by name and position.
    pub(super) fn inputs(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Rnn | Self::Gru => &[("W", 1), ("R", 2), ("B", 3)],
            Self::Lstm => &[("W", 1), ("R", 2), ("B", 3), ("P", 7)],
            Self::DynamicQuantizeLstm => &[
                ("W", 1),
                ("R", 2),
                ("B", 3),
                ("P", 7),
                ("W_scale", 8),
                ("W_zero_point", 9),
                ("R_scale", 10),
                ("R_zero_point", 11),
            ],
        }
    }
}

/// The operator's name.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way a [`Node`](super::Node) runs through time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Reverse,
    /// Both ways, with a cell for each.
    Bidirectional,
}

impl Direction {
    /// What is put before the names of the functions that read it.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Forward => "",
            Self::Reverse => "reverse_",
            Self::Bidirectional => "bidirectional_",
        }
    }
}

/// The attribute's value.
impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
            Self::Bidirectional => "bidirectional",
        })
    }
}
