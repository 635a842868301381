//! Events are the same whatever the splits, batches, restarts and columns; and they are what the benchmark defines.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMillisecondType};
use expect_test::{Expect, expect};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemill_engine::source::{Position, Read, Source, Split};

use super::fields::fields;
use super::site::Kind;
use crate::print::{PrintStyle, write_value};
use crate::registry::{Registry, Usage};
use crate::table::TableSpec;

fn table(columns: Vec<Field>, options: &[(&str, &str)]) -> TableSpec {
    let all = [("connector", "nexmark")];
    TableSpec {
        name: "events".into(),
        columns: SchemaRef::new(Schema::new(columns)),
        metadata: vec![],
        partition_keys: vec![],
        primary_key: vec![],
        options: all.iter().chain(options).map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        time_zone: "UTC".into(),
    }
}

/// Every column of one kind of event.
fn columns_of(kind: Kind) -> Vec<Field> {
    fields(kind).iter().map(|def| Field::new(def.name, def.data_type(), true)).collect()
}

fn columns_of_all() -> Vec<Field> {
    let row = |name: &str, kind| Field::new(name, DataType::Struct(columns_of(kind).into()), true);
    let rows = [row("person", Kind::Person), row("auction", Kind::Auction), row("bid", Kind::Bid)];
    std::iter::once(Field::new("event_type", DataType::Int32, false)).chain(rows).collect()
}

fn source(spec: &TableSpec) -> Arc<dyn Source> {
    let names: Vec<String> = spec.columns.fields().iter().map(|field| field.name().clone()).collect();
    Registry::standard().source(spec, &names).expect("a source")
}

/// Reads on from `position` until `rows` rows or the end, `batch` rows at a time.
fn read(
    source: &Arc<dyn Source>,
    split: &Split,
    from: Option<&Position>,
    rows: usize,
    batch: usize,
) -> (RecordBatch, Position) {
    let mut reader = source.open(split, from).expect("a reader");
    let (mut batches, mut count) = (vec![], 0);
    while count < rows {
        match reader.next(batch.min(rows - count)).expect("rows") {
            Read::Rows { rows, .. } => {
                count += rows.num_rows();
                batches.push(rows.rows().clone());
            }
            Read::End => break,
            Read::Wait(time) => std::thread::sleep(time),
            Read::Watermark(_) => unreachable!("this source tells no watermark"),
        }
    }
    (concat_batches(&source.schema(), &batches).expect("one batch"), reader.position())
}

/// All rows as text, sorted.
fn all_rows(spec: &TableSpec) -> Vec<String> {
    let source = source(spec);
    let splits = source.discover().expect("splits");
    let mut rows: Vec<String> =
        splits.iter().flat_map(|split| shown(&read(&source, split, None, usize::MAX, 1000).0)).collect();
    rows.sort();
    rows
}

fn shown(rows: &RecordBatch) -> Vec<String> {
    let row_text = |row| {
        let mut text = String::new();
        for column in rows.columns() {
            write_value(&mut text, column, row, PrintStyle::Table).expect("a value");
            text.push('|');
        }
        text
    };
    (0..rows.num_rows()).map(row_text).collect()
}

fn bids(options: &[(&str, &str)]) -> RecordBatch {
    let options = [&[("nexmark.table", "bid"), ("splits", "1")], options].concat();
    let source = source(&table(columns_of(Kind::Bid), &options));
    let split = source.discover().expect("splits").remove(0);
    read(&source, &split, None, usize::MAX, 8192).0
}

fn numbers(rows: &RecordBatch, name: &str) -> Vec<i64> {
    let column = rows.column_by_name(name).expect("a column");
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().values().to_vec(),
        _ => column.as_primitive::<TimestampMillisecondType>().values().to_vec(),
    }
}

