//! Checkpoints that TensorFlow wrote.

use crate::{check_close, fixture, path, run, take};
use ndarray::{Array1, Array2, ArrayD, array};
use rnn_cell::Error;
use rnn_cell::weights::tensorflow::{self, Checkpoint};
use rnn_cell::weights::{self, Format, Tensors, keras};
use std::path::PathBuf;

fn open(name: &str) -> Result<Checkpoint, Error> {
    Checkpoint::open(path(name))
}

#[test]
fn a_training_run_of_tensorflow_1() {
    for name in ["tf1.ckpt", "tf1.ckpt.index"] {
        let checkpoint = open(name).unwrap();
        let mut tensors = checkpoint.tensors::<f32>().unwrap();
        assert!(tensors.contains("global_step") && tensors.contains("rnn/lstm_cell/kernel/Adam_1"));
        tensorflow::drop_training_variables(&mut tensors);
        let (x, outputs) = (take(&mut tensors, "x"), take(&mut tensors, "outputs"));
        let cell = tensorflow::lstm(&mut tensors, "rnn/lstm_cell/", &Default::default()).unwrap();
        check_close(name, &run(&cell, &x), &outputs);
        tensors.finish().unwrap();
    }
}

/// The index that tells the format is the one that is read, whatever its name.
#[test]
fn one_door_reads_an_index_once() {
    let names =
        |file: &weights::File| -> Vec<String> { file.tensors::<f32>().unwrap().names().map(String::from).collect() };
    let file = weights::open(path("tf1.ckpt.index")).unwrap();
    assert_eq!(file.format(), Format::TensorFlow);
    let found = names(&file);
    assert!(found.contains(&"rnn/lstm_cell/kernel".into()));
    let renamed = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("renamed");
    std::fs::write(&renamed, fixture("tf1.ckpt.index")).unwrap();
    std::fs::write(renamed.with_file_name("renamed.data-00000-of-00001"), fixture("tf1.ckpt.data-00000-of-00001"))
        .unwrap();
    assert_eq!(names(&weights::open(&renamed).unwrap()), found);
}

/// The names that TensorFlow's `checkpoint_convert.py` replaced in 1.2.
#[test]
fn names_before_tensorflow_1_2() {
    let checkpoint = open("tf1.ckpt").unwrap();
    let mut tensors = checkpoint.tensors::<f32>().unwrap();
    tensors.rename("rnn/lstm_cell/kernel", "rnn/lstm_cell/weights").unwrap();
    tensors.rename("rnn/lstm_cell/bias", "rnn/lstm_cell/biases").unwrap();
    let (x, outputs) = (take(&mut tensors, "x"), take(&mut tensors, "outputs"));
    let cell = tensorflow::lstm(&mut tensors, "rnn/lstm_cell/", &Default::default()).unwrap();
    check_close("1.1", &run(&cell, &x), &outputs);
    let mut tensors = Tensors::<f32>::new();
    for (part, columns) in [("gates", 4), ("candidate", 2)] {
        tensors.insert(format!("gru_cell/{part}/weights"), Array2::ones((5, columns)));
        tensors.insert(format!("gru_cell/{part}/biases"), Array1::ones(columns));
    }
    tensorflow::gru(&mut tensors, "gru_cell/", &Default::default()).unwrap();
    tensors.insert("basic_rnn_cell/weights", Array2::ones((5, 2)));
    tensors.insert("basic_rnn_cell/biases", Array1::ones(2));
    tensorflow::basic_rnn(&mut tensors, "basic_rnn_cell/", &Default::default()).unwrap();
    assert!(tensors.is_empty());
}

#[test]
fn objects_of_tensorflow_2() {
    let checkpoint = open("tf2").unwrap();
    let mut tensors = checkpoint.tensors::<f32>().unwrap();
    assert!(tensors.contains("model/optimizer/_iterations"));
    tensorflow::drop_training_variables(&mut tensors);
    let (x, outputs) = (take(&mut tensors, "x"), take(&mut tensors, "outputs"));
    let cell = keras::gru(&mut tensors, "model/layer_with_weights-0/cell/", &keras::Options::default()).unwrap();
    check_close("tf2", &run(&cell, &x), &outputs);
    tensors.finish().unwrap();
}

#[test]
fn slots_of_tensorflow_2_are_dropped() {
    let mut tensors = Tensors::<f32>::new();
    for name in ["cell/kernel", "cell/kernel/.OPTIMIZER_SLOT/optimizer/m", "save_counter", "optimizer_scale"] {
        tensors.insert(name, array![1.0]);
    }
    tensorflow::drop_training_variables(&mut tensors);
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["cell/kernel", "optimizer_scale"]);
}

#[test]
fn every_type_and_two_data_files() {
    let checkpoint = open("tf_types").unwrap();
    let mut tensors = checkpoint.tensors::<f64>().unwrap();
    for name in ["float64", "float32", "float16", "bfloat16"] {
        assert_eq!(tensors.take(name).unwrap(), array![0.0, 1.0, 1.0].into_dyn(), "{name}");
    }
    assert_eq!(tensors.take("scalar").unwrap(), ArrayD::from_elem(vec![], 1.5));
    assert_eq!(tensors.take("empty").unwrap().shape(), [0, 3]);
    let integers = ["bool", "int16", "int32", "int64", "int8", "uint16", "uint32", "uint64", "uint8"];
    assert_eq!(tensors.names().collect::<Vec<_>>(), integers);
    for (name, dtype) in integers.iter().zip(["BOOL", "I16", "I32", "I64", "I8", "U16", "U32", "U64", "U8"]) {
        let error = tensors.check(name, &[3]).unwrap_err();
        let Error::TensorDtype { found, .. } = &error else { panic!("{error}") };
        assert_eq!(found, dtype, "{name}");
    }
}

