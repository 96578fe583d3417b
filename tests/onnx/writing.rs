//! What is written is read back bit for bit. `tools/onnx_run.py` runs it with ONNX Runtime.

use ndarray::{Array1, Array2, Array3, Axis};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rnn_cell::cells::LstmBuilder;
use rnn_cell::weights::onnx::{Export, Model, Operator};
use rnn_cell::weights::{Tensors, onnx, safetensors};
use rnn_cell::{
    Activation, BasicRnn, Bidirectional, Error, Float, Gru, GruReset, Lstm, LstmState, Parameters, ParametersMut,
    dynamic_rnn, init, stack_bidirectional_dynamic_rnn,
};
use std::path::PathBuf;

type Rng = Xoshiro256PlusPlus;

/// Random weights, and a few that are odd.
fn randomized<E: Float, P: ParametersMut<E>>(mut cell: P, rng: &mut Rng) -> P {
    cell.visit_parameters_mut(&mut |_, mut array| {
        let random = init::uniform::<E, _>((1, array.len()), 0.6, rng);
        array.iter_mut().zip(&random).for_each(|(to, from)| *to = *from);
        if let Some(first) = array.first_mut() {
            *first = -E::zero();
        }
    });
    cell
}

fn rng() -> Rng {
    Rng::seed_from_u64(3)
}

fn bits<E: Float>(cell: &impl Parameters<E>) -> Vec<(String, Vec<u64>)> {
    let mut all = Vec::new();
    cell.visit_parameters(&mut |name, array| {
        all.push((name.to_string(), array.iter().map(|number| number.as_f64().to_bits()).collect()));
    });
    all
}

fn lstm<E: Float>(input: usize, options: impl FnOnce(LstmBuilder<E>) -> LstmBuilder<E>, rng: &mut Rng) -> Lstm<E> {
    randomized(options(Lstm::builder(input, 4).forget_bias(E::zero())).build(rng).unwrap(), rng)
}

fn gru<E: Float>(input: usize, reset: GruReset, use_bias: bool, rng: &mut Rng) -> Gru<E> {
    randomized(Gru::builder(input, 4).reset(reset).use_bias(use_bias).build(rng).unwrap(), rng)
}

fn all_kinds_come_back<E: Float>() {
    let rng = &mut rng();
    let usual = |builder: LstmBuilder<E>| builder;
    let own = |builder: LstmBuilder<E>| {
        builder.use_peepholes(true).activation(Activation::Softsign).gate_activation(Activation::HardSigmoid)
    };
    let pairs = [[lstm(3, usual, rng), lstm(3, usual, rng)], [lstm(8, own, rng), lstm(8, own, rng)]];
    let [[fw_0, bw_0], [fw_1, bw_1]] = pairs;
    let (forward, backward) = ([fw_0, fw_1], [bw_0, bw_1]);
    let bytes = Export::new(&forward).backward(&backward).to_bytes().unwrap();
    let model = Model::from_bytes(&bytes).unwrap();
    for (layer, name) in ["layer_0", "layer_1"].into_iter().enumerate() {
        let read = model.node(name).unwrap().bidirectional_lstm::<E>().unwrap();
        for (read, written) in [(&read.fw, &forward[layer]), (&read.bw, &backward[layer])] {
            assert_eq!(bits(read), bits(written));
            let options = |cell: &Lstm<E>| (cell.activation(), cell.gate_activation(), cell.use_peepholes());
            assert_eq!(options(read), options(written));
        }
    }
    for (reset, use_bias) in [(GruReset::Before, true), (GruReset::After, true), (GruReset::After, false)] {
        let written = gru::<E>(3, reset, use_bias, rng);
        let bytes = Export::new(std::slice::from_ref(&written)).to_bytes().unwrap();
        let read = Model::from_bytes(&bytes).unwrap().node("layer_0").unwrap().gru::<E>().unwrap();
        assert_eq!((read.reset(), bits(&read)), (reset, bits(&written)));
    }
    for activation in [
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Relu,
        Activation::Elu,
        Activation::Softsign,
        Activation::HardSigmoid,
        Activation::Linear,
        Activation::HardSigmoidWith { slope: 0.25, offset: 0.375 },
        Activation::LeakyRelu { alpha: 0.125 },
        Activation::ThresholdedRelu { alpha: -0.5 },
        Activation::EluWith { alpha: 0.75 },
        Activation::ScaledTanh { alpha: 1.5, beta: -0.5 },
        Activation::Affine { alpha: 1.0, beta: 0.25 },
    ] {
        let build = |use_bias| BasicRnn::<E>::builder(3, 4).activation(activation).use_bias(use_bias);
        let written = [true, false].map(|use_bias| randomized(build(use_bias).build(rng).unwrap(), rng));
        for written in written {
            let bytes = Export::new(std::slice::from_ref(&written)).to_bytes().unwrap();
            let read = Model::from_bytes(&bytes).unwrap().node("layer_0").unwrap().rnn::<E>().unwrap();
            assert_eq!((read.activation(), bits(&read)), (activation, bits(&written)));
        }
    }
}

