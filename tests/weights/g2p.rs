//! The model of `examples/g2p` gives every expected answer.

use crate::model::G2p;
use rnn_cell::WeightFormat;

fn model() -> G2p {
    compressed(None)
}

fn compressed(format: Option<WeightFormat>) -> G2p {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/g2p_en/weights.safetensors");
    G2p::from_bytes(&std::fs::read(path).unwrap(), format).unwrap()
}

/// Words and the answers that the original package gave.
fn expected() -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = include_str!("../../examples/g2p_en/expected.tsv").lines();
    lines.map(|line| line.split_once('\t').unwrap()).map(|(word, answer)| (word, answer.split(' ').collect())).collect()
}

#[test]
fn all_words_are_answered_as_the_original_does() {
    let expected = expected();
    assert_eq!(expected.len(), 156);
    // Repeated three times, to fill more than a batch.
    let words: Vec<&str> = expected.iter().map(|(word, _)| *word).collect::<Vec<_>>().repeat(3);
    let model = model();
    for ((word, answer), (_, expected)) in words.iter().zip(model.phonemes(&words)).zip(expected.iter().cycle()) {
        assert_eq!(&answer, expected, "{word}");
    }
}

/// The words whose answers change if the weights take fewer bits: "complexity" in bf16.
#[test]
fn compressed_weights_change_few_answers() {
    let expected = expected();
    let words: Vec<&str> = expected.iter().map(|(word, _)| *word).collect();
    for (format, most) in [(WeightFormat::Bf16, 1), (WeightFormat::Int8, 2)] {
        let model = compressed(Some(format));
        let answers = expected.iter().zip(model.phonemes(&words));
        let changed: Vec<_> = answers.filter(|((_, answer), found)| answer != found).collect();
        println!("{format:?}: {changed:?}");
        assert!(changed.len() <= most, "{format:?}: {changed:?}");
    }
}

#[test]
fn a_word_alone_is_answered_as_in_a_batch() {
    let model = model();
    for (word, expected) in expected().iter().step_by(13) {
        assert_eq!(&model.phonemes(&[word])[0], expected, "{word}");
    }
    assert!(model.phonemes(&[""; 0]).is_empty());
}

#[test]
fn lines_in_lines_out() {
    let mut output = Vec::new();
    crate::text::answer_lines(&model(), &b"hello\r\n\nTensorflow\n"[..], &mut output).unwrap();
    let output = String::from_utf8(output).unwrap();
    assert_eq!(output, "hello\tHH EH1 L OW0\nTensorflow\tT EH1 N S ER0 L OW0 F\n");
    let mut output = Vec::new();
    crate::text::answer_lines(&model(), &b""[..], &mut output).unwrap();
    assert!(output.is_empty());
}

/// The best of several beams is at least as probable as the greedy answer, and nearly always the same.
#[test]
fn beams_begin_with_the_answer() {
    let model = model();
    let mut same = 0;
    for (word, expected) in expected().iter().step_by(5) {
        let beams = model.pronunciations(word, 5).unwrap();
        assert_eq!(beams.len(), 5);
        assert!(beams.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{word}");
        assert_eq!(model.pronunciations(word, 1).unwrap()[0].0, *expected, "{word}");
        same += usize::from(beams[0].0 == *expected);
    }
    assert!(same >= 24, "{same} of 32");
}

#[test]
fn beams_are_lines() {
    let mut output = Vec::new();
    crate::text::answer_beams(&model(), &["Hello".to_owned()], 3, &mut output).unwrap();
    let output = String::from_utf8(output).unwrap();
    let lines: Vec<Vec<&str>> = output.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line[0] == "Hello" && line[1].parse::<f32>().unwrap() < 0.0));
    assert_eq!(lines[0][2], "HH EH1 L OW0");
}
