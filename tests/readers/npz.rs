//! What NumPy wrote.

use crate::fixture;
use flate2::{Compression, write::DeflateEncoder};
use ndarray::{Array2, Array3, ArrayD, array};
use rnn_cell::Error;
use rnn_cell::weights::{npz, safetensors};
use std::io::Write;

#[test]
fn arrays_are_numpys() {
    let matrix = Array2::from_shape_fn((3, 4), |(row, column)| (4 * row + column) as f64 / 4.0);
    for file in ["arrays.npz", "compressed.npz"] {
        let bytes = fixture(file);
        let mut tensors = npz::read_tensors::<f64>(&bytes).unwrap();
        let mut take = |name: &str| tensors.take(name).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(take("matrix"), matrix.clone().into_dyn());
        assert_eq!(take("fortran"), matrix.clone().into_dyn());
        assert_eq!(take("transposed"), matrix.t().into_dyn());
        assert_eq!(take("scope/kernel:0"), matrix.clone().into_dyn());
        let cube = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (12 * i + 4 * j + k) as f64);
        assert_eq!(take("cube"), cube.into_dyn());
        assert_eq!(take("scalar"), ArrayD::from_elem(vec![], 1.5));
        assert_eq!(take("empty").shape(), [0, 3]);
        for (name, dtype) in [("big", ">f4"), ("words", "<U2")] {
            let error = tensors.take(name).unwrap_err();
            assert!(error.to_string().contains(dtype), "{error}");
        }
        // What was refused stays.
        assert!(tensors.names().eq(["big", "words"]));
    }
    let bytes = fixture("versions.npz");
    let mut tensors = npz::read_tensors::<f64>(&bytes).unwrap();
    for name in ["v1", "v2", "v3"] {
        assert_eq!(tensors.take(name).unwrap(), matrix.clone().into_dyn(), "{name}");
    }
}

#[test]
fn every_type_is_listed() {
    let bytes = fixture("types.npz");
    let mut tensors = npz::read_tensors::<f64>(&bytes).unwrap();
    for name in ["float64", "float32", "float16"] {
        assert_eq!(tensors.take(name).unwrap(), array![0.0, 1.0, 1.0].into_dyn(), "{name}");
    }
    let integers = ["bool", "int16", "int32", "int64", "int8", "uint16", "uint32", "uint64", "uint8"];
    assert_eq!(tensors.names().collect::<Vec<_>>(), integers);
    for (name, dtype) in integers.iter().zip(["BOOL", "I16", "I32", "I64", "I8", "U16", "U32", "U64", "U8"]) {
        assert_eq!(tensors.shape(name).unwrap(), [3]);
        let error = tensors.check(name, &[3]).unwrap_err();
        let Error::TensorDtype { found, .. } = &error else { panic!("{error}") };
        assert_eq!(found, dtype, "{name}");
    }
}

/// Reading fails with a message that contains `part`.
fn refused(bytes: &[u8], part: &str) {
    let error = npz::read_tensors::<f32>(bytes).err().unwrap_or_else(|| panic!("{part}: it was read"));
    assert!(matches!(error, Error::InvalidFile { format: "npz", .. }), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn mistakes_are_named() {
    refused(&fixture("structured.npz"), "\"points.npy\": its header");
    refused(&fixture("bomb.npz"), "its entries would become 10000128 bytes, but at most");
    refused(&fixture("gru.pt"), "\"gru/.data/serialization_id\": it is not an array");
    refused(b"", "the zip archive cannot be read");
    for (header, part) in [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "[3] of F32 does not take 8 bytes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "does not take 8 bytes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "does not describe a plain array"),
        ("{'descr': '<f4', 'shape': (2,), }", "does not describe a plain array"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (2,)}", "does not describe a plain array"),
    ] {
        refused(&zip(&[("a.npy", npy(header, &[0; 8]))]), part);
    }
    let fine = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    npz::read_tensors::<f32>(&zip(&[("a.npy", npy(fine, &[0; 8]))])).unwrap();
    let mut damaged = zip(&[("a.npy", npy(fine, &[0; 8]))]);
    let numbers = damaged.windows(2).position(|part| part == b"\n\0").unwrap() + 1;
    damaged[numbers] = 1;
    refused(&damaged, "\"a.npy\" is damaged");
    let mut version = npy(fine, &[0; 8]);
    version[6] = 4;
    refused(&zip(&[("a.npy", version)]), "its version must be 1, 2 or 3, but is 4");
}

/// An entry's checksum is that of all its bytes: hundreds of thousands of names for the same would take hours.
#[test]
fn entries_that_share_bytes_are_refused() {
    let fine = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    let one = zip(&[("a.npy", npy(fine, &[0; 8]))]);
    let (before, end) = one.split_at(one.len() - 22);
    let at = u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize;
    let mut again = before[at..].to_vec();
    // Where the name begins.
    again[46] = b'b';
    let mut end = end.to_vec();
    (end[8], end[10]) = (2, 2);
    end[12..16].copy_from_slice(&(2 * again.len() as u32).to_le_bytes());
    let shared = [before, &again, &end].concat();
    refused(&shared, "\"b.npy\" has bytes of another entry");
}

/// A `.npy` file, filled up to 128 bytes of header as NumPy did in 2019.
pub(crate) fn npy(header: &str, numbers: &[u8]) -> Vec<u8> {
    let header = format!("{header:117}\n");
    [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), numbers].concat()
}

