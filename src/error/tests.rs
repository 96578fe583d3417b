//! What messages show of strings, and which errors are equal.

use super::{Error, list, quoted};
use std::io;
use std::sync::Arc;

/// Every variant that shows a string, with this one in each.
fn saying(what: &str) -> Vec<Error> {
    let what = || what.to_string();
    vec![
        Error::StateShape { argument: what(), leaf: 0, expected: (1, 2), found: (3, 4) },
        Error::StateLeaves { argument: what(), expected: 1, found: 2 },
        Error::TooLarge { name: what(), shape: [1, 2] },
        Error::MissingWeight { name: what(), reason: what() },
        Error::UnexpectedWeight { name: what(), reason: what() },
        Error::ArrayShape { argument: what(), expected: vec![1], found: vec![2] },
        Error::OutOfBounds { argument: what(), found: 1, count: 1, of: "rows" },
        Error::OptimizerParameter { argument: "model", position: 0, expected: what(), found: what() },
        Error::UnknownLetter { letter: '\u{1b}', word: what(), alphabet: what() },
        Error::RepeatedLetter { letter: '\u{1b}', alphabet: what() },
        Error::CellInputSize { cell: what(), expected: 1, found: 2 },
        Error::TensorShape { name: what(), expected: what(), found: vec![1] },
        Error::TensorDtype { name: what(), expected: "F32", found: what() },
        Error::RepeatedParameter { name: what() },
        Error::NotRepresentable { module: "nn.GRU", expected: "none", found: what() },
        Error::NotImportable { name: what(), reason: what() },
        Error::InvalidFile { format: "safetensors", reason: what() },
        Error::FeatureOff { path: what(), format: "an ONNX model", feature: "onnx" },
        Error::Io { path: what(), error: Arc::new(io::Error::other(what())) },
        Error::NotRegularFile { path: what(), found: "a folder" },
    ]
}

#[test]
fn no_string_makes_a_message_long_or_commands_a_terminal() {
    for error in saying(&"\u{1b}[2J\r\u{202e}\u{9b}é".repeat(100_000)) {
        for message in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
            assert!(message.len() < 60_000, "{} bytes: {}", message.len(), &message[..200]);
            assert!(!message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{message}");
            assert!(message.contains("\\u{1b}[2J\\r\\u{202e}\\u{9b}é"), "{message}");
            assert!(message.contains('…'), "{message}");
        }
    }
    for error in saying("lstm/\"a\"") {
        assert!(error.to_string().contains("lstm/"), "{error}");
        assert!(!error.to_string().contains('…'), "{error}");
    }
}

#[test]
fn names_are_shown_quoted_and_in_part() {
    assert_eq!(quoted("a\n"), r#""a\n""#);
    assert_eq!(quoted(&"é".repeat(100)), format!("\"{}\"", "é".repeat(100)));
    assert_eq!(quoted(&"é".repeat(101)), format!("\"{}\"…", "é".repeat(100)));
    assert_eq!(list([].into_iter()), "");
    assert_eq!(list(["a", "b"].into_iter()), r#""a", "b""#);
    assert_eq!(list(std::iter::repeat_n("a", 12)), ["\"a\""; 12].join(", "));
    assert_eq!(list(std::iter::repeat_n("a", 13)), ["\"a\""; 12].join(", ") + ", … (1 more)");
}

#[test]
fn errors_are_equal_if_they_say_the_same() {
    let io = |kind: io::ErrorKind| Error::Io { path: "x".into(), error: Arc::new(kind.into()) };
    assert_eq!(io(io::ErrorKind::NotFound), io(io::ErrorKind::NotFound));
    assert_ne!(io(io::ErrorKind::NotFound), io(io::ErrorKind::StorageFull));
    assert_ne!(Error::ZeroSize { argument: "x" }, Error::ZeroSize { argument: "y" });
    let invalid = |found| Error::InvalidNumber { argument: "x", expected: "finite", found };
    assert_eq!(invalid(f64::NAN), invalid(f64::NAN));
}
