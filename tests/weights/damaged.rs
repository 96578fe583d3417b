//! Files that are damaged, odd or hostile: refused with a reason, or read.

use super::files::{bits, file, refused, small, with_header};
use rnn_cell::Error;
use rnn_cell::weights::safetensors;

/// The reason why the bytes are not a file.
fn reason(bytes: &[u8]) -> String {
    let error = refused(bytes);
    let Error::InvalidFile { reason, .. } = &error else { panic!("{error}") };
    assert_eq!(error.to_string(), format!("invalid safetensors file: {reason}"));
    reason.clone()
}

#[test]
fn truncated_files_are_refused_wherever_they_end() {
    let bytes = file(&[("kernel", "F32", &[2, 1], &[0; 8]), ("bias", "F32", &[1], &[0; 4])]);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for len in 0..bytes.len() {
        let expected = match len.checked_sub(8 + header) {
            Some(data) => format!("tensor \"bias\": data_offsets must lie in {data} bytes of data, but are [8, 12]"),
            None if len < 8 => format!("it must have at least 8 bytes, but has {len}"),
            None => format!("its header must have {header} bytes, but has {}", len - 8),
        };
        assert_eq!(reason(&bytes[..len]), expected);
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(reason(&longer), "its tensors end at byte 12 of the data, which has 13 bytes");
}

#[test]
fn a_file_with_any_byte_changed_is_refused_or_read() {
    let bytes = safetensors::to_bytes(&small::<f32>()).unwrap();
    for at in 0..bytes.len() {
        for value in [0, 1, b'"', b'0', b'9', b'-', b'[', b'}', 0x7f, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let mut cell = small::<f32>();
            let before = bits(&cell);
            if safetensors::from_bytes(&mut cell, &bytes).is_err() {
                assert_eq!(bits(&cell), before);
            } else {
                // The library can read whatever is read here.
                assert!(::safetensors::SafeTensors::deserialize(&bytes).is_ok());
            }
        }
    }
}

#[test]
fn tensors_that_do_not_lie_as_they_say_are_named() {
    let max = usize::MAX;
    let kernel = |dtype: &str, shape: &str, offsets: &str| {
        reason(&with_header(
            &format!(r#"{{"kernel":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#),
            &[0; 8],
        ))
    };
    for (reason, expected) in [
        (kernel("F32", "[2,1]", "[0,16]"), "data_offsets must lie in 8 bytes of data, but are [0, 16]"),
        (kernel("F32", "[2,1]", "[8,0]"), "data_offsets must lie in 8 bytes of data, but are [8, 0]"),
        (kernel("I32", "[2,1]", "[0,9]"), "data_offsets must lie in 8 bytes of data, but are [0, 9]"),
        (kernel("F32", "[2,1]", "[0,4]"), "[2, 1] of F32 takes 8 bytes, but data_offsets are [0, 4]"),
        (kernel("F16", "[2,1]", "[0,8]"), "[2, 1] of F16 takes 4 bytes, but data_offsets are [0, 8]"),
        (kernel("BF16", "[2,1]", "[0,8]"), "[2, 1] of BF16 takes 4 bytes, but data_offsets are [0, 8]"),
        (kernel("F64", "[2,1]", "[0,8]"), "[2, 1] of F64 takes 16 bytes, but data_offsets are [0, 8]"),
    ] {
        assert_eq!(reason, format!("tensor \"kernel\": {expected}"));
    }
    let overflow = kernel("F32", &format!("[{max},{max}]"), "[0,8]");
    assert!(overflow.ends_with("] of F32 takes more bytes than memory has addresses for"), "{overflow}");
    let overflow = kernel("F32", &format!("[{max}]"), "[0,8]");
    assert!(overflow.ends_with("] of F32 takes more bytes than memory has addresses for"), "{overflow}");
    let end = kernel("F32", "[2,1]", &format!("[0,{max}]"));
    assert!(end.contains("must lie in 8 bytes of data"), "{end}");
    assert_eq!(kernel("F32", "[1,1]", "[4,8]"), "tensor \"kernel\" must begin at byte 0 of the data, but begins at 4");

    // Tensors that overlap, a hole between them, and no tensor at all.
    let two = |first: &str, second: &str| {
        let info = |offsets: &str| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}"#);
        reason(&with_header(&format!(r#"{{"a":{},"b":{}}}"#, info(first), info(second)), &[0; 12]))
    };
    assert_eq!(two("[0,4]", "[0,4]"), "tensor \"b\" must begin at byte 4 of the data, but begins at 0");
    assert_eq!(two("[0,4]", "[2,6]"), "tensor \"b\" must begin at byte 4 of the data, but begins at 2");
    assert_eq!(two("[8,12]", "[0,4]"), "tensor \"a\" must begin at byte 4 of the data, but begins at 8");
    assert_eq!(two("[4,8]", "[0,4]"), "its tensors end at byte 8 of the data, which has 12 bytes");
    assert_eq!(reason(&with_header("{}", &[0; 8])), "its tensors end at byte 0 of the data, which has 8 bytes");
}

#[test]
fn headers_that_are_no_header_are_refused() {
    let info = r#"{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}"#;
    let tensor = |from: &str, to: &str| {
        assert!(info.contains(from));
        reason(&with_header(&format!(r#"{{"kernel":{}}}"#, info.replacen(from, to, 1)), &[0; 8]))
    };
    for (reason, expected) in [
        (tensor("2,1", "-2,1"), "invalid value: integer `-2`, expected usize at line 1 column 36"),
        (tensor("2,1", "2.5,1"), "invalid type: floating point `2.5`, expected usize at line 1 column 37"),
        (tensor("2,1", "02,1"), "invalid number at line 1 column 36"),
        (tensor("2,1", "2,"), "trailing comma at line 1 column 37"),
        (
            tensor("2,1", "99999999999999999999"),
            "invalid type: floating point `1e+20`, expected usize at line 1 column 54",
        ),
        (tensor("[2,1]", "null"), "invalid type: null, expected at most 64 axes at line 1 column 37"),
        (tensor("[2,1]", &"[".repeat(100_000)), "invalid type: sequence, expected usize at line 1 column 34"),
        (
            tensor("[2,1]", &format!("[{}0]", "0,".repeat(64))),
            "invalid length 65, expected at most 64 axes at line 1 column 164",
        ),
        (tensor("[0,8]", "[0]"), "invalid length 1, expected an array of length 2 at line 1 column 57"),
        (tensor("[0,8]", "[0,8,8]"), "trailing characters at line 1 column 60"),
        (tensor("\"F32\"", "32"), "invalid type: integer `32`, expected a string at line 1 column 21"),
        (tensor("\"F32\",\"shape\"", "\"F32\",\"dtype\""), "duplicate field `dtype` at line 1 column 32"),
        (tensor("\"dtype\":\"F32\",", ""), "missing field `dtype` at line 1 column 46"),
        (tensor("\"shape\":[2,1],", ""), "missing field `shape` at line 1 column 46"),
        (tensor(",\"data_offsets\":[0,8]", ""), "missing field `data_offsets` at line 1 column 39"),
        (
            tensor("dtype", "type"),
            "unknown field `type`, expected one of `dtype`, `shape`, `data_offsets` at line 1 column 17",
        ),
        (tensor("8]}", "8]]"), "expected `,` or `}` at line 1 column 60"),
    ] {
        assert_eq!(reason, format!("its header cannot be read: tensor \"kernel\": {expected}"));
    }

    let text = |header: &str| {
        let reason = reason(&with_header(header, &[0; 8]));
        reason.strip_prefix("its header cannot be read: ").expect("the header is at fault").to_owned()
    };
    assert_eq!(text("[]"), "invalid type: sequence, expected tensors by name at line 1 column 0");
    assert_eq!(text(""), "EOF while parsing a value at line 1 column 0");
    assert_eq!(text("{} {}"), "trailing characters at line 1 column 4");
    assert_eq!(text("\u{0}"), "expected value at line 1 column 1");
    assert_eq!(
        text("{\"kern\nel"),
        "control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0"
    );
    assert_eq!(text("{\"kernel\\"), "EOF while parsing a string at line 1 column 9");
    assert_eq!(text(r#"{"\x":"#), "invalid escape at line 1 column 4");
    assert_eq!(text(&format!(r#"{{"k":{info},"k":{info}}}"#)), "\"k\" appears twice at line 1 column 111");
    assert_eq!(text(r#"{"__metadata__":{},"__metadata__":{}}"#), "\"__metadata__\" appears twice at line 1 column 37");
    assert_eq!(
        text(r#"{"__metadata__":{"a":"1","b":"2","\u0061":"3"}}"#),
        "__metadata__: \"a\" appears twice at line 1 column 46"
    );
    assert_eq!(
        text(r#"{"__metadata__":["a"]}"#),
        "invalid type: sequence, expected strings by name at line 1 column 16"
    );
    assert_eq!(text(r#"{"__metadata__":{"a":1}}"#), "invalid type: integer `1`, expected a string at line 1 column 22");
    // The message does not repeat a name as long as the file.
    let long = text(&format!(r#"{{"{}":0}}"#, "é".repeat(10_000)));
    assert!(long.starts_with(&format!("tensor \"{}\"…: invalid type: integer `0`", "é".repeat(100))), "{long}");

    let bytes = |len: u64, rest: &[u8]| reason(&[&len.to_le_bytes()[..], rest].concat());
    assert_eq!(bytes(u64::MAX, b"{}"), "its header must have 18446744073709551615 bytes, but has 2");
    assert_eq!(bytes(2, &[b'{', 0xff]), "its header cannot be read: key must be a string at line 1 column 2");
}

/// Messages show only a part of any text in a file, and no terminal control characters.
#[test]
fn no_message_is_as_long_as_the_file_or_commands_the_terminal() {
    let evil = "\\u001b[2J".repeat(500_000);
    let headers = [
        format!(r#"{{"{evil}":0}}"#),
        format!(r#"{{"{evil}":{{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}}}"#),
        format!(r#"{{"kernel":{{"dtype":"{evil}","shape":[2,1],"data_offsets":[0,8]}}}}"#),
        format!(r#"{{"kernel":{{"dtype":"F32","shape":"{evil}","data_offsets":[0,8]}}}}"#),
        format!(r#"{{"kernel":{{"{evil}":0}}}}"#),
        format!(r#"{{"kernel":"{evil}"}}"#),
        format!(r#"{{"__metadata__":{{"{evil}":0}}}}"#),
        format!(r#"{{"__metadata__":{{"{evil}":"","{evil}":""}}}}"#),
        format!(r#"{{"__metadata__":"{evil}"}}"#),
        // A valid file, but of other tensors than ours.
        format!(r#"{{"{evil}":{{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}}}"#),
        format!(
            r#"{{"kernel":{{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}},"bias":{{"dtype":"F32","shape":[1],"data_offsets":[8,12]}},"{evil}":{{"dtype":"F32","shape":[0],"data_offsets":[12,12]}}}}"#
        ),
    ];
    for (at, header) in headers.iter().enumerate() {
        let len = if at == headers.len() - 1 { 12 } else { 8 };
        let error = refused(&with_header(header, &vec![0; len]));
        for message in [error.to_string(), format!("{error:?}")] {
            assert!(message.len() < 20_000, "header {at}: {} bytes", message.len());
            assert!(!message.contains(char::is_control), "header {at}: {message}");
        }
    }
}

#[test]
fn names_may_have_any_character_and_headers_white_space() {
    let header = r#" { "a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀" : { "shape" : [ ] , "\u0064type" : "F\u00332" ,
        "data_offsets" : [ 0 , 4 ] } , "__metadata__" : { "\u0041\u0042" : "\uFFFFx" } }  "#;
    let bytes = with_header(header, &1.5_f32.to_le_bytes());
    let mut tensors = safetensors::read_tensors::<f32>(&bytes).unwrap();
    assert_eq!(tensors.take("a\"\\/\u{8}\u{c}\n\r\té😀é😀").unwrap(), ndarray::arr0(1.5).into_dyn());
    assert_eq!(safetensors::read_metadata(&bytes).unwrap()["AB"], "\u{ffff}x");
    for wrong in [r"\ud83d", r"\ud83dx", r"\ud83d\u0041", r"\ude00", r"\u12", r"\u+123", r"\u12é4", r"\é", r"\", r"\u"]
    {
        let error = reason(&with_header(&format!(r#"{{"{wrong}":"#), &[]));
        assert!(error.contains("its header cannot be read"), "{wrong}: {error}");
    }
}

#[test]
fn odd_files_that_are_files() {
    let max = usize::MAX;
    // The format allows it: an empty tensor whose other axis is larger than any memory.
    let empty = file(&[("kernel", "F32", &[0, max], &[]), ("bias", "F32", &[1], &[0; 4])]);
    assert!(matches!(refused(&empty), Error::TensorShape { .. }));
    let mut tensors = safetensors::read_tensors::<f32>(&empty).unwrap();
    assert!(matches!(tensors.take("kernel"), Err(Error::TensorShape { .. })));
    // A file without tensors is valid, but not ours.
    assert!(matches!(refused(&with_header("{}", &[])), Error::MissingWeight { .. }));
}
