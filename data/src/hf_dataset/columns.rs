//! Training rows out of record batches: which column means what, and of which types it may be.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use serde_json::Value;

use super::cells;
use crate::beir;
use crate::dataset::{RowForm, TrainRow, check_ids, check_scores, id_text, no_text};

/// The columns of a record batch, by their meaning in training data.
pub(super) struct Columns<'a> {
    pub(super) records: &'a RecordBatch,
    pub(super) form: RowForm,
}

impl<'a> Columns<'a> {
    /// A kd row; `None` when a text or score of it is null.
    pub(super) fn kd_row(&self, row: usize) -> Result<Option<TrainRow<'a>>, String> {
        let query = self.text("query", row)?;
        let docs = self.texts("docs", row)?;
        let scores = match self.records.column_by_name("scores") {
            Some(column) => Some(scores(column, row)?),
            None => None,
        };
        let first_rank = self.records.column_by_name("first_rank");
        let first_rank = first_rank.and_then(|column| cells::integer(column, row));
        let (Some(query), Some(docs), false) = (query, docs, scores == Some(None)) else {
            return Ok(None);
        };
        let scores = scores
            .flatten()
            .map(|scores| check_scores(docs.len(), &scores));
        Ok(Some(TrainRow {
            query,
            docs,
            positives: 0,
            scores: scores.transpose()?,
            first_rank: first_rank.map(|rank| rank.clamp(i64::MIN.into(), i64::MAX.into()) as i64),
            ids: None,
        }))
    }

    /// A kd-ids row; `None` when a text, a score or an id of it is null.
    pub(super) fn kd_ids_row(&self, row: usize) -> Result<Option<TrainRow<'a>>, String> {
        let query = cells::json(self.column("q_id")?, row)?;
        let docs = cells::json(self.column("d_ids")?, row)?;
        let query = match query {
            Value::Null => None,
            id => Some(id_text(&id).ok_or_else(|| self.wrong_ids("q_id", "texts or numbers"))?),
        };
        let docs = match docs {
            Value::Null => None,
            Value::Array(ids) => Some(
                ids.iter()
                    .map(|id| match id {
                        Value::Null => Ok(None),
                        id => match id_text(id) {
                            Some(id) => Ok(Some(id)),
                            None => Err(self.wrong_ids("d_ids", "lists of texts or numbers")),
                        },
                    })
                    .collect::<Result<_, _>>()?,
            ),
            _ => return Err(self.wrong_ids("d_ids", "lists of texts or numbers")),
        };
        let Some(mut row) = self.kd_row(row)? else {
            return Ok(None);
        };
        row.ids = check_ids(row.docs.len(), query, docs)?;
        Ok(row.ids.is_some().then_some(row))
    }

    fn wrong_ids(&self, name: &str, expected: &str) -> String {
        let column = self.records.column_by_name(name);
        let found = column.map(|column| column.data_type().to_string());
        let found = found.unwrap_or_default();
        format!("column `{name}` holds {found}, expected {expected}")
    }

    /// A posnegs row; `None` when a text of it is null.
    pub(super) fn pos_negs_row(&self, row: usize) -> Result<Option<TrainRow<'a>>, String> {
        let query = self.text("query", row)?;
        let pos = self.text("pos", row)?;
        let negs = self.texts("negs", row)?;
        let (Some(query), Some(pos), Some(negs)) = (query, pos, negs) else {
            return Ok(None);
        };
        Ok(Some(TrainRow {
            query,
            docs: std::iter::once(pos).chain(negs).collect(),
            positives: 1,
            scores: None,
            first_rank: None,
            ids: None,
        }))
    }

    /// A posnegs row of passages; `None` when a text of it is null.
    pub(super) fn passages_row(&self, row: usize) -> Result<Option<TrainRow<'a>>, String> {
        let query = self.text("query", row)?;
        let positive = self.passages("positive_passages", row)?;
        let negative = self.passages("negative_passages", row)?;
        let (Some(query), Some(positive), Some(negative)) = (query, positive, negative) else {
            return Ok(None);
        };
        Ok(Some(TrainRow {
            query,
            positives: positive.len(),
            docs: positive.into_iter().chain(negative).collect(),
            scores: None,
            first_rank: None,
            ids: None,
        }))
    }

    fn column(&self, name: &str) -> Result<&'a ArrayRef, String> {
        self.records.column_by_name(name).ok_or_else(|| {
            let schema = self.records.schema_ref();
            let required = self.form.required_columns();
            let missing = required
                .iter()
                .find(|required| schema.index_of(required).is_err())
                .unwrap_or(&name);
            self.form.wrong_columns(
                missing,
                schema.fields().iter().map(|field| field.name().as_str()),
            )
        })
    }

    fn text(&self, name: &str, row: usize) -> Result<Option<Cow<'a, str>>, String> {
        let column = self.column(name)?;
        if !cells::is_text(column.data_type()) {
            return Err(format!(
                "column `{name}` holds {}, expected strings",
                column.data_type()
            ));
        }
        Ok(cells::text(column, row).map(Cow::Borrowed))
    }

    /// The strings of a list; `None` where it or one of them is null.
    fn texts(&self, name: &str, row: usize) -> Result<Option<Vec<Cow<'a, str>>>, String> {
        let column = self.column(name)?;
        if !cells::item_type(column.data_type()).is_some_and(cells::is_text) {
            let found = column.data_type();
            return Err(format!(
                "column `{name}` holds {found}, expected lists of strings"
            ));
        }
        Ok(cells::list(column, row).and_then(|(items, range)| {
            range
                .map(|item| cells::text(items, item).map(Cow::Borrowed))
                .collect()
        }))
    }

    /// Titles and texts of a list of passages; `None` where it or one of the texts is null.
    fn passages(&self, name: &str, row: usize) -> Result<Option<Vec<Cow<'a, str>>>, String> {
        let column = self.column(name)?;
        let wrong = || {
            let found = column.data_type();
            format!("column `{name}` holds {found}, expected lists of {{docid, title, text}}")
        };
        let Some(DataType::Struct(fields)) = cells::item_type(column.data_type()) else {
            return Err(wrong());
        };
        let type_of = |field: &str| fields.find(field).map(|(_, field)| field.data_type());
        let is_title = |title: &DataType| cells::is_text(title) || title.is_null();
        if !type_of("text").is_some_and(cells::is_text) || !type_of("title").is_none_or(is_title) {
            return Err(wrong());
        }
        let Some((items, range)) = cells::list(column, row) else {
            return Ok(None);
        };
        let passages = items.as_struct();
        let cell = |field: &str, item| {
            let column = passages.column_by_name(field)?;
            passages.is_valid(item).then(|| cells::text(column, item))?
        };
        let contents = range.map(|item| {
            let title = cell("title", item).unwrap_or_default();
            Some(Cow::Owned(beir::contents(title, cell("text", item)?)))
        });
        Ok(contents.collect())
    }
}

