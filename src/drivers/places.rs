//! [`Places`]: which steps a mask leaves.

use ndarray::ArrayView2;

/// The steps that each row runs, as the caller numbers rows and steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// The steps of all rows, one row after the other.
    steps: Vec<usize>,
    /// Where each row ends in `steps`.
    ends: Vec<usize>,
    /// The length of each row, masked steps included.
    lengths: Vec<usize>,
}

impl Places {
    /// The steps where `mask` (seq, batch) is true, up to each row's length.
    pub fn new(mask: ArrayView2<'_, bool>, sequence_length: Option<&[usize]>) -> Self {
        let (seq, batch) = mask.dim();
        let mut places = Self::default();
        for row in 0..batch {
            let length = sequence_length.map_or(seq, |lengths| lengths[row]);
            places.steps.extend((0..length).filter(|&step| mask[[step, row]]));
            places.ends.push(places.steps.len());
            places.lengths.push(length);
        }
        places
    }

    /// The steps of a row.
    pub fn row(&self, row: usize) -> &[usize] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.steps[start..self.ends[row]]
    }

    /// The length of a row, masked steps included.
    pub fn length(&self, row: usize) -> usize {
        self.lengths[row]
    }

    /// How many steps each row runs.
    pub fn counts(&self) -> Vec<usize> {
        (0..self.ends.len()).map(|row| self.row(row).len()).collect()
    }

    /// The masked steps within the row's length, each with the last step before it that runs.
    pub fn masked(&self, row: usize) -> impl Iterator<Item = (usize, Option<usize>)> + '_ {
        let (mut places, mut last) = (self.row(row).iter().peekable(), None);
        (0..self.lengths[row]).filter_map(move |step| {
            if places.next_if(|&&place| place == step).is_some() {
                last = Some(step);
                return None;
            }
            Some((step, last))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_mask_leaves_steps_and_hides_the_rest() {
        let mask = array![[false, true], [true, true], [false, false], [true, false], [true, true]];
        let places = Places::new(mask.view(), Some(&[5, 4]));
        assert_eq!((places.row(0), places.row(1)), (&[1, 3, 4][..], &[0, 1][..]));
        assert_eq!(places.counts(), [3, 2]);
        assert_eq!(places.masked(0).collect::<Vec<_>>(), [(0, None), (2, Some(1))]);
        assert_eq!(places.masked(1).collect::<Vec<_>>(), [(2, Some(1)), (3, Some(1))]);
    }
}
