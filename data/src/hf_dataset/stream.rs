//! Arrow IPC streams, decoded without copying them.
//!
//! The `arrow` crates trust a message's metadata about where its buffers lie and panic where that is wrong, so every
//! message is checked against its body before they see it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{Message, MessageHeader, root_as_message};
use arrow_schema::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use memmap2::Mmap;

use crate::mapped;

const CONTINUATION: [u8; 4] = [0xff; 4];
/// Continuation marker and metadata length.
const PREFIX_BYTES: usize = 8;

/// Lets a buffer own its part of a mapping.
struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Decodes and checks all record batches; their arrays point into the mapping.
///
/// # Errors
/// What is wrong with the stream and where.
pub(crate) fn decode(map: &Arc<Mmap>) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let schema = check(map)?;
    let mut buffer = Buffer::from(Bytes::from_owner(Shared(map.clone())));
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    let mut position = 0;
    while let Some(batch) = decoder
        .decode(&mut buffer)
        .map_err(|cause| damaged(batches.len(), &cause.to_string()))?
    {
        batches.push(batch);
        let end = map.len() - buffer.len();
        mapped::release(map, position, end);
        position = end;
    }
    Ok((schema, batches))
}

fn damaged(batches: usize, cause: &str) -> String {
    let batch = batches + 1;
    format!("damaged at record batch {batch}: {cause}; copy or save the data set again")
}

/// Checks the metadata of all messages and returns the schema.
fn check(bytes: &[u8]) -> Result<SchemaRef, String> {
    check_start(bytes)?;
    let mut schema = None;
    let mut batches = 0;
    let mut position = 0;
    loop {
        let message =
            Encapsulated::read(&bytes[position..]).map_err(|cause| damaged(batches, &cause))?;
        let Some(message) = message else {
            break;
        };
        position += message.length;
        if let Some(found) = message.header.header_as_schema() {
            let found = try_fb_to_schema(found).map_err(|cause| cause.to_string())?;
            schema = Some(Arc::new(found));
        }
        message
            .check_buffers(schema.as_deref())
            .map_err(|cause| damaged(batches, &cause))?;
        batches += usize::from(message.header.header_type() == MessageHeader::RecordBatch);
    }
    schema.ok_or_else(|| "it has no schema".to_owned())
}

fn check_start(bytes: &[u8]) -> Result<(), String> {
    if bytes.starts_with(&CONTINUATION) {
        return Ok(());
    }
    let kind = if bytes.starts_with(b"ARROW1") {
        "it is an Arrow file, not an Arrow stream"
    } else {
        "it is not an Arrow stream"
    };
    let found: Vec<String> = bytes
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let found = found.join(" ");
    Err(format!(
        "{kind}: a stream starts with ff ff ff ff, this with {found}"
    ))
}

/// A message with its framing: continuation marker, length, metadata, body.
struct Encapsulated<'a> {
    header: Message<'a>,
    body_length: usize,
    /// Of everything.
    length: usize,
}

impl<'a> Encapsulated<'a> {
    /// The message at the beginning of `bytes`; `None` at the end of the stream.
    fn read(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let (prefix, rest) = bytes
            .split_at_checked(PREFIX_BYTES)
            .ok_or("the file is cut short: the end-of-stream marker is missing")?;
        let (marker, length) = prefix.split_at(4);
        if marker != CONTINUATION {
            return Err(format!(
                "expected ff ff ff ff before a message, found {marker:02x?}"
            ));
        }
        let length = u32::from_le_bytes(length.try_into().expect("it has four bytes")) as usize;
        if length == 0 {
            return Ok(None);
        }
        let cut_short = |needed: &dyn std::fmt::Display| {
            let there = rest.len();
            format!("the file is cut short: a message takes {needed} bytes, {there} are there")
        };
        let (metadata, body) = rest
            .split_at_checked(length)
            .ok_or_else(|| cut_short(&length))?;
        let header = root_as_message(metadata).map_err(|error| error.to_string())?;
        let body_length = usize::try_from(header.bodyLength())
            .ok()
            .filter(|&length| length <= body.len())
            .ok_or_else(|| cut_short(&header.bodyLength()))?;
        Ok(Some(Self {
            header,
            body_length,
            length: PREFIX_BYTES + length + body_length,
        }))
    }