/// Title, where there is one, and text of a row; `None` when the text is null.
pub(super) fn document(records: &RecordBatch, row: usize) -> Result<Option<String>, String> {
    let schema = records.schema_ref();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let text = records
        .column_by_name("text")
        .ok_or_else(|| no_text(names))?;
    let title = records
        .column_by_name("title")
        .filter(|title| !title.data_type().is_null());
    for (name, column) in [("text", Some(text)), ("title", title)] {
        if let Some(found) = column.map(|column| column.data_type())
            && !cells::is_text(found)
        {
            return Err(format!("column `{name}` holds {found}, expected strings"));
        }
    }
    let title = title.and_then(|title| cells::text(title, row));
    let text = cells::text(text, row);
    Ok(text.map(|text| beir::contents(title.unwrap_or_default(), text)))
}

/// The numbers of a list; `None` where it or one of them is null.
fn scores(column: &ArrayRef, row: usize) -> Result<Option<Vec<f64>>, String> {
    let numeric = cells::item_type(column.data_type())
        .is_some_and(|item| item.is_integer() || item.is_floating());
    if !numeric {
        return Err(format!(
            "column `scores` holds {}, expected lists of numbers",
            column.data_type()
        ));
    }
    Ok(cells::list(column, row)
        .and_then(|(items, range)| range.map(|item| cells::number(items, item)).collect()))
}
