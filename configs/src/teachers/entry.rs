//! A mapping whose keys are taken one by one, so that what nobody took is unknown.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::choice::Choice;
use crate::error::{ConfigError, Place};
use crate::scalar::{FromYaml, describe};

/// One mapping of a file of teachers or of a recipe's key.
pub(super) struct Entry {
    /// How errors call it, as `teachers[0]`; empty for the whole file.
    name: String,
    /// Where it begins.
    place: Place,
    /// Where its keys are, as far as that is known.
    places: BTreeMap<String, Place>,
    values: Map<String, Value>,
    /// Keys asked for so far.
    known: Vec<&'static str>,
}

impl Entry {
    pub(super) fn new(
        name: String,
        values: Map<String, Value>,
        place: Place,
        places: BTreeMap<String, Place>,
    ) -> Self {
        Self {
            name,
            place,
            places,
            values,
            known: Vec::new(),
        }
    }

    /// The value of a key; `null` is as good as no such key.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.values.remove(key).filter(|value| !value.is_null())
    }

    /// The value of a key in its type.
    pub(super) fn take<T: FromYaml>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let typed = T::from_yaml(&value).ok_or_else(|| ConfigError::WrongType {
            place: self.place(key),
            key: self.path(key),
            expected: T::EXPECTED,
            found: describe(&value),
        })?;
        Ok(Some(typed))
    }

    /// A key that must be there.
    pub(super) fn require<T: FromYaml>(
        &mut self,
        key: &'static str,
        advice: &str,
    ) -> Result<T, ConfigError> {
        match self.take(key)? {
            Some(value) => Ok(value),
            None => Err(self.refused(key, format!("is missing: {advice}"))),
        }
    }

    /// A number for which `ok` holds, or the default.
    pub(super) fn number<T: FromYaml + Copy>(
        &mut self,
        key: &'static str,
        default: T,
        ok: impl Fn(T) -> bool,
        expected: &str,
    ) -> Result<T, ConfigError> {
        match self.take(key)? {
            None => Ok(default),
            Some(number) if ok(number) => Ok(number),
            Some(_) => Err(self.refused(key, format!("expected {expected}"))),
        }
    }

    /// One of the names of a choice.
    pub(super) fn choice<T: Choice>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(name) = self.take::<String>(key)? else {
            return Ok(None);
        };
        match T::parse(&name) {
            Some(choice) => Ok(Some(choice)),
            None => Err(self.refused(key, format!("`{name}` is none of {}", T::names()))),
        }
    }

    /// The error for a value of `key` that cannot be.
    pub(super) fn refused(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Refused {
            place: self.place(key),
            key: self.path(key),
            reason: reason.into(),
        }
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        const LIKELY: f64 = 0.8;
        let Some((key, _)) = self.values.iter().next() else {
            return Ok(());
        };
        let near = self.known.iter();
        let near = near.map(|known| (strsim::jaro_winkler(key, known), *known));
        let suggestion = near
            .filter(|(similarity, _)| *similarity >= LIKELY)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        Err(ConfigError::UnknownKey {
            place: self.place(key),
            key: self.path(key),
            suggestion: suggestion.map(|(_, known)| known),
        })
    }

    pub(super) fn place(&self, key: &str) -> Place {
        self.places.get(key).unwrap_or(&self.place).clone()
    }

    fn path(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }
}
