//! Which steps of a row run, and everything around runs that can be recorded: resets, masks, loops, lists of steps,
//! stacks. Each against plain steps and central differences.

mod differences;
mod dropout;
mod lists;
mod loops;
mod residual;
mod row_gradients;
mod rows;
mod stacks;
mod sums;
