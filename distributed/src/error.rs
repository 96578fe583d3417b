//! [`Error`]: what can go wrong in a job of many processes.

use std::fmt;

/// What went wrong, and in which process.
///
/// An error that concerns the whole job comes back in every process, so that none waits for another.
#[non_exhaustive]
#[derive(Clone, PartialEq)]
pub enum Error {
    /// This process's own computation failed.
    Own(rnn_cell::Error),
    /// Another process's computation failed. That process returns its error.
    Other {
        /// Its rank.
        rank: usize,
    },
    /// Processes do not have the same.
    Differ {
        /// What differs.
        what: String,
        /// The first rank whose own differs from that of rank 0.
        rank: usize,
    },
    /// The number of shards is not from the number of processes to the number of rows.
    ShardCount {
        /// The number of shards.
        shards: usize,
        /// What there is one shard for at least, or at most.
        bound: usize,
        /// Of what: "processes" or "rows".
        of: &'static str,
    },
    /// A shard's weight is not finite or negative.
    Weight {
        /// The shard.
        shard: usize,
        /// Its weight.
        found: f64,
    },
    /// A shard's gradients have other names or shapes than those of the shard before it.
    Layout {
        /// The shard.
        shard: usize,
    },
    /// MPI is not there, or it was started before.
    NoMpi,
}

impl From<rnn_cell::Error> for Error {
    fn from(error: rnn_cell::Error) -> Self {
        Self::Own(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(error) => error.fmt(f),
            Self::Other { rank } => write!(f, "rank {rank} reported an error"),
            Self::Differ { what, rank } => write!(f, "{what} of rank {rank} differ from those of rank 0"),
            Self::ShardCount { shards, bound, of: of @ "rows" } => {
                write!(f, "shards is {shards}, but must be at most the number of {of}, {bound}")
            }
            Self::ShardCount { shards, bound, of } => {
                write!(f, "shards is {shards}, but must be at least the number of {of}, {bound}")
            }
            Self::Weight { shard, found } => {
                write!(f, "the weight of shard {shard} is {found}, but must be finite and at least 0")
            }
            Self::Layout { shard } => {
                write!(f, "the gradients of shard {shard} have other names or shapes than those of the shard before it")
            }
            Self::NoMpi => write!(f, "MPI cannot be started, or was started before"),
        }
    }
}

/// The same as `Display`, so that a `main` that returns an error prints its message.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Own(error) => Some(error),
            _ => None,
        }
    }
}
