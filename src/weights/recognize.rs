//! Recognizes recurrent layers by the names and shapes of their tensors.

use super::{Layer, Tensors};
use crate::error::list_to;
use crate::{Error, Float};

/// The recurrent layers among tensors, recognized by the names that PyTorch, Keras, TensorFlow 1, Flax and the
/// importers of [`onnx`](super::onnx) use, in alphabetical order of their prefixes. Layers under other names are left
/// out.
///
/// ```
/// use ndarray::Array2;
/// use rnn_cell::weights::{Tensors, layers};
///
/// let mut tensors = Tensors::<f32>::new();
/// tensors.insert("encoder.weight_ih_l0", Array2::zeros((32, 4)));
/// tensors.insert("encoder.weight_hh_l0", Array2::zeros((32, 8)));
/// let layer = &layers(&tensors)[0];
/// assert_eq!(layer.load, r#"let cells = pytorch::lstm(&mut tensors, "encoder.")?;"#);
/// assert_eq!(layer.to_string().lines().next(), Some(r#""encoder." PyTorch LSTM, 4 to 8, no bias"#));
/// ```
#[must_use]
pub fn layers<E: Float>(tensors: &Tensors<'_, E>) -> Vec<Layer> {
    const SOURCES: [(&str, Recognize); 9] = [
        ("weight_ih_l0", pytorch),
        ("recurrent_kernel", keras),
        ("lstm_cell/kernel", tensorflow_lstm),
        ("basic_rnn_cell/kernel", tensorflow_rnn),
        ("gates/kernel", tensorflow_gru),
        ("hf/kernel", flax_lstm),
        ("hn/kernel", flax_gru),
        ("h/kernel", flax_simple),
        ("R", onnx),
    ];
    let mut found = Vec::new();
    for name in tensors.names() {
        for (end, recognize) in SOURCES {
            let Some(prefix) = name.strip_suffix(end) else { continue };
            let scope = end.strip_suffix("kernel").filter(|_| end.contains("_cell/")).unwrap_or("");
            let prefix = format!("{prefix}{scope}");
            let shape = |name: &str| tensors.shape(&format!("{prefix}{name}")).ok().map(<[usize]>::to_vec);
            found.extend(recognize(&Names { prefix: &prefix, shape: &shape }));
        }
    }
    found
}

/// The only recurrent layer among tensors, or stack of layers, whose prefix an importer takes.
///
/// ```
/// use ndarray::Array2;
/// use rnn_cell::weights::{Tensors, keras, only_layer};
///
/// let mut tensors = Tensors::<f32>::new();
/// tensors.insert("model/lstm/lstm_cell/kernel", Array2::zeros((3, 16)));
/// tensors.insert("model/lstm/lstm_cell/recurrent_kernel", Array2::zeros((4, 16)));
/// let layer = only_layer(&tensors)?;
/// let cell = keras::lstm(&mut tensors, &layer.prefix, &keras::Options::default())?;
/// # Ok::<(), rnn_cell::Error>(())
/// ```
///
/// # Errors
/// - [`Error::MissingWeight`] if [`layers`] finds none.
/// - [`Error::UnexpectedWeight`] if it finds more than one. It lists their prefixes.
pub fn only_layer<E: Float>(tensors: &Tensors<'_, E>) -> Result<Layer, Error> {
    let mut layers = layers(tensors);
    if layers.len() > 1 {
        let prefixes = list_to(layers.iter().map(|layer| &*layer.prefix), 12);
        let reason = format!("it is one of {} recurrent layers, {prefixes}", layers.len());
        return Err(Error::UnexpectedWeight { name: layers.swap_remove(0).prefix, reason });
    }
    layers.pop().ok_or_else(|| {
        let reason = format!("none is known among the tensors {}", list_to(tensors.names(), 12));
        Error::MissingWeight { name: "recurrent layer".into(), reason }
    })
}

/// Makes a layer of the tensors under a prefix, if they are one.
type Recognize = fn(&Names<'_>) -> Option<Layer>;

/// The tensors under a prefix.
struct Names<'p> {
    prefix: &'p str,
    shape: &'p dyn Fn(&str) -> Option<Vec<usize>>,
}

