//! Transducers against a loop over one row.

use crate::models::{Rng, array, rng};
use ndarray::{Array2, Array3, ArrayRef2, Axis, s};
use rnn_cell::seq2seq::{Emission, TransducerBuilder};
use rnn_cell::{Dense, Embedding, Error, Lstm, RnnCell, argmax};

const CLASSES: usize = 5;
const BLANK: usize = 4;
const DEPTH: usize = 3;

struct Model {
    cell: Lstm<f64>,
    embedding: Embedding<f64>,
    frames: Dense<f64>,
    predictions: Dense<f64>,
}

impl Model {
    fn new(durations: usize, rng: &mut Rng) -> Self {
        let classes = CLASSES + durations;
        Self {
            cell: Lstm::new(2, 4, rng),
            embedding: Embedding::from_weights(array::<f64, _>((BLANK, 2), rng) * 2.0).unwrap(),
            frames: Dense::from_weights(array::<f64, _>((DEPTH, classes), rng) * 3.0, None).unwrap(),
            predictions: Dense::from_weights(array::<f64, _>((4, classes), rng) * 8.0, None).unwrap(),
        }
    }

    fn join(&self, frames: &ArrayRef2<f64>, predictions: &ArrayRef2<f64>, logits: &mut ArrayRef2<f64>) {
        logits.assign(&(self.frames.forward(frames).unwrap() + self.predictions.forward(predictions).unwrap()));
    }

    fn builder(durations: &[usize], max_symbols: usize) -> TransducerBuilder {
        TransducerBuilder::new(CLASSES).blank(BLANK).durations(durations).max_symbols(max_symbols)
    }

    /// One row, as the papers write it.
    fn by_hand(&self, frames: &ArrayRef2<f64>, durations: &[usize], max_symbols: usize) -> Vec<Emission> {
        let mut state = self.cell.zero_state(1);
        let (mut said, mut emitted) = (Array2::zeros((1, 4)), Vec::new());
        self.cell.step(&Array2::zeros((1, 2)), &mut state, &mut said, &mut Default::default());
        let (mut t, mut symbols) = (0, 0);
        while t < frames.nrows() {
            let mut logits = Array2::zeros((1, CLASSES + durations.len()));
            self.join(&frames.slice(s![t..t + 1, ..]), &said, &mut logits);
            let token = argmax(&logits.slice(s![0, ..CLASSES])).unwrap()[[]];
            let mut skip = match durations.is_empty() {
                true => 0,
                false => durations[argmax(&logits.slice(s![0, CLASSES..])).unwrap()[[]]],
            };
            if token == BLANK {
                skip = skip.max(1);
            } else {
                emitted.push(Emission { token, frame: t });
                let x = self.embedding.lookup(&ndarray::array![token]).unwrap();
                self.cell.step(&x, &mut state, &mut said, &mut Default::default());
                symbols += 1;
                if symbols == max_symbols && skip == 0 {
                    skip = 1;
                }
            }
            if skip > 0 {
                symbols = 0;
            }
            t += skip;
        }
        emitted
    }
}

