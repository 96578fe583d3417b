//! Builds cells that attend, with the state to start from.

use super::{Found, HISTORY, TIME};
use crate::build::{build, leaves};
use crate::case::{Case, Fault};
use ndarray::{Array3, ArrayD, Ix1, Ix3, IxDyn};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::seq2seq::{
    AttentionMechanism, AttentionState, AttentionWrapper, BahdanauAttention, BahdanauMonotonicAttention,
    LuongAttention, LuongMonotonicAttention, MonotonicMode, Probability,
};
use rnn_cell::train::BoxedTrainableCell;
use rnn_cell::{DynState, Float, MultiRnnCell, ParametersMut, ResidualWrapper, RnnCell, State};
use serde_json::Value;
use std::collections::BTreeMap;

/// The memories of a case, by the names of their tensors, and the names of their lengths.
pub type Memories<E> = BTreeMap<String, Array3<E>>;

/// A cell, the state it starts from, and the names of the state's leaves.
pub struct Built<E: Float> {
    pub cell: BoxedTrainableCell<E>,
    pub state: DynState<E>,
    pub leaves: Vec<String>,
    spec: Value,
}

/// The state of an attention cell around a boxed cell.
pub type Attending<E> = AttentionState<DynState<E>, E>;

pub fn memories<E: Float>(case: &Case) -> Result<Memories<E>, Fault> {
    let names = case.tensors.keys().filter(|name| ["memory", "memory_1"].contains(&name.as_str()));
    names.map(|name| Ok((name.clone(), case.array::<E, Ix3>(name)?))).collect()
}

fn lengths(case: &Case, spec: &Value) -> Result<Option<Vec<usize>>, Fault> {
    let Some(name) = spec["memory_sequence_length"].as_str() else { return Ok(None) };
    Ok(Some(case.array::<f64, Ix1>(name)?.iter().map(|&length| length as usize).collect()))
}

/// The mechanism of a `mechanism_spec`, for queries of `query` numbers. Its weights' names begin with `prefix`.
pub fn mechanism<E: Float>(
    case: &Case,
    spec: &Value,
    (prefix, query, depth): (&str, usize, usize),
) -> Result<AttentionMechanism<E>, Fault> {
    for key in ["score_mask_value", "custom_key_value_fn"] {
        if !spec[key].is_null() {
            return Err(Fault::NotSupported(key.into()));
        }
    }
    let units = spec["num_units"].as_u64().unwrap_or(0) as usize;
    let flag = |key: &str| spec[key].as_bool().unwrap_or(false);
    let probability = match spec["probability_fn"].as_str() {
        Some("hardmax") => Probability::Hardmax,
        Some("sigmoid") => Probability::Sigmoid,
        _ => Probability::Softmax,
    };
    let mode = match spec["mode"].as_str() {
        Some("recursive") => MonotonicMode::Recursive,
        Some("hard") => MonotonicMode::Hard,
        _ => MonotonicMode::Parallel,
    };
    let any = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let mut mechanism = match spec["kind"].as_str() {
        Some("LuongAttention") => LuongAttention::builder(units)
            .memory_depth(depth)
            .scale(flag("scale"))
            .probability_fn(probability)
            .build(any)?,
        Some("BahdanauAttention") => BahdanauAttention::builder(units)
            .memory_depth(depth)
            .query_depth(query)
            .normalize(flag("normalize"))
            .probability_fn(probability)
            .build(any)?,
        Some("LuongMonotonicAttention") => {
            LuongMonotonicAttention::builder(units).memory_depth(depth).scale(flag("scale")).mode(mode).build(any)?
        }
        Some("BahdanauMonotonicAttention") => BahdanauMonotonicAttention::builder(units)
            .memory_depth(depth)
            .query_depth(query)
            .normalize(flag("normalize"))
            .mode(mode)
            .build(any)?,
        other => return Err(Fault::NotSupported(format!("mechanism {other:?}"))),
    };
    fill(case, prefix, &mut mechanism)?;
    Ok(mechanism)
}