impl Names<'_> {
    fn has(&self, name: &str) -> bool {
        (self.shape)(name).is_some()
    }

    fn matrix(&self, name: &str) -> Option<(usize, usize)> {
        match (self.shape)(name)?[..] {
            [rows, columns] if rows > 0 && columns > 0 => Some((rows, columns)),
            _ => None,
        }
    }

    fn layer(&self, source: &'static str, kind: &'static str, sizes: (usize, usize), names: &[&str]) -> Layer {
        let present = names.iter().filter(|name| self.has(name));
        Layer {
            source,
            kind,
            prefix: self.prefix.into(),
            input_size: sizes.0,
            hidden_size: sizes.1,
            layers: 1,
            bidirectional: false,
            options: String::new(),
            load: String::new(),
            tensors: present.map(|name| format!("{}{name}", self.prefix)).collect(),
        }
    }

    /// A line that calls an importer of a module, with these arguments after the prefix.
    fn load(&self, variable: &str, function: &str, arguments: &str) -> String {
        format!("let {variable} = {function}(&mut tensors, {:?}{arguments})?;", self.prefix)
    }
}

/// The function of a number of gates, and the kind by PyTorch's and ONNX's name.
fn by_gates(gates: usize) -> Option<(&'static str, &'static str)> {
    match gates {
        1 => Some(("rnn", "RNN")),
        3 => Some(("gru", "GRU")),
        4 => Some(("lstm", "LSTM")),
        _ => None,
    }
}

fn pytorch(names: &Names<'_>) -> Option<Layer> {
    let kinds = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];
    let ((rows, input), (_, output)) = (names.matrix("weight_ih_l0")?, names.matrix("weight_hh_l0")?);
    let projection = names.matrix("weight_hr_l0").map(|(_, hidden)| hidden);
    let hidden = projection.unwrap_or(output);
    let (function, kind) = by_gates(rows / hidden).filter(|_| rows.is_multiple_of(hidden))?;
    let count = (0..).take_while(|layer| names.has(&format!("weight_ih_l{layer}"))).count();
    let all: Vec<String> = (0..count)
        .flat_map(|layer| ["", "_reverse"].map(|end| kinds.map(|kind| format!("{kind}_l{layer}{end}"))))
        .flatten()
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut layer = names.layer("PyTorch", kind, (input, hidden), &all);
    layer.layers = count;
    layer.bidirectional = names.has("weight_ih_l0_reverse");
    let mut options = Vec::new();
    if projection.is_some() {
        options.push(format!("projected to {output}"));
    }
    if !names.has("bias_ih_l0") {
        options.push("no bias".into());
    }
    layer.options = options.join(", ");
    let direction = if layer.bidirectional { "bidirectional_" } else { "" };
    let activation = if function == "rnn" { ", &Default::default()" } else { "" };
    layer.load = names.load("cells", &format!("pytorch::{direction}{function}"), activation);
    Some(layer)
}

fn keras(names: &Names<'_>) -> Option<Layer> {
    let ((hidden, columns), (input, _)) = (names.matrix("recurrent_kernel")?, names.matrix("kernel")?);
    let (function, kind) = by_gates(columns / hidden).filter(|_| columns.is_multiple_of(hidden))?;
    let (function, kind) = if kind == "RNN" { ("simple_rnn", "SimpleRNN") } else { (function, kind) };
    let mut layer = names.layer("Keras", kind, (input, hidden), &["kernel", "recurrent_kernel", "bias"]);
    let mut options = ", &Default::default()";
    layer.options = match ((names.shape)("bias"), kind) {
        (None, _) => "no bias".into(),
        (Some(bias), "GRU") if bias.len() == 1 => {
            options = ", &keras::Options::default().reset_after(false)";
            "reset_after=False".into()
        }
        (Some(_), "GRU") => "reset_after=True".into(),
        _ => String::new(),
    };
    layer.load = names.load("cell", &format!("keras::{function}"), options);
    Some(layer)
}

fn tensorflow_lstm(names: &Names<'_>) -> Option<Layer> {
    let (rows, columns) = names.matrix("kernel")?;
    // Keras calls a cell so, too.
    if names.has("recurrent_kernel") || !columns.is_multiple_of(4) {
        return None;
    }
    let hidden = columns / 4;
    let projection = names.matrix("projection/kernel").map(|(_, output)| output);
    let input = rows.checked_sub(projection.unwrap_or(hidden)).filter(|&input| input > 0)?;
    let all = ["kernel", "bias", "w_f_diag", "w_i_diag", "w_o_diag", "projection/kernel"];
    let mut layer = names.layer("TensorFlow", "LSTMCell", (input, hidden), &all);
    let mut options = Vec::new();
    if names.has("w_f_diag") {
        options.push("peepholes".into());
    }
    options.extend(projection.map(|output| format!("projected to {output}")));
    layer.options = options.join(", ");
    layer.load = names.load("cell", "tensorflow::lstm", ", &Default::default()");
    Some(layer)
}

