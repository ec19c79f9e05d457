//! Up to 128 postings, packed: document numbers as gaps, weights as what their float32 bits differ by. Nothing is
//! rounded.
//!
//! ```text
//! gap width u8, weight width u8, weight shift u8, number of postings - 1 u8, weight base u32
//! gaps: each the document number less the one before it, less 1
//! weights: bits of the float32 = base + (code << shift)
//! ```
//!
//! Widths are in bits and as small as the block allows. A full block is packed in the four interleaved streams of
//! simdcomp (the crate `bitpacking`), a shorter one, the last of its list, in one stream.

use bitpacking::{BitPacker, BitPacker4x};

/// Postings of a full block.
pub const BLOCK_LEN: usize = BitPacker4x::BLOCK_LEN;

const HEADER_BYTES: usize = 8;
/// What one bit of width costs a full block.
const BYTES_PER_BIT: usize = BLOCK_LEN / 8;

/// Appends a block of ascending document numbers and their weights; `before` is the document before the first.
pub fn encode(before: Option<u32>, docs: &[u32], weights: &[f32], out: &mut Vec<u8>) {
    let bits = || weights.iter().map(|weight| weight.to_bits());
    let base = bits().min().unwrap_or(0);
    let differing = bits().fold(0, |all, bits| all | (bits - base));
    // Of 0, there are 32 trailing zeros.
    let shift = differing.trailing_zeros() % 32;
    let weight_width = bit_width(differing >> shift);
    let mut codes: Vec<u32> = bits().map(|bits| (bits - base) >> shift).collect();
    let mut gaps = docs.to_vec();
    let mut previous = before.unwrap_or(u32::MAX);
    for gap in &mut gaps {
        let doc = *gap;
        *gap = doc.wrapping_sub(previous).wrapping_sub(1);
        previous = doc;
    }
    let gap_width = bit_width(gaps.iter().fold(0, |all, gap| all | gap));
    out.extend([gap_width, weight_width, shift as u8, (docs.len() - 1) as u8]);
    out.extend(base.to_le_bytes());
    for (values, width) in [(&mut gaps, gap_width), (&mut codes, weight_width)] {
        pack(values, width, out);
    }
}

/// How many bits the largest of several numbers has, given all of them or-ed together.
fn bit_width(all: u32) -> u8 {
    (32 - all.leading_zeros()) as u8
}

fn pack(values: &[u32], width: u8, out: &mut Vec<u8>) {
    if values.len() == BLOCK_LEN {
        let start = out.len();
        out.resize(start + usize::from(width) * BYTES_PER_BIT, 0);
        BitPacker4x::new().compress(values, &mut out[start..], width);
        return;
    }
    let (mut pending, mut filled) = (0u64, 0);
    for &value in values {
        pending |= u64::from(value) << filled;
        filled += u32::from(width);
        while filled >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(pending as u8);
    }
}

/// A block where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    len: usize,
    gap_width: u8,
    weight_width: u8,
    shift: u8,
    base: u32,
    gaps: &'a [u8],
    /// From the weights on to the end of all blocks, so that eight bytes can nearly always be read at once.
    weights: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block at the beginning of `bytes`, if one can be there.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[gap_width, weight_width, shift, last, a, b, c, d], rest) =
            bytes.split_first_chunk::<HEADER_BYTES>()?;
        let len = usize::from(last) + 1;
        if gap_width > 32 || weight_width > 32 || shift > 31 || len > BLOCK_LEN {
            return None;
        }
        let packed_bytes = |width: u8| (len * usize::from(width)).div_ceil(8);
        let (gaps, weights) = rest.split_at_checked(packed_bytes(gap_width))?;
        (packed_bytes(weight_width) <= weights.len()).then_some(Self {
            len,
            gap_width,
            weight_width,
            shift,
            base: u32::from_le_bytes([a, b, c, d]),
            gaps,
            weights,
        })
    }

    /// Number of postings.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Unpacks the document numbers into the beginning of `out`; `before` is the document before the first.
    pub fn docs(&self, before: Option<u32>, out: &mut [u32; BLOCK_LEN]) {
        if self.len == BLOCK_LEN {
            BitPacker4x::new().decompress_strictly_sorted(before, self.gaps, out, self.gap_width);
            return;
        }
        let mut doc = before.unwrap_or(u32::MAX);
        for (index, out) in out[..self.len].iter_mut().enumerate() {
            let gap = unpack(self.gaps, index, self.gap_width);
            doc = doc.wrapping_add(gap).wrapping_add(1);
            *out = doc;
        }
    }

    /// Unpacks the weights into the beginning of `out`.
    pub fn weights(&self, out: &mut [f32; BLOCK_LEN]) {
        if self.len == BLOCK_LEN {
            let mut codes = [0; BLOCK_LEN];
            BitPacker4x::new().decompress(self.weights, &mut codes, self.weight_width);
            for (out, code) in out.iter_mut().zip(codes) {
                *out = self.decode(code);
            }
            return;
        }
        for (index, out) in out[..self.len].iter_mut().enumerate() {
            *out = self.decode(unpack(self.weights, index, self.weight_width));
        }
    }

    /// The weight of posting number `index`, without unpacking the others.
    pub fn weight(&self, index: usize) -> f32 {
        let code = match self.len {
            BLOCK_LEN => unpack_interleaved(self.weights, index, self.weight_width),
            _ => unpack(self.weights, index, self.weight_width),
        };
        self.decode(code)
    }

    fn decode(&self, code: u32) -> f32 {
        f32::from_bits(self.base.wrapping_add(code << self.shift))
    }
}

