//! Every node of the fixtures computes what ONNX Runtime computes. `tools/onnx_models.py` made them.

use ndarray::{Array3, ArrayRef3, Ix3, s};
use rnn_cell::weights::onnx::{Direction, Kind, Model, Node};
use rnn_cell::weights::{Tensors, safetensors};
use rnn_cell::{
    BidirectionalRnn, Compressed, DynamicRnn, Error, RnnCell, WeightFormat, bidirectional_dynamic_rnn, concat_outputs,
    dynamic_rnn,
};
use std::path::{Path, PathBuf};

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/onnx").join(name)
}

fn open(name: &str) -> Model<'static> {
    Model::open(path(&format!("{name}.onnx"))).unwrap()
}

/// What ONNX Runtime was given, or gave.
fn recorded(name: &str) -> Array3<f32> {
    let bytes = std::fs::read(path("outputs.safetensors")).unwrap();
    let array = safetensors::read_tensors(&bytes).unwrap().take(name).unwrap();
    array.into_dimensionality::<Ix3>().unwrap()
}

fn both<C: RnnCell<Elem = f32>>(cells: &rnn_cell::Bidirectional<C>, x: &ArrayRef3<f32>) -> Array3<f32> {
    let ((fw, bw), _) = bidirectional_dynamic_rnn(&cells.fw, &cells.bw, x, None, None, None).unwrap();
    concat_outputs(&fw, &bw)
}

fn forward<C: RnnCell<Elem = f32>>(cell: &C, x: &ArrayRef3<f32>) -> Array3<f32> {
    dynamic_rnn(cell, x, None, None).unwrap().0
}

/// Runs a cell as the page of `Node` says: as the backward one of two.
fn reverse<C: RnnCell<Elem = f32>>(cell: &C, x: &ArrayRef3<f32>) -> Array3<f32> {
    BidirectionalRnn::new(cell, cell).run(x).unwrap().0.1
}

/// The node's outputs, (batch, seq, directions · hidden).
fn outputs(node: &Node<'_>, x: &ArrayRef3<f32>) -> Array3<f32> {
    let lstm = matches!(node.kind(), Kind::Lstm | Kind::DynamicQuantizeLstm);
    match (node.kind(), node.direction()) {
        (_, Direction::Forward) if lstm => forward(&node.lstm().unwrap(), x),
        (_, Direction::Reverse) if lstm => reverse(&node.reverse_lstm().unwrap(), x),
        (_, Direction::Bidirectional) if lstm => both(&node.bidirectional_lstm().unwrap(), x),
        (Kind::Gru, Direction::Forward) => forward(&node.gru().unwrap(), x),
        (Kind::Gru, Direction::Reverse) => reverse(&node.reverse_gru().unwrap(), x),
        (Kind::Gru, Direction::Bidirectional) => both(&node.bidirectional_gru().unwrap(), x),
        (_, Direction::Forward) => forward(&node.rnn().unwrap(), x),
        (_, Direction::Reverse) => reverse(&node.reverse_rnn().unwrap(), x),
        (_, Direction::Bidirectional) => both(&node.bidirectional_rnn().unwrap(), x),
    }
}

fn close(case: &str, ours: &Array3<f32>, theirs: &Array3<f32>) {
    assert_eq!(ours.dim(), theirs.dim(), "{case}");
    let largest = ours.iter().zip(theirs).fold(0.0_f32, |largest, (a, b)| largest.max((a - b).abs()));
    assert!(largest <= 2e-6, "{case}: outputs differ by {largest:e}");
}

/// Compares the nodes of a model whose outputs are recorded, which must be these.
fn check(case: &str, names: &[&str]) {
    let (model, x) = (open(case), recorded(&format!("{case}/x")));
    for name in names {
        let node = model.node(name).unwrap();
        assert_eq!(node.refused(), None);
        assert_eq!(node.sizes().unwrap(), (3, 4));
        let case = format!("{case}/{name}");
        close(&case, &outputs(&node, &x), &recorded(&case));
    }
}

fn names(case: &str) -> Vec<String> {
    open(case).nodes().unwrap().iter().map(|node| node.name().to_string()).collect()
}

