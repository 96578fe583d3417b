//! Seeds derived from seeds, and the hash that dropout masks are drawn from.

/// The seed for part `index` of a state.
pub(crate) fn child_seed(seed: u64, index: usize) -> u64 {
    fold(seed, index as u64)
}

/// 2⁶⁴ divided by the golden ratio, odd.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function (Steele, Lea and Flood, 2014, Stafford's constants): each bit of `z` affects all bits.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hashes one more word into `hash`.
pub(crate) fn fold(hash: u64, word: u64) -> u64 {
    mix(hash ^ mix(word.wrapping_add(GOLDEN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_and_golden_are_splitmix64() {
        // The first outputs of the reference implementation for the state 1234567.
        let outputs = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        for (n, output) in (1..).zip(outputs) {
            assert_eq!(mix(1_234_567_u64.wrapping_add(GOLDEN.wrapping_mul(n))), output);
        }
    }
}
