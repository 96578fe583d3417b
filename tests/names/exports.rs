//! What an exporter writes, its importer reads back bit for bit.

use crate::{bits, bits_of, input, randomized, rng};
use ndarray::Array3;
use rnn_cell::weights::{Tensors, flax, haiku, keras, pytorch, tensorflow};
use rnn_cell::{Activation, BasicRnn, Dense, Embedding, Error, Gru, GruReset, Lstm};
use rnn_cell::{Parameters, RnnCell, dynamic_rnn};

pub type Exported = Result<Tensors<'static, f64>, Error>;

fn all_bits(tensors: &Tensors<'_, f64>) -> Vec<(String, Vec<usize>, Vec<u64>)> {
    let mut tensors = tensors.clone();
    let names: Vec<String> = tensors.names().map(String::from).collect();
    let of = |name: String| {
        let array = tensors.take(&name).unwrap();
        (name, array.shape().to_vec(), bits_of(array.view()))
    };
    names.into_iter().map(of).collect()
}

/// The cell that an importer makes of what an exporter wrote, whose export has the same bits.
fn round_trip<C: Parameters<f64>>(
    cell: &C,
    export: impl Fn(&C, &str) -> Exported,
    import: impl Fn(&mut Tensors<'_, f64>, &str) -> Result<C, Error>,
) -> C {
    let exported = export(cell, "model/cell/").unwrap();
    assert!(exported.names().all(|name| name.starts_with("model/cell/")), "{exported}");
    let mut tensors = exported.clone();
    let back = import(&mut tensors, "model/cell/").unwrap();
    tensors.finish().unwrap();
    assert_eq!(all_bits(&export(&back, "model/cell/").unwrap()), all_bits(&exported));
    back
}

pub fn basic_rnn(activation: Activation, use_bias: bool) -> BasicRnn<f64> {
    let builder = BasicRnn::<f64>::builder(3, 4).activation(activation).use_bias(use_bias);
    randomized(builder.build(&mut rng(1)).unwrap(), 1)
}

pub fn lstm(forget_bias: f64, use_bias: bool) -> Lstm<f64> {
    let builder = Lstm::<f64>::builder(3, 4).forget_bias(forget_bias).use_bias(use_bias);
    randomized(builder.build(&mut rng(2)).unwrap(), 2)
}

pub fn gru(reset: GruReset, use_bias: bool) -> Gru<f64> {
    let builder = Gru::<f64>::builder(3, 4).reset(reset).use_bias(use_bias);
    randomized(builder.build(&mut rng(3)).unwrap(), 3)
}

pub fn run<C: RnnCell<Elem = f64>>(cell: &C, x: &Array3<f64>) -> Array3<f64> {
    dynamic_rnn(cell, x, None, None).unwrap().0
}

fn only<C>(mut cells: Vec<C>) -> C {
    assert_eq!(cells.len(), 1);
    cells.remove(0)
}

#[test]
fn pytorch_reads_back_what_it_wrote() {
    for use_bias in [true, false] {
        let cell = basic_rnn(Activation::Relu, use_bias);
        let export = |cell: &BasicRnn<f64>, prefix: &str| pytorch::export_rnn(std::slice::from_ref(cell), None, prefix);
        let back = round_trip(&cell, export, |t, prefix| {
            pytorch::rnn(t, prefix, &pytorch::Options::default().nonlinearity(Activation::Relu))
                .map(|stack| only(stack.into_cells()))
        });
        assert_eq!(bits(&back), bits(&cell));
        let cell = lstm(0.0, use_bias);
        let export = |cell: &Lstm<f64>, prefix: &str| pytorch::export_lstm(std::slice::from_ref(cell), None, prefix);
        let back =
            round_trip(&cell, export, |t, prefix| pytorch::lstm(t, prefix).map(|stack| only(stack.into_cells())));
        assert_eq!(bits(&back), bits(&cell));
        let cell = gru(GruReset::After, use_bias);
        let export = |cell: &Gru<f64>, prefix: &str| pytorch::export_gru(std::slice::from_ref(cell), None, prefix);
        let back = round_trip(&cell, export, |t, prefix| pytorch::gru(t, prefix).map(|stack| only(stack.into_cells())));
        assert_eq!(bits(&back), bits(&cell));
    }
    let projected = Lstm::<f64>::builder(3, 4).num_proj(2).forget_bias(0.0).build(&mut rng(4)).unwrap();
    let projected = randomized(projected, 4);
    let export = |cell: &Lstm<f64>, prefix: &str| pytorch::export_lstm(std::slice::from_ref(cell), None, prefix);
    let back =
        round_trip(&projected, export, |t, prefix| pytorch::lstm(t, prefix).map(|stack| only(stack.into_cells())));
    assert_eq!(bits(&back), bits(&projected));
}

#[test]
fn keras_reads_back_what_it_wrote() {
    let options = keras::Options::default();
    for use_bias in [true, false] {
        let cell = basic_rnn(Activation::Softsign, use_bias);
        let softsign = options.activation(Activation::Softsign);
        let back = round_trip(
            &cell,
            |cell, prefix| Ok(keras::export_simple_rnn(cell, prefix)),
            |t, prefix| keras::simple_rnn(t, prefix, &softsign),
        );
        assert_eq!(bits(&back), bits(&cell));
        let cell = lstm(0.0, use_bias);
        let back = round_trip(&cell, keras::export_lstm, |t, prefix| keras::lstm(t, prefix, &options));
        assert_eq!(bits(&back), bits(&cell));
        for reset in [GruReset::Before, GruReset::After] {
            let cell = gru(reset, use_bias);
            // Without a bias nothing shows the reset.
            let said = if use_bias { options } else { options.reset_after(reset == GruReset::After) };
            let back = round_trip(
                &cell,
                |cell, prefix| Ok(keras::export_gru(cell, prefix)),
                |t, prefix| keras::gru(t, prefix, &said),
            );
            assert_eq!((bits(&back), back.reset()), (bits(&cell), reset));
        }
    }
}

#[test]
fn tensorflow_reads_back_what_it_wrote() {
    let sigmoid = basic_rnn(Activation::Sigmoid, true);
    let back = round_trip(
        &sigmoid,
        |cell, prefix| Ok(tensorflow::export_basic_rnn(cell, prefix)),
        |t, prefix| tensorflow::basic_rnn(t, prefix, &tensorflow::Options::default().activation(Activation::Sigmoid)),
    );
    assert_eq!(bits(&back), bits(&sigmoid));
    let all = Lstm::<f64>::builder(3, 4).forget_bias(0.5).use_peepholes(true).num_proj(5).cell_clip(3.0);
    let all = randomized(all.build(&mut rng(5)).unwrap(), 5);
    let back = round_trip(&all, tensorflow::export_lstm, |t, prefix| {
        tensorflow::lstm(t, prefix, &tensorflow::Options::default().forget_bias(0.5).cell_clip(3.0))
    });
    assert_eq!((bits(&back), back.forget_bias()), (bits(&all), 0.5));
    let cell = gru(GruReset::Before, true);
    let back = round_trip(&cell, tensorflow::export_gru, |t, prefix| {
        tensorflow::gru(t, prefix, &tensorflow::Options::default())
    });
    assert_eq!(bits(&back), bits(&cell));
}

#[test]
fn flax_reads_back_what_it_wrote() {
    let cell = basic_rnn(Activation::Tanh, true);
    for export in [flax::export_simple, flax::export_nnx_simple] {
        assert_eq!(bits(&round_trip(&cell, export, flax::simple)), bits(&cell));
    }
    let cell = lstm(0.0, true);
    for export in [flax::export_lstm, flax::export_nnx_lstm] {
        assert_eq!(bits(&round_trip(&cell, export, flax::lstm)), bits(&cell));
    }
    let cell = gru(GruReset::After, true);
    assert_eq!(bits(&round_trip(&cell, flax::export_gru, flax::gru)), bits(&cell));
    let error = flax::export_nnx_gru(&cell, "").unwrap_err();
    let message = "a GRUCell of flax.nnx has no recurrent bias of the candidate, but the cell has one that is not 0";
    assert_eq!(error.to_string(), message);
    let mut weights = cell.weights().clone();
    weights.candidate_recurrent_bias = Some(ndarray::Array1::from_elem(4, -0.0));
    let cell = Gru::<f64>::builder(3, 4).reset(GruReset::After).build_from(weights).unwrap();
    assert_eq!(bits(&round_trip(&cell, flax::export_nnx_gru, flax::gru)), bits(&cell));
}

#[test]
fn haiku_reads_back_what_it_wrote() {
    let cell = basic_rnn(Activation::Relu, true);
    assert_eq!(bits(&round_trip(&cell, haiku::export_vanilla_rnn, haiku::vanilla_rnn)), bits(&cell));
    let cell = lstm(1.0, true);
    assert_eq!(bits(&round_trip(&cell, haiku::export_lstm, haiku::lstm)), bits(&cell));
    let cell = gru(GruReset::Before, true);
    assert_eq!(bits(&round_trip(&cell, haiku::export_gru, haiku::gru)), bits(&cell));
}

#[test]
fn layers_of_one_matrix_come_back() {
    let rng = &mut rng(6);
    for use_bias in [true, false] {
        let bias = use_bias.then(|| ndarray::array![1.0, -0.0]);
        let dense = Dense::from_weights(randomized(Dense::<f64>::new(3, 2, rng), 6).kernel().clone(), bias).unwrap();
        for (exported, import) in [
            (pytorch::export_dense(&dense, "dense/"), pytorch::dense as fn(&mut Tensors<'_, f64>, &str) -> _),
            (keras::export_dense(&dense, "dense/"), keras::dense),
            (tensorflow::export_dense(&dense, "dense/"), tensorflow::dense),
            (flax::export_dense(&dense, "dense/"), flax::dense),
        ] {
            let mut tensors = exported;
            assert_eq!(bits(&import(&mut tensors, "dense/").unwrap()), bits(&dense));
            tensors.finish().unwrap();
        }
    }
    let embedding = Embedding::from_weights(rnn_cell::init::uniform((5, 3), 1.0, rng)).unwrap();
    let mut tensors = pytorch::export_embedding(&embedding, "emb.");
    tensors.append(keras::export_embedding(&embedding, "embedding/"));
    tensors.append(tensorflow::export_embedding(&embedding, "table"));
    for back in [
        pytorch::embedding(&mut tensors, "emb.").unwrap(),
        keras::embedding(&mut tensors, "embedding/").unwrap(),
        tensorflow::embedding(&mut tensors, "table").unwrap(),
    ] {
        assert_eq!(bits(&back), bits(&embedding));
    }
    tensors.finish().unwrap();
}

/// Outputs are the same where a framework always has a bias, and where forget_bias goes into it.
#[test]
fn what_a_framework_adds_changes_no_output() {
    let x = input(7);
    let simple = basic_rnn(Activation::Tanh, false);
    for mut tensors in [flax::export_simple(&simple, "").unwrap(), flax::export_nnx_simple(&simple, "").unwrap()] {
        let back = flax::simple(&mut tensors, "").unwrap();
        assert_eq!(run(&back, &x), run(&simple, &x));
    }
    let back =
        tensorflow::basic_rnn(&mut tensorflow::export_basic_rnn(&simple, ""), "", &tensorflow::Options::default())
            .unwrap();
    assert_eq!(run(&back, &x), run(&simple, &x));
    for (forget_bias, use_bias) in [(0.0, false), (1.0, false), (0.25, true)] {
        let cell = lstm(forget_bias, use_bias);
        let mut all = vec![
            keras::lstm(&mut keras::export_lstm(&cell, "").unwrap(), "", &Default::default()).unwrap(),
            flax::lstm(&mut flax::export_lstm(&cell, "").unwrap(), "").unwrap(),
            flax::lstm(&mut flax::export_nnx_lstm(&cell, "").unwrap(), "").unwrap(),
            haiku::lstm(&mut haiku::export_lstm(&cell, "").unwrap(), "").unwrap(),
        ];
        all.push({
            let mut tensors = tensorflow::export_lstm(&cell, "").unwrap();
            tensorflow::lstm(&mut tensors, "", &tensorflow::Options::default().forget_bias(forget_bias)).unwrap()
        });
        for back in all {
            let error = (run(&back, &x) - run(&cell, &x)).iter().fold(0.0_f64, |most, d| most.max(d.abs()));
            assert!(error < 1e-15, "{error:e}");
        }
    }
    let before = gru(GruReset::Before, false);
    let back = tensorflow::gru(&mut tensorflow::export_gru(&before, "").unwrap(), "", &tensorflow::Options::default())
        .unwrap();
    assert_eq!(run(&back, &x), run(&before, &x));
    assert_eq!(run(&haiku::gru(&mut haiku::export_gru(&before, "").unwrap(), "").unwrap(), &x), run(&before, &x));
    let after = gru(GruReset::After, false);
    for mut tensors in [flax::export_gru(&after, "").unwrap(), flax::export_nnx_gru(&after, "").unwrap()] {
        assert_eq!(run(&flax::gru(&mut tensors, "").unwrap(), &x), run(&after, &x));
    }
}
