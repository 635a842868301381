//! Each record is read once, however files are cut and wherever reading goes on.

use std::fs;
use std::io::Write;

use arrow::array::Array;
use arrow::datatypes::TimeUnit;
use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::compression::{CompressedWriter, Compression};
use crate::format::Format;
use crate::format::parquet::ParquetWriter;
use crate::print::{PrintStyle, write_value};

/// Lines of JSON with ids from `first` on; some much longer than any split.
fn lines(rng: &mut ChaCha8Rng, first: i64, count: i64) -> String {
    let mut text = String::new();
    for id in first..first + count {
        let length = if rng.random_bool(0.1) { rng.random_range(100..600) } else { rng.random_range(0..20) };
        text.push_str(&format!("{{\"id\": {id}, \"text\": \"{}\"}}\n", "x".repeat(length)));
    }
    if rng.random_bool(0.5) {
        text.pop();
    }
    text
}

const COLUMNS: &[(&str, DataType)] = &[("id", DataType::Int64), ("text", DataType::Utf8)];

#[test]
fn every_record_belongs_to_one_split() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for round in 0..60 {
        let folder = tempfile::tempdir().expect("a folder");
        let (files, count) = (rng.random_range(1..4), rng.random_range(0..60));
        for file in 0..files {
            let text = lines(&mut rng, file * count, count);
            fs::write(folder.path().join(format!("{file}.json")), text).expect("written");
        }
        let size = rng.random_range(1..300).to_string();
        let spec = table(folder.path(), COLUMNS, &[("format", "json"), ("source.split.size", &size)]);
        let source = source(&spec, &["id".to_string()]);
        let splits = source.discover().expect("splits");
        assert_eq!(splits, source.discover().expect("splits"), "discovery is stable");
        let batch = rng.random_range(1..50);
        let read_split = |split| ids(&read(&source, split, None, batch).expect("rows").0);
        let all: Vec<i64> = splits.iter().flat_map(read_split).collect();
        assert_eq!(all, (0..files * count).collect::<Vec<_>>(), "round {round}, splits of {size}");
    }
}

/// Reads a split row by row and goes on from each position in a new reader.
fn check_resume(source: &Arc<dyn Source>, split: &Split) {
    let all = ids(&read(source, split, None, 1000).expect("rows").0);
    let mut reader = source.open(split, None).expect("a reader");
    for done in 0..=all.len() {
        let rest = read(source, split, Some(&reader.position()), 7).expect("rows").0;
        assert_eq!(ids(&rest), all[done..], "after {done} rows of {}", split.id);
        let more = matches!(reader.next(1).expect("a row"), Read::Rows { .. });
        assert_eq!(more, done < all.len());
    }
}

#[test]
fn reading_goes_on_from_any_position() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let folder = tempfile::tempdir().expect("a folder");
    let text = lines(&mut rng, 0, 40);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut packed = CompressedWriter::new(compression, Vec::new());
        packed.write_all(text.as_bytes()).expect("packed");
        let name = format!("a.json{}", compression.suffix());
        fs::write(folder.path().join(name), packed.finish().expect("packed")).expect("written");
    }
    let spec = table(folder.path(), COLUMNS, &[("format", "json"), ("source.split.size", "333")]);
    let source = source(&spec, &names(&spec));
    let splits = source.discover().expect("splits");
    assert!(splits.len() > 3, "ranges of the plain file, and one split for each packed one");
    splits.iter().for_each(|split| check_resume(&source, split));
    let count: usize = splits.iter().map(|split| ids(&read(&source, split, None, 9).expect("rows").0).len()).sum();
    assert_eq!(count, 3 * 40);
}

fn write_parquet(path: &Path, spec: &TableSpec, ids: std::ops::Range<i64>) {
    let texts: arrow::array::StringArray = ids.clone().map(|id| Some(format!("text {id}"))).collect();
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(arrow::array::Int64Array::from_iter_values(ids)), Arc::new(texts)];
    let rows = RecordBatch::try_new(spec.columns.clone(), columns).expect("rows");
    let Ok(Format::Parquet(options)) = Format::parse("parquet", &spec.options) else { panic!("a format") };
    let file = fs::File::create(path).expect("a file");
    let mut writer = ParquetWriter::new(file, &spec.columns, &options).expect("a writer");
    writer.write(&rows).expect("written");
    writer.finish().expect("finished");
}