#[test]
fn every_bit_comes_back() {
    all_kinds_come_back::<f32>();
    all_kinds_come_back::<f64>();
}

#[test]
fn a_forget_bias_is_a_part_of_the_bias() {
    let rng = &mut rng();
    let x = init::uniform::<f32, _>((10, 3), 2.0, rng).into_shape_with_order((2, 5, 3)).unwrap();
    for use_bias in [true, false] {
        let written = lstm::<f32>(3, |builder| builder.forget_bias(0.75).use_bias(use_bias), rng);
        let bytes = Export::new(std::slice::from_ref(&written)).to_bytes().unwrap();
        let read = Model::from_bytes(&bytes).unwrap().node("layer_0").unwrap().lstm::<f32>().unwrap();
        assert_eq!((read.forget_bias(), read.use_bias()), (0.0, true));
        let outputs = |cell| dynamic_rnn(cell, &x, None, None).unwrap().0;
        let difference = &outputs(&read) - &outputs(&written);
        assert!(difference.iter().all(|difference| difference.abs() < 1e-6), "{difference}");
    }
}

#[test]
fn a_saved_model_is_the_bytes() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("saved.onnx");
    let cells = [gru::<f32>(3, GruReset::After, true, &mut rng())];
    Export::new(&cells).states(true).save(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), Export::new(&cells).states(true).to_bytes().unwrap());
    assert_eq!(bits(&Model::open(&path).unwrap().node("layer_0").unwrap().gru::<f32>().unwrap()), bits(&cells[0]));
}

#[test]
fn what_onnx_lacks_is_refused() {
    let rng = &mut rng();
    fn error<C: Operator>(export: Export<'_, C>) -> String {
        export.to_bytes().unwrap_err().to_string()
    }
    assert_eq!(error(Export::<Gru<f32>>::new(&[])), "the number of layers is 0, but must be at least 1");
    let cells = [lstm::<f32>(3, |builder| builder.cell_clip(3.0), rng)];
    let message = "ONNX's LSTM has neither a projection nor a clip of c, but the cell has cell_clip 3";
    assert_eq!(error(Export::new(&cells)), message);
    let cells = [lstm::<f32>(3, |builder| builder.num_proj(2), rng)];
    assert!(error(Export::new(&cells)).ends_with("the cell has a projection"));
    let (three, four) = ([gru::<f32>(3, GruReset::After, true, rng)], [gru::<f32>(4, GruReset::After, true, rng)]);
    let both = [three[0].clone(), four[0].clone()];
    assert_eq!(
        error(Export::new(&three).backward(&both)),
        "ONNX has as many backward layers as forward ones, but the cell has 1 forward and 2 backward layers"
    );
    assert_eq!(
        error(Export::new(&three).backward(&four)),
        "backward[0] has an input_size of 4, but is given 3 features"
    );
    assert_eq!(error(Export::new(&both).backward(&both)), "forward[1] has an input_size of 4, but is given 8 features");
    for other in [gru::<f32>(3, GruReset::Before, true, rng), gru(3, GruReset::After, false, rng)] {
        assert_eq!(
            error(Export::new(&three).backward(&[other])),
            "a node of ONNX has directions with the same sizes, biases, peepholes and reset, but the cell has others in \
             layer 0"
        );
    }
    assert!(matches!(Export::new(&three).backward(&[]).to_bytes(), Err(Error::NotRepresentable { .. })));
}

/// Writes a model with what it is given and what we compute, for `tools/onnx_run.py`.
struct Case<'a> {
    name: &'a str,
    file: Tensors<'static, f32>,
    x: Array3<f32>,
}

