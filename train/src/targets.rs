//! What a run learns beside what its data says. Every checkpoint keeps it, so that a resumed run goes on with the same.

use configs::{Task, TeacherConfig, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::teacher::fingerprint::Fingerprint;
use crate::teacher::{Ensemble, Member};

/// Bytes of a fingerprint that a message shows.
const SHOWN_BYTES: usize = 6;

/// Whose scores are learnt, and which tokens are hidden.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// Who scores, where the data does not.
    teachers: Option<TeacherTargets>,
    /// What is hidden, in masked-LM training.
    masking: Option<MaskingTargets>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TeacherTargets {
    score_scale: f64,
    members: Vec<MemberTarget>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct MemberTarget {
    /// Its type, and what that is of.
    name: String,
    weight: f64,
    /// In hexadecimal digits.
    fingerprint: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct MaskingTargets {
    mlm_probability: f64,
    mlm_whole_word: bool,
    mlm_packed: bool,
}

/// A setting that was another one when a checkpoint was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// As recipes call it.
    pub name: &'static str,
    /// What it was.
    pub stored: String,
    /// What it is.
    pub current: String,
    /// Whether targets are certain to differ. Vectors are known by their size and time alone, and a server by its
    /// address: both may have moved and be the same.
    pub is_certain: bool,
}

impl Targets {
    /// Those of a recipe; `ensemble` is what its teachers were loaded as.
    pub fn new(config: &TrainConfig, ensemble: Option<&Ensemble>) -> Self {
        let masking = match &config.task {
            Task::Ranking => None,
            Task::MaskedLm(task) => Some(MaskingTargets {
                mlm_probability: task.probability,
                mlm_whole_word: task.whole_word,
                mlm_packed: task.packed,
            }),
        };
        let teachers = config.teachers.as_ref().zip(ensemble);
        let teachers = teachers.map(|(config, ensemble)| {
            let members = config.teachers.iter().zip(ensemble.members());
            let target = |(config, member): (&TeacherConfig, &Member)| MemberTarget {
                name: member.teacher.name().to_owned(),
                weight: config.weight,
                fingerprint: hex(&member.fingerprint),
            };
            TeacherTargets {
                score_scale: config.score_scale,
                members: members.map(target).collect(),
            }
        });
        Self { teachers, masking }
    }

    /// The first setting in which `current` differs, those first that are certain to matter.
    pub(crate) fn difference(&self, current: &Self) -> Option<Difference> {
        let certain = |(name, stored, current): (&'static str, String, String)| {
            (stored != current).then_some(Difference {
                name,
                stored,
                current,
                is_certain: true,
            })
        };
        let settings = self.settings().into_iter().zip(current.settings());
        let mut settings = settings.map(|((name, stored), (_, current))| (name, stored, current));
        settings
            .find_map(certain)
            .or_else(|| teachers_differ(self.members(), current.members()))
    }

    /// Names and values, always the same names in the same order.
    fn settings(&self) -> [(&'static str, String); 5] {
        let (teachers, masking) = (self.teachers.as_ref(), self.masking.as_ref());
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let teaching = |value: fn(&TeacherTargets) -> String| or_none(teachers.map(value));
        let masked = |value: fn(&MaskingTargets) -> String| or_none(masking.map(value));
        [
            (
                "data_type",
                if masking.is_some() { "mlm" } else { "ranking" }.to_owned(),
            ),
            (
                "mlm_probability",
                masked(|masking| masking.mlm_probability.to_string()),
            ),
            (
                "mlm_whole_word",
                masked(|masking| masking.mlm_whole_word.to_string()),
            ),
            (
                "mlm_packed",
                masked(|masking| masking.mlm_packed.to_string()),
            ),
            (
                "kd_ensemble_teacher_kwargs.score_scale",
                teaching(|teachers| teachers.score_scale.to_string()),
            ),
        ]
    }

    fn members(&self) -> &[MemberTarget] {
        let teachers = self.teachers.as_ref();
        teachers.map_or(&[], |teachers| &teachers.members)
    }
}

/// A model that is called otherwise, because it was moved or its commit is named, is the same teacher.
fn teachers_differ(stored: &[MemberTarget], current: &[MemberTarget]) -> Option<Difference> {
    let pairs = || stored.iter().zip(current);
    let is_same = |(stored, current): (&MemberTarget, &MemberTarget)| {
        stored.weight == current.weight && stored.fingerprint == current.fingerprint
    };
    if stored.len() == current.len() && pairs().all(is_same) {
        return None;
    }
    let may_be_same = |(stored, current): (&MemberTarget, &MemberTarget)| {
        let is_known_by_place = stored.kind() == current.kind() && current.is_known_by_place();
        is_same((stored, current)) || (stored.weight == current.weight && is_known_by_place)
    };
    let list = |members: &[MemberTarget]| {
        let members = members.iter().map(MemberTarget::describe);
        members.collect::<Vec<_>>().join(", ")
    };
    Some(Difference {
        name: "kd_ensemble_teacher_kwargs.teachers",
        stored: list(stored),
        current: list(current),
        is_certain: stored.len() != current.len() || !pairs().all(may_be_same),
    })
}

impl MemberTarget {
    /// Its type.
    fn kind(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }

    fn is_known_by_place(&self) -> bool {
        matches!(self.kind(), "vectors" | "remote")
    }

    fn describe(&self) -> String {
        let Self {
            name,
            weight,
            fingerprint,
        } = self;
        let shown = fingerprint.get(..2 * SHOWN_BYTES).unwrap_or(fingerprint);
        format!("{name} (weight {weight}, fingerprint {shown})")
    }
}

fn hex(fingerprint: &Fingerprint) -> String {
    let digits = fingerprint.0.iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, weight: f64, digit: &str) -> MemberTarget {
        MemberTarget {
            name: name.to_owned(),
            weight,
            fingerprint: digit.repeat(64),
        }
    }

    fn taught(score_scale: f64, members: &[MemberTarget]) -> Targets {
        Targets {
            teachers: Some(TeacherTargets {
                score_scale,
                members: members.to_vec(),
            }),
            masking: None,
        }
    }

    fn masked(mlm_probability: f64, mlm_whole_word: bool, mlm_packed: bool) -> Targets {
        Targets {
            teachers: None,
            masking: Some(MaskingTargets {
                mlm_probability,
                mlm_whole_word,
                mlm_packed,
            }),
        }
    }

    #[test]
    fn changed_settings_are_named_with_both_values() {
        let two = [
            member("sparse a", 1.0, "0"),
            member("remote http://h", 2.0, "1"),
        ];
        let base = taught(30.0, &two);
        let with = |index: usize, other: MemberTarget| {
            let mut members = two.clone();
            members[index] = other;
            taught(30.0, &members)
        };
        let teachers = "kd_ensemble_teacher_kwargs.teachers";
        let table = [
            (
                &base,
                taught(20.0, &two),
                "kd_ensemble_teacher_kwargs.score_scale",
                true,
                "20",
            ),
            (
                &base,
                with(0, member("sparse a", 1.0, "5")),
                teachers,
                true,
                "sparse a (weight 1, fingerprint 555555555555)",
            ),
            (
                &base,
                with(0, member("sparse a", 3.0, "0")),
                teachers,
                true,
                "sparse a (weight 3, ",
            ),
            (
                &base,
                taught(30.0, &two[..1]),
                teachers,
                true,
                "sparse a (weight 1, fingerprint 000000000000)",
            ),
            (
                &base,
                with(1, member("remote http://i", 2.0, "7")),
                teachers,
                false,
                "remote http://i (weight 2, ",
            ),
            (
                &base,
                with(1, member("vectors d.jsonl", 2.0, "7")),
                teachers,
                true,
                "vectors d.jsonl (weight 2, ",
            ),
            (
                &base,
                Targets::default(),
                "kd_ensemble_teacher_kwargs.score_scale",
                true,
                "none",
            ),
            (&base, masked(0.15, false, false), "data_type", true, "mlm"),
        ];
        for (stored, current, name, is_certain, says) in table {
            let found = stored.difference(&current).expect("a difference");
            assert_eq!(
                (found.name, found.is_certain),
                (name, is_certain),
                "{found:?}"
            );
            assert!(found.current.contains(says), "{found:?}");
            assert_ne!(found.stored, found.current);
        }
        let moved = with(0, member("sparse b", 1.0, "0"));
        assert_eq!(
            base.difference(&moved),
            None,
            "another name of the same model"
        );
        assert_eq!(base.difference(&base), None);
        let masking = masked(0.15, false, false);
        for (other, name) in [
            (masked(0.3, false, false), "mlm_probability"),
            (masked(0.15, true, false), "mlm_whole_word"),
            (masked(0.15, false, true), "mlm_packed"),
        ] {
            assert_eq!(masking.difference(&other).expect("a difference").name, name);
        }
    }

    #[test]
    fn they_are_kept_as_they_are() {
        for targets in [
            taught(30.0, &[member("sparse a", 0.1, "0")]),
            masked(0.15, true, false),
            Targets::default(),
        ] {
            let json = serde_json::to_string(&targets).expect("plain values");
            let again: Targets = serde_json::from_str(&json).expect("what was written");
            assert_eq!(again, targets);
        }
    }
}