#[test]
fn parquet_files_go_on_from_any_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = table(folder.path(), COLUMNS, &[("format", "parquet")]);
    write_parquet(&folder.path().join("a.parquet"), &spec, 0..30);
    let source = source(&spec, &["text".to_string(), "id".to_string()]);
    let splits = source.discover().expect("splits");
    assert_eq!(splits.len(), 1);
    check_resume(&source, &splits[0]);
}

#[test]
fn folders_and_files_give_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, id) in [("day=2024-01-01/n=1/a.json", 1), ("day=2024-01-02/n=__HIVE_DEFAULT_PARTITION__/b.json", 2)] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, format!("{{\"id\":{id}}}\n{{\"id\":{}}}\n", id * 10)).expect("written");
    }
    let fields = [("n", DataType::Int32), ("id", DataType::Int64), ("day", DataType::Date32)];
    let mut spec = table(folder.path(), &fields, &[("format", "json")]);
    spec.partition_keys = vec!["day".into(), "n".into()];
    let zone = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    for (name, key, data_type) in [
        ("file", "file.name", DataType::Utf8),
        ("size", "file.size", DataType::Int32),
        ("at", "file.modification-time", zone),
    ] {
        spec.metadata.push(MetadataColumn { name: name.into(), key: key.into(), data_type, is_virtual: true });
    }
    let columns: Vec<String> = ["day", "id", "n", "file", "size", "at"].map(String::from).to_vec();
    let source = source(&spec, &columns);
    let mut text = String::new();
    for split in source.discover().expect("splits") {
        for rows in read(&source, &split, None, 10).expect("rows").0 {
            assert_eq!(rows["at"].null_count(), 0);
            for row in 0..rows.num_rows() {
                for column in &rows.columns()[..5] {
                    write_value(&mut text, column, row, PrintStyle::Flink).expect("a value");
                    text.push(' ');
                }
                text = text.trim_end().to_string() + "\n";
            }
        }
    }
    expect![[r#"
        2024-01-01 1 1 a.json 19
        2024-01-01 10 1 a.json 19
        2024-01-02 2 null b.json 19
        2024-01-02 20 null b.json 19
    "#]]
    .assert_eq(&text);
}

#[test]
fn no_column_at_all_still_counts_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.json"), "{\"id\":1}\n{\"id\":2}\n").expect("written");
    let spec = table(folder.path(), COLUMNS, &[("format", "json")]);
    let source = source(&spec, &[]);
    let split = source.discover().expect("splits").remove(0);
    let rows = read(&source, &split, None, 10).expect("rows").0;
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[test]
fn bad_records_fail_or_are_kept_as_the_options_say() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.json"), "{\"id\":1}\nnonsense\n{\"id\":2}\n").expect("written");
    let strict = table(folder.path(), COLUMNS, &[("format", "json")]);
    let reader = source(&strict, &names(&strict));
    let split = reader.discover().expect("splits").remove(0);
    let error = read(&reader, &split, None, 10).expect_err("a bad record").to_string();
    assert!(error.contains("a.json at byte 9") && error.contains("nonsense"), "{error}");
    let lenient = table(folder.path(), COLUMNS, &[("format", "json"), ("json.ignore-parse-errors", "true")]);
    let reader = source(&lenient, &names(&lenient));
    let (rows, rejected) = read(&reader, &split, None, 10).expect("rows");
    assert_eq!(ids(&rows), [1, 2]);
    assert_eq!((rejected.len(), rejected[0].offset), (1, 9));
}

#[test]
fn a_file_that_changed_under_a_checkpoint_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.json");
    fs::write(&path, "{\"id\":1}\n{\"id\":2}\n").expect("written");
    let spec = table(folder.path(), COLUMNS, &[("format", "json")]);
    let source = source(&spec, &names(&spec));
    let split = source.discover().expect("splits").remove(0);
    let mut reader = source.open(&split, None).expect("a reader");
    reader.next(1).expect("a row");
    fs::write(&path, "{\"id\":1}\n").expect("written");
    let error = source.open(&split, Some(&reader.position())).err().expect("changed");
    assert!(error.to_string().contains("it had 18 bytes and has 9 now"), "{error}");
    assert!(!error.is_transient());
    fs::remove_file(&path).expect("removed");
    let error = source.open(&split, None).err().expect("gone");
    assert!(error.to_string().contains("a.json"), "{error}");
}