impl<'a> Case<'a> {
    fn new(name: &'a str, rng: &mut Rng) -> Self {
        let x: Array3<f32> = init::uniform((12, 3), 2.0, rng).into_shape_with_order((2, 6, 3)).unwrap();
        let mut file = Tensors::new();
        file.insert("x", x.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned());
        Self { name, file, x }
    }

    fn save<C: Operator<Elem = f32>>(mut self, export: Export<'_, C>, y: &Array3<f32>) {
        self.file.insert("y", y.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("onnx_export");
        std::fs::create_dir_all(&folder).unwrap();
        export.save(folder.join(format!("{}.onnx", self.name))).unwrap();
        safetensors::save_tensors(self.file, folder.join(format!("{}.safetensors", self.name))).unwrap();
    }
}

fn one_way<C: Operator<Elem = f32> + Clone>(name: &str, cells: &[C], rng: &mut Rng) {
    let case = Case::new(name, rng);
    let stack = rnn_cell::MultiRnnCell::new(cells.to_vec()).unwrap();
    let (y, _) = dynamic_rnn(&stack, &case.x, None, None).unwrap();
    case.save(Export::new(cells), &y);
}

/// A pair of stacks with lengths.
fn both_ways<C: Operator<Elem = f32>>(name: &str, [forward, backward]: [&[C]; 2], rng: &mut Rng) {
    let mut case = Case::new(name, rng);
    let lengths = [6, 4];
    case.file.insert("sequence_lens", Array1::from(lengths.map(|len| len as f32).to_vec()));
    let (y, ..) = stack_bidirectional_dynamic_rnn(forward, backward, &case.x, Some(&lengths), None, None).unwrap();
    case.save(Export::new(forward).backward(backward).sequence_lens(true), &y);
}

#[test]
fn models_for_onnx_runtime_are_written() {
    let rng = &mut rng();
    let own = |builder: LstmBuilder<f32>| builder.use_peepholes(true).forget_bias(1.0);
    let other = |builder: LstmBuilder<f32>| {
        builder.activation(Activation::Softsign).gate_activation(Activation::HardSigmoid).use_bias(false)
    };
    one_way("lstm", &[lstm(3, own, rng), lstm(4, other, rng)], rng);
    let pairs = [[lstm(3, own, rng), lstm(8, own, rng)], [lstm(3, own, rng), lstm(8, own, rng)]];
    both_ways("lstm_both", pairs.each_ref().map(|pair| &pair[..]), rng);
    one_way("gru", &[gru(3, GruReset::Before, true, rng), gru(4, GruReset::After, true, rng)], rng);
    let after = |input, rng: &mut _| gru(input, GruReset::After, true, rng);
    let pairs = [[after(3, rng), after(8, rng)], [after(3, rng), after(8, rng)]];
    both_ways("gru_both", pairs.each_ref().map(|pair| &pair[..]), rng);
    let rnn = |input, activation, rng: &mut _| {
        randomized(BasicRnn::<f32>::builder(input, 4).activation(activation).build(rng).unwrap(), rng)
    };
    one_way("rnn", &[rnn(3, Activation::Relu, rng), rnn(4, Activation::Linear, rng)], rng);
    let scaled = Activation::ScaledTanh { alpha: 1.5, beta: -0.5 };
    let leaky = Activation::LeakyRelu { alpha: 0.1 };
    one_way("rnn_numbers", &[rnn(3, scaled, rng), rnn(4, leaky, rng)], rng);
    let numbers = |builder: LstmBuilder<f32>| {
        let gates = Activation::HardSigmoidWith { slope: 1.0 / 6.0, offset: 0.5 };
        builder.activation(Activation::EluWith { alpha: 0.5 }).gate_activation(gates)
    };
    one_way("lstm_numbers", &[lstm(3, numbers, rng)], rng);
    let pairs = [
        [rnn(3, Activation::Elu, rng), rnn(8, Activation::Tanh, rng)],
        [rnn(3, Activation::HardSigmoid, rng), rnn(8, Activation::Sigmoid, rng)],
    ];
    both_ways("rnn_both", pairs.each_ref().map(|pair| &pair[..]), rng);

    // With states in and out.
    let cells = [lstm(3, own, rng), lstm(4, own, rng)];
    let mut case = Case::new("states", rng);
    let states = [0, 1].map(|layer| {
        let [c, h] = ["c", "h"].map(|leaf| {
            let state: Array2<f32> = init::uniform((2, 4), 1.0, rng);
            case.file.insert(format!("initial_{leaf}_{layer}"), state.clone().insert_axis(Axis(0)));
            state
        });
        LstmState { c, h }
    });
    let stack = rnn_cell::MultiRnnCell::new(cells.to_vec()).unwrap();
    let (y, last) = dynamic_rnn(&stack, &case.x, None, Some(states.to_vec())).unwrap();
    for (layer, LstmState { c, h }) in last.into_iter().enumerate() {
        case.file.insert(format!("final_c_{layer}"), c.insert_axis(Axis(0)));
        case.file.insert(format!("final_h_{layer}"), h.insert_axis(Axis(0)));
    }
    case.save(Export::new(&cells).states(true), &y);
}

/// Whoever runs the model takes its outputs by their places.
#[test]
fn outputs_are_in_the_tables_order() {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(31);
    let cells = [Lstm::<f32>::new(3, 4, rng), Lstm::new(4, 4, rng)];
    let bytes = Export::new(&cells).states(true).to_bytes().unwrap();
    // A graph's input or output: its name (field 1), then its type (field 2).
    let place = |name: &str| {
        let found = [&[0x0a, name.len() as u8], name.as_bytes(), &[0x12]].concat();
        bytes.windows(found.len()).position(|window| window == found).unwrap()
    };
    let places = ["y", "final_h_0", "final_c_0", "final_h_1", "final_c_1"].map(place);
    assert!(places.is_sorted(), "{places:?}");
}

/// The tensors of the operators, without a model: what is read back is exported with the same bits.
#[test]
fn tensors_under_the_operators_names_come_back() {
    fn check<C: onnx::Operator<Elem = f32> + Parameters<f32>>(
        [fw, bw]: [C; 2],
        one: impl Fn(&mut Tensors<'_, f32>, &str, &onnx::Options) -> Result<C, Error>,
        both: impl Fn(&mut Tensors<'_, f32>, &str, &onnx::Options) -> Result<Bidirectional<C>, Error>,
        options: &onnx::Options,
    ) {
        let weights = |cell: &C| {
            let mut all = Vec::new();
            cell.visit_parameters(&mut |name, array| {
                all.push((name.to_owned(), array.iter().map(|number| number.to_bits()).collect::<Vec<_>>()));
            });
            all
        };
        let mut tensors = onnx::export(&fw, None, "a/").unwrap();
        assert_eq!(weights(&one(&mut tensors, "a/", options).unwrap()), weights(&fw));
        tensors.finish().unwrap();
        let mut tensors = onnx::export(&fw, Some(&bw), "").unwrap();
        let pair = both(&mut tensors, "", options).unwrap();
        assert_eq!((weights(&pair.fw), weights(&pair.bw)), (weights(&fw), weights(&bw)));
        tensors.finish().unwrap();
    }
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(5);
    let options = onnx::Options::default();
    for has in [true, false] {
        let cells = [(); 2].map(|()| BasicRnn::<f32>::builder(3, 4).use_bias(has).build(rng).unwrap());
        check(cells, onnx::rnn, onnx::bidirectional_rnn, &options);
        let lstm = || Lstm::<f32>::builder(3, 4).forget_bias(0.0).use_bias(has).use_peepholes(has);
        check([(); 2].map(|()| lstm().build(rng).unwrap()), onnx::lstm, onnx::bidirectional_lstm, &options);
        for reset in [GruReset::Before, GruReset::After] {
            let cells = [(); 2].map(|()| Gru::<f32>::builder(3, 4).use_bias(has).reset(reset).build(rng).unwrap());
            let options = options.linear_before_reset(reset == GruReset::After);
            check(cells, onnx::gru, onnx::bidirectional_gru, &options);
        }
    }
    let error = onnx::export(&Lstm::<f32>::builder(3, 4).num_proj(2).build(rng).unwrap(), None, "").unwrap_err();
    assert!(error.to_string().contains("a projection"), "{error}");
    let [narrow, wide] = [3, 4].map(|input| Gru::<f32>::new(input, 4, rng));
    let error = onnx::export(&narrow, Some(&wide), "").unwrap_err();
    assert!(error.to_string().contains("directions with the same sizes"), "{error}");
}
