//! Attention with weights of 16 and 8 bits.

use crate::models::{DEPTH, INPUT, array, each_model, memory, rng, two_mechanisms};
use crate::rounded::rounded;
use ndarray::Array3;
use rnn_cell::seq2seq::Probability;
use rnn_cell::{Compressed, Embedding, ParametersMut, RnnCell, WeightFormat, dynamic_rnn};

fn round_matrices(cell: &mut impl ParametersMut<f32>) {
    cell.visit_parameters_mut(&mut |name, mut weight| {
        if name.ends_with("kernel") {
            weight.mapv_inplace(rounded);
        }
    });
}

#[test]
fn bf16_is_f32_with_rounded_weights_bit_for_bit() {
    let mut rng = rng(3);
    each_model::<f32>(&mut |name, cell| {
        let (memory, lengths) = memory(&mut rng);
        let x: Array3<f32> = array((3, 6, INPUT), &mut rng);
        let small = Compressed::new(cell.clone(), WeightFormat::Bf16).unwrap();
        let mut cell = cell.clone();
        round_matrices(&mut cell);
        let state = cell.attend(&memory, Some(&lengths)).unwrap();
        let (expected, last) = dynamic_rnn(&cell, &x, Some(&[6, 2, 4]), Some(state)).unwrap();
        let state = small.attend(&memory, Some(&lengths)).unwrap();
        let (found, found_last) = dynamic_rnn(&small, &x, Some(&[6, 2, 4]), Some(state)).unwrap();
        assert_eq!(expected, found, "{name}");
        assert_eq!(last.alignments(0), found_last.alignments(0), "{name}");
    });
}

#[test]
fn int8_is_near() {
    let mut rng = rng(4);
    each_model::<f32>(&mut |name, cell| {
        // Which step is the largest may change with any rounding.
        if name.contains(&format!("{:?}", Probability::Hardmax)) || name.contains("Hard") {
            return;
        }
        let (memory, lengths) = memory(&mut rng);
        let x: Array3<f32> = array((3, 6, INPUT), &mut rng);
        let state = cell.attend(&memory, Some(&lengths)).unwrap();
        let (expected, _) = dynamic_rnn(cell, &x, None, Some(state)).unwrap();
        let small = Compressed::new(cell.clone(), WeightFormat::Int8).unwrap();
        let state = small.attend(&memory, Some(&lengths)).unwrap();
        let (found, _) = dynamic_rnn(&small, &x, None, Some(state)).unwrap();
        assert_ne!(expected, found, "{name}");
        assert!(expected.abs_diff_eq(&found, 0.05), "{name}: {expected} and {found}");
    });
}

#[test]
fn each_mechanism_may_have_its_own_memory() {
    let mut rng = rng(5);
    let mut cell = two_mechanisms::<f32>(&mut rng);
    let small = Compressed::new(cell.clone(), WeightFormat::Bf16).unwrap();
    round_matrices(&mut cell);
    let (first, lengths) = memory(&mut rng);
    let second: Array3<f32> = array((3, 2, DEPTH), &mut rng);
    let memories = [small.memory(0, &first, Some(&lengths)).unwrap(), small.memory(1, &second, None).unwrap()];
    let state = small.attend_to(&memories).unwrap();
    let mechanisms = cell.mechanisms();
    let memories =
        [mechanisms[0].memory(&first, Some(&lengths)).unwrap(), mechanisms[1].memory(&second, None).unwrap()];
    let expected_state = cell.attend_to(&memories).unwrap();
    let x: Array3<f32> = array((3, 4, cell.input_size()), &mut rng);
    let (found, _) = dynamic_rnn(&small, &x, None, Some(state)).unwrap();
    let (expected, _) = dynamic_rnn(&cell, &x, None, Some(expected_state)).unwrap();
    assert_eq!(expected, found);
    // cell, two memory layers, a query layer and two attention layers, two bytes a weight
    let weights = (INPUT + 5 + 4) * 16 + DEPTH * (5 + 4) + 4 * 5 + (4 + DEPTH) * (2 + 3);
    assert!(small.bytes() >= 2 * weights, "{} bytes, {weights} weights", small.bytes());
}

/// A decoder takes a compressed cell as any other.
#[test]
fn decoders_run_it() {
    use rnn_cell::seq2seq::{BasicDecoder, GreedyEmbeddingHelper, dynamic_decode};
    let mut rng = rng(6);
    let cell = two_mechanisms::<f32>(&mut rng);
    let embedding = Embedding::<f32>::new(4, cell.input_size(), &mut rng);
    let (memory, lengths) = memory(&mut rng);
    let small = Compressed::new(cell, WeightFormat::Int8).unwrap();
    let state = small.attend(&memory, Some(&lengths)).unwrap();
    let helper = GreedyEmbeddingHelper::new(&embedding, vec![1; 3], 0);
    let decoded = dynamic_decode(BasicDecoder::new(&small, helper, state)).maximum_iterations(5).run().unwrap();
    assert_eq!(decoded.sample_id.nrows(), 3);
}

#[cfg(feature = "safetensors")]
#[test]
fn every_bit_of_a_file_comes_back() {
    use rnn_cell::weights::safetensors;
    for format in [WeightFormat::Bf16, WeightFormat::Int8] {
        let [saved, mut cell] = [7, 8].map(|seed| Compressed::new(two_mechanisms(&mut rng(seed)), format).unwrap());
        let bytes = safetensors::compressed_to_bytes(&saved).unwrap();
        assert_ne!(safetensors::compressed_to_bytes(&cell).unwrap(), bytes);
        safetensors::compressed_from_bytes(&mut cell, &bytes).unwrap();
        assert_eq!(safetensors::compressed_to_bytes(&cell).unwrap(), bytes);
    }
}
