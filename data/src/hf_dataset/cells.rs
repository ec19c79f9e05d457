//! Single cells of Arrow arrays: texts, lists and numbers of any width.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::{Map, Number, Value};

/// Whether cells of this type are texts.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Type of the items where cells of this type are lists.
pub(crate) fn item_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

/// The text in a cell of a text column; `None` where it is null.
pub(crate) fn text(array: &dyn Array, row: usize) -> Option<&str> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

/// The items in a cell of a list column, as a range of one long array; `None` where the cell is null.
pub(crate) fn list(array: &dyn Array, row: usize) -> Option<(&ArrayRef, Range<usize>)> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            let offsets = array.value_offsets();
            Some((
                array.values(),
                offsets[row] as usize..offsets[row + 1] as usize,
            ))
        }
        DataType::LargeList(_) => {
            let array = array.as_list::<i64>();
            let offsets = array.value_offsets();
            Some((
                array.values(),
                offsets[row] as usize..offsets[row + 1] as usize,
            ))
        }
        DataType::FixedSizeList(_, _) => {
            let array = array.as_fixed_size_list();
            let length = array.value_length() as usize;
            let start = array.value_offset_at(row);
            Some((array.values(), start..start + length))
        }
        _ => None,
    }
}

/// The number in a cell of a numeric column; `None` where it is null.
pub(crate) fn number(array: &dyn Array, row: usize) -> Option<f64> {
    match array.data_type() {
        DataType::Float16 => {
            valid(array, row).map(|row| array.as_primitive::<Float16Type>().value(row).into())
        }
        DataType::Float32 => {
            valid(array, row).map(|row| array.as_primitive::<Float32Type>().value(row).into())
        }
        DataType::Float64 => {
            valid(array, row).map(|row| array.as_primitive::<Float64Type>().value(row))
        }
        _ => integer(array, row).map(|value| value as f64),
    }
}

/// The number in a cell of an integer column; `None` where it is null.
pub(crate) fn integer(array: &dyn Array, row: usize) -> Option<i128> {
    let row = valid(array, row)?;
    match array.data_type() {
        DataType::Int8 => Some(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Some(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Some(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row).into()),
        DataType::UInt8 => Some(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Some(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Some(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => Some(array.as_primitive::<UInt64Type>().value(row).into()),
        _ => None,
    }
}

fn valid(array: &dyn Array, row: usize) -> Option<usize> {
    array.is_valid(row).then_some(row)
}

/// A cell of any column as JSON.
///
/// # Errors
/// What JSON cannot hold: a number that is not finite, or a type that is neither text, number, list nor struct.
pub(crate) fn json(array: &dyn Array, row: usize) -> Result<Value, String> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    let data_type = array.data_type();
    if let Some((items, range)) = list(array, row) {
        let items: Result<Vec<Value>, String> = range.map(|item| json(items, item)).collect();
        return items.map(Value::Array);
    }
    if let Some(text) = text(array, row) {
        return Ok(text.into());
    }
    match data_type {
        DataType::Null => Ok(Value::Null),
        DataType::Boolean => Ok(array.as_boolean().value(row).into()),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members: Result<Map<String, Value>, String> = columns
                .map(|(field, column)| Ok((field.name().clone(), json(column, row)?)))
                .collect();
            members.map(Value::Object)
        }
        _ => json_number(array, row),
    }
}

fn json_number(array: &dyn Array, row: usize) -> Result<Value, String> {
    let data_type = array.data_type();
    if let Some(value) = integer(array, row) {
        return Ok(Number::from_i128(value).map_or(Value::Null, Value::Number));
    }
    let value = number(array, row)
        .ok_or_else(|| format!("values of type {data_type} are not supported"))?;
    Number::from_f64(value)
        .map(Value::Number)
        .ok_or_else(|| format!("{value} has no form in JSON"))
}