#[test]
fn splits_batches_restarts_and_columns_change_no_event() {
    let options = |splits| [("events.num", "5003"), ("splits", splits), ("out-of-order.group-size", "60")];
    let whole = all_rows(&table(columns_of_all(), &options("1")));
    assert_eq!(whole.len(), 5003);
    assert_eq!(all_rows(&table(columns_of_all(), &options("7"))), whole);
    let spec = table(columns_of_all(), &options("3"));
    let source_all = source(&spec);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for split in source_all.discover().expect("splits") {
        let (rows, _) = read(&source_all, &split, None, usize::MAX, 512);
        let at = rng.random_range(0..rows.num_rows());
        let (first, position) = read(&source_all, &split, None, at, rng.random_range(1..100));
        let (rest, _) = read(&source_all, &split, Some(&position), usize::MAX, rng.random_range(1..100));
        assert_eq!(concat_batches(&rows.schema(), [&first, &rest]).expect("one batch"), rows, "restart at {at}");
    }
    let some = Registry::standard().source(&spec, &["bid".into()]).expect("a source");
    let split = some.discover().expect("splits").remove(1);
    let (bids, all) = (read(&some, &split, None, usize::MAX, 77).0, read(&source_all, &split, None, usize::MAX, 512).0);
    assert_eq!(bids.column(0), all.column(3));
}

#[test]
fn plain_tables_hold_the_events_of_their_kind() {
    let options = [("events.num", "4000"), ("splits", "1")];
    let spec = table(columns_of_all(), &options);
    let all = source(&spec);
    let (all, _) = read(&all, &all.discover().expect("splits")[0], None, usize::MAX, 8192);
    for (index, (name, kind, count)) in
        [("person", Kind::Person, 80), ("auction", Kind::Auction, 240), ("bid", Kind::Bid, 3680)]
            .into_iter()
            .enumerate()
    {
        let plain = source(&table(columns_of(kind), &[&[("nexmark.table", name)], &options[..]].concat()));
        let (rows, _) = read(&plain, &plain.discover().expect("splits")[0], None, usize::MAX, 1000);
        assert_eq!(rows.num_rows(), count, "{name}");
        let row = all.column(index + 1).as_struct();
        let kept = (0..all.num_rows() as u32).filter(|at| row.is_valid(*at as usize)).collect::<Vec<u32>>();
        for (field, column) in row.columns().iter().enumerate() {
            let kept = arrow::compute::take(column, &UInt32Array::from(kept.clone()), None).expect("rows");
            assert_eq!(&kept, rows.column(field), "{name}, field {field}");
        }
    }
}

#[test]
fn bids_go_to_hot_auctions_by_hot_bidders_at_spread_prices() {
    let rows = bids(&[("events.num", "50000"), ("tps", "1000")]);
    assert_eq!(rows.num_rows(), 46_000);
    let share = |name: &str| {
        let mut counts = BTreeMap::<i64, usize>::new();
        numbers(&rows, name).into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
        // Ids of hot ones stand at the beginning of a batch of 100, or just behind it.
        counts.iter().filter(|(id, _)| **id % 100 <= 1).map(|(_, count)| count).sum::<usize>() as f64 / 46_000.0
    };
    assert!((0.49..0.53).contains(&share("auction")), "{}", share("auction"));
    assert!((0.74..0.78).contains(&share("bidder")), "{}", share("bidder"));
    let prices = numbers(&rows, "price");
    let below = |limit| prices.iter().filter(|price| **price < limit).count() as f64 / 46_000.0;
    assert!((0.32..0.35).contains(&below(10_000)) && (0.65..0.68).contains(&below(1_000_000)));
    let times = numbers(&rows, "dateTime");
    assert!(times.is_sorted());
    assert_eq!((times[0], times[45_999] - times[0]), (1_704_067_200_004, 49_995));
}

#[test]
fn mixed_order_mixes_only_within_groups() {
    let events = [("events.num", "10000"), ("tps", "1000")];
    let ordered = numbers(&bids(&events), "dateTime");
    let mixed = numbers(&bids(&[&events[..], &[("out-of-order.group-size", "1000")]].concat()), "dateTime");
    assert!(!mixed.is_sorted());
    for (from, to) in ordered.chunks(920).zip(mixed.chunks(920)) {
        let mut to = to.to_vec();
        to.sort_unstable();
        assert_eq!(from, to);
    }
}

#[test]
fn a_limited_rate_is_kept() {
    let options = [("events.num", "300"), ("tps", "1000"), ("rate.limited", "true"), ("splits", "1")];
    let source = source(&table(columns_of_all(), &options));
    let started = std::time::Instant::now();
    read(&source, &source.discover().expect("splits")[0], None, usize::MAX, 8192);
    let taken = started.elapsed().as_millis();
    assert!((250..3_000).contains(&taken), "300 events took {taken} ms");
}