#[test]
fn a_stream_is_a_loop_however_it_is_cut() {
    let mut rng = rng(21);
    let (mut emitted, mut several) = (0, 0);
    for durations in [&[][..], &[0, 1, 2, 4]] {
        for max_symbols in [1, 2, 10] {
            for _ in 0..10 {
                let model = Model::new(durations.len(), &mut rng);
                let frames: Array3<f64> = array((20, 3, DEPTH), &mut rng);
                let lengths = [20, 13, 0];
                let expected: Vec<Vec<Emission>> = (0..3)
                    .map(|row| model.by_hand(&frames.slice(s![..lengths[row], row, ..]), durations, max_symbols))
                    .collect();
                emitted += expected.iter().map(Vec::len).sum::<usize>();
                several += expected
                    .iter()
                    .flat_map(|row| row.windows(2))
                    .filter(|pair| pair[0].frame == pair[1].frame)
                    .count();
                for chunk in [1, 3, 7, 20] {
                    let join = |f: &ArrayRef2<f64>, p: &ArrayRef2<f64>, l: &mut ArrayRef2<f64>| model.join(f, p, l);
                    let mut stream =
                        Model::builder(durations, max_symbols).build(&model.cell, &model.embedding, join, 3).unwrap();
                    let mut all = vec![Vec::new(); 3];
                    let mut first: usize = 0;
                    for part in frames.axis_chunks_iter(Axis(0), chunk) {
                        let left: Vec<usize> = lengths
                            .iter()
                            .map(|length: &usize| length.saturating_sub(first).min(part.len_of(Axis(0))))
                            .collect();
                        first += part.len_of(Axis(0));
                        for (to, row) in all.iter_mut().zip(stream.push(&part, Some(&left)).unwrap()) {
                            to.extend(row.iter().copied());
                        }
                    }
                    assert_eq!(all, expected, "durations {durations:?}, {max_symbols} symbols, chunks of {chunk}");
                    (0..3).for_each(|row| stream.reset_row(row).unwrap());
                    assert_eq!(stream.push(&frames, Some(&lengths)).unwrap(), expected);
                }
            }
        }
    }
    assert!(emitted > 300 && several > 50, "{emitted} tokens, {several} pairs at one frame");
}

#[test]
fn what_cannot_be_transduced_is_an_error() {
    let mut rng = rng(22);
    let model = Model::new(0, &mut rng);
    let build = |builder: TransducerBuilder| {
        let join = |_: &ArrayRef2<f64>, _: &ArrayRef2<f64>, l: &mut ArrayRef2<f64>| l.fill(f64::NAN);
        builder.build(&model.cell, &model.embedding, join, 2)
    };
    let message = |builder| build(builder).unwrap_err().to_string();
    assert_eq!(message(Model::builder(&[], 0)), "max_symbols is 0, but must be at least 1");
    assert_eq!(message(Model::builder(&[], 1).blank(5)), "blank is 5, but there are only 5 classes");
    assert_eq!(message(Model::builder(&[], 1).blank(0)), "embedding has shape [4, 2], but must have [5, 2]");
    assert_eq!(message(Model::builder(&[], 1).start_token(4)), "start_token is 4, but there are only 4 tokens");
    let mut stream = build(Model::builder(&[], 1)).unwrap();
    assert_eq!(stream.reset_row(2).unwrap_err().to_string(), "row is 2, but there are only 2 rows");
    let error = stream.push(&Array3::zeros((2, 3, DEPTH)), None).unwrap_err();
    assert_eq!(error.to_string(), "frames has shape [2, 3, 3], but must have [2, 2, 3]");
    let error = stream.push(&Array3::zeros((2, 2, DEPTH)), Some(&[1])).unwrap_err();
    assert_eq!(error.to_string(), "sequence_length has shape [1], but must have [2]");
    let error = stream.push(&Array3::zeros((2, 2, DEPTH)), Some(&[1, 3])).unwrap_err();
    assert_eq!(error.to_string(), "sequence_length[1] is 3, but there are only 2 steps");
    let error = stream.push(&Array3::zeros((2, 2, DEPTH)), None).unwrap_err();
    assert!(matches!(error, Error::AllNan { row: 0, time: 0 }));
}

/// A duration beyond all frames ends the utterance.
#[test]
fn a_duration_may_be_any_number() {
    let model = Model::new(1, &mut rng(23));
    let join = |_: &ArrayRef2<f64>, _: &ArrayRef2<f64>, logits: &mut ArrayRef2<f64>| logits.fill(0.0);
    let builder = Model::builder(&[usize::MAX], 1);
    let mut stream = builder.build(&model.cell, &model.embedding, join, 1).unwrap();
    for _ in 0..2 {
        assert!(stream.push(&Array3::zeros((3, 1, DEPTH)), None).unwrap()[0].len() <= 1);
    }
}
