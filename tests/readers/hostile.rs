//! Files that are cut off or damaged: errors, never a panic, and no more memory than a small multiple of the file.

use crate::allocator::measured;
use crate::fixture;
use crate::npz::{deflated, zip};
use ndarray::Array2;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::Error;
use rnn_cell::weights::{self, Tensors, keras, npz, pytorch, tensorflow};

/// Bytes in use for one of the file.
const PEAK_FACTOR: usize = 80;
/// Whatever the file: names, messages, nodes of trees.
const FIXED: usize = 64 << 10;
/// What a small file may hold compressed, and the same as f64 from f16.
const INFLATED: usize = 5 << 20;

/// Reads a file and takes all of its tensors.
type Reader = fn(&[u8]) -> Result<(), Error>;

fn take_all(mut tensors: Tensors<'_, f64>) -> Result<(), Error> {
    let names: Vec<String> = tensors.names().map(String::from).collect();
    names.iter().for_each(|name| drop(tensors.take(name)));
    Ok(())
}

fn read_pytorch(bytes: &[u8]) -> Result<(), Error> {
    take_all(pytorch::read_tensors(bytes)?)
}

fn read_npz(bytes: &[u8]) -> Result<(), Error> {
    take_all(npz::read_tensors(bytes)?)
}

fn read_keras(bytes: &[u8]) -> Result<(), Error> {
    let model = keras::read_model(bytes)?;
    model.layers.iter().for_each(|layer| drop(layer.options()));
    take_all(model.tensors)
}

/// A list with its shards.
fn read_list(bytes: &[u8]) -> Result<(), Error> {
    let names = [0, 1, 2].map(|shard| format!("keras3_shards_0000{shard}.weights.h5"));
    let files = names.each_ref().map(|name| fixture(name));
    let shards: Vec<(&str, &[u8])> = names.iter().zip(&files).map(|(name, file)| (&**name, &**file)).collect();
    take_all(keras::read_shards(bytes, &shards)?)
}

/// A shard with the others and their list.
fn read_shard(bytes: &[u8]) -> Result<(), Error> {
    let [first, second, third] = [0, 1, 2].map(|shard| format!("keras3_shards_0000{shard}.weights.h5"));
    let (list, one, three) = (fixture("keras3_shards.weights.json"), fixture(&first), fixture(&third));
    take_all(keras::read_shards(&list, &[(&first, &one), (&second, bytes), (&third, &three)])?)
}

/// An index with the data file of the same checkpoint.
fn read_index(bytes: &[u8]) -> Result<(), Error> {
    take_all(tensorflow::read_checkpoint(bytes, &[&fixture("tf1.ckpt.data-00000-of-00001")])?)
}

/// A data file with its index.
fn read_data(bytes: &[u8]) -> Result<(), Error> {
    take_all(tensorflow::read_checkpoint(&fixture("tf1.ckpt.index"), &[bytes])?)
}

/// Reads within the bounds.
fn bounded(what: &str, reader: Reader, bytes: &[u8]) -> Result<(), Error> {
    let (result, _, peak) = measured(|| reader(bytes));
    let most = PEAK_FACTOR * bytes.len() + if what.contains("compressed") { INFLATED } else { FIXED };
    assert!(peak <= most, "{what}: {peak} bytes in use for a file of {}, but {most} are enough", bytes.len());
    result
}

/// Every beginning of a file is an error, and what a few flipped bytes make of it is no panic.
fn torture(name: &str, reader: Reader) {
    let bytes = fixture(name);
    bounded(name, reader, &bytes).unwrap();
    for len in 0..bytes.len() {
        assert!(bounded(name, reader, &bytes[..len]).is_err(), "{name}: {len} of {} bytes are enough", bytes.len());
    }
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    for round in 0..3000 {
        let mut bytes = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = match rng.random_range(0..3) {
                0 => bytes[at] ^ (1 << rng.random_range(0..8)),
                1 => [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
                _ => rng.random(),
            };
        }
        let _ = bounded(&format!("{name}, round {round}"), reader, &bytes);
    }
}

#[test]
fn pytorch_files() {
    for name in
        ["gru.pt", "gru_legacy.pt", "views.pt", "views_legacy.pt", "types_legacy.pt", "protocol4.pt", "compressed.pt"]
    {
        torture(name, read_pytorch);
    }
}

#[test]
fn npz_files() {
    for name in ["arrays.npz", "compressed.npz", "versions.npz"] {
        torture(name, read_npz);
    }
}

