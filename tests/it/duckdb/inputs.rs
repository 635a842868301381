//! The input files of the comparisons with DuckDB, from a seed: nested bids as JSON, auctions as CSV.
//! The Parquet file is made of these by DuckDB itself (`tests/duckdb/tables.sql`).

use std::fmt::Write;

use chrono::{DateTime, Duration};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// 2024-03-01 00:00:00 UTC.
const BIDS_BEGIN_S: i64 = 1_709_251_200;
/// 2023-11-20 07:00:00 UTC: the auctions cross a year's end and a 29th of February.
const AUCTIONS_BEGIN_S: i64 = 1_700_463_600;
/// Rows come at most so much later than they happened: less than the 5 seconds that the watermark waits.
const DISORDER_MS: i64 = 4_500;
const AUCTION_DISORDER_MS: i64 = 3_000_000;

const ITEMS: &[&str] = &["pen", "cup", "lamp", "chair", "Ünïcode vase", "old \"book\", torn", ""];
const CITIES: &[&str] = &["Bremen", "Cuxhaven", "Emden", "Husum"];
const TAGS: &[&str] = &["new", "used", "rare", "gift", "damaged"];
const CATEGORIES: &[&str] = &["art", "books", "coins", "toys"];

/// Bids as NDJSON: one object per line, some out of order, many with nulls, missing fields, empty arrays.
pub fn bids(rng: &mut ChaCha8Rng, first_id: usize, rows: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        // A lull now and then closes sessions.
        let lull = (row as i64 / 400) * 25_000;
        let ms = row as i64 * 900 + lull - rng.random_range(0..DISORDER_MS);
        let line = [
            format!(r#""id":{}"#, first_id + row),
            format!(r#""bidder":{}"#, bidder(rng)),
            format!(r#""item":{}"#, quoted(pick(rng, ITEMS))),
            format!(r#""price":{}"#, or_null(rng, 0.05, |rng| format!("{:.2}", rng.random_range(0.0..1000.0)))),
            format!(r#""score":{}"#, or_null(rng, 0.05, |rng| format!("{:.4}", rng.random_range(-50.0..50.0)))),
            format!(r#""quantity":{}"#, or_null(rng, 0.1, |rng| rng.random_range(-3..40).to_string())),
            format!(r#""tags":{}"#, or_null(rng, 0.1, tags)),
            format!(r#""lines":{}"#, lines(rng)),
            format!(r#""active":{}"#, or_null(rng, 0.1, |rng| rng.random_bool(0.6).to_string())),
            format!(r#""ts":"{}""#, stamp(BIDS_BEGIN_S, ms)),
        ];
        let note = if rng.random_bool(0.5) { format!(r#","note":{}"#, quoted(&note(rng))) } else { String::new() };
        writeln!(text, "{{{}{note}}}", line.join(",")).expect("a string takes it");
    }
    text
}

/// Auctions as CSV with a header line; empty fields are NULL.
pub fn auctions(rng: &mut ChaCha8Rng, rows: usize) -> String {
    let mut text = "id,category,seller,reserve,rating,opened,day,at\n".to_string();
    for id in 0..rows {
        let ms = id as i64 * 11_500_000 - rng.random_range(0..AUCTION_DISORDER_MS);
        let opened = stamp(AUCTIONS_BEGIN_S, ms);
        let reserve = or_empty(rng, 0.1, |rng| format!("{:.3}", rng.random_range(0.0..5000.0)));
        let rating = or_empty(rng, 0.1, |rng| format!("{}", rng.random_range(0..500) as f64 / 8.0));
        let seller = format!("\"seller {}, {}\"", rng.random_range(0..12), pick(rng, CITIES));
        let category = or_empty(rng, 0.04, |rng| pick(rng, CATEGORIES).to_string());
        let (day, at) = (&opened[..10], &opened[11..19]);
        writeln!(text, "{id},{category},{seller},{reserve},{rating},{opened},{day},{at}").expect("a string takes it");
    }
    text
}

fn bidder(rng: &mut ChaCha8Rng) -> String {
    if rng.random_bool(0.03) {
        return "null".to_string();
    }
    let id = rng.random_range(0..25) * rng.random_range(0..3);
    let city = or_null(rng, 0.15, |rng| quoted(pick(rng, CITIES)));
    format!(r#"{{"id":{id},"name":"Bidder {id}","address":{{"city":{city},"zip":"{:05}"}}}}"#, id * 731 % 90_000)
}

fn tags(rng: &mut ChaCha8Rng) -> String {
    let count = rng.random_range(0..4);
    let tags: Vec<String> = (0..count).map(|_| or_null(rng, 0.05, |rng| quoted(pick(rng, TAGS)))).collect();
    format!("[{}]", tags.join(","))
}

fn lines(rng: &mut ChaCha8Rng) -> String {
    let count = rng.random_range(0..3);
    let line =
        |rng: &mut ChaCha8Rng| format!(r#"{{"sku":"S{}","units":{}}}"#, rng.random_range(0..9), rng.random_range(1..7));
    let lines: Vec<String> = (0..count).map(|_| line(rng)).collect();
    format!("[{}]", lines.join(","))
}

fn note(rng: &mut ChaCha8Rng) -> String {
    let words =
        ["  left ", "http://shop.example/a?b=1", "42", "-7", "3.50", "x=1;y=2", "Größe", "tab\there", "2024-02-29"];
    pick(rng, &words).to_string()
}

fn stamp(begin_s: i64, offset_ms: i64) -> String {
    let time = DateTime::from_timestamp(begin_s, 0).expect("in range") + Duration::milliseconds(offset_ms);
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn pick<'a>(rng: &mut ChaCha8Rng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn or_null(rng: &mut ChaCha8Rng, share: f64, value: impl FnOnce(&mut ChaCha8Rng) -> String) -> String {
    if rng.random_bool(share) { "null".to_string() } else { value(rng) }
}

fn or_empty(rng: &mut ChaCha8Rng, share: f64, value: impl FnOnce(&mut ChaCha8Rng) -> String) -> String {
    if rng.random_bool(share) { String::new() } else { value(rng) }
}
