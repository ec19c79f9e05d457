//! From a YAML value to the type of a key, as leniently as the reference's Python does.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A type that a key of the recipe can have.
pub(crate) trait FromYaml: Sized {
    /// What an error message says was expected.
    const EXPECTED: &'static str;
    /// Whether `null` is a value of its own; for all other keys it means "not given".
    const NULL_IS_A_VALUE: bool = false;

    /// `None` where the value does not have this type.
    fn from_yaml(value: &Value) -> Option<Self>;
}

impl FromYaml for String {
    const EXPECTED: &'static str = "text (quote it if it looks like a number)";

    fn from_yaml(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl FromYaml for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_yaml(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(*flag),
            // YAML 1.1 (what Python reads) has these as booleans.
            Value::String(word) => match word.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

impl FromYaml for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_yaml(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_f64(),
            // `2e-5` is text to YAML 1.1, so recipes quote numbers at times.
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
        .filter(|number: &f64| number.is_finite())
    }
}

impl FromYaml for f32 {
    const EXPECTED: &'static str = f64::EXPECTED;

    fn from_yaml(value: &Value) -> Option<Self> {
        f64::from_yaml(value)
            .map(|number| number as f32)
            .filter(|number| number.is_finite())
    }
}

/// Whole numbers, also as `10000.0` or `1e4`: the reference declares several of them as floats.
fn whole(value: &Value) -> Option<i64> {
    if let Value::Number(number) = value
        && let Some(integer) = number.as_i64()
    {
        return Some(integer);
    }
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    f64::from_yaml(value)
        .filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)
        .map(|number| number as i64)
}

impl FromYaml for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_yaml(value: &Value) -> Option<Self> {
        whole(value)
    }
}

impl FromYaml for usize {
    const EXPECTED: &'static str = "a whole number of 0 or more";

    fn from_yaml(value: &Value) -> Option<Self> {
        whole(value).and_then(|number| number.try_into().ok())
    }
}

impl FromYaml for u64 {
    const EXPECTED: &'static str = usize::EXPECTED;

    fn from_yaml(value: &Value) -> Option<Self> {
        value
            .as_u64()
            .or_else(|| whole(value).and_then(|number| number.try_into().ok()))
    }
}

impl FromYaml for Vec<f64> {
    const EXPECTED: &'static str = "a list of numbers";

    fn from_yaml(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(f64::from_yaml).collect()
    }
}

impl FromYaml for Vec<String> {
    const EXPECTED: &'static str = "a list of names, or one text with commas";

    fn from_yaml(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(
                text.split(',')
                    .map(|name| name.trim().to_owned())
                    .filter(|name| !name.is_empty())
                    .collect(),
            ),
            Value::Array(items) => items.iter().map(String::from_yaml).collect(),
            _ => None,
        }
    }
}

/// Taken as it is, for keys that have several types.
impl FromYaml for Value {
    const EXPECTED: &'static str = "a value";

    fn from_yaml(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

/// A value, or an explicit `null` that differs from leaving the key out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nullable<T> {
    /// `null`.
    Null,
    /// Anything else.
    Value(T),
}

impl<T: FromYaml> FromYaml for Nullable<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const NULL_IS_A_VALUE: bool = true;

    fn from_yaml(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            other => T::from_yaml(other).map(Self::Value),
        }
    }
}

impl<T: Serialize> Serialize for Nullable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

/// A value in the words of an error message, long ones cut short.
pub(crate) fn describe(value: &Value) -> String {
    const LONGEST: usize = 60;
    let mut text = value.to_string();
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push_str("...");
    }
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => text,
        Value::Number(_) => format!("the number {text}"),
        Value::String(_) => format!("the text {text}"),
        Value::Array(_) => format!("the list {text}"),
        Value::Object(_) => format!("the mapping {text}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_read_in_every_spelling() {
        for value in [json!(0.00002), json!(2e-5), json!("2e-5"), json!("0.00002")] {
            assert_eq!(f64::from_yaml(&value), Some(2e-5), "{value}");
        }
        for value in [json!(10000), json!(10000.0), json!(1e4), json!("1e4")] {
            assert_eq!(usize::from_yaml(&value), Some(10_000), "{value}");
        }
        assert_eq!(u64::from_yaml(&json!(u64::MAX)), Some(u64::MAX));
    }

    #[test]
    fn other_types_are_not_numbers() {
        for value in [
            json!("fast"),
            json!(true),
            json!([1]),
            json!("nan"),
            json!("inf"),
        ] {
            assert_eq!(f64::from_yaml(&value), None, "{value}");
        }
        for value in [json!(-1), json!(1.5), json!(1e300)] {
            assert_eq!(usize::from_yaml(&value), None, "{value}");
        }
    }

    #[test]
    fn lists_are_lists_or_comma_separated() {
        let expected = Some(vec!["kldiv".to_owned(), "infonce".to_owned()]);
        assert_eq!(Vec::from_yaml(&json!(["kldiv", "infonce"])), expected);
        assert_eq!(Vec::from_yaml(&json!("kldiv, infonce")), expected);
        assert_eq!(Vec::<String>::from_yaml(&json!([1])), None);
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let text = describe(&json!("é".repeat(100)));
        assert!(text.ends_with("...") && text.chars().count() < 80, "{text}");
    }
}
