//! What `torch.save` wrote, in the zip form and the old one.

use crate::{check_close, fixture, run, take};
use ndarray::{Array2, ArrayD, array, s};
use rnn_cell::weights::{Tensors, pytorch};
use rnn_cell::{Error, stack_bidirectional_dynamic_rnn};

/// Both forms of a file.
fn both_forms(name: &str, check: impl Fn(&str, &mut Tensors<'_, f32>)) {
    for form in ["", "_legacy"] {
        let bytes = fixture(&format!("{name}{form}.pt"));
        check(form, &mut pytorch::read_tensors(&bytes).unwrap());
    }
}

#[test]
fn checkpoints_run_as_in_pytorch() {
    both_forms("lstm", |form, t| {
        let (x, outputs) = (take(t, "x"), take(t, "outputs"));
        let lstm = pytorch::bidirectional_lstm(t, "model.").unwrap();
        let (found, ..) = stack_bidirectional_dynamic_rnn(&lstm.fw, &lstm.bw, &x, None, None, None).unwrap();
        check_close(form, &found, &outputs);
        assert!(t.is_empty());
    });
    both_forms("data_parallel", |form, t| {
        let (x, outputs) = (take(t, "x"), take(t, "outputs"));
        assert!(t.contains("model.module.weight_ih_l0"));
        pytorch::drop_data_parallel(t, "model.");
        check_close(form, &run(&pytorch::gru(t, "model.").unwrap(), &x), &outputs);
        assert!(t.is_empty());
    });
}

#[test]
fn weight_norm_is_multiplied_out() {
    both_forms("weight_norm", |form, t| {
        let (x, outputs) = (take(t, "x"), take(t, "outputs"));
        assert!(t.contains("model.weight_ih_l0_g") && t.contains("model.weight_hh_l0_v"));
        pytorch::fold_weight_norm(t).unwrap();
        check_close(form, &run(&pytorch::lstm(t, "model.").unwrap(), &x), &outputs);
        assert!(t.is_empty());
    });
    both_forms("parametrizations", |form, t| {
        let (x, outputs) = (take(t, "x"), take(t, "outputs"));
        assert_eq!(t.shape("model.parametrizations.weight_hh_l0.original0").unwrap(), [1, 2]);
        pytorch::fold_weight_norm(t).unwrap();
        check_close(form, &run(&pytorch::gru(t, "model.").unwrap(), &x), &outputs);
        assert!(t.is_empty());
    });
}

#[test]
fn weight_norm_that_does_not_fit_is_an_error() {
    let tensors = |g: ArrayD<f32>| {
        let mut tensors = Tensors::new();
        tensors.insert("w_g", g);
        tensors.insert("w_v", array![[1.0, 1.0], [1.0, 2.0], [3.0, 3.0]]);
        tensors
    };
    let mut bad = tensors(ArrayD::ones(vec![2, 1]));
    let error = pytorch::fold_weight_norm(&mut bad).unwrap_err();
    assert!(matches!(error, Error::TensorShape { .. }), "{error}");
    let mut whole = tensors(ArrayD::from_elem(vec![], 10.0));
    pytorch::fold_weight_norm(&mut whole).unwrap();
    assert_eq!(whole.take_matrix("w", (3, 2)).unwrap(), array![[2.0, 2.0], [2.0, 4.0], [6.0, 6.0]]);
    let mut taken = tensors(ArrayD::ones(vec![3, 1]));
    taken.insert("w", Array2::zeros((3, 2)));
    let error = pytorch::fold_weight_norm(&mut taken).unwrap_err();
    assert!(matches!(error, Error::UnexpectedWeight { .. }), "{error}");
    // A name that only looks like one of them.
    let mut alone = Tensors::<f32>::new();
    alone.insert("embedding_g", array![1.0]);
    alone.insert("xparametrizations.w.original0", array![1.0]);
    alone.insert("xparametrizations.w.original1", array![1.0]);
    pytorch::fold_weight_norm(&mut alone).unwrap();
    assert_eq!(alone.len(), 3);
}

#[test]
fn data_parallel_needs_every_name() {
    let mut tensors = Tensors::<f32>::new();
    tensors.insert("module.w", array![1.0]);
    tensors.insert("w", array![2.0]);
    pytorch::drop_data_parallel(&mut tensors, "");
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["module.w", "w"]);
}