/// Gives a model the file's weights.
pub fn fill<E: Float, P: ParametersMut<E>>(case: &Case, prefix: &str, model: &mut P) -> Result<(), Fault> {
    let mut result = Ok(());
    model.visit_parameters_mut(&mut |name, mut weight| match case.array::<E, IxDyn>(&format!("{prefix}{name}")) {
        Ok(tensor) if tensor.shape() == weight.shape() => weight.assign(&tensor),
        Ok(tensor) => result = Err(Fault::Broken(format!("{name} has shape {:?}", tensor.shape()))),
        Err(fault) => result = Err(fault),
    });
    result
}

/// The cell of a spec, with `batch` rows. Its weights' names begin with `prefix`, its leaves' with `path`.
pub fn built<E: Float>(
    case: &Case,
    spec: &Value,
    (prefix, path): (&str, &str),
    (input, batch): (usize, usize),
    memories: &Memories<E>,
) -> Result<Built<E>, Fault> {
    let spec_kept = spec.clone();
    match spec["kind"].as_str() {
        Some("attention") => attention(case, spec, (prefix, path), (input, batch), memories),
        Some("multi") => {
            let (mut cells, mut states, mut names, mut input) = (Vec::new(), Vec::new(), Vec::new(), input);
            for (layer, cell) in spec["cells"].as_array().into_iter().flatten().enumerate() {
                let (prefix, path) = (format!("{prefix}cell_{layer}/"), format!("{path}cell_{layer}/"));
                let below = built(case, cell, (&prefix, &path), (input, batch), memories)?;
                input = below.cell.output_size();
                cells.push(below.cell);
                states.push(below.state);
                names.extend(below.leaves);
            }
            let cell = BoxedTrainableCell::new(MultiRnnCell::new(cells)?);
            Ok(Built { cell, state: DynState::new(states), leaves: names, spec: spec_kept })
        }
        Some("residual") => {
            let inner = built(case, &spec["cell"], (prefix, path), (input, batch), memories)?;
            let cell = BoxedTrainableCell::new(ResidualWrapper::new(inner.cell)?);
            Ok(Built { cell, state: DynState::new(inner.state), leaves: inner.leaves, spec: spec_kept })
        }
        _ => {
            let cell = build(case, spec, prefix, input)?;
            let state = cell.zero_state(batch);
            let names = leaves(spec, path).into_iter().map(|leaf| leaf.tensor).collect();
            Ok(Built { cell, state, leaves: names, spec: spec_kept })
        }
    }
}

fn attention<E: Float>(
    case: &Case,
    spec: &Value,
    (prefix, path): (&str, &str),
    (input, batch): (usize, usize),
    memories: &Memories<E>,
) -> Result<Built<E>, Fault> {
    if spec["cell_input_fn"] != "concat" {
        return Err(Fault::NotSupported("cell_input_fn".into()));
    }
    if !spec["attention_layer"].is_null() {
        return Err(Fault::NotSupported("attention_layer".into()));
    }
    let specs = mechanism_specs(spec);
    let several = spec["mechanisms"].is_array();
    let memory_of = |spec: &Value| {
        let name = spec["memory"].as_str().unwrap_or_default();
        memories.get(name).ok_or_else(|| Fault::Broken(format!("no memory {name}")))
    };
    let sizes: Option<Vec<usize>> = match &spec["attention_layer_size"] {
        Value::Null => None,
        Value::Array(sizes) => Some(sizes.iter().map(|size| size.as_u64().unwrap_or(0) as usize).collect()),
        size => Some(vec![size.as_u64().unwrap_or(0) as usize]),
    };
    let mut attention_size = 0;
    for (at, spec) in specs.iter().enumerate() {
        attention_size += match &sizes {
            Some(sizes) => sizes[at],
            None => memory_of(spec)?.dim().2,
        };
    }
    let inner_path = format!("{path}cell_state/");
    let inner = built(case, &spec["cell"], (prefix, &inner_path), (input + attention_size, batch), memories)?;
    let mut mechanisms = Vec::new();
    for (at, spec) in specs.iter().enumerate() {
        let prefix = if several { format!("{prefix}attention_{at}/") } else { prefix.to_owned() };
        mechanisms.push(mechanism(case, spec, (&prefix, inner.cell.output_size(), memory_of(spec)?.dim().2))?);
    }
    let mut attended = Vec::new();
    for (spec, mechanism) in specs.iter().zip(&mechanisms) {
        // The padding would turn TensorFlow's numbers into NaN. Here it must not affect any.
        let mut memory = memory_of(spec)?.clone();
        let lengths = lengths(case, spec)?;
        for (row, &length) in lengths.iter().flatten().enumerate() {
            memory.slice_mut(ndarray::s![row, length.., ..]).fill(E::of(f64::NAN));
        }
        attended.push(mechanism.memory(&memory, lengths.as_deref())?);
    }
    let builder = AttentionWrapper::builder(inner.cell, mechanisms)
        .output_attention(spec["output_attention"].as_bool().unwrap_or(true))
        .alignment_history(spec["alignment_history"].as_bool().unwrap_or(false));
    let builder = match sizes {
        Some(sizes) => builder.attention_layer_size(sizes),
        None => builder,
    };
    let mut cell = builder.build(&mut Xoshiro256PlusPlus::seed_from_u64(1))?;
    fill(case, prefix, &mut cell)?;
    let state: Attending<E> = cell.attend_to(&attended)?.with_cell_state(inner.state)?;
    let mut names = inner.leaves;
    names.push(format!("{path}attention"));
    names.extend((0..specs.len()).map(|at| numbered(path, "alignments", at, several)));
    let (cell, state) = (BoxedTrainableCell::new(cell), DynState::new(state));
    Ok(Built { cell, state, leaves: names, spec: spec.clone() })
}