/// Number `index` of one stream.
fn unpack(bytes: &[u8], index: usize, width: u8) -> u32 {
    let bit = index * usize::from(width);
    let word = match bytes[bit / 8..].first_chunk() {
        Some(&word) => word,
        None => {
            let mut word = [0; 8];
            let rest = &bytes[bit / 8..];
            word[..rest.len()].copy_from_slice(rest);
            word
        }
    };
    low_bits(u64::from_le_bytes(word) >> (bit % 8), width)
}

/// Number `index` of four streams of 32-bit words, whose numbers and words take turns.
fn unpack_interleaved(bytes: &[u8], index: usize, width: u8) -> u32 {
    const STREAMS: usize = 4;
    let (row, stream) = (index / STREAMS, index % STREAMS);
    let bit = row * usize::from(width);
    let words = bytes.as_chunks::<4>().0;
    let word = |number: usize| {
        let word = words.get(number * STREAMS + stream).copied();
        u64::from(u32::from_le_bytes(word.unwrap_or_default()))
    };
    low_bits(
        (word(bit / 32) | word(bit / 32 + 1) << 32) >> (bit % 32),
        width,
    )
}

fn low_bits(word: u64, width: u8) -> u32 {
    (word & ((1 << width) - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn every_width_and_length_comes_back_bit_by_bit() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for width in 0..=32u32 {
            for len in [1, 2, 5, 31, 127, 128] {
                let any = |random: &mut ChaCha8Rng, width: u32| match width {
                    0 => 0,
                    _ => random.random::<u32>() >> (32 - width),
                };
                let before = (width % 2 == 0).then_some(77);
                let mut doc = before.unwrap_or(u32::MAX);
                let gap_width = width.min(24);
                let docs: Vec<u32> = (0..len)
                    .map(|_| {
                        doc = doc
                            .wrapping_add(any(&mut random, gap_width))
                            .wrapping_add(1);
                        doc
                    })
                    .collect();
                let weights: Vec<f32> = (0..len)
                    .map(|_| f32::from_bits(any(&mut random, width) << ((32 - width) / 2)))
                    .collect();
                let mut bytes = vec![9; 3];
                encode(before, &docs, &weights, &mut bytes);
                // With and without something behind it.
                for behind in [0, 40] {
                    let bytes = [&bytes[3..], &vec![0xff; behind]].concat();
                    let block = Block::parse(&bytes).expect("a block");
                    assert_eq!(block.len(), len);
                    let (mut found, mut found_weights) = ([0; BLOCK_LEN], [0.0; BLOCK_LEN]);
                    block.docs(before, &mut found);
                    assert_eq!(found[..len], docs, "width {width}, {len} postings");
                    block.weights(&mut found_weights);
                    for (index, weight) in weights.iter().enumerate() {
                        let both = [found_weights[index], block.weight(index)];
                        assert_eq!(
                            both.map(f32::to_bits),
                            [weight.to_bits(); 2],
                            "width {width}, {index} of {len}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn few_distinct_weights_take_few_bits() {
        let docs: Vec<u32> = (0..128).collect();
        let weights: Vec<f32> = docs.iter().map(|doc| 0.5 * (1 + doc % 4) as f32).collect();
        let mut bytes = Vec::new();
        encode(None, &docs, &weights, &mut bytes);
        // 0.5, 1, 1.5, 2: three bits apart from what they share.
        assert_eq!(bytes.len(), HEADER_BYTES + 3 * BYTES_PER_BIT);
    }

    #[test]
    fn what_cannot_be_a_block_is_none() {
        let mut whole = Vec::new();
        encode(None, &[3, 9], &[1.0, 2.5], &mut whole);
        assert!(Block::parse(&whole).is_some());
        assert!(Block::parse(&whole[..whole.len() - 1]).is_none());
        for (place, value) in [(0, 33), (1, 33), (2, 32), (3, 128)] {
            let mut broken = whole.clone();
            broken.resize(4096, 0);
            broken[place] = value;
            assert!(Block::parse(&broken).is_none(), "byte {place}");
        }
    }
}
