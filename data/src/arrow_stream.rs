//! Arrow IPC streams, decoded without copying them.
//!
//! The `arrow` crates trust a message's metadata about where its buffers lie and panic where that is wrong, so every
//! message is checked against its body before they see it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
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
    check_start(map)?;
    let buffer = Buffer::from(Bytes::from_owner(Shared(map.clone())));
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    let mut position = 0;
    while position < map.len() {
        let place = match batches.len() {
            0 => "before its first record batch ends".to_owned(),
            count => format!("after {count} record batches"),
        };
        let damaged =
            |cause: String| format!("damaged {place}: {cause}; copy or save the data set again");
        let length =
            message_length(&map[position..], decoder.schema().as_deref()).map_err(damaged)?;
        let mut message = buffer.slice_with_length(position, length);
        match decoder.decode(&mut message) {
            Ok(Some(batch)) => batches.push(batch),
            Ok(None) => {}
            Err(cause) => return Err(damaged(cause.to_string())),
        }
        mapped::release(map, position, position + length);
        position += length;
        if length == PREFIX_BYTES {
            break;
        }
    }
    let schema = decoder.schema().ok_or("it has no schema")?;
    Ok((schema, batches))
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

/// Length of the message at the beginning of `bytes`, body included, after checking it. The end of the stream is a
/// message of [`PREFIX_BYTES`].
fn message_length(bytes: &[u8], schema: Option<&Schema>) -> Result<usize, String> {
    let (prefix, rest) = bytes
        .split_at_checked(PREFIX_BYTES)
        .ok_or("the file is cut short")?;
    let (marker, length) = prefix.split_at(4);
    if marker != CONTINUATION {
        return Err(format!(
            "expected ff ff ff ff before a message, found {marker:02x?}"
        ));
    }
    let length = u32::from_le_bytes(length.try_into().expect("it has four bytes")) as usize;
    if length == 0 {
        return Ok(PREFIX_BYTES);
    }
    let cut_short = |needed: &dyn std::fmt::Display| {
        format!(
            "a message takes {needed} bytes, but the file ends after {}",
            rest.len()
        )
    };
    let (metadata, body) = rest
        .split_at_checked(length)
        .ok_or_else(|| cut_short(&length))?;
    let message = root_as_message(metadata).map_err(|error| error.to_string())?;
    let body_length = usize::try_from(message.bodyLength())
        .ok()
        .filter(|&length| length <= body.len())
        .ok_or_else(|| cut_short(&message.bodyLength()))?;
    check_buffers(&message, body_length, schema)?;
    Ok(PREFIX_BYTES + length + body_length)
}

/// Checks that the buffers of a record batch lie in its body and hold whole offsets.
fn check_buffers(
    message: &Message<'_>,
    body_length: usize,
    schema: Option<&Schema>,
) -> Result<(), String> {
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message
            .header_as_dictionary_batch()
            .and_then(|dictionary| dictionary.data()),
        _ => None,
    };
    let Some(batch) = batch else {
        return Ok(());
    };
    if batch.compression().is_some() {
        return Err(
            "its record batches are compressed, which `save_to_disk` never does".to_owned(),
        );
    }
    let in_body = |start: i64, length: i64| {
        let end = start
            .checked_add(length)
            .and_then(|end| usize::try_from(end).ok());
        start >= 0 && start % 8 == 0 && length >= 0 && end.is_some_and(|end| end <= body_length)
    };
    for buffer in batch.buffers().into_iter().flatten() {
        if !in_body(buffer.offset(), buffer.length()) {
            return Err(format!(
                "a buffer of {} bytes at {} does not fit into a body of {body_length} bytes",
                buffer.length(),
                buffer.offset()
            ));
        }
    }
    let mut widths = Vec::new();
    if message.header_type() == MessageHeader::RecordBatch {
        let fields = schema.into_iter().flat_map(Schema::fields);
        let _ = fields
            .map(|field| field.data_type())
            .all(|data_type| push_widths(data_type, &mut widths));
    }
    for (buffer, width) in batch.buffers().into_iter().flatten().zip(widths) {
        if buffer.length() % width != 0 {
            let length = buffer.length();
            return Err(format!(
                "a buffer of {length} bytes cannot hold offsets of {width} bytes"
            ));
        }
    }
    for node in batch.nodes().into_iter().flatten() {
        if node.length() < 0 || node.null_count() < 0 {
            return Err(format!(
                "a column has {} values, {} of them null",
                node.length(),
                node.null_count()
            ));
        }
    }
    Ok(())
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