/// If this compiles, it holds. Printing thousands of weights helps nobody.
#[test]
fn what_is_read_is_shared_cloned_and_printed() {
    fn data<T: Send + Sync + Clone + std::fmt::Debug>(value: &T) -> String {
        format!("{value:?}")
    }
    let file = rnn_cell::weights::open(path("attributes.onnx")).unwrap();
    let model = file.onnx().unwrap();
    let nodes = model.nodes().unwrap();
    let layers = file.layers().unwrap();
    for shown in [data(&file), data(model), data(&nodes[0]), data(&layers[0])] {
        assert!(shown.len() < 500, "{shown}");
    }
}

#[test]
fn all_attributes_are_applied() {
    let given = ["lstm", "lstm_reverse", "lstm_both", "gru", "gru_after", "gru_both", "rnn", "rnn_reverse", "rnn_both"];
    let numbers = ["numbers_rnn", "numbers_lstm", "numbers_gru", "leaky"];
    let all = [&given[..], &numbers, &["GRU_13", "LSTM_14"]].concat();
    assert_eq!(names("attributes"), all);
    check("attributes", &all);
}

#[test]
fn weights_are_followed_to_their_constants() {
    let all = [
        "constant",
        "transpose",
        "cast",
        "narrowed",
        "one_scale",
        "scales",
        "last_axis",
        "unsqueeze",
        "reshape",
        "squeeze",
        "fields",
    ];
    assert_eq!(names("constants"), all);
    check("constants", &all);
}

