//! Types of columns, as far as JSON tells them, and the Arrow arrays that hold such columns.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, StringArray,
    StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};
use serde_json::{Map, Value};

/// Type of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ColumnType {
    Null,
    Bool,
    Int,
    Float,
    Text,
    List(Box<ColumnType>),
    /// Members in the order in which they were first seen.
    Object(Columns),
}

/// Columns of a table, or members of an object.
pub(crate) type Columns = Vec<(String, ColumnType)>;

impl ColumnType {
    /// # Errors
    /// What `value` is, where a column cannot hold it.
    pub(crate) fn of(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Int,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                let mut item_type = Self::Null;
                for item in items {
                    let found = Self::of(item)?;
                    item_type = item_type.clone().merge(found.clone()).ok_or_else(|| {
                        format!("a list of both {} and {}", item_type.name(), found.name())
                    })?;
                }
                Self::List(Box::new(item_type))
            }
            // Parquet has no form for it.
            Value::Object(members) if members.is_empty() => {
                return Err("an empty object".to_owned());
            }
            Value::Object(members) => {
                let members = members.iter();
                let types = members.map(|(key, value)| Ok((key.clone(), Self::of(value)?)));
                Self::Object(types.collect::<Result<_, String>>()?)
            }
        })
    }

    /// The type that holds the values of both.
    pub(crate) fn merge(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Null, other) => Some(other),
            (this, Self::Null) => Some(this),
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Some(Self::Float),
            (Self::List(this), Self::List(other)) => {
                Some(Self::List(Box::new(this.merge(*other)?)))
            }
            (Self::Object(mut members), Self::Object(others)) => {
                for (key, other) in others {
                    let member = column_mut(&mut members, key);
                    *member = std::mem::replace(member, Self::Null).merge(other)?;
                }
                Some(Self::Object(members))
            }
            (this, other) => (this == other).then_some(this),
        }
    }

    /// As `datasets` names it; lists and objects in words.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool => "bool".into(),
            Self::Int => "int64".into(),
            Self::Float => "float64".into(),
            Self::Text => "string".into(),
            Self::List(item) => format!("a list of {}", item.name()),
            Self::Object(members) => {
                let members = members
                    .iter()
                    .map(|(key, member)| format!("{key}: {}", member.name()));
                format!("an object {{{}}}", members.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn arrow(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::List(item) => DataType::List(Arc::new(item_field(item))),
            Self::Object(members) => DataType::Struct(fields(members)),
        }
    }

    /// The form of `Features` in JSON.
    fn feature(&self) -> String {
        match self {
            Self::List(item) => {
                format!("{{\"feature\": {}, \"_type\": \"List\"}}", item.feature())
            }
            Self::Object(members) => features_json(members),
            other => format!("{{\"dtype\": \"{}\", \"_type\": \"Value\"}}", other.name()),
        }
    }

    /// One column; what is missing or null in `values` is null in it.
    pub(crate) fn array(&self, values: &[&Value]) -> ArrayRef {
        match self {
            Self::Null => Arc::new(NullArray::new(values.len())),
            Self::Bool => Arc::new(values.iter().map(|v| v.as_bool()).collect::<BooleanArray>()),
            Self::Int => Arc::new(values.iter().map(|v| v.as_i64()).collect::<Int64Array>()),
            Self::Float => Arc::new(values.iter().map(|v| v.as_f64()).collect::<Float64Array>()),
            Self::Text => Arc::new(values.iter().map(|v| v.as_str()).collect::<StringArray>()),
            Self::List(item) => {
                let lists: Vec<Option<&Vec<Value>>> = values.iter().map(|v| v.as_array()).collect();
                let lengths = lists.iter().map(|list| list.map_or(0, Vec::len));
                let items: Vec<&Value> = lists.iter().flatten().copied().flatten().collect();
                Arc::new(ListArray::new(
                    Arc::new(item_field(item)),
                    OffsetBuffer::from_lengths(lengths),
                    item.array(&items),
                    Some(lists.iter().map(Option::is_some).collect::<NullBuffer>()),
                ))
            }
            Self::Object(members) => {
                let objects: Vec<Option<&Map<String, Value>>> =
                    values.iter().map(|v| v.as_object()).collect();
                let nulls = objects.iter().map(Option::is_some).collect::<NullBuffer>();
                let columns = arrays(members, &objects);
                Arc::new(StructArray::new(fields(members), columns, Some(nulls)))
            }
        }
    }
}

fn item_field(item: &ColumnType) -> Field {
    Field::new("item", item.arrow(), true)
}

/// The column `key`, added where there is none.
pub(crate) fn column_mut(columns: &mut Columns, key: String) -> &mut ColumnType {
    let known = columns.iter().position(|(name, _)| *name == key);
    let index = known.unwrap_or_else(|| {
        columns.push((key, ColumnType::Null));
        columns.len() - 1
    });
    &mut columns[index].1
}

/// The columns as Arrow fields, all of them nullable.
pub(crate) fn fields(columns: &Columns) -> Fields {
    let fields = columns.iter();
    fields
        .map(|(name, column)| Field::new(name, column.arrow(), true))
        .collect()
}

/// An array for each column, out of the rows' values.
pub(crate) fn arrays(columns: &Columns, rows: &[Option<&Map<String, Value>>]) -> Vec<ArrayRef> {
    let array = |(name, column): &(String, ColumnType)| {
        let values: Vec<&Value> = rows
            .iter()
            .map(|row| row.and_then(|row| row.get(name)).unwrap_or(&Value::Null))
            .collect();
        column.array(&values)
    };
    columns.iter().map(array).collect()
}

/// `Features` as `datasets` writes them, in JSON, in the columns' order.
pub(crate) fn features_json(columns: &Columns) -> String {
    let members = columns
        .iter()
        .map(|(name, column)| format!("{}: {}", Value::from(name.as_str()), column.feature()));
    format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
}
