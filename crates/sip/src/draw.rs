//! Draws without a random source: evenly spread numbers, all from one that the caller brings.

/// A sequence of evenly spread numbers (SplitMix64). The same seed gives the same sequence.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The sequence of a seed; any number does.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of the numbers below `bound`, each as likely as the others; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut z = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = z ^ (z >> 31);
        self.0.checked_rem(bound).unwrap_or(0)
    }
}