#[test]
fn state_dicts_have_their_own_names() {
    both_forms("gru", |_, t| {
        let names = ["bias_hh_l0", "bias_ih_l0", "weight_hh_l0", "weight_ih_l0"];
        assert_eq!(t.names().collect::<Vec<_>>(), names);
    });
    let (zip, protocol4) = (fixture("gru.pt"), fixture("protocol4.pt"));
    let [mut zip, mut protocol4] = [&zip, &protocol4].map(|bytes| pytorch::read_tensors::<f32>(bytes).unwrap());
    assert_eq!(protocol4.take("weight_hh_l0"), zip.take("weight_hh_l0"));
}

#[test]
fn one_of_several_state_dicts() {
    both_forms("optimizer", |_, t| {
        let names = [
            "model.bias",
            "model.weight",
            "optimizer.state.0.exp_avg",
            "optimizer.state.0.exp_avg_sq",
            "optimizer.state.0.step",
            "optimizer.state.1.exp_avg",
            "optimizer.state.1.exp_avg_sq",
            "optimizer.state.1.step",
            "step",
        ];
        assert_eq!(t.names().collect::<Vec<_>>(), names);
        assert_eq!(t.take("optimizer.state.1.step").unwrap().into_raw_vec_and_offset().0, [1.0]);
    });
    let bytes = fixture("optimizer.pt");
    let tensors = pytorch::read_state_dict::<f32>(&bytes, "model").unwrap();
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["bias", "weight"]);
    let tensors = pytorch::read_state_dict::<f32>(&bytes, "optimizer.state.0").unwrap();
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["exp_avg", "exp_avg_sq", "step"]);
    let error = pytorch::read_state_dict::<f32>(&bytes, "mod").unwrap_err();
    assert!(
        error.to_string().starts_with("weight \"mod.…\" is missing: the file's tensors are \"model.bias\""),
        "{error}"
    );
}

#[test]
fn views_are_read_with_their_strides() {
    let base = Array2::from_shape_fn((4, 6), |(row, column)| (6 * row + column) as f32);
    both_forms("views", |_, t| {
        let mut take = |name: &str| t.take(name).unwrap();
        assert_eq!(take("base"), base.clone().into_dyn());
        assert_eq!(take("tied"), base.clone().into_dyn());
        assert_eq!(take("transposed"), base.t().into_dyn());
        assert_eq!(take("sliced"), base.slice(s![1..3, 2..5]).into_dyn());
        assert_eq!(take("stepped"), base.slice(s![..;2, ..;3]).into_dyn());
        assert_eq!(take("parameter"), base.row(0).into_dyn());
        assert_eq!(take("empty").shape(), [0, 3]);
        assert_eq!(take("scalar").into_raw_vec_and_offset().0, [15.0]);
    });
    for form in ["", "_legacy"] {
        let bytes = fixture(&format!("views{form}.pt"));
        let permuted = pytorch::read_tensors::<f64>(&bytes).unwrap().take("permuted").unwrap();
        let expected = ndarray::Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (12 * i + 4 * j + k) as f64);
        assert_eq!(permuted, expected.permuted_axes([2, 0, 1]).into_dyn());
    }
}