fn check_rows(kind: Kind, name: &str, expected: Expect) {
    let source = source(&table(columns_of(kind), &[("nexmark.table", name), ("events.num", "150"), ("splits", "1")]));
    let (rows, _) = read(&source, &source.discover().expect("splits")[0], None, 3, 8192);
    expected.assert_eq(&shown(&rows).join("\n"));
}

#[test]
fn events_stay_what_they_were() {
    check_rows(
        Kind::Person,
        "person",
        expect![[r#"
        1000|Deiter Jones|dxsa@rowh.com|8867 8334 3516 6790|Redmond|WY|2024-01-01 00:00:00.000|hdsuhgnucxorcceuxqhviwxyeuanfqhtnfywnnyvcnwhbxsmkuceunetowgtaaxqxqcsnjyutxbpcoapvdpfbcvcaeedldmirahzwuzlodtonhvcikzp|
        1001|Peter Smith|hyd@bxn.com|7306 8099 6832 9498|Boise|WY|2024-01-01 00:00:00.005|phxhsdauprssbrnbczhkjuwdvixvjawjwupavclwvjnxevvxkqmwhcwovuhoxcfuljwmkkjblutquvsgojjvutnrinoadvoqwfpkndwoshfw|
        1002|Peter Bartels|krb@tfjs.com|7377 2107 4478 9582|Boise|AZ|2024-01-01 00:00:00.010|clcshxxawlzwjpthspjkxddkubkkjlhqnodidfvwgllvaydccvichimchvekrxbgfiwodnemyqzwatlrhwxvyuorqykeqmmulwsknoawyizzhgrshviwylaqpwqnvw|"#]],
    );
    check_rows(
        Kind::Auction,
        "auction",
        expect![[r#"
        1000|tiuanbvazblkqfk|azfzfvergrdbn zysftxmc eyzsr|519|702847|2024-01-01 00:00:00.000|2024-01-01 00:00:00.026|1000|14|qsgihjhirtllcohbkbheyegqoqeotizwalcwovzjcqjyzzetruhlimfrbqxlaylaagkrjxkemisvccqstkboyzoegzbdfjvsfhyvfqquivoygcblcqucjkszzdpikkolhoorudrenrxcschcittmbjwbrwiltwokhgpowotmbpnejybrdyolkkcckfpjnucfnhujjbehanxfvytkjuibgdmvfkaobpomyblujppsfdehkvglbhjgqkvtlbvksiajurypkbvwpwdxtnjogwbykpswqrcpqbrzawsymcgbwefvtnxciodbsyebfjilrbkxilyipjdmwteqtlwobfsyyprhkpzyktaanjlxuntedku|
        1001|pjozaffuegfk|lf ihgayotfvxmfaaqj smwjeekytm yhamtajnxjalnfsuz rkkxckwp qujrfhtlgzav|3823684|3915531|2024-01-01 00:00:00.000|2024-01-01 00:00:00.124|1000|13|mklozstrpazplshrxklbgjsohtnecahcexuzzkxupituanaelrjeuyflnqyxdrxbttueknceozqxokhfrtgnbpgqqtvrphgpacjyanhfkngjjqgnvsrjmekyqcppjbslxygigyrkgktpfdwobhgvvmlyukkjipxfyujkdscaubivqleyqxnuyfrhgkqzgbiasbjkyuueeggllxdvqyvhqozavvhebihhvixahidwsmlzoikklvywwdmwulftlqupphqxlmdyanxancnguaeiogixmnlxgtogwsuavfvkrazctryoldeywsyvxpazpshuwecacmqttoihjcddpkicmpprmyvmlganexajxtuswhubgicrfrnqvkcfuofhwsdapedkgfmerkszlzxmpuxvbfpgrjugolohgsabm|
        1002|dspy|wnirbejlctucheiievlnc onuksmtrz vvdenm gqgmjeavaczfhc brnwv nctlwtrdcub ziiltqnoj wlyvevgafhsw|12454|1317231|2024-01-01 00:00:00.000|2024-01-01 00:00:00.221|1000|10|anfzzhgujalxtaoshjfkrqxbfovddajmfzxvokxpzahuoepxnztijqfzhotxkecblpfclcfxutokmvoujcwdfqknkmngnmidijrybugkrnkjjlycechtoabxverqaqlvkxfmszaqvqocuakgaecufvclrngmjvkuswcpdeijrgxszuoddjpkhndwpcrflhakwitmosptcdvrnxyvoblihwhhhomvxjnyuxbuwjccvwshslxawwmwmaqyjfmnyiniiriqrpswpirsrdoeymggusvpucgpsbwojgtsldmyevqhamnnumjlkvaxbadngmqaxlbstopsdirtkzssdoxavabgzvzrwzxgkeyuhtiobbceqtywbwwjqpdqwvggxgvsvtwpzcmklfpsatt|"#]],
    );
    check_rows(
        Kind::Bid,
        "bid",
        expect![[r#"
        1000|1001|79866|channel-3819|https://www.nexmark.com/zqwl/ssj/woy/item.htm?query=1&channel_id=1466957824|2024-01-01 00:00:00.000|xuvokptzprlkpenfczjvkvullbxffdyggitmavimibncvvnyohvvptx|
        1003|1001|31852|channel-2184|https://www.nexmark.com/wvhf/xbp/td_z/item.htm?query=1|2024-01-01 00:00:00.000|zwshyuyehwbhgqpwbmuzesdwocooonzsxodzpdaiykiabajlrdcarokdtznsxzltycjngupylhbtrk|
        1002|1001|25443|channel-5158|https://www.nexmark.com/pxu/fquf/vayx/item.htm?query=1&channel_id=1680343040|2024-01-01 00:00:00.000|yehhfwighnsfzeqnvqxewddkijgktguecwagwranoosnunyakzfidvxzyrozlhrecuiykrtkiscnuuaq|"#]],
    );
}

fn check_problems(columns: Vec<Field>, options: &[(&str, &str)], expected: Expect) {
    let problems = Registry::standard().check(&table(columns, options), Usage::Source).expect_err("refused");
    expected.assert_eq(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn wrong_tables_say_what_to_write() {
    let id = |name: &str, data_type| vec![Field::new(name, data_type, true)];
    check_problems(
        columns_of_all(),
        &[("event.num", "5"), ("tps", "fast")],
        expect![[r#"
        'nexmark' has no option 'event.num' (did you mean 'events.num'?)
        option 'tps' takes a whole number from 1 on, not 'fast'"#]],
    );
    check_problems(
        columns_of_all(),
        &[("tps", "5"), ("next-event.rate", "6")],
        expect![
            "options 'tps' and 'next-event.rate' differ: 5 and 6 (events come at one rate: leave 'next-event.rate' out)"
        ],
    );
    check_problems(
        columns_of_all(),
        &[("base-time", "noon"), ("nexmark.table", "bids")],
        expect![
            "option 'nexmark.table' takes one of 'all', 'person', 'auction', 'bid', not 'bids' (did you mean 'bid'?)"
        ],
    );
    check_problems(
        columns_of_all(),
        &[("base-time", "noon")],
        expect!["option 'base-time' takes a time, not 'noon' (write it as '2024-01-01 00:00:00')"],
    );
    check_problems(
        columns_of_all(),
        &[("out-of-order.group-size", "1906")],
        expect!["option 'out-of-order.group-size' takes no multiple of 953, such as '1906' (write '1907')"],
    );
    check_problems(
        columns_of_all(),
        &[("person.proportion", "5000000")],
        expect!["option 'person.proportion' takes a whole number up to 1000000, not '5000000'"],
    );
    check_problems(
        id("price", DataType::Int64),
        &[],
        expect!["an event has no column 'price' (write 'nexmark.table' = 'bid' for a table of one kind of event)"],
    );
    check_problems(
        id("colour", DataType::Int64),
        &[],
        expect!["an event has no column 'colour' (there are: 'event_type', 'person', 'auction', 'bid')"],
    );
    check_problems(
        id("bid", DataType::Int64),
        &[],
        expect![
            "column 'bid' is a ROW, not BIGINT (declare it as bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, dateTime TIMESTAMP(3), extra STRING>)"
        ],
    );
    check_problems(
        id("pric", DataType::Int64),
        &[("nexmark.table", "bid")],
        expect!["a bid has no column 'pric' (did you mean 'price'?)"],
    );
    check_problems(
        id("price", DataType::Int32),
        &[("nexmark.table", "bid")],
        expect![
            "column 'price' is BIGINT, not INT (declare it as BIGINT, and CAST it in a computed column or the query)"
        ],
    );
}
