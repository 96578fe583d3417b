//! Batches of rows of different lengths, against TensorFlow's documentation and brute force.

use ndarray::{Array2, array};
use rnn_cell::Error;
use rnn_cell::data::{Batch, Batches, BatchesBuilder};

/// The elements of the example of `tf.data.Dataset.bucket_by_sequence_length`.
fn elements() -> Vec<Vec<i32>> {
    vec![vec![0], vec![1, 2, 3, 4], vec![5, 6, 7], vec![7, 8, 9, 10, 11], vec![13, 14, 15, 16, 19, 20], vec![21, 22]]
}

fn lengths() -> Vec<usize> {
    elements().iter().map(Vec::len).collect()
}

fn padded(builder: BatchesBuilder, padding: i32) -> Vec<Array2<i32>> {
    let batches = builder.build(&lengths()).unwrap();
    batches.epoch(0).map(|batch| batch.steps(&elements(), padding).unwrap()).collect()
}

#[test]
fn batches_are_those_of_tensorflow() {
    let buckets = Batches::builder().bucket_by_sequence_length(&[3, 5], &[2, 2, 2]);
    let expected = [
        array![[1, 2, 3, 4], [5, 6, 7, 0]],
        array![[7, 8, 9, 10, 11, 0], [13, 14, 15, 16, 19, 20]],
        array![[0, 0], [21, 22]],
    ];
    assert_eq!(padded(buckets, 0), expected);
    let to_boundary = Batches::builder().bucket_by_sequence_length(&[4, 7], &[2, 2, 2]).pad_to_bucket_boundary(true);
    let expected = [
        array![[0, -1, -1], [5, 6, 7]],
        array![[1, 2, 3, 4, -1, -1], [7, 8, 9, 10, 11, -1]],
        array![[21, 22, -1]],
        array![[13, 14, 15, 16, 19, 20]],
    ];
    assert_eq!(padded(to_boundary.clone(), -1), expected);
    assert_eq!(padded(to_boundary.drop_remainder(true), -1), expected[..2]);
}

/// Many lengths, and what each option promises of them.
#[test]
fn every_row_comes_once_and_in_its_bucket() {
    let lengths: Vec<usize> = (0..500).map(|row| row * row % 37).collect();
    let (boundaries, sizes) = ([4, 10, 11, 30], [7, 5, 2, 8, 3]);
    let bucket = |length: usize| boundaries.iter().filter(|&&boundary| length >= boundary).count();
    for (drop, shuffle) in [(false, None), (true, None), (false, Some(1)), (true, Some(2))] {
        let mut builder = Batches::builder().bucket_by_sequence_length(&boundaries, &sizes).drop_remainder(drop);
        if let Some(seed) = shuffle {
            builder = builder.shuffle(seed);
        }
        let plan = builder.build(&lengths).unwrap();
        let (epoch, batches) = (plan.epoch(3), plan.epoch(3).collect::<Vec<_>>());
        assert_eq!(epoch.len(), batches.len());
        let mut seen = vec![0; lengths.len()];
        let mut short = vec![0; sizes.len()];
        for batch in &batches {
            let of_first = bucket(batch.lengths()[0]);
            assert!(batch.lengths().iter().all(|&length| bucket(length) == of_first));
            assert_eq!(batch.seq(), *batch.lengths().iter().max().unwrap());
            assert_eq!(batch.lengths(), batch.rows_of(&lengths).unwrap());
            assert!(batch.rows().len() <= sizes[of_first]);
            short[of_first] += usize::from(batch.rows().len() < sizes[of_first]);
            batch.rows().iter().for_each(|&row| seen[row] += 1);
        }
        assert!(seen.iter().all(|&times| times <= 1));
        let left_out = seen.iter().filter(|&&times| times == 0).count();
        let in_bucket = |k: usize| lengths.iter().filter(|&&length| bucket(length) == k).count();
        let remainder: usize = (0..sizes.len()).map(|k| in_bucket(k) % sizes[k]).sum();
        assert!(remainder > 0);
        assert_eq!(left_out, if drop { remainder } else { 0 });
        assert!(short.iter().all(|&times| times <= usize::from(!drop)));
    }
}

