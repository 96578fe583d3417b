//! PyTorch's files that were unpacked and packed again, compressed.

use crate::npz::deflated;
use crate::pytorch::{STORAGE, refused};
use crate::{check_close, fixture, take};
use rnn_cell::stack_bidirectional_dynamic_rnn;
use rnn_cell::weights::pytorch;

#[test]
fn checkpoints_are_read_up_to_a_limit() {
    let bytes = fixture("compressed.pt");
    let mut t = pytorch::read_tensors::<f32>(&bytes).unwrap();
    let (x, outputs) = (take(&mut t, "x"), take(&mut t, "outputs"));
    let lstm = pytorch::bidirectional_lstm(&mut t, "model.").unwrap();
    let (found, ..) = stack_bidirectional_dynamic_rnn(&lstm.fw, &lstm.bw, &x, None, None, None).unwrap();
    check_close("compressed", &found, &outputs);
    refused(&fixture("bomb.pt"), "its entries would become 10000");
    let pickle = [b"\x80\x02", &[b'N'; 1 << 16][..], b"."].concat();
    refused(
        &deflated(&[("a/data.pkl", pickle)]),
        "\"a/data.pkl\" would become 65539 bytes, but at most 65536 are read",
    );
    // Tensors of the same 100 KiB. A file of this size may have 1 MiB of them together.
    let zeros = vec![0; 100 << 10];
    let entries = |views: usize| {
        let tensor = format!(
            "ctorch._utils\n_rebuild_tensor_v2\n({}K\0(J\0\x64\0\0t(K\x01tNNtR",
            STORAGE.replace("K\x04", "J\0\x64\0\0")
        );
        let pickle = [b"\x80\x02](", &tensor.as_bytes().repeat(views)[..], b"e."].concat();
        deflated(&[("a/data.pkl", pickle), ("a/data/k", zeros.clone())])
    };
    assert_eq!(pytorch::read_tensors::<f32>(&entries(10)).unwrap().len(), 10);
    refused(&entries(40), "too many tensors share a compressed storage");
}