#[test]
fn monitoring_finds_new_files_and_leaves_known_ones_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = [("format", "json"), ("source.monitor-interval", "1 s"), ("source.split.size", "5")];
    let spec = table(&folder.path().join("later"), COLUMNS, &options);
    let source = source(&spec, &names(&spec));
    assert!(source.discovery_interval().is_some());
    assert_eq!(source.discover().expect("not there yet"), []);
    fs::create_dir(folder.path().join("later")).expect("a folder");
    let path = folder.path().join("later/a.json");
    fs::write(&path, "{\"id\":1}\n{\"id\":2}\n").expect("written");
    let first = source.discover().expect("splits");
    assert_eq!(first.len(), 4, "ranges of five bytes");
    fs::write(&path, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n").expect("written");
    fs::write(folder.path().join("later/b.json"), "{\"id\":4}\n").expect("written");
    let second = source.discover().expect("splits");
    let of_a = |split: &&Split| source.whole(split) == source.whole(&first[0]);
    let (grown, new): (Vec<&Split>, Vec<&Split>) = second.iter().partition(of_a);
    assert!(grown.len() > first.len() && new.len() == 2, "{grown:?} {new:?}");
    let rows = |split: &Split| ids(&read(&source, split, None, 10).expect("rows").0);
    let found: Vec<i64> = first.iter().flat_map(rows).collect();
    assert_eq!(found, [1, 2], "as it was when it was found");
}

#[test]
fn tables_that_cannot_be_read_say_why() {
    let path = Path::new("/data");
    let with = |options: &[(&str, &str)]| table(path, COLUMNS, options);
    expect!["'filesystem' needs the option 'format' (add 'format' = '...' to WITH: how records are written)"]
        .assert_eq(&problems(&with(&[]), Usage::Source));
    expect!["option 'format' takes one of 'json', 'csv', 'raw', 'debezium-json', 'changelog-json', 'canal-json', 'maxwell-json', 'parquet', not 'jsn' (did you mean 'json'?)"]
        .assert_eq(&problems(&with(&[("format", "jsn")]), Usage::Source));
    expect!["'filesystem' has no option 'csv.header' (`tidemill connectors filesystem` lists the options)"]
        .assert_eq(&problems(&with(&[("format", "json"), ("csv.header", "true")]), Usage::Source));
    expect![[r#"
        option 'source.path.regex-pattern' is not a regular expression: regex parse error:
            ^(?:()$
             ^
        error: unclosed group"#]]
    .assert_eq(&problems(&with(&[("format", "json"), ("source.path.regex-pattern", "(")]), Usage::Source));
    expect!["Parquet files pack their own pages (use 'parquet.compression' instead)"]
        .assert_eq(&problems(&with(&[("format", "parquet"), ("compression", "gzip")]), Usage::Sink));
    expect!["a Parquet file cannot stay open over a checkpoint (leave the option out, or use a format of lines such as 'json')"].assert_eq(&problems(&with(&[("format", "parquet"), ("sink.rolling-policy.on-checkpoint", "false")]), Usage::Sink));
    expect!["option 'path' takes a local path, not a s3 address (write a path, or file:///path)"]
        .assert_eq(&problems(&table(Path::new("s3://x/y"), COLUMNS, &[("format", "json")]), Usage::Source));
    expect!["rows cannot be written to a pattern (give a folder without '*', '?' and '[')"]
        .assert_eq(&problems(&table(Path::new("out/*.json"), COLUMNS, &[("format", "json")]), Usage::Sink));
    let mut partitioned = with(&[("format", "json")]);
    partitioned.partition_keys = vec!["day".into()];
    expect!["PARTITIONED BY: there is no physical column 'day'"].assert_eq(&problems(&partitioned, Usage::Declared));
    partitioned.partition_keys = vec!["id".into(), "text".into()];
    expect!["PARTITIONED BY takes all columns: none is left to write into the files"]
        .assert_eq(&problems(&partitioned, Usage::Declared));
}
