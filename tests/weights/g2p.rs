//! The model of `examples/g2p` gives every expected answer.

use crate::model::G2p;
use rnn_cell::WeightFormat;

fn model() -> G2p {
    compressed(None)
}

fn compressed(format: Option<WeightFormat>) -> G2p {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/g2p_en/weights.safetensors");
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

/// The words whose answers change if the weights take fewer bits.
#[test]
fn compressed_weights_change_few_answers() {
    let expected = expected();
    let words: Vec<&str> = expected.iter().map(|(word, _)| *word).collect();
    for (format, most) in [(WeightFormat::Bf16, 0), (WeightFormat::Int8, 2)] {
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
