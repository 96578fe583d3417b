//! The laws over [`AttentionWrapper`]: it is a cell like any other, and its memory moves with the rows.

use crate::models::{DEPTH, HIDDEN, INPUT, array, each_model, memory, rng, two_mechanisms};
use ndarray::{Array2, Array3, Axis, s};
use rnn_cell::seq2seq::{AttentionState, AttentionWrapper, BahdanauAttention, LuongAttention, tile_batch};
use rnn_cell::{
    BoxedCell, DynState, Error, Gru, Lstm, MultiRnnCell, RawRnn, ResidualWrapper, RnnCell, State, Stream, dynamic_rnn,
};

/// Steps one row alone, over its own part of the memory.
#[test]
fn a_batch_is_a_loop_and_padding_reaches_nothing() {
    let mut rng = rng(1);
    let (memory, memory_lengths) = memory::<f64>(&mut rng);
    let (x, lengths) = (array((3, 6, INPUT), &mut rng), [4, 6, 0]);
    let (mut dirty_memory, mut dirty_x) = (memory.clone(), x.clone());
    for row in 0..3 {
        dirty_memory.slice_mut(s![row, memory_lengths[row].., ..]).fill(f64::NAN);
        dirty_x.slice_mut(s![row, lengths[row].., ..]).fill(f64::NAN);
    }
    each_model(&mut |name, cell| {
        let state = cell.attend(&dirty_memory, Some(&memory_lengths)).unwrap();
        let (outputs, last) = dynamic_rnn(cell, &dirty_x, Some(&lengths), Some(state)).unwrap();
        for row in 0..3 {
            let memory = memory.slice(s![row..row + 1, ..memory_lengths[row], ..]);
            let mut alone = cell.attend(&memory, None).unwrap();
            let mut output = Array2::zeros((1, cell.output_size()));
            let mut workspace = Default::default();
            for step in 0..6 {
                let expected = if step < lengths[row] {
                    cell.step(&x.slice(s![row..row + 1, step, ..]), &mut alone, &mut output, &mut workspace);
                    output.row(0).to_owned()
                } else {
                    Array2::zeros((1, cell.output_size())).remove_axis(Axis(0))
                };
                assert_eq!(outputs.slice(s![row, step, ..]), expected, "{name}, row {row}, step {step}");
            }
            assert_eq!(last.cell_state().row(row), alone.cell_state().row(0), "{name}, row {row}");
            assert_eq!(last.attention().row(row), alone.attention().row(0), "{name}, row {row}");
            let alignments = last.alignments(0).row(row);
            assert_eq!(alignments.slice(s![..memory_lengths[row]]), alone.alignments(0).row(0), "{name}, row {row}");
            assert!(alignments.iter().skip(memory_lengths[row]).all(|&a| a == 0.0), "{name}, row {row}");
        }
    });
}

/// Sorted, dropped, repeated and copied rows keep their memory.
#[test]
fn a_row_takes_its_memory_along() {
    let mut rng = rng(2);
    let (memory, lengths) = memory::<f32>(&mut rng);
    let x: Array3<f32> = array((3, 2, INPUT), &mut rng);
    each_model(&mut |name, cell| {
        let state = cell.attend(&memory, Some(&lengths)).unwrap();
        let (outputs, _) = dynamic_rnn(cell, &x, None, Some(state.clone())).unwrap();
        let order = [2, 0, 0, 1, 2];
        let (moved, _) = dynamic_rnn(cell, &x.select(Axis(0), &order), None, Some(state.select_rows(&order))).unwrap();
        assert_eq!(moved, outputs.select(Axis(0), &order), "{name}");
        let mut copied = state.select_rows(&[1, 1, 1]);
        for row in 0..3 {
            copied.copy_row(row, &state, row);
        }
        assert_eq!(copied, state, "{name}");
        copied.truncate_rows(2);
        assert_eq!(copied, state.select_rows(&[0, 1]), "{name}");
        copied.copy_from(&state);
        assert_eq!(copied, state, "{name}");
        let tiled = tile_batch(&state, 2);
        assert_eq!(tiled, state.select_rows(&[0, 0, 1, 1, 2, 2]), "{name}");
    });
}

