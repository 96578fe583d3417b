//! [`Names`]: the tensors under a prefix.

use crate::weights::Layer;

/// The tensors under a prefix.
pub(super) struct Names<'p> {
    pub prefix: &'p str,
    /// The shape of a tensor by its whole name.
    pub shape: &'p dyn Fn(&str) -> Option<Vec<usize>>,
}

impl Names<'_> {
    /// Whether the prefix is a module's, so that a short name does not end another by chance (`dense_h/kernel`).
    pub(super) fn is_module(&self) -> bool {
        self.prefix.is_empty() || self.prefix.ends_with(['/', '.'])
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        (self.shape)(self.find(name)?.last()?)
    }

    /// The whole names of what an importer calls so: TensorFlow's before 1.2, or the parts into which PyTorch's
    /// `weight_norm` takes a weight, the one with its shape last.
    pub(super) fn find(&self, name: &str) -> Option<Vec<String>> {
        let prefix = self.prefix;
        let is_there = |names: &[String]| names.iter().all(|name| (self.shape)(name).is_some());
        let mut forms = vec![vec![format!("{prefix}{name}")]];
        for (new, old) in [("kernel", "weights"), ("bias", "biases")] {
            forms.extend(name.strip_suffix(new).map(|start| vec![format!("{prefix}{start}{old}")]));
        }
        forms.push(["g", "v"].map(|part| format!("{prefix}{name}_{part}")).into());
        forms.push([0, 1].map(|part| format!("{prefix}parametrizations.{name}.original{part}")).into());
        forms.into_iter().find(|names| is_there(names))
    }

    pub(super) fn matrix(&self, name: &str) -> Option<(usize, usize)> {
        match self.shape(name)?[..] {
            [rows, columns] if rows > 0 && columns > 0 => Some((rows, columns)),
            _ => None,
        }
    }

    pub(super) fn layer(
        &self,
        source: &'static str,
        kind: &'static str,
        sizes: (usize, usize),
        names: &[impl AsRef<str>],
    ) -> Layer {
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
            tensors: names.iter().filter_map(|name| self.find(name.as_ref())).flatten().collect(),
        }
    }

    /// A line that calls an importer of a module, with these arguments after the prefix.
    pub(super) fn load(&self, variable: &str, function: &str, arguments: &str) -> String {
        format!("let {variable} = {function}(&mut tensors, {:?}{arguments})?;", self.prefix)
    }
}

/// The function of a number of gates, and the kind by PyTorch's and ONNX's name.
pub(super) fn by_gates(gates: usize) -> Option<(&'static str, &'static str)> {
    match gates {
        1 => Some(("rnn", "RNN")),
        3 => Some(("gru", "GRU")),
        4 => Some(("lstm", "LSTM")),
        _ => None,
    }
}

/// Whether `columns` are `gates` times `hidden`. Both may be any number if the type is not read.
pub(super) fn is_times(columns: usize, gates: usize, hidden: usize) -> bool {
    columns.is_multiple_of(gates) && columns / gates == hidden
}