fn tensorflow_rnn(names: &Names<'_>) -> Option<Layer> {
    let (rows, hidden) = names.matrix("kernel")?;
    let input = rows.checked_sub(hidden).filter(|&input| input > 0)?;
    let mut layer = names.layer("TensorFlow", "BasicRNNCell", (input, hidden), &["kernel", "bias"]);
    layer.load = names.load("cell", "tensorflow::basic_rnn", ", &Default::default()");
    Some(layer)
}

fn tensorflow_gru(names: &Names<'_>) -> Option<Layer> {
    let ((rows, columns), (_, hidden)) = (names.matrix("gates/kernel")?, names.matrix("candidate/kernel")?);
    let input = rows.checked_sub(hidden).filter(|&input| input > 0 && columns == 2 * hidden)?;
    let all = ["gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"];
    let mut layer = names.layer("TensorFlow", "GRUCell", (input, hidden), &all);
    layer.load = names.load("cell", "tensorflow::gru", ", &Default::default()");
    Some(layer)
}

fn flax_lstm(names: &Names<'_>) -> Option<Layer> {
    let all =
        ["ii", "if", "ig", "io", "hi", "hf", "hg", "ho"].map(|gate| [format!("{gate}/kernel"), format!("{gate}/bias")]);
    let all: Vec<&str> = all.iter().flatten().map(String::as_str).collect();
    let mut layer = names.layer("Flax", "LSTMCell", names.matrix("ii/kernel")?, &all);
    layer.load = names.load("cell", "flax::lstm", "");
    Some(layer)
}

fn flax_gru(names: &Names<'_>) -> Option<Layer> {
    let all = ["ir", "iz", "in", "hr", "hz", "hn"].map(|gate| [format!("{gate}/kernel"), format!("{gate}/bias")]);
    let all: Vec<&str> = all.iter().flatten().map(String::as_str).collect();
    let mut layer = names.layer("Flax", "GRUCell", names.matrix("ir/kernel")?, &all);
    layer.load = names.load("cell", "flax::gru", "");
    Some(layer)
}

fn flax_simple(names: &Names<'_>) -> Option<Layer> {
    let sizes = names.matrix("i/kernel")?;
    let mut layer = names.layer("Flax", "SimpleCell", sizes, &["i/kernel", "i/bias", "h/kernel"]);
    layer.load = names.load("cell", "flax::simple", "");
    Some(layer)
}

/// Tensors of ONNX under the operator's names.
fn onnx(names: &Names<'_>) -> Option<Layer> {
    let ([directions, r_1, r_2], [_, w_1, w_2]) = (axes(names, "R")?, axes(names, "W")?);
    let quantized = names.has("R_scale");
    // Quantized matrices are not transposed.
    let (hidden, columns, input) = if quantized { (r_1, r_2, w_1) } else { (r_2, r_1, w_2) };
    let (function, kind) = by_gates(columns / hidden).filter(|_| columns.is_multiple_of(hidden) && directions <= 2)?;
    let (function, kind) = if quantized { ("dynamic_quantize_lstm", "DynamicQuantizeLSTM") } else { (function, kind) };
    let all = ["W", "R", "B", "P", "W_scale", "W_zero_point", "R_scale", "R_zero_point"];
    let mut layer = names.layer("ONNX", kind, (input, hidden), &all);
    layer.bidirectional = directions == 2;
    layer.options = if names.has("P") { "peepholes".into() } else { String::new() };
    let direction = if layer.bidirectional { "bidirectional_" } else { "" };
    layer.load = names.load("cell", &format!("onnx::{direction}{function}"), ", &Default::default()");
    Some(layer)
}

fn axes(names: &Names<'_>, name: &str) -> Option<[usize; 3]> {
    (names.shape)(name)?.try_into().ok().filter(|axes: &[usize; 3]| !axes.contains(&0))
}