#[test]
fn it_runs_boxed_in_stacks_and_streams() {
    let mut rng = rng(3);
    let (memory, lengths) = memory::<f64>(&mut rng);
    let x: Array3<f64> = array((3, 4, INPUT), &mut rng);
    let top = Lstm::new(HIDDEN, 3, &mut rng);
    let cell = two_mechanisms::<f64>(&mut rng);
    let state = cell.attend(&memory, Some(&lengths)).unwrap();
    let (below, last) = dynamic_rnn(&cell, &x, None, Some(state.clone())).unwrap();
    let (outputs, _) = dynamic_rnn(&top, &below, None, None).unwrap();

    let stack = MultiRnnCell::new((cell.clone(), top.clone())).unwrap();
    let (stacked, (stack_last, _)) = dynamic_rnn(&stack, &x, None, Some((state.clone(), top.zero_state(3)))).unwrap();
    assert_eq!((stacked, &stack_last), (outputs.clone(), &last));

    let boxes = MultiRnnCell::new(vec![BoxedCell::new(cell.clone()), BoxedCell::new(top.clone())]).unwrap();
    let initial = vec![DynState::new(state.clone()), DynState::new(top.zero_state(3))];
    assert_eq!(dynamic_rnn(&boxes, &x, None, Some(initial)).unwrap().0, outputs);

    let mut stream = Stream::with_initial_state(&cell, 3, state.clone()).unwrap();
    for step in 0..4 {
        assert_eq!(stream.push(&x.index_axis(Axis(1), step)).unwrap(), below.index_axis(Axis(1), step));
    }
    assert_eq!(*stream.state(), last);
    stream.reset();
    assert_eq!(stream.state().alignments(1), state.alignments(1));
}

#[test]
fn histories_are_those_of_the_steps() {
    let mut rng = rng(4);
    let (memory, memory_lengths) = memory::<f64>(&mut rng);
    let (x, lengths): (Array3<f64>, _) = (array((3, 4, INPUT), &mut rng), [2, 4, 0]);
    let cell = two_mechanisms::<f64>(&mut rng);
    let mut state = cell.attend(&memory, Some(&memory_lengths)).unwrap();
    let (_, last) = dynamic_rnn(&cell, &x, Some(&lengths), Some(state.clone())).unwrap();
    let mut output = Array2::zeros((3, cell.output_size()));
    for mechanism in 0..2 {
        assert_eq!(last.alignment_history(mechanism).dim(), (4, 3, 5));
    }
    for step in 0..4 {
        cell.step(&x.index_axis(Axis(1), step), &mut state, &mut output, &mut Default::default());
        for mechanism in 0..2 {
            for (row, &length) in lengths.iter().enumerate() {
                let history = last.alignment_history(mechanism);
                let entry = history.slice(s![step, row, ..]);
                if step < length {
                    assert_eq!(entry, state.alignments(mechanism).row(row));
                } else {
                    assert!(entry.iter().all(|&a| a == 0.0));
                }
            }
        }
    }
}

#[test]
fn what_cannot_attend_is_an_error() {
    let mut rng = rng(5);
    let message = |error: Error| error.to_string();
    let cell = two_mechanisms::<f32>(&mut rng);
    let (memory, _) = memory::<f32>(&mut rng);
    let x = Array3::zeros((3, 4, INPUT));
    for run in [None, Some(cell.zero_state(3))] {
        assert_eq!(
            message(dynamic_rnn(&cell, &x, None, run).unwrap_err()),
            "row 0 of the state has no memory for mechanism 0: start from a state of AttentionWrapper::attend"
        );
    }
    let stack = MultiRnnCell::new((ResidualWrapper::with_residual_fn(cell.clone(), |_, _| ()),)).unwrap();
    assert!(matches!(dynamic_rnn(&stack, &x, None, None), Err(Error::NoMemory { mechanism: 0, row: 0 })));
    let stack = MultiRnnCell::new(vec![BoxedCell::new(stack)]).unwrap();
    assert!(matches!(dynamic_rnn(&stack, &x, None, None), Err(Error::NoMemory { .. })));
    for (lengths, expected) in [
        (&[5, 0, 3][..], "memory_sequence_length[1] is 0, but must be from 1 to 5 (the memory is (3, 5, 3))"),
        (&[5, 1, 6], "memory_sequence_length[2] is 6, but must be from 1 to 5 (the memory is (3, 5, 3))"),
        (&[5, 1], "memory_sequence_length has 2 entries, but the memory has a batch of 3 (it is (3, 5, 3))"),
    ] {
        assert_eq!(message(cell.attend(&memory, Some(lengths)).unwrap_err()), expected);
    }
    assert_eq!(
        message(cell.attend(&Array3::zeros((3, 5, DEPTH + 1)), None).unwrap_err()),
        "memory has shape [3, 5, 4], but must have [3, 5, 3]"
    );
    assert_eq!(
        message(cell.attend(&Array3::zeros((3, 0, DEPTH)), None).unwrap_err()),
        "memory's time is 0, but must be at least 1"
    );
    // A state for 3 rows is not one for 6: nothing is attended to by the wrong rows.
    let state = cell.attend(&memory, None).unwrap();
    let six = Array3::zeros((6, 4, INPUT));
    let error = dynamic_rnn(&cell, &six, None, Some(state.clone())).unwrap_err();
    assert_eq!(message(error), "leaf 0 of initial_state is (3, 4), but must be (6, 4) (batch, features)");
    assert!(dynamic_rnn(&cell, &six, None, Some(tile_batch(&state, 2))).is_ok());
    let error = state.with_cell_state(Lstm::<f32>::new(1, HIDDEN, &mut rng).zero_state(2)).unwrap_err();
    assert_eq!(message(error), "leaf 0 of cell_state is (2, 4), but must be (3, 4) (batch, features)");
}