/// Reading fails with a message that contains `part`.
fn refused(index: &[u8], shards: &[&[u8]], part: &str) {
    let error = tensorflow::read_checkpoint::<f32>(index, shards).expect_err(part);
    assert!(matches!(error, Error::InvalidFile { format: "TensorFlow checkpoint", .. }), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn mistakes_are_named() {
    let index = fixture("tf1.ckpt.index");
    let data = fixture("tf1.ckpt.data-00000-of-00001");
    refused(&index, &[], "it must have 1 data files, but has 0");
    refused(&index, &[&data[..400]], "are not in data file 0, of 400 bytes");
    refused(b"", &[], "it does not end as a table");
    refused(&data, &[&data], "it does not end as a table");
    let mut damaged = data.clone();
    damaged[300] ^= 1;
    refused(&index, &[&damaged], "it is damaged: its checksum must be");
    let mut damaged = index.clone();
    damaged[30] ^= 1;
    refused(&damaged, &[&data], "the block at byte 0 is damaged");
    refused(&fixture("tf_partitioned.index"), &[&fixture("tf_partitioned.data-00000-of-00001")], "it is partitioned");
    refused(&fixture("tf_v1.index"), &[b""], "the format since TensorFlow 0.12");
    assert!(matches!(open("absent"), Err(Error::Io { .. })));
    assert!(matches!(open("tf_v1"), Err(Error::InvalidFile { .. })));
}

/// A block with its compression and checksum, as at the end of a table's blocks.
fn sealed(block: &[u8], compression: u8) -> Vec<u8> {
    let block = [block, &[compression]].concat();
    let checksum = crc32c::crc32c(&block).rotate_right(15).wrapping_add(0xa282_ead8);
    [&block[..], &checksum.to_le_bytes()].concat()
}

fn entry(shared: u8, own: &[u8], value: &[u8]) -> Vec<u8> {
    [&[shared, own.len() as u8, value.len() as u8], own, value].concat()
}

/// A table of blocks of these entries.
fn table(blocks: &[(Vec<u8>, u8)]) -> Vec<u8> {
    // One restart point, at 0.
    let restarts = [0, 0, 0, 0, 1, 0, 0, 0];
    let mut file = Vec::new();
    let mut list = Vec::new();
    let handle = |at: usize, len: usize| -> Vec<u8> {
        let varint =
            |number: usize| [(number & 0x7f) as u8 | 0x80, (number >> 7 & 0x7f) as u8 | 0x80, (number >> 14) as u8];
        [varint(at), varint(len)].concat()
    };
    for (number, (block, compression)) in blocks.iter().enumerate() {
        let block = [&block[..], &restarts].concat();
        list.extend(entry(0, &[number as u8 + 1], &handle(file.len(), block.len())));
        file.extend(sealed(&block, *compression));
    }
    let list = [&list[..], &restarts].concat();
    let mut footer = [handle(0, 0), handle(file.len(), list.len())].concat();
    file.extend(sealed(&list, 0));
    footer.resize(40, 0);
    [file, footer, 0xdb47_7524_8b80_fb57_u64.to_le_bytes().to_vec()].concat()
}

#[test]
fn tables_written_by_hand() {
    let header = entry(0, b"", &[8, 1]);
    // A scalar float: type 1, size 4, its checksum.
    let checksum = crc32c::crc32c(&1.5_f32.to_le_bytes()).rotate_right(15).wrapping_add(0xa282_ead8);
    let scalar = [&[8, 1, 40, 4, 53][..], &checksum.to_le_bytes()].concat();
    let data = 1.5_f32.to_le_bytes();
    let read = |blocks: &[(Vec<u8>, u8)]| {
        let index = table(blocks);
        let tensors = tensorflow::read_checkpoint::<f32>(&index, &[&data]).unwrap();
        tensors.names().map(String::from).collect::<Vec<_>>()
    };
    let ab = [header.clone(), entry(0, b"a", &scalar), entry(1, b"b", &scalar)].concat();
    assert_eq!(read(&[(ab.clone(), 0)]), ["a", "ab"]);
    assert_eq!(read(&[(ab.clone(), 0), (entry(0, b"c", &scalar), 0)]), ["a", "ab", "c"]);
    refused(&table(&[(ab.clone(), 1)]), &[&data], "compressed by snappy");
    refused(&table(&[(ab.clone(), 9)]), &[&data], "unknown way Some(9)");
    refused(&table(&[(ab.clone(), 0), (entry(0, b"a", &scalar), 0)]), &[&data], "its keys are not in order");
    refused(&table(&[(entry(0, b"a", &scalar), 0)]), &[&data], "its index has no header");
    refused(&table(&[(entry(0, b"", &[8, 1, 16, 1]), 0)]), &[&data], "big-endian");
    refused(&table(&[(entry(0, b"", &[8, 0]), 0)]), &[&data], "from 1 to 99999 data files, but claims 0");
    refused(
        &table(&[([header.clone(), entry(7, b"a", &scalar)].concat(), 0)]),
        &[&data],
        "shares 7 bytes with one of 0",
    );
    let attribute = b"a/.ATTRIBUTES/VARIABLE_VALUE";
    let twice = [header.clone(), entry(0, b"a", &scalar), entry(0, attribute, &scalar)].concat();
    refused(&table(&[(twice, 0)]), &[&data], "two variables are named \"a\"");
    // Names of 131 bytes, of which each takes seven in the table.
    let mut bomb = [header, entry(0, &[b'x'; 127], &scalar)].concat();
    (0..5000).for_each(|number| bomb.extend(entry(127, format!("{number:04}").as_bytes(), b"")));
    refused(&table(&[(bomb, 0)]), &[&data], "its keys are too long");
}
