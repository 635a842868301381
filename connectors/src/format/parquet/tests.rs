//! Round trips, projections, positions, declared types that differ from the file's, damaged files.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef, TimeUnit};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::format::Format;
use crate::format::test_rows::random_batch;

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn wide_schema() -> SchemaRef {
    let row = Fields::from(vec![field("a", DataType::Int64), field("b", DataType::Utf8)]);
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), field("value", DataType::Int32)]);
    let entries = Arc::new(Field::new("entries", DataType::Struct(entries), false));
    Arc::new(Schema::new(vec![
        field("boolean", DataType::Boolean),
        field("tiny", DataType::Int8),
        field("big", DataType::Int64),
        field("float", DataType::Float32),
        field("decimal", DataType::Decimal128(20, 4)),
        field("text", DataType::Utf8),
        field("bytes", DataType::Binary),
        field("date", DataType::Date32),
        field("time", DataType::Time32(TimeUnit::Millisecond)),
        field("ts3", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("ts9", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        field("ltz", DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()))),
        field("row", DataType::Struct(row.clone())),
        field("list", DataType::List(Arc::new(field("item", DataType::Struct(row))))),
        field("map", DataType::Map(entries, false)),
    ]))
}

fn write(path: &Path, rows: &[RecordBatch], schema: &SchemaRef, compression: &str) {
    let options = [("parquet.compression".to_owned(), compression.to_owned())].into();
    let Ok(Format::Parquet(options)) = Format::parse("parquet", &options) else { panic!("valid options") };
    let mut writer = ParquetWriter::new(Vec::new(), schema, &options).expect("writer");
    for rows in rows {
        writer.write(rows).expect("write");
    }
    std::fs::write(path, writer.finish().expect("finish")).expect("write");
}

fn read(path: &Path, table: &SchemaRef, projection: &[usize], position: u64, rows_max: usize) -> Result<RecordBatch> {
    let mut reader = ParquetReader::open(path, table, projection, position, 64)?;
    let mut parts = Vec::new();
    while let Some(rows) = reader.next(rows_max)? {
        assert!(rows.num_rows() <= rows_max);
        parts.push(rows);
    }
    let schema = Arc::new(table.project(projection)?);
    Ok(arrow::compute::concat_batches(&schema, &parts)?)
}

#[test]
fn what_is_written_reads_back_from_every_position() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("x.parquet");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let all: Vec<usize> = (0..wide_schema().fields().len()).collect();
    for compression in ["SNAPPY", "zstd", "GZIP", "UNCOMPRESSED"] {
        let parts: Vec<RecordBatch> = (0..4).map(|_| random_batch(&wide_schema(), 50, &mut random)).collect();
        write(&path, &parts, &wide_schema(), compression);
        let whole = arrow::compute::concat_batches(&wide_schema(), &parts).expect("same schema");
        for position in [0, 1, 49, 50, 130, 199, 200] {
            let rows = read(&path, &wide_schema(), &all, position, 17).expect("own output");
            assert_eq!(rows, whole.slice(position as usize, 200 - position as usize), "{compression} from {position}");
        }
        let mut projection: Vec<usize> = all.iter().copied().filter(|_| random.random_bool(0.4)).collect();
        projection.reverse();
        let rows = read(&path, &wide_schema(), &projection, 3, 1000).expect("own output");
        assert_eq!(rows, whole.project(&projection).expect("in range").slice(3, 197), "{projection:?}");
    }
}

#[test]
fn only_the_number_of_rows_can_be_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("x.parquet");
    write(&path, &[random_batch(&wide_schema(), 100, &mut ChaCha8Rng::seed_from_u64(2))], &wide_schema(), "SNAPPY");
    let mut reader = ParquetReader::open(&path, &wide_schema(), &[], 10, 64).expect("own output");
    let mut count = 0;
    while let Some(rows) = reader.next(1000).expect("own output") {
        count += rows.num_rows();
    }
    assert_eq!((count, reader.position()), (90, 100));
}

#[test]
fn columns_are_found_by_name_and_cast_to_the_declared_type() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("x.parquet");
    let written = Arc::new(Schema::new(vec![field("b", DataType::Int32), field("a", DataType::Int32)]));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(Int32Array::from(vec![300, 4]))];
    let rows = RecordBatch::try_new(written.clone(), columns).expect("consistent");
    write(&path, &[rows], &written, "SNAPPY");
    let declared =
        |a| Arc::new(Schema::new(vec![field("a", a), field("missing", DataType::Utf8), field("b", DataType::Int64)]));
    let rows = read(&path, &declared(DataType::Utf8), &[0, 1, 2], 0, 10).expect("castable");
    assert_eq!(rows.column(0).as_string::<i32>().value(0), "300");
    assert_eq!(rows.column(1).null_count(), 2);
    assert_eq!(rows.column(2).as_primitive::<Int64Type>().values(), &[1, 2]);
    let error = read(&path, &declared(DataType::Int8), &[0], 0, 10).expect_err("300 is no TINYINT");
    assert!(error.to_string().contains("column a is Int32 in the file"), "{error}");
    let required = Arc::new(Schema::new(vec![Field::new("missing", DataType::Utf8, false)]));
    let error = read(&path, &required, &[0], 0, 10).expect_err("a missing column is NULL");
    assert!(!error.is_transient(), "{error}");
}

#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("x.parquet");
    let all: Vec<usize> = (0..wide_schema().fields().len()).collect();
    write(&path, &[random_batch(&wide_schema(), 20, &mut ChaCha8Rng::seed_from_u64(3))], &wide_schema(), "SNAPPY");
    let whole = std::fs::read(&path).expect("read");
    for cut in [0, 1, 8, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).expect("write");
        let error = read(&path, &wide_schema(), &all, 0, 10).expect_err("cut short");
        assert!(!error.is_transient(), "cut at {cut}: {error}");
    }
}