#[test]
fn nodes_inside_others_are_found() {
    assert_eq!(names("nested"), ["inner", "inner_1", "inner_2", "inner_3", "in_loop", "in_function", "in_function_1"]);
    check("nested", &["inner_1", "inner_2", "in_loop", "in_function", "in_function_1"]);
    let model = open("nested");
    let place = |name| model.node(name).unwrap().place().unwrap();
    assert_eq!(place("inner_1"), r#""then_branch" of If "choose_inner_1""#);
    assert_eq!(place("in_loop"), r#""body" of Loop "loop""#);
    assert_eq!(place("in_function"), r#"function "layer" of layer "call.in_function""#);
    assert_eq!(open("attributes").node("lstm").unwrap().place().unwrap(), "");
    // Each call has its own weights and attributes.
    assert_eq!(model.node("in_function").unwrap().direction(), Direction::Reverse);
    assert_eq!(model.node("in_function_1").unwrap().direction(), Direction::Forward);
}

#[test]
fn quantized_lstms_are_their_dequantized_weights() {
    let all = ["quantized_quant", "one_way_quant"];
    let model = open("quantized");
    assert_eq!(names("quantized"), all);
    let x = recorded("quantized/x");
    for (name, of) in all.into_iter().zip(["quantized", "one_way"]) {
        let node = model.node(name).unwrap();
        assert_eq!((node.kind(), node.sizes().unwrap()), (Kind::DynamicQuantizeLstm, (3, 4)));
        close(name, &outputs(&node, &x), &recorded(&format!("quantized/{of}")));
    }
    // The codes are its own, so that another 8 bits change little.
    let cell = model.node("one_way_quant").unwrap().lstm::<f32>().unwrap();
    let (plain, _) = dynamic_rnn(&cell, &x, None, None).unwrap();
    let (compressed, _) = dynamic_rnn(&Compressed::new(cell, WeightFormat::Int8).unwrap(), &x, None, None).unwrap();
    assert!((&plain - &compressed).iter().all(|difference| difference.abs() < 0.02));
    assert_ne!(plain, compressed);
}

#[test]
fn exports_of_pytorch_are_read() {
    let x = recorded("torch_lstm/x");
    let model = open("torch_lstm");
    let nodes = model.nodes().unwrap();
    assert_eq!(nodes.len(), 2);
    let middle = outputs(&nodes[0], &x);
    close("torch_lstm", &outputs(&nodes[1], &middle), &recorded("torch_lstm/y"));
    // The exporter writes zeros as initial states.
    let start = nodes[0].initial_c::<f32>().unwrap().unwrap();
    assert!(start.iter().all(|&number| number == 0.0) && start.dim().0 == 2);
    for case in ["torch_dynamo_lstm", "torch_rnn"] {
        let model = open(case);
        close(
            case,
            &outputs(&model.nodes().unwrap()[0], &recorded(&format!("{case}/x"))),
            &recorded(&format!("{case}/y")),
        );
    }
}

#[test]
fn a_learned_initial_state_is_found() {
    let (model, x) = (open("torch_gru"), recorded("torch_gru/x"));
    let node = &model.nodes().unwrap()[0];
    let start = node.initial_h::<f32>().unwrap().unwrap();
    assert_eq!(start.dim(), (1, 1, 4));
    let start = start.slice(s![0, .., ..]).broadcast((2, 4)).unwrap().to_owned();
    let cell = node.gru().unwrap();
    let (y, _) = DynamicRnn::new(&cell).initial_state(start).run(&x).unwrap();
    close("torch_gru", &y, &recorded("torch_gru/y"));
    assert_eq!(node.initial_c::<f32>().unwrap(), None);
    assert_eq!(open("attributes").node("lstm").unwrap().initial_h::<f32>().unwrap(), None);
}

#[test]
fn what_no_cell_does_is_refused_by_name() {
    let model = open("refused");
    for (name, reason) in [
        ("clip", "clip = 0.5 clips the sums before the activations, which no cell does"),
        ("gru_clip", "clip = 0.5 clips the sums before the activations, which no cell does"),
        ("input_forget", "input_forget = 1 couples its gates, which no cell does"),
        ("mixed", "it has one activation for the candidate and another for c (Tanh and Relu), which no cell does"),
        ("softplus", "its activation \"softplus\" is none of this crate's"),
        ("affine", "its activation \"affine\" has no activation_alpha, and ONNX no default"),
        ("threshold", "its activation \"thresholdedrelu\" has no activation_alpha, and ONNX no default"),
        ("leaky", "of its activation leakyrelu, the activation's alpha is -0.5, but must be finite and above 0"),
    ] {
        let node = model.node(name).unwrap();
        assert_eq!(node.refused(), Some(reason));
        let error = match node.kind() {
            Kind::Lstm => node.lstm::<f32>().map(drop),
            Kind::Gru => node.gru::<f32>().map(drop),
            _ => node.rnn::<f32>().map(drop),
        };
        let message = format!("layer \"{name}\" cannot be imported: {reason}");
        assert_eq!(error.unwrap_err().to_string(), message);
    }
}

#[test]
fn weights_that_are_no_constants_are_named() {
    let model = open("refused");
    let error = |name: &str| model.node(name).unwrap().rnn::<f32>().unwrap_err().to_string();
    assert_eq!(
        error("computed"),
        "layer \"computed\" cannot be imported: a node \"Add\" makes one of its weights, but they are followed only \
         through Constant, Identity, Transpose, Cast, DequantizeLinear, Unsqueeze, Squeeze, Reshape, Slice and Concat. \
         Fold the model's constants first"
    );
    assert_eq!(
        error("given"),
        "layer \"given\" cannot be imported: \"r\" is an input of the graph that it is in, not a constant"
    );
}

#[test]
fn another_function_is_named() {
    let model = open("attributes");
    let node = |name| model.node(name).unwrap();
    let refused = |result: Result<(), Error>, end: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.ends_with(end), "{message}");
    };
    refused(
        node("lstm_both").lstm::<f32>().map(drop),
        "with direction bidirectional, which `bidirectional_lstm` reads",
    );
    refused(node("lstm_reverse").lstm::<f32>().map(drop), "with direction reverse, which `reverse_lstm` reads");
    refused(node("gru").lstm::<f32>().map(drop), "it is a GRU with direction forward, which `gru` reads");
    refused(node("rnn").bidirectional_rnn::<f32>().map(drop), "which `rnn` reads");
    let error = model.node("lstm_").unwrap_err().to_string();
    assert!(
        error.starts_with("weight \"lstm_\" is missing: the recurrent nodes are \"lstm\", \"lstm_reverse\""),
        "{error}"
    );
    // The only one needs no name.
    assert_eq!(open("external").only_node().unwrap().name(), "gru");
    let error = open("quantized").only_node().unwrap_err().to_string();
    let message = "weight \"quantized_quant\" is unexpected: it is one of 2 recurrent nodes, \"quantized_quant\", \
                   \"one_way_quant\"";
    assert_eq!(error, message);
    let empty = crate::wire::model(&crate::wire::graph(&[], &[]));
    let error = Model::from_bytes(&empty).unwrap().only_node().unwrap_err().to_string();
    assert_eq!(error, "weight \"recurrent node\" is missing: the model has none");
}

#[test]
fn the_tensors_of_a_model_are_its_initializers() {
    let model = open("attributes");
    let mut tensors: Tensors<'_, f32> = model.tensors().unwrap();
    assert_eq!(tensors.shape("lstm.W").unwrap(), [1, 16, 3]);
    // Those of a node have the names that the importers know.
    let node = model.node("lstm").unwrap().tensors::<f32>().unwrap();
    assert_eq!(node.names().collect::<Vec<_>>(), ["lstm/B", "lstm/P", "lstm/R", "lstm/W"]);
    assert_eq!(tensors.take("lstm.W").unwrap(), node.clone().take("lstm/W").unwrap());
}

#[test]
fn tensors_beside_the_model_are_read_from_its_folder_only() {
    check("external", &["gru"]);
    let bytes = std::fs::read(path("external.onnx")).unwrap();
    let model = Model::from_bytes(&bytes).unwrap();
    let error = model.node("gru").unwrap().bidirectional_gru::<f32>().unwrap_err().to_string();
    assert!(error.contains("are in the file \"external.bin\", which only `Model::open` reads"), "{error}");

    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("onnx_external");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    let here = folder.join("inner/model.onnx");
    std::fs::copy(path("external.onnx"), &here).unwrap();
    let missing = Model::open(&here).unwrap_err();
    assert!(matches!(&missing, Error::Io { path, .. } if path.ends_with("external.bin")), "{missing}");
    // One byte is missing at the end.
    let data = std::fs::read(path("external.bin")).unwrap();
    std::fs::write(folder.join("inner/external.bin"), &data[..data.len() - 1]).unwrap();
    let model = Model::open(&here).unwrap();
    let error = model.node("gru").unwrap().bidirectional_gru::<f32>().unwrap_err().to_string();
    assert!(error.contains("of a file that has 863"), "{error}");
    // Names of the same length that lead out of the folder.
    let renamed = |name: &str| {
        let at =
            |from: usize| bytes[from..].windows(12).position(|window| window == b"external.bin").map(|at| from + at);
        let (mut bytes, mut from) = (bytes.clone(), 0);
        while let Some(found) = at(from) {
            bytes[found..found + 12].copy_from_slice(name.as_bytes());
            from = found + 12;
        }
        bytes
    };
    std::fs::write(folder.join("outside2.bin"), &data).unwrap();
    for name in ["../outs/2.bin", "/outside2.bi", "../tside2.bi", "a/../de2.bin"].map(|name| &name[..12]) {
        std::fs::write(&here, renamed(name)).unwrap();
        let error = Model::open(&here).unwrap_err();
        assert!(error.to_string().contains("which is not in its folder"), "{name}: {error}");
    }
    #[cfg(unix)]
    {
        let link = folder.join("inner/external.bin");
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("../outside2.bin", &link).unwrap();
        std::fs::copy(path("external.onnx"), &here).unwrap();
        let error = Model::open(&here).unwrap_err();
        assert!(error.to_string().contains("which is not in its folder"), "{error}");
        // A link within the folder is one file more.
        std::fs::remove_file(&link).unwrap();
        std::fs::write(folder.join("inner/data"), &data).unwrap();
        std::os::unix::fs::symlink("data", &link).unwrap();
        Model::open(&here).unwrap().node("gru").unwrap().bidirectional_gru::<f32>().unwrap();
        std::fs::remove_file(&link).unwrap();
    }
}