/// Drivers that keep a state between calls refuse it too. They stay usable.
#[test]
fn streams_and_raw_runs_without_a_memory_are_errors() {
    let mut rng = rng(8);
    let no_memory = |error| assert!(matches!(error, Error::NoMemory { mechanism: 0, row: 0 }), "{error}");
    let cell = two_mechanisms::<f32>(&mut rng);
    let state = cell.attend(&memory(&mut rng).0, None).unwrap();
    let (x, chunk) = (array((3, 2, INPUT), &mut rng), Array3::zeros((2, 3, INPUT)));
    let first = x.index_axis(Axis(1), 0);
    let (expected, _) = dynamic_rnn(&cell, &x, None, Some(state.clone())).unwrap();

    no_memory(Stream::with_initial_state(&cell, 3, cell.zero_state(3)).err().unwrap());
    let mut stream = Stream::new(&cell, 3);
    for reset in [|stream: &mut Stream<_>| stream.reset_row(0).unwrap(), Stream::reset] {
        no_memory(stream.push(&first).unwrap_err());
        no_memory(stream.push_steps(&chunk).unwrap_err());
        no_memory(stream.set_state(cell.zero_state(3)).unwrap_err());
        no_memory(stream.change_state(|_| ()).unwrap_err());
        stream.set_state(state.clone()).unwrap();
        assert_eq!(stream.push(&first).unwrap(), expected.index_axis(Axis(1), 0));
        reset(&mut stream);
    }
    let mut stream = Stream::with_initial_state(&cell, 3, state.clone()).unwrap();
    let forget = |state: &mut AttentionState<_, _>| state.copy_row(0, &cell.zero_state(1), 0);
    no_memory(stream.change_state(forget).unwrap_err());
    assert_eq!(*stream.state(), state); // back at the initial state
    assert_eq!(stream.push(&first).unwrap(), expected.index_axis(Axis(1), 0));
    no_memory(RawRnn::new(&cell, 3).run(|_| ()).unwrap_err());
    let run = RawRnn::new(&cell, 3).initial_state(state).run(|step| forget(step.state));
    no_memory(run.unwrap_err());
}

#[test]
fn what_does_not_fit_together_is_an_error() {
    let mut rng = rng(6);
    let gru = |input, rng: &mut _| Gru::<f32>::new(input, HIDDEN, rng);
    let luong = LuongAttention::builder(HIDDEN).build::<f32, _>(&mut rng).unwrap();
    let build = |cell: Gru<f32>, mechanisms: Vec<_>, sizes: Option<Vec<usize>>| {
        let builder = AttentionWrapper::builder(cell, mechanisms);
        let builder = match sizes {
            Some(sizes) => builder.attention_layer_size(sizes),
            None => builder,
        };
        builder.build(&mut crate::models::rng(1)).unwrap_err().to_string()
    };
    let wide = gru(9, &mut rng);
    assert_eq!(build(wide.clone(), vec![], None), "mechanisms.len() is 0, but must be at least 1");
    assert_eq!(
        build(wide.clone(), vec![luong.clone()], Some(vec![2, 3])),
        "attention_layer_size has shape [2], but must have [1]"
    );
    assert_eq!(
        build(wide.clone(), vec![luong.clone()], Some(vec![0])),
        "attention_layer_size is 0, but must be at least 1"
    );
    assert_eq!(
        build(gru(4, &mut rng), vec![luong], None),
        "cell's input_size is 4, but must be larger than the attention"
    );
    let narrow = BahdanauAttention::builder(5).query_depth(3).build(&mut rng).unwrap();
    assert_eq!(
        build(wide, vec![narrow], None),
        "the cell's output, mechanisms[0]'s query, has shape [4], but must have [3]"
    );
    let error = LuongAttention::builder(0).build::<f32, _>(&mut rng).unwrap_err();
    assert_eq!(error.to_string(), "num_units is 0, but must be at least 1");
}

/// What can be sent, shared, cloned and printed. If this compiles, it holds.
#[test]
fn it_is_shared_cloned_and_printed() {
    fn cell<C: RnnCell + Send + Sync + Clone + std::fmt::Debug + 'static>(cell: &C) -> String {
        format!("{cell:?}")
    }
    fn state<S: State<f32> + PartialEq + std::fmt::Debug>(_: &S) {}
    let mut rng = rng(7);
    let wrapper = two_mechanisms::<f32>(&mut rng);
    let text = cell(&wrapper);
    assert!(text.starts_with("AttentionWrapper") && text.contains("Lstm") && text.len() < 1000, "{text}");
    state(&wrapper.attend(&memory(&mut rng).0, None).unwrap());
}