#[test]
fn keras_files() {
    for name in
        ["keras2.weights.h5", "keras2_small.keras", "keras3_hard.keras", "keras2_cudnn.h5", "compressed.weights.h5"]
    {
        torture(name, read_keras);
    }
    torture("keras3_compressed.keras", read_keras);
    torture("keras3_shards.weights.json", read_list);
    torture("keras3_shards_00001.weights.h5", read_shard);
}

#[test]
fn checkpoints() {
    torture("tf1.ckpt.index", read_index);
    torture("tf1.ckpt.data-00000-of-00001", read_data);
}

/// A chunk of 10 MB for a dataset of 40 bytes.
#[test]
fn hdf5_chunks_take_bounded_memory() {
    assert!(bounded("a chunk", read_keras, &fixture("chunk.weights.h5")).is_err());
}

/// Configurations that say the same a hundred thousand times.
#[test]
fn keras_configurations_take_bounded_memory() {
    // The first objects are as many as are allowed.
    let mixed = "{\"a\":0},0,0,0,0,";
    for again in [mixed, "0,", "[],", "{},", "\"\",", "{\"a\":0},", "[", "{\"a\":"] {
        let text = format!("[{}0]", again.repeat((1 << 18) / again.len()));
        let metadata = br#"{"keras_version":"3.0.0"}"#.to_vec();
        let entries = [("config.json", text.into_bytes()), ("metadata.json", metadata)];
        assert!(bounded(again, read_keras, &zip(&entries)).is_err());
        let error = bounded(&format!("compressed {again}"), read_keras, &deflated(&entries)).unwrap_err();
        assert!(error.to_string().contains("bytes, but at most 65536 are read"), "{error}");
    }
    let nested = format!("{}{}", MODEL.repeat(30), "]}}".repeat(30));
    let listed = format!("{MODEL}{}0]}}}}", LSTM.repeat(5000));
    for config in [nested, listed] {
        bounded("layers", read_keras, &keras_file(config)).unwrap();
    }
}

const MODEL: &str = r#"{"class_name":"Sequential","config":{"name":"a","layers":["#;
const LSTM: &str = r#"{"class_name":"LSTM","config":{"name":"lstm"}},"#;

