//! Random rows of any schema, for the round trips of all formats.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::column::{Column, Values};

/// `count` rows; one value in eight is NULL where the field allows it.
pub(crate) fn random_batch(schema: &SchemaRef, count: usize, random: &mut ChaCha8Rng) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| {
        let mut column = Column::new(field).expect("a type of SQL");
        (0..count).for_each(|_| push_random(&mut column, random));
        column.finish().expect("consistent")
    });
    let columns = columns.collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).expect("consistent")
}

fn push_random(column: &mut Column, random: &mut ChaCha8Rng) {
    if column.field.is_nullable() && random.random_ratio(1, 8) {
        return column.push_null();
    }
    match &mut column.values {
        Values::Boolean(values) => values.push(random.random()),
        Values::Int8(values) => values.push(random.random()),
        Values::Int16(values) => values.push(random.random()),
        Values::Int32(values) => values.push(random.random()),
        Values::Int64(values) => values.push(random.random::<i64>() >> random.random_range(0..64)),
        Values::Float32(values) => values.push(random_double(random) as f32),
        Values::Float64(values) => values.push(random_double(random)),
        Values::Decimal { values, precision, .. } => {
            let digits = random.random_range(0..=u32::from(*precision));
            values.push(random.random::<i128>() % 10_i128.pow(digits));
        }
        Values::Date(values) => values.push(random.random_range(-700_000..2_900_000)),
        Values::Time(values) => values.push(random.random_range(0..86_400_000)),
        // Within what nanoseconds reach.
        Values::Timestamp { values, .. } => values.push(random.random_range(-60_000_000_000_000..60_000_000_000_000)),
        Values::Text(texts) => texts.push(random_text(random).as_bytes()),
        Values::Binary(texts) => {
            let bytes: Vec<u8> = (0..random.random_range(0..12)).map(|_| random.random()).collect();
            texts.push(&bytes);
        }
        Values::List { offsets, element } => {
            (0..random.random_range(0..4)).for_each(|_| push_random(element, random));
            offsets.push(element.len() as i32);
        }
        Values::Map { offsets, keys, values, .. } => {
            for index in 0..random.random_range(0..4) {
                push_key(keys, index);
                push_random(values, random);
            }
            offsets.push(keys.len() as i32);
        }
        Values::Row(row) => {
            row.begin();
            row.columns.iter_mut().for_each(|field| push_random(field, random));
            row.end();
        }
    }
    column.mark_valid();
}

/// Keys of one map differ.
fn push_key(keys: &mut Column, index: usize) {
    assert_eq!(keys.field.data_type(), &DataType::Utf8, "maps have text keys");
    if let Values::Text(texts) = &mut keys.values {
        texts.push(format!("key {index}").as_bytes());
    }
    keys.mark_valid();
}

fn random_double(random: &mut ChaCha8Rng) -> f64 {
    match random.random_range(0..4) {
        0 => f64::from(random.random::<i16>()) / 8.0,
        1 => random.random(),
        _ => Some(f64::from_bits(random.random())).filter(|value| value.is_finite()).unwrap_or(-0.0),
    }
}

fn random_text(random: &mut ChaCha8Rng) -> String {
    const ALPHABET: &[char] =
        &['a', 'b', ' ', ',', ';', '"', '\'', '\\', '\n', '\r', '\t', '\0', '#', 'é', '😀', '\u{1f}', '{', ']'];
    (0..random.random_range(0..20)).map(|_| ALPHABET[random.random_range(0..ALPHABET.len())]).collect()
}
