//! The metadata columns: what a message has beside its key and value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int32Array, Int64Array, MapArray, MapBuilder, StringArray, StringBuilder,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, TimeUnit};
use rdkafka::message::{Header, OwnedHeaders, Timestamp};

use super::taken::Taken;
use crate::registry::MetadataDef;

pub const TIMESTAMP: &str = "timestamp";
pub const HEADERS: &str = "headers";
pub const LEADER_EPOCH: &str = "leader-epoch";

/// The connector's metadata columns.
pub fn metadata() -> Vec<MetadataDef> {
    let read = |key, data_type, doc| MetadataDef { key, data_type, writable: false, doc };
    let written = |key, data_type, doc| MetadataDef { key, data_type, writable: true, doc };
    let mut all = vec![
        read("topic", DataType::Utf8, "the topic that the message was read from"),
        read("partition", DataType::Int32, "its partition"),
        read("offset", DataType::Int64, "its offset in the partition"),
        written(TIMESTAMP, timestamp_type(), "its timestamp"),
        read("timestamp-type", DataType::Utf8, "what that is: 'CreateTime', 'LogAppendTime' or 'NoTimestampType'"),
        written(HEADERS, headers_type(), "its headers; of several with one name the last"),
        read(LEADER_EPOCH, DataType::Int32, "the epoch of the partition's leader that stored it"),
    ];
    all.extend(super::envelope::metadata());
    all
}

pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

pub fn headers_type() -> DataType {
    let entries = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Binary, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
}

/// The column `key` of these messages of a partition.
pub fn column(key: &str, (topic, partition): (&str, i32), taken: &Taken, messages: &[u32]) -> ArrayRef {
    let each = messages.iter().map(|message| *message as usize);
    match key {
        "topic" => Arc::new(StringArray::from_iter_values(each.map(|_| topic))),
        "partition" => Arc::new(Int32Array::from_iter_values(each.map(|_| partition))),
        "offset" => Arc::new(Int64Array::from_iter_values(each.map(|message| taken.offsets[message]))),
        TIMESTAMP => {
            let times = each.map(|message| taken.timestamps[message].to_millis());
            Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone("UTC"))
        }
        "timestamp-type" => {
            Arc::new(StringArray::from_iter_values(each.map(|message| name_of_type(taken.timestamps[message]))))
        }
        HEADERS => headers(each.map(|message| taken.headers[message].as_slice())),
        LEADER_EPOCH => Arc::new(Int32Array::from_iter(each.map(|message| taken.leader_epochs[message]))),
        other => unreachable!("the metadata key {other} was checked"),
    }
}

fn name_of_type(timestamp: Timestamp) -> &'static str {
    match timestamp {
        Timestamp::NotAvailable => "NoTimestampType",
        Timestamp::CreateTime(_) => "CreateTime",
        Timestamp::LogAppendTime(_) => "LogAppendTime",
    }
}

fn headers<'a>(all: impl Iterator<Item = &'a [(String, Option<Vec<u8>>)]>) -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), BinaryBuilder::new());
    for headers in all {
        for (index, (key, value)) in headers.iter().enumerate() {
            if headers[index + 1..].iter().any(|(later, _)| later == key) {
                continue;
            }
            builder.keys().append_value(key);
            builder.values().append_option(value.as_deref());
        }
        builder.append(true).expect("as many keys as values");
    }
    Arc::new(builder.finish())
}

/// A row of the column `headers` as a message carries it; `None`: without headers. The column has the type [`headers_type`].
pub fn written_headers(column: &MapArray, row: usize) -> Option<OwnedHeaders> {
    if column.is_null(row) {
        return None;
    }
    let entries = column.value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
    let mut headers = OwnedHeaders::new_with_capacity(keys.len());
    for entry in 0..keys.len() {
        let value = values.is_valid(entry).then(|| values.value(entry));
        headers = headers.insert(Header { key: keys.value(entry), value });
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;

    use super::*;

    #[test]
    fn headers_are_read_as_they_were_written_and_of_equal_names_the_last_counts() {
        let given = [
            vec![("a".to_string(), Some(b"1".to_vec())), ("b".into(), None), ("a".into(), Some(b"2".to_vec()))],
            Vec::new(),
        ];
        let column = headers(given.iter().map(Vec::as_slice));
        assert_eq!(column.data_type(), &headers_type());
        let written = written_headers(column.as_map(), 0).expect("headers");
        let back: Vec<_> = written.iter().map(|one| (one.key.to_string(), one.value.map(<[u8]>::to_vec))).collect();
        assert_eq!(back, [("b".to_string(), None), ("a".into(), Some(b"2".to_vec()))]);
        assert_eq!(written_headers(column.as_map(), 1).expect("no NULL").count(), 0);
    }
}
