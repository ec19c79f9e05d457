//! From the hidden states of a text's tokens to one vector.

use burn::tensor::Tensor;

use crate::masked_lm::TokenTensors;

/// Which hidden states make a text's vector (Reimers and Gurevych 2019, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// That of the first token, `[CLS]`.
    Cls,
    /// The mean over all tokens, special tokens included.
    Mean,
}

impl Pooling {
    /// The vector of one text.
    ///
    /// # Shapes
    ///
    /// - hidden: `[tokens, width]`, output: `[width]`
    ///
    /// # Panics
    ///
    /// If the text has no token.
    pub fn of_text(self, hidden: &[f32], width: usize) -> Vec<f32> {
        let (first, rest) = hidden.split_at(width);
        let mut vector = first.to_vec();
        if self == Self::Mean {
            for row in rest.chunks_exact(width) {
                vector.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            let tokens = (hidden.len() / width) as f32;
            vector.iter_mut().for_each(|sum| *sum /= tokens);
        }
        vector
    }

    /// The vector of each text.
    ///
    /// # Shapes
    ///
    /// - hidden: `[tokens, hidden]`, output: `[texts, hidden]`
    ///
    /// # Panics
    ///
    /// If there is no text, or a text has no token.
    pub fn of_batch(self, hidden: Tensor<2>, tokens: &TokenTensors) -> Tensor<2> {
        match self {
            Self::Cls => hidden.select(0, tokens.first_rows()),
            Self::Mean => {
                let mut first = 0;
                let mean = |&length: &usize| {
                    let rows = first..first + length;
                    first = rows.end;
                    hidden.clone().slice(rows).mean_dim(0) // [1, hidden]
                };
                Tensor::cat(tokens.lengths.iter().map(mean).collect(), 0)
            }
        }
    }
}

/// Divides a vector by its length; a vector of zeros stays as it is.
pub(crate) fn normalise(vector: &mut [f32]) {
    /// A shorter vector is not made longer than this allows, as in torch.
    const SHORTEST: f32 = 1e-12;
    let squares: f32 = vector.iter().map(|x| x * x).sum();
    let length = squares.sqrt().max(SHORTEST);
    vector.iter_mut().for_each(|x| *x /= length);
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use data::TokenBatch;

    use super::*;

    #[test]
    fn texts_and_batches_pool_alike() {
        let device = Device::flex();
        let rows = [[1.0, 4.0], [3.0, -2.0], [5.0, 1.0], [0.5, 0.25]];
        let tokens = TokenTensors::new(&TokenBatch::new(&[vec![7, 7, 7], vec![7]]), &device);
        for (pooling, expected) in [
            (Pooling::Cls, [[1.0, 4.0], [0.5, 0.25]]),
            (Pooling::Mean, [[3.0, 1.0], [0.5, 0.25]]),
        ] {
            let hidden = Tensor::<2>::from_data(rows, &device);
            let batch = pooling.of_batch(hidden, &tokens).into_data();
            assert_eq!(
                batch.iter::<f32>().collect::<Vec<_>>(),
                expected.as_flattened()
            );
            let texts =
                [&rows[..3], &rows[3..]].map(|rows| pooling.of_text(rows.as_flattened(), 2));
            assert_eq!(texts, expected);
        }
    }

    #[test]
    fn vectors_get_length_1_and_zeros_stay() {
        let mut vector = [3.0, -4.0];
        normalise(&mut vector);
        assert_eq!(vector, [0.6, -0.8]);
        let mut zeros = [0.0; 3];
        normalise(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }
}