fn mechanism_specs(spec: &Value) -> Vec<Value> {
    match &spec["mechanisms"] {
        Value::Array(specs) => specs.clone(),
        one => vec![one.clone()],
    }
}

fn numbered(path: &str, name: &str, at: usize, several: bool) -> String {
    if several { format!("{path}{name}/{at}") } else { format!("{path}{name}") }
}

/// A mechanism's place in the files: the memory's name, and the names of its alignments and its history.
pub struct Place {
    pub memory: String,
    pub history: String,
}

impl<E: Float> Built<E> {
    /// Calls `visit` with every attention state inside and the places of its mechanisms.
    pub fn attentions(&self, state: &mut DynState<E>, visit: &mut dyn FnMut(&mut Attending<E>, &[Place])) {
        attentions(&self.spec, state, "", visit);
    }

    /// The initial state of the file, and whether it has one.
    pub fn initial(&self, case: &Case) -> Result<DynState<E>, Fault> {
        let mut state = self.state.clone();
        self.assign(case, "initial_state/", &mut state, false)?;
        Ok(state)
    }

    /// Sets the leaves that the file has in `group`. `sum` adds the tensors of `alignments` and `attention_state`;
    /// otherwise the second, which a step reads, is preferred.
    pub fn assign(&self, case: &Case, group: &str, state: &mut DynState<E>, sum: bool) -> Result<(), Fault> {
        let (mut names, mut result) = (self.leaves.iter(), Ok(()));
        state.visit_mut(&mut |mut leaf| {
            let Some(name) = names.next() else { return };
            let other = name.replace("alignments", "attention_state");
            let tensor = |name: &String| case.tensors.get(&format!("{group}{name}"));
            let number = match (tensor(name), tensor(&other)) {
                (Some(a), Some(b)) if sum && other != *name => a + b,
                (_, Some(b)) => b.clone(),
                (Some(a), None) => a.clone(),
                (None, None) => return,
            };
            match number.mapv(E::of).into_dimensionality::<ndarray::Ix2>() {
                Ok(number) => leaf.assign(&number),
                Err(error) => result = Err(Fault::Broken(error.to_string())),
            }
        });
        result
    }

    /// Puts the leaves of a state into `found`. The names `attention_state` are those of `alignments`.
    pub fn put(&self, case: &Case, found: &mut Found, group: &str, state: &DynState<E>) {
        let mut names = self.leaves.iter();
        state.visit(&mut |leaf| {
            let Some(name) = names.next() else { return };
            let numbers = leaf.mapv(E::as_f64).into_dyn();
            for name in [name.clone(), name.replace("alignments", "attention_state")] {
                let name = format!("{group}{name}");
                if case.tensors.contains_key(&name) {
                    found.put(name, numbers.clone());
                }
            }
        });
        for name in case.tensors.keys().filter(|name| name.starts_with(group) && name.ends_with("/time")) {
            found.leave_out(name.clone(), TIME);
        }
    }

