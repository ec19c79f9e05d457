//! Names of enum variants, as recipes and command lines write them.

use std::str::FromStr;

use crate::resolved::{Activation, DataKind, FlopsReduction, LrSchedule, Preprocess, RankingLoss};

/// An enum whose every variant has one name.
pub trait Choice: Copy + PartialEq + Sized + 'static {
    /// Name and variant, in the order error messages list them.
    const CHOICES: &'static [(&'static str, Self)];

    /// The variant of that name.
    fn parse(name: &str) -> Option<Self> {
        let found = Self::CHOICES.iter().find(|(known, _)| *known == name);
        found.map(|(_, variant)| *variant)
    }

    /// The name of this variant.
    fn label(self) -> &'static str {
        let found = Self::CHOICES.iter().find(|(_, known)| *known == self);
        found.expect("CHOICES lists every variant").0
    }

    /// All names, comma-separated.
    fn names() -> String {
        let names: Vec<_> = Self::CHOICES.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

impl Choice for Activation {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("relu", Self::Relu),
        ("l1_relu", Self::L1Relu),
        ("l2_relu", Self::L2Relu),
        ("l3_relu", Self::L3Relu),
    ];
}

impl Choice for Preprocess {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("to_lower", Self::ToLower),
        ("blank_prefix", Self::BlankPrefix),
        ("blank_prefix_lower", Self::BlankPrefixLower),
    ];
}

impl Choice for DataKind {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("kd", Self::Kd),
        ("posnegs", Self::PosNegs),
        ("kd-ids", Self::KdIds),
    ];
}

impl Choice for RankingLoss {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("kldiv", Self::KlDiv),
        ("marginmse", Self::MarginMse),
        ("infonce", Self::InfoNce),
    ];
}

impl Choice for FlopsReduction {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("slots", Self::Slots), ("documents", Self::Documents)];
}

impl Choice for LrSchedule {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("linear", Self::Linear),
        ("cosine", Self::Cosine),
        ("constant", Self::Constant),
        ("constant_with_warmup", Self::ConstantWithWarmup),
    ];
}

/// A name that no variant has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is none of {expected}")]
pub struct UnknownChoice {
    /// The name.
    pub found: String,
    /// All names there are.
    pub expected: String,
}

impl FromStr for Activation {
    type Err = UnknownChoice;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name).ok_or_else(|| UnknownChoice {
            found: name.to_owned(),
            expected: Self::names(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variants_match() {
        for (name, activation) in Activation::CHOICES {
            assert_eq!(activation.label(), *name);
            assert_eq!(activation.name(), *name);
            assert_eq!(name.parse::<Activation>(), Ok(*activation));
        }
    }

    #[test]
    fn unknown_name_lists_the_choices() {
        let error = "l9_relu".parse::<Activation>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`l9_relu` is none of relu, l1_relu, l2_relu, l3_relu"
        );
    }
}
