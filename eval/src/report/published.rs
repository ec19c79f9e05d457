//! What others published: the model cards of `opensearch-project/opensearch-neural-sparse-encoding-*`.

use crate::beir::BEIR_13;

/// A model with its results on BEIR.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedModel {
    /// Its short name.
    pub name: &'static str,
    /// FLOPS, averaged over the 13 data sets.
    pub flops: f64,
    /// nDCG@10, in the order of [`BEIR_13`].
    pub ndcg_at_10: [f64; 13],
}

/// The family's models; `doc` ones are inference-free, the others encode queries too.
pub const PUBLISHED: [PublishedModel; 6] = [
    PublishedModel {
        name: "v1",
        flops: 11.4,
        ndcg_at_10: [
            0.771, 0.360, 0.553, 0.697, 0.376, 0.508, 0.278, 0.447, 0.164, 0.821, 0.263, 0.723,
            0.856,
        ],
    },
    PublishedModel {
        name: "v2-distill",
        flops: 8.3,
        ndcg_at_10: [
            0.775, 0.347, 0.561, 0.685, 0.374, 0.551, 0.278, 0.435, 0.173, 0.849, 0.249, 0.722,
            0.863,
        ],
    },
    PublishedModel {
        name: "doc-v1",
        flops: 2.3,
        ndcg_at_10: [
            0.707, 0.352, 0.521, 0.677, 0.344, 0.461, 0.294, 0.412, 0.154, 0.743, 0.202, 0.716,
            0.788,
        ],
    },
    PublishedModel {
        name: "doc-v2-distill",
        flops: 1.8,
        ndcg_at_10: [
            0.690, 0.343, 0.528, 0.675, 0.357, 0.496, 0.287, 0.418, 0.166, 0.818, 0.224, 0.715,
            0.841,
        ],
    },
    PublishedModel {
        name: "doc-v2-mini",
        flops: 1.7,
        ndcg_at_10: [
            0.709, 0.336, 0.510, 0.666, 0.338, 0.480, 0.285, 0.407, 0.164, 0.812, 0.216, 0.699,
            0.837,
        ],
    },
    PublishedModel {
        name: "doc-v3-distill",
        flops: 1.8,
        ndcg_at_10: [
            0.724, 0.345, 0.544, 0.694, 0.356, 0.520, 0.294, 0.424, 0.163, 0.845, 0.239, 0.708,
            0.863,
        ],
    },
];

impl PublishedModel {
    /// nDCG@10 averaged over these data sets; `None` if one of them is not in the table or there is none.
    pub fn mean_over(&self, sets: &[&str]) -> Option<f64> {
        let value = |set: &&str| {
            let place = BEIR_13.iter().position(|known| known == set)?;
            Some(self.ndcg_at_10[place])
        };
        let values: Vec<f64> = sets.iter().map(value).collect::<Option<_>>()?;
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cards print the averages beside the rows.
    #[test]
    fn rows_average_to_what_is_printed() {
        let printed = [0.524, 0.528, 0.490, 0.504, 0.497, 0.517];
        for (model, printed) in PUBLISHED.iter().zip(printed) {
            let mean = model.mean_over(&BEIR_13).expect("all are known");
            assert!((mean - printed).abs() < 6e-4, "{}: {mean}", model.name);
        }
        assert_eq!(PUBLISHED[3].mean_over(&["scifact"]), Some(0.715));
        assert_eq!(PUBLISHED[3].mean_over(&["scifact", "mine"]), None);
        assert_eq!(PUBLISHED[3].mean_over(&[]), None);
    }
}
