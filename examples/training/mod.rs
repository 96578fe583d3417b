//! Shared by the training examples: a progress bar.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};

/// A bar on the last line of the terminal; without a terminal, nothing.
pub struct Progress {
    steps: usize,
    shown: bool,
}

impl Progress {
    pub fn new(steps: usize) -> Self {
        Self { steps, shown: stderr().is_terminal() }
    }

    /// Redraws the bar after `done` of all steps, with a note on progress.
    pub fn show(&self, done: usize, how: impl Display) {
        const WIDTH: usize = 30;
        if self.shown {
            let filled = WIDTH * done / self.steps.max(1);
            let (full, empty) = ("█".repeat(filled), "░".repeat(WIDTH - filled));
            eprint!("\r\x1b[K{full}{empty} {done}/{}  {how}", self.steps);
            // A bar that fails to draw does no harm.
            let _ = stderr().flush();
        }
    }

    /// Prints a line above the bar.
    pub fn println(&self, line: impl Display) {
        self.clear();
        println!("{line}");
    }

    /// Removes the bar.
    pub fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
