//! Draws an alignment: a column per letter read, a row per letter written.

use ndarray::Array2;
use std::fmt::Write;
use std::path::Path;

/// A square's side.
const SIDE: usize = 22;
/// Room for the letters.
const MARGIN: usize = 30;

pub fn draw(path: &Path, read: &str, written: &str, alignment: &Array2<f32>) -> std::io::Result<()> {
    let (columns, rows) = (read.chars().count(), written.chars().count());
    let (width, height) = (MARGIN + columns * SIDE + 8, MARGIN + rows * SIDE + 8);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"15\" text-anchor=\"middle\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let mut line = |text: String| writeln!(svg, "{text}").expect("a string takes a line");
    for (at, letter) in read.chars().enumerate() {
        line(format!("<text x=\"{}\" y=\"20\">{letter}</text>", MARGIN + at * SIDE + SIDE / 2));
    }
    for (row, letter) in written.chars().enumerate() {
        let y = MARGIN + row * SIDE;
        line(format!("<text x=\"15\" y=\"{}\">{letter}</text>", y + SIDE / 2 + 5));
        for column in 0..columns {
            let (x, weight) = (MARGIN + column * SIDE, alignment[[row, column]]);
            line(format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"#1f4e9c\" fill-opacity=\"{weight:.3}\" \
                 stroke=\"#ddd\"/>"
            ));
        }
    }
    line("</svg>".to_owned());
    std::fs::write(path, svg)
}