    /// Checks that the buffers of a record batch lie in its body and hold whole offsets.
    fn check_buffers(&self, schema: Option<&Schema>) -> Result<(), String> {
        let mut widths = Vec::new();
        let batch = match self.header.header_type() {
            MessageHeader::RecordBatch => {
                let fields = schema.ok_or("it comes before the schema")?.fields();
                // Stops at the first column of a type whose buffers are not known here.
                let _ = fields
                    .iter()
                    .all(|field| push_widths(field.data_type(), &mut widths));
                self.header.header_as_record_batch()
            }
            MessageHeader::DictionaryBatch => {
                let dictionary = self.header.header_as_dictionary_batch();
                dictionary.and_then(|dictionary| dictionary.data())
            }
            _ => None,
        };
        let Some(batch) = batch else {
            return Ok(());
        };
        if batch.compression().is_some() {
            return Err("its values are compressed, which `save_to_disk` never does".to_owned());
        }
        let widths = widths.into_iter().chain(std::iter::repeat(1));
        for (buffer, width) in batch.buffers().into_iter().flatten().zip(widths) {
            let (start, length) = (buffer.offset(), buffer.length());
            let end = start
                .checked_add(length)
                .and_then(|end| usize::try_from(end).ok());
            let inside =
                start >= 0 && length >= 0 && end.is_some_and(|end| end <= self.body_length);
            if !inside || start % 8 != 0 || length % width != 0 {
                let body = self.body_length;
                return Err(format!(
                    "a buffer of {length} bytes at {start} in a body of {body} bytes"
                ));
            }
        }
        for node in batch.nodes().into_iter().flatten() {
            let (length, nulls) = (node.length(), node.null_count());
            if length < 0 || nulls < 0 {
                return Err(format!("a column of {length} values, {nulls} of them null"));
            }
        }
        Ok(())
    }
}

/// What the length of each buffer of a column of this type is a multiple of, as far as offsets are concerned. False
/// where the type's buffers are not known here.
fn push_widths(data_type: &DataType, widths: &mut Vec<i64>) -> bool {
    match data_type {
        DataType::Null => true,
        DataType::Utf8 | DataType::Binary => {
            widths.extend([1, 4, 1]);
            true
        }
        DataType::LargeUtf8 | DataType::LargeBinary => {
            widths.extend([1, 8, 1]);
            true
        }
        DataType::List(item) | DataType::Map(item, _) => {
            widths.extend([1, 4]);
            push_widths(item.data_type(), widths)
        }
        DataType::LargeList(item) => {
            widths.extend([1, 8]);
            push_widths(item.data_type(), widths)
        }
        DataType::FixedSizeList(item, _) => {
            widths.push(1);
            push_widths(item.data_type(), widths)
        }
        DataType::Struct(fields) => {
            widths.push(1);
            fields
                .iter()
                .all(|field| push_widths(field.data_type(), widths))
        }
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(_, _)
        | DataType::RunEndEncoded(_, _) => false,
        _ => {
            widths.extend([1, 1]);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use arrow_array::{Int64Array, StringArray};
    use arrow_ipc::writer::StreamWriter;
    use arrow_schema::Field;

    use super::*;

    fn stream() -> Vec<u8> {
        let fields = vec![
            Field::new("text", DataType::Utf8, true),
            Field::new("number", DataType::Int64, true),
        ];
        let schema = Arc::new(Schema::new(fields));
        let texts = StringArray::from(vec![Some("one"), None, Some("three")]);
        let numbers = Int64Array::from(vec![1, 2, 3]);
        let batch =
            RecordBatch::try_new(schema.clone(), vec![Arc::new(texts), Arc::new(numbers)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn decode_bytes(bytes: &[u8]) -> Result<usize, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let map = mapped::map(&file).unwrap();
        let (_, batches) = decode(&Arc::new(map))?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = stream();
        assert_eq!(decode_bytes(&whole), Ok(6));
        for length in 1..whole.len() {
            let error = decode_bytes(&whole[..length]).unwrap_err();
            assert!(
                error.contains("cut short") || length < 4,
                "{length}: {error}"
            );
        }
    }

    #[test]
    fn no_damaged_byte_ends_in_a_panic() {
        let whole = stream();
        for position in 0..whole.len() {
            for value in [0, 0xff, whole[position].wrapping_add(1)] {
                let mut bytes = whole.clone();
                bytes[position] = value;
                // Some bytes do not matter, and a changed number is a number: only panics are at stake.
                let _ = decode_bytes(&bytes);
            }
        }
    }

    #[test]
    fn other_formats_are_named() {
        let error = decode_bytes(b"ARROW1\0\0").unwrap_err();
        assert!(
            error.contains("an Arrow file, not an Arrow stream"),
            "{error}"
        );
        let error = decode_bytes(b"query,docs").unwrap_err();
        assert!(error.contains("this with 71 75 65 72"), "{error}");
    }
}