    /// Puts the histories, compared where a step is before its row's end. Returns whether one is not compared somewhere.
    pub fn put_histories(
        &self,
        found: &mut Found,
        case: &Case,
        group: &str,
        state: &DynState<E>,
        ends: &[usize],
    ) -> bool {
        let mut cut = false;
        self.attentions(&mut state.clone(), &mut |state, places| {
            for (at, place) in places.iter().enumerate() {
                let name = format!("{group}{}", place.history);
                let Some(tensor) = case.tensors.get(&name) else { continue };
                let ours = state.alignment_history(at).mapv(E::as_f64);
                let mut numbers = ArrayD::zeros(tensor.raw_dim());
                let steps = ours.dim().0;
                numbers
                    .slice_each_axis_mut(|axis| if axis.axis.index() == 0 { (..steps).into() } else { (..).into() })
                    .assign(&ours);
                let compared = ArrayD::from_shape_fn(tensor.raw_dim(), |index| index[0] < ends[index[1]]);
                if compared.iter().any(|&compared| !compared) {
                    cut = true;
                    found.leave_out(name.clone(), HISTORY);
                }
                found.put_masked(name, numbers, compared);
            }
        });
        cut
    }

    /// The gradient of a final state from the file's cotangents.
    pub fn d_final(&self, case: &Case, last: &DynState<E>, ends: &[usize]) -> Result<DynState<E>, Fault> {
        let mut d_state = last.clone();
        d_state.visit_mut(&mut |mut leaf| leaf.fill(E::of(0.0)));
        self.assign(case, "cotangent/final_state/", &mut d_state, true)?;
        let mut result = Ok(());
        self.attentions(&mut d_state, &mut |state, places| {
            for (at, place) in places.iter().enumerate() {
                let name = format!("cotangent/final_state/{}", place.history);
                if case.tensors.contains_key(&name) {
                    let set = case
                        .array::<E, Ix3>(&name)
                        .and_then(|history| Ok(state.set_alignment_history_gradient(at, &history, ends)?));
                    result = std::mem::replace(&mut result, Ok(())).and(set);
                }
            }
        });
        result.map(|()| d_state)
    }

    /// The gradient of each memory, from the gradient of the initial state.
    pub fn d_memories(&self, d_initial: &DynState<E>) -> Memories<E> {
        let mut all = Memories::new();
        self.attentions(&mut d_initial.clone(), &mut |state, places| {
            for (at, place) in places.iter().enumerate() {
                let Some(d) = state.memory_gradient(at) else { continue };
                match all.get_mut(&place.memory) {
                    Some(sum) => *sum += &d,
                    None => drop(all.insert(place.memory.clone(), d)),
                }
            }
        });
        all
    }
}

fn attentions<E: Float>(
    spec: &Value,
    state: &mut DynState<E>,
    path: &str,
    visit: &mut dyn FnMut(&mut Attending<E>, &[Place]),
) {
    match spec["kind"].as_str() {
        Some("attention") => {
            let several = spec["mechanisms"].is_array();
            let places: Vec<Place> = mechanism_specs(spec)
                .iter()
                .enumerate()
                .map(|(at, spec)| Place {
                    memory: spec["memory"].as_str().unwrap_or_default().to_owned(),
                    history: numbered(path, "alignment_history", at, several),
                })
                .collect();
            visit(state.downcast_mut().expect("an attention's state"), &places);
        }
        Some("multi") => {
            let states: &mut Vec<DynState<E>> = state.downcast_mut().expect("a stack's state");
            for (layer, (state, spec)) in
                states.iter_mut().zip(spec["cells"].as_array().into_iter().flatten()).enumerate()
            {
                attentions(spec, state, &format!("{path}cell_{layer}/"), visit);
            }
        }
        Some("residual") => {
            attentions(&spec["cell"], state.downcast_mut().expect("a residual's state"), path, visit);
        }
        _ => {}
    }
}