#[test]
fn an_order_depends_on_the_seed_and_the_epoch_alone() {
    let order = |seed: u64, epoch: u64| -> Vec<usize> {
        let plan = Batches::builder().batch_size(3).shuffle(seed).build(&[1; 10]).unwrap();
        plan.epoch(epoch).flat_map(|batch| batch.rows().to_vec()).collect()
    };
    // Computed apart from this code. An order that a run resumes from may not change.
    assert_eq!(order(1, 0), [5, 6, 4, 3, 0, 2, 7, 8, 1, 9]);
    assert_eq!(order(1, 0), order(1, 0));
    assert_ne!(order(1, 0), order(1, 1));
    assert_ne!(order(1, 0), order(2, 0));
    // Each row is as often at each place: 10 · 10 counts of 400 on average, whose standard deviation is 19.
    let mut counts = [[0; 10]; 10];
    for epoch in 0..4000 {
        order(5, epoch).iter().enumerate().for_each(|(place, &row)| counts[place][row] += 1);
    }
    assert!(counts.iter().flatten().all(|&count| (300..500).contains(&count)), "{counts:?}");
    // An epoch resumes where it stopped.
    let plan = Batches::builder().batch_size(3).shuffle(1).build(&[1; 10]).unwrap();
    let all: Vec<Batch> = plan.epoch(0).collect();
    assert_eq!(plan.epoch(0).skip(2).collect::<Vec<_>>(), all[2..]);
}

#[test]
fn features_are_padded_with_zeros() {
    let features = [array![[1.0, 2.0]], array![[3.0, 4.0], [5.0, 6.0]], Array2::zeros((0, 2))];
    let plan = Batches::builder().batch_size(3).build(&[1, 2, 0]).unwrap();
    let batch = plan.epoch(0).next().unwrap();
    let expected = array![[[1.0, 2.0], [0.0, 0.0]], [[3.0, 4.0], [5.0, 6.0]], [[0.0, 0.0], [0.0, 0.0]]];
    assert_eq!(batch.features(&features).unwrap(), expected);
    let none = Batches::builder().build(&[]).unwrap();
    assert_eq!((none.epoch(0).len(), none.epoch(0).next()), (0, None));

    let error = batch.features(&features[..2]).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "features".into(), expected: vec![3], found: vec![2] });
    let wide = [features[0].clone(), Array2::zeros((2, 3)), features[2].clone()];
    let error = batch.features(&wide).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "features[1]".into(), expected: vec![2, 2], found: vec![2, 3] });
    let error = batch.steps(&[vec![1], vec![1, 2, 3], vec![]], 0).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "steps[1]".into(), expected: vec![2], found: vec![3] });
    let error = batch.rows_of(&[1]).unwrap_err();
    assert_eq!(error, Error::ArrayShape { argument: "rows".into(), expected: vec![3], found: vec![1] });
}

#[test]
fn plans_that_make_no_sense_are_errors() {
    let message = |builder: BatchesBuilder| builder.build(&[3, 9]).unwrap_err().to_string();
    let buckets =
        |boundaries: &[usize], sizes: &[usize]| Batches::builder().bucket_by_sequence_length(boundaries, sizes);
    assert_eq!(message(Batches::builder().batch_size(0)), "batch_size is 0, but must be at least 1");
    assert_eq!(message(buckets(&[5], &[2, 0])), "batch_size is 0, but must be at least 1");
    assert_eq!(message(buckets(&[0, 5], &[2, 2, 2])), "boundary is 0, but must be at least 1");
    assert_eq!(message(buckets(&[5, 5], &[2, 2, 2])), "boundary is 5, but must be above the boundary before it");
    assert_eq!(message(buckets(&[5], &[2])), "batch_sizes has shape [1], but must have [2]");
    let padded = |builder: BatchesBuilder| message(builder.pad_to_bucket_boundary(true));
    assert_eq!(padded(Batches::builder()), "boundaries is 0, but must be at least 1");
    assert_eq!(padded(buckets(&[5, 9], &[1, 1, 1])), "sequence_length[1] is 9, but there are only 8 steps");
}
