//! Lines of training data as JSON.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::beir;
use crate::dataset::{TrainRow, check_ids, check_scores, id_text};

/// The keys of an object in their order, which a [`Map`] does not keep.
pub(super) struct Keys(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;

        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(KeysVisitor)
    }
}

/// A string that points into the line where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A row of kd data.
#[derive(Deserialize)]
pub(super) struct KdLine<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    query: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    docs: Option<Vec<Option<Text<'a>>>>,
    #[serde(default, deserialize_with = "present")]
    scores: Option<Option<Vec<Option<f64>>>>,
    first_rank: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    q_id: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    d_ids: Option<Value>,
}

/// A row of posnegs data.
#[derive(Deserialize)]
pub(super) struct PosNegsLine<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    query: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pos: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    negs: Option<Vec<Option<Text<'a>>>>,
}

/// A row of posnegs data as MIRACL has it.
#[derive(Deserialize)]
pub(super) struct PassagesLine<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    query: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    positive_passages: Option<Vec<Passage<'a>>>,
    #[serde(borrow, deserialize_with = "nullable")]
    negative_passages: Option<Vec<Passage<'a>>>,
}

/// A title, where there is one, and a text.
#[derive(Deserialize)]
pub(super) struct Passage<'a> {
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    text: Option<Text<'a>>,
}

/// Null is `None`; unlike a plain `Option`, the key must be there.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Tells null (`Some(None)`) from a missing key (`None`).
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn texts<'a>(values: Option<Vec<Option<Text<'a>>>>) -> Option<Vec<Cow<'a, str>>> {
    values?.into_iter().map(|text| Some(text?.0)).collect()
}

impl<'a> KdLine<'a> {
    /// `None` when a text or score is null.
    pub(super) fn into_row(self) -> Result<Option<TrainRow<'a>>, String> {
        let (Some(query), Some(docs)) = (self.query, texts(self.docs)) else {
            return Ok(None);
        };
        let scores = match self.scores {
            None => None,
            Some(scores) => {
                let scores: Option<Vec<f64>> =
                    scores.and_then(|scores| scores.into_iter().collect());
                let Some(scores) = scores else {
                    return Ok(None);
                };
                Some(check_scores(docs.len(), &scores)?)
            }
        };
        Ok(Some(TrainRow {
            query: query.0,
            docs,
            positives: 0,
            scores,
            first_rank: self.first_rank,
            ids: None,
        }))
    }

    /// As [`Self::into_row`], with the ids; `None` when an id is null too.
    pub(super) fn into_row_with_ids(mut self) -> Result<Option<TrainRow<'a>>, String> {
        let query = match self.q_id.take() {
            None => return Err("no `q_id`".to_owned()),
            Some(Value::Null) => None,
            Some(id) => Some(id_text(&id).ok_or("`q_id`: expected a text or a number")?),
        };
        let id = |id: &Value| match id {
            Value::Null => Ok(None),
            id => id_text(id)
                .map(Some)
                .ok_or("`d_ids`: expected texts or numbers"),
        };
        let docs = match self.d_ids.take() {
            Some(Value::Null) => None,
            Some(Value::Array(ids)) => Some(ids.iter().map(id).collect::<Result<_, _>>()?),
            _ => return Err("`d_ids`: expected a list of texts or numbers".to_owned()),
        };
        let Some(mut row) = self.into_row()? else {
            return Ok(None);
        };
        row.ids = check_ids(row.docs.len(), query, docs)?;
        Ok(row.ids.is_some().then_some(row))
    }
}

impl<'a> PosNegsLine<'a> {
    /// `None` when a text is null.
    pub(super) fn into_row(self) -> Option<TrainRow<'a>> {
        let mut docs = vec![self.pos?.0];
        docs.extend(texts(self.negs)?);
        Some(TrainRow {
            query: self.query?.0,
            docs,
            positives: 1,
            scores: None,
            first_rank: None,
            ids: None,
        })
    }
}

impl Passage<'_> {
    /// `None` when the text is null.
    pub(super) fn into_contents(self) -> Option<String> {
        let title = self.title.unwrap_or(Text(Cow::Borrowed("")));
        Some(beir::contents(&title.0, &self.text?.0))
    }
}

impl<'a> PassagesLine<'a> {
    /// `None` when a text is null.
    pub(super) fn into_row(self) -> Option<TrainRow<'a>> {
        let positive = self.positive_passages?;
        let positives = positive.len();
        let passages = positive.into_iter().chain(self.negative_passages?);
        let contents = |passage: Passage<'_>| passage.into_contents().map(Cow::Owned);
        Some(TrainRow {
            query: self.query?.0,
            docs: passages.map(contents).collect::<Option<_>>()?,
            positives,
            scores: None,
            first_rank: None,
            ids: None,
        })
    }
}