#[test]
fn every_type_is_listed() {
    for form in ["", "_legacy"] {
        let bytes = fixture(&format!("types{form}.pt"));
        let mut tensors = pytorch::read_tensors::<f64>(&bytes).unwrap();
        assert_eq!(tensors.len(), 13);
        let expected = array![0.0, 1.0, 1.0, 0.0, 1.0].into_dyn();
        for name in ["float64", "float32", "float16", "bfloat16"] {
            assert_eq!(tensors.take(name).unwrap(), expected, "{name}");
        }
        for (name, dtype) in [
            ("int64", "I64"),
            ("int32", "I32"),
            ("int16", "I16"),
            ("int8", "I8"),
            ("uint8", "U8"),
            ("bool", "BOOL"),
            ("uint16", "U16"),
            ("uint32", "U32"),
            ("uint64", "U64"),
        ] {
            assert_eq!(tensors.shape(name).unwrap(), [5]);
            let error = tensors.check(name, &[5]).unwrap_err();
            let Error::TensorDtype { found, .. } = &error else { panic!("{error}") };
            assert_eq!(found, dtype, "{name}");
        }
    }
}

/// Reading fails with a message that contains `part`.
pub(crate) fn refused(bytes: &[u8], part: &str) {
    let error = pytorch::read_tensors::<f32>(bytes).err().unwrap_or_else(|| panic!("{part}: it was read"));
    assert!(matches!(error, Error::InvalidFile { format: "PyTorch", .. }), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn what_is_not_data_is_refused_by_name() {
    refused(&fixture("module.pt"), "\"torch.nn.modules.linear.Linear\" is not a class that tensors need");
    refused(&fixture("sparse.pt"), "torch._utils._rebuild_sparse_tensor\" is not a class");
    refused(&fixture("expanded.pt"), "does not fit in a storage of 1 numbers");
    refused(b"", "not one of torch.save");
    refused(b"PK\x05\x06", "the zip archive cannot be read");
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    refused(&tar, "tar files");
}

/// An old file around this pickle, with a record of four floats if it has that storage.
fn old(pickle: &[u8]) -> Vec<u8> {
    let whole = fixture("gru_legacy.pt");
    // After the three pickles that say what the file is.
    let at = whole.windows(14).position(|part| part == b"\x80\x02ccollections").unwrap();
    let records = b"\x80\x02]X\x01\x00\x00\x00ka.\x04\x00\x00\x00\x00\x00\x00\x00";
    let numbers = [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let storage = STORAGE.as_bytes();
    if pickle.windows(storage.len()).any(|part| part == storage) {
        [&whole[..at], b"\x80\x02", pickle, records, &numbers].concat()
    } else {
        [&whole[..at], b"\x80\x02", pickle, b"\x80\x02]."].concat()
    }
}

/// A pickle of storage `k` with four floats.
pub(crate) const STORAGE: &str = "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0kX\x03\0\0\0cpuK\x04NtQ";

fn tensor(offset: &str, shape: &str, strides: &str) -> Vec<u8> {
    format!("ctorch._utils\n_rebuild_tensor_v2\n({STORAGE}{offset}{shape}{strides}NNtR").into_bytes()
}

#[test]
fn pickles_written_by_hand() {
    let read = |pickle: &[u8]| -> Vec<(String, ArrayD<f32>)> {
        let bytes = old(pickle);
        let mut tensors = pytorch::read_tensors::<f32>(&bytes).unwrap();
        let names: Vec<String> = tensors.names().map(String::from).collect();
        names.into_iter().map(|name| (name.clone(), tensors.take(&name).unwrap())).collect()
    };
    let matrix = array![[1.0, 2.0], [3.0, 4.0]].into_dyn();
    let whole = tensor("K\0", "K\x02K\x02\u{86}", "K\x02K\x01\u{86}");
    // `\u{86}` is two bytes of UTF-8 but one operation.
    let bytes = |pickle: Vec<u8>| pickle.iter().copied().filter(|&byte| byte != 0xc2).collect::<Vec<u8>>();
    let whole = bytes(whole);
    assert_eq!(read(&[&whole[..], b"."].concat()), [("tensor".into(), matrix.clone())]);
    let in_list = [b"]", &whole[..], b"a."].concat();
    assert_eq!(read(&in_list), [("0".into(), matrix.clone())]);
    // A diagonal: the same stride twice.
    let diagonal = bytes(tensor("K\0", "K\x02\u{85}", "K\x03\u{85}"));
    let found = read(&[&diagonal[..], b"."].concat());
    assert_eq!(found[0].1, array![1.0, 4.0].into_dyn());

    let refused_tensor = |offset, shape, strides, part| {
        refused(&old(&[&bytes(tensor(offset, shape, strides))[..], b"."].concat()), part);
    };
    refused_tensor("K\x01", "K\x02K\x02\u{86}", "K\x02K\x01\u{86}", "does not fit");
    refused_tensor("J\u{7f}\u{7f}\u{7f}\u{7f}", "K\x02\u{85}", "K\x01\u{85}", "does not fit");
    refused_tensor("K\0", "K\x02\u{85}", "K\x01K\x01\u{86}", "does not fit");
    refused_tensor("K\0", "K\x02K\x02K\x02\u{87}", "K\0K\0K\0\u{87}", "does not fit");
    refused_tensor("G\0\0\0\0\0\0\0\0", "K\x02\u{85}", "K\x01\u{85}", "not a whole number");
    let negative = [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], STORAGE.as_bytes(), b"J\xff\xff\xff\xff))NNtR."];
    refused(&old(&negative.concat()), "must not be negative, but is -1");
    let named_twice = [&b"}(X\x01\0\0\0a"[..], &whole, b"X\x01\0\0\0a", &whole, b"u."].concat();
    refused(&old(&named_twice), "two tensors are named \"a\"");
    refused(&old(&[b"}(N", &whole[..], b"u."].concat()), "neither a text nor a whole number");
    refused(&old(b"cos\nsystem\nX\x02\0\0\0ls\x85R."), "\"os.system\" is not a class");
    refused(&old(b"i."), "operation 0x69");
    refused(&old(b"NQ."), "arguments are not a tuple");
    refused(&old(b"h\x00."), "value 0 was not kept");
    refused(&old(b"t."), "there is no mark");
    refused(&old(b"(."), "the stack is too short");
    // A list in itself.
    refused(&old(b"]q\0h\0a."), "contains itself");
    // Eight lists of the same eight, and so on: 8²⁰ tensors.
    let mut bomb = [&b"]("[..], &whole, b"eq\0"].concat();
    for level in 1..20_u8 {
        bomb.extend_from_slice(b"](");
        bomb.extend_from_slice(&[b'h', level - 1].repeat(8));
        bomb.extend_from_slice(&[b'e', b'q', level]);
    }
    refused(&old(&[&bomb[..], b"."].concat()), "again and again");
}

#[test]
fn damage_is_noticed() {
    let bytes = fixture("gru.pt");
    for (at, part) in [("weight_ih", "data.pkl\" is damaged"), ("little", "byteorder\" is damaged")] {
        let mut bytes = bytes.clone();
        let at = bytes.windows(at.len()).position(|found| found == at.as_bytes()).unwrap();
        bytes[at] ^= 1;
        refused(&bytes, part);
    }
    // A number of the first record, which follows its name and what fills up to a multiple of 64.
    let name = b"gru/data/0";
    let record = bytes.windows(name.len()).position(|found| found == name).unwrap();
    let filling = usize::from(u16::from_le_bytes([bytes[record - 2], bytes[record - 1]]));
    let mut damaged = bytes.clone();
    damaged[record + name.len() + filling] ^= 1;
    refused(&damaged, "gru/data/0\" is damaged");
    let mut old = fixture("gru_legacy.pt");
    old.push(0);
    refused(&old, "1 bytes follow its end");
    let mut big = fixture("gru_legacy.pt");
    let at = big.windows(13).position(|part| part == b"little_endian").unwrap();
    big[at + 15] = 0x89;
    refused(&big, "big-endian");
}