/// A zip file as Python wrote it in 2019, of entries that are not compressed.
pub(crate) fn zip(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    archive(entries, 0, <[u8]>::to_vec)
}

/// The same, of entries that are.
pub(crate) fn deflated(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    archive(entries, 8, |bytes| {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    })
}

fn archive(entries: &[(&str, Vec<u8>)], method: u8, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let at = file.len() as u32;
        let packed = pack(bytes);
        // Version, flags, method, time, date; checksum, sizes; lengths of the name and of more fields.
        let [packed_len, len] = [packed.len(), bytes.len()].map(|len| (len as u32).to_le_bytes());
        let sizes = [crc32fast::hash(bytes).to_le_bytes(), packed_len, len].concat();
        let common = [b"\x14\0\0\0", &[method, 0, 0, 0, 0x21, 0][..], &sizes, &[name.len() as u8, 0, 0, 0]].concat();
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &packed].concat());
        let rest = [&[0; 8][..], b"\x80\x01", &at.to_le_bytes(), name.as_bytes()].concat();
        directory.extend([b"PK\x01\x02\x14\x03", &common[..], &rest].concat());
    }
    let count = [entries.len() as u8, 0, entries.len() as u8, 0];
    let [len, at] = [directory.len() as u32, file.len() as u32].map(u32::to_le_bytes);
    [&file[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &len, &at, &[0, 0]].concat()
}

/// The weights of `examples/g2p` are the original's. Its `.npz`, `checkpoint20.npz` of g2p-en 2.1.0, is put together from
/// them again: length and checksum are those of the file in the package.
#[test]
fn the_original_of_g2p() {
    let converted = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/g2p_en/weights.safetensors");
    let converted = std::fs::read(converted).unwrap();
    let mut converted = safetensors::read_tensors::<f32>(&converted).unwrap();
    let net = |name: &str| ["emb", "w_ih", "w_hh", "b_ih", "b_hh"].map(|part| format!("{name}_{part}"));
    let names = [&net("enc")[..], &net("dec"), &["fc_w".into(), "fc_b".into()]].concat();
    let entries: Vec<(String, Vec<u8>)> = names
        .iter()
        .map(|name| {
            let array = converted.clone().take(name).unwrap();
            let shape = format!("{:?}", array.shape());
            let shape = shape.trim_matches(['[', ']']);
            let comma = if array.ndim() == 1 { "," } else { "" };
            let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}{comma}), }}");
            let numbers: Vec<u8> = array.iter().flat_map(|number| number.to_le_bytes()).collect();
            (format!("{name}.npy"), npy(&header, &numbers))
        })
        .collect();
    let original = zip(&entries.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect::<Vec<_>>());
    assert_eq!((original.len(), crc32fast::hash(&original)), (3_342_298, 0x1b32_2d95));

    let mut tensors = npz::read_tensors::<f32>(&original).unwrap();
    assert_eq!(tensors.len(), converted.len());
    for name in &names {
        let [read, converted] = [&mut tensors, &mut converted].map(|t| t.take(name).unwrap().mapv(f32::to_bits));
        assert_eq!(read, converted, "{name}");
    }
}