/// A `.keras` file with this configuration.
fn keras_file(config: String) -> Vec<u8> {
    zip(&[
        ("config.json", config.into_bytes()),
        ("metadata.json", br#"{"keras_version":"3.0.0"}"#.to_vec()),
        ("model.weights.h5", fixture("keras2.weights.h5")),
    ])
}

/// Each direction of a `Bidirectional` is listed: 2^40 of them would be.
#[test]
fn nested_directions_are_refused() {
    let both = r#"{"class_name":"Bidirectional","config":{"name":"b","layer":"#;
    let config = format!("{MODEL}{}{LSTM}0]}}}}", both.repeat(40)).replace(",0]", &format!("{}]", "}}".repeat(40)));
    let error = bounded("directions", read_keras, &keras_file(config)).unwrap_err();
    assert!(error.to_string().contains("a Bidirectional is in another"), "{error}");
}

/// A name of 131072 letters around thousands of layers, and as many letters for how two directions are joined.
#[test]
fn long_names_around_layers_take_bounded_memory() {
    let long = "a".repeat(1 << 17);
    let listed = format!("{MODEL}{}0]}}}}", LSTM.repeat(3000));
    let named = format!("{MODEL}{}]}}}}", listed.replacen("\"a\"", &format!("\"{long}\""), 1));
    let error = bounded("names", read_keras, &keras_file(named)).unwrap_err();
    assert!(error.to_string().contains("the names around its layers are too long"), "{error}");
    let in_cells = format!(
        r#"{MODEL}{{"class_name":"RNN","config":{{"name":"{long}","cell":{{"config":{{"cells":[{}0]}}}}}}}}]}}}}"#,
        LSTM.repeat(3000)
    );
    assert!(bounded("cells", read_keras, &keras_file(in_cells)).is_err());
    let joined = format!(
        r#"{MODEL}{{"class_name":"Bidirectional","config":{{"name":"b","merge_mode":"{long}","layer":{listed}}}}}]}}}}"#
    );
    let error = bounded("merge modes", read_keras, &keras_file(joined)).unwrap_err();
    assert!(error.to_string().contains("a Bidirectional's merge_mode is \"aaa"), "{error}");
}

/// Old files whose pickle is a million times the same operation.
#[test]
fn pytorch_pickles_take_bounded_memory() {
    let whole = fixture("gru_legacy.pt");
    let at = whole.windows(14).position(|part| part == b"\x80\x02ccollections").unwrap();
    // Lists of a pair and of a number, which calls must not copy again and again.
    let copied = |class: &str, item: &str, kept: &[u8]| {
        [format!("c{class}\nq\0").as_bytes(), kept, b"]q\x02(", &item.as_bytes().repeat(60_000), b"e0"].concat()
    };
    let pairs = copied("collections\nOrderedDict", "h\x01", b"NN\x86q\x010");
    let axes = copied("torch._utils\n_rebuild_tensor", "K\x01", b"");
    let sizes = b"K\x01".repeat(64);
    let most_axes =
        [b"ctorch._utils\n_rebuild_tensor\nq\x00](", &sizes[..], b"eq\x010(h\x01K\0h\x01h\x01tq\x02"].concat();
    let parts: &[(&[u8], &[u8])] = &[
        (&pairs, b"h\x00h\x02\x85R0"),
        (&axes, b"h\x00(h\x02K\0h\x02h\x02tR0"),
        (&most_axes, b"h\x00h\x02R0"),
        (b"", b"N"),
        (b"", b"}"),
        (b"", b"}0"),
        (b"", b"]"),
        (b"", b")"),
        (b"", b"("),
        (b"N", b"\x85"),
        (b"N", b"\x94"),
        (b"]q\x00", b"h\x00a"),
        (b"}q\x00", b"NNs"),
        (b"}q\x00", b"h\x00h\x00s"),
        (b"", b"r\xff\xff\xff\x00"),
        (b"N", b"r\xff\xff\x07\x00"),
        (b"", b"X\xff\xff\xff\xff"),
        // Each tuple must not keep the stack's memory.
        (b"(NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN1", b"N\x850"),
    ];
    for (first, again) in parts {
        let bytes = [&whole[..at], first, &again.repeat((1 << 18) / again.len())].concat();
        assert!(bounded(&format!("{again:02x?}"), read_pytorch, &bytes).is_err());
    }
}

/// A whole file before PyTorch 1.6, without records.
fn legacy(machine: &[u8], contents: &[u8]) -> Vec<u8> {
    let whole = fixture("gru_legacy.pt");
    let at = whole.windows(3).position(|part| part == b"\x80\x02}").unwrap();
    [&whole[..at], machine, contents, b"\x80\x02]."].concat()
}

/// A key of two million letters, kept once and used by each of many items.
#[test]
fn long_keys_are_not_read_again_and_again() {
    let key = "a".repeat(1 << 21);
    let items = |value: &[u8]| {
        let items = [b"h\x01", value].concat().repeat(600_000);
        [b"\x80\x02}X\0\0\x20\0", key.as_bytes(), b"q\x010(", &items, b"u"].concat()
    };
    let little = b"X\x0d\0\0\0little_endian\x88s.";
    let machine = [b"\x80\x02}", &little[..]].concat();
    let contents = [items(b"N"), b".".to_vec()].concat();
    bounded("keys of nothing", read_pytorch, &legacy(&machine, &contents)).unwrap();
    let facts = [items(b"N"), little.to_vec()].concat();
    bounded("facts", read_pytorch, &legacy(&facts, b"\x80\x02}.")).unwrap();
    let contents = [items(b"}"), b".".to_vec()].concat();
    let error = bounded("keys of dictionaries", read_pytorch, &legacy(&machine, &contents)).unwrap_err();
    assert!(error.to_string().contains("its names are too long"), "{error}");
}

/// One tensor of few or many axes, which a list has a hundred thousand times.
#[test]
fn a_tensor_in_many_places_takes_bounded_memory() {
    let whole = fixture("gru_legacy.pt");
    let at = whole.windows(14).position(|part| part == b"\x80\x02ccollections").unwrap();
    let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0kX\x03\0\0\0cpuK\x01tQ";
    let file = |axes: usize, places: usize| {
        let axes = b"K\x01".repeat(axes);
        let tensor = [&b"ctorch._utils\n_rebuild_tensor\n("[..], storage, b"K\0(", &axes, b"t(", &axes, b"ttRq\0"];
        let list = [b"\x80\x02](", &tensor.concat()[..], &b"h\0".repeat(places), b"e."].concat();
        [&whole[..at], &list, b"\x80\x02]X\x01\0\0\0ka.\x01\0\0\0\0\0\0\0", &1_f32.to_le_bytes()].concat()
    };
    for axes in [0, 1, 2, 64] {
        bounded("a tensor", read_pytorch, &file(axes, 1)).unwrap();
        assert!(bounded("the same tensor", read_pytorch, &file(axes, 100_000)).is_err());
    }
}

/// Each layer's other tensors are looked for.
#[test]
fn names_that_are_not_there_are_looked_up_quickly() {
    let mut tensors = Tensors::<f32>::new();
    for index in 0..100_000 {
        tensors.insert(format!("a{index}.weight_ih_l0"), Array2::zeros((4, 1)));
    }
    assert!(weights::layers(&tensors).is_empty());
}
