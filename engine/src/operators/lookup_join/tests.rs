//! Lookup joins over tables that are held whole, and what is done about answers that fail or stay away.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::JoinType;
use expect_test::{Expect, expect};

use super::LookupJoin;
use crate::lookup::{
    Access, Answer, Answered, Found, KeyAccess, Lookup, LookupFailure, LookupPolicy, MissRetry, Question,
};
use crate::operator::MAIN_PORT;
use crate::operators::join_rows::{JoinInput, joined_schema};
use crate::operators::testing::World;
use crate::{Batch, Result};

/// Tests answer themselves.
pub struct Nobody(pub SchemaRef);

impl Lookup for Nobody {
    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }

    fn ask(&self, question: &Question) -> Result<Answer, LookupFailure> {
        unreachable!("{question:?} was asked of nobody")
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Utf8, true)]))
}

fn rows(rows: &[(Option<&str>, &str)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn plan(kind: JoinType, policy: LookupPolicy) -> LookupJoin {
    let one = JoinInput { schema: schema(), keys: vec![0] };
    LookupJoin {
        kind,
        inputs: [one.clone(), one],
        lookup: Arc::new(Nobody(schema())),
        policy,
        condition: None,
        schema: joined_schema(kind, &schema(), &schema()),
    }
}

fn by_key(capacity: usize, keys_per_question: usize, miss_retry: Option<MissRetry>) -> LookupPolicy {
    let access = KeyAccess {
        key_names: vec!["id".into()],
        capacity,
        questions_max: 2,
        keys_per_question,
        cache: None,
        miss_retry,
    };
    LookupPolicy { table: "d".into(), access: Access::ByKey(access), ordered: true, timeout_ms: 5_000, retries_max: 2 }
}

fn questions(world: &mut World<'_>) -> Result<Vec<(u64, Question)>> {
    world.call(0, |operator, ctx, _| operator.stage().unwrap().questions(ctx))
}

/// The keys of questions, and `open`.
fn asked(world: &mut World<'_>) -> Vec<String> {
    let text = |(number, question): (u64, Question)| match question {
        Question::Open(_) => format!("{number}: open"),
        Question::Keys(keys) => {
            format!("{number}: {}", crate::operators::testing::rows_as_text(&keys).join(" "))
        }
    };
    questions(world).unwrap().into_iter().map(text).collect()
}

fn answer(world: &mut World<'_>, number: u64, result: Result<Answer, LookupFailure>) -> Result<()> {
    world.call(0, |operator, ctx, out| {
        let stage = operator.stage().unwrap();
        stage.on_answer(Answered { number, result }, ctx)?;
        while stage.has_answered() {
            stage.emit_answered(ctx, out)?;
        }
        Ok(())
    })
}

fn found(found: &[(&str, &str)], key_of_row: &[u32]) -> Result<Answer, LookupFailure> {
    let found: Vec<_> = found.iter().map(|(key, value)| (Some(*key), *value)).collect();
    Ok(Answer::Rows(Found { rows: rows(&found), key_of_row: key_of_row.to_vec() }))
}

fn check(world: &mut World<'_>, expected: Expect) {
    expected.assert_eq(&world.rows(MAIN_PORT).join("\n"));
    world.take_output();
}

#[test]
fn each_row_meets_the_rows_that_are_there_when_it_comes() {
    let plan = plan(JoinType::Left, LookupPolicy::whole("d", Some(100)));
    let mut world = World::new(&plan, &[0], &schema(), usize::MAX, 1);
    assert_eq!(asked(&mut world), ["0: open"]);
    let left = rows(&[(Some("a"), "x"), (Some("b"), "y"), (None, "z")]);
    let batch = Batch::new(left).with_watermarks(Int64Array::from(vec![7, 8, 9]));
    world.batch(&batch);
    check(&mut world, expect![[""]]);
    let table = rows(&[(Some("a"), "1"), (Some("a"), "2"), (None, "3")]);
    answer(&mut world, 0, Ok(Answer::Whole(Arc::new(table)))).unwrap();
    let marks = world.out.batches.iter().flat_map(|(_, batch)| batch.watermarks().unwrap().values().to_vec());
    assert_eq!(marks.collect::<Vec<_>>(), [7, 7, 8, 9]);
    check(
        &mut world,
        expect![[r#"
            a|x|a|1
            a|x|a|2
            b|y|NULL|NULL
            NULL|z|NULL|NULL"#]],
    );
    // The table is old by now: rows wait for the new one.
    world.now = 100;
    world.batch(&batch);
    assert_eq!(asked(&mut world), ["1: open"]);
    assert_eq!(asked(&mut world), Vec::<String>::new());
    answer(&mut world, 1, Ok(Answer::Whole(Arc::new(rows(&[(Some("b"), "4")]))))).unwrap();
    check(
        &mut world,
        expect![[r#"
            a|x|NULL|NULL
            b|y|b|4
            NULL|z|NULL|NULL"#]],
    );
}

#[test]
fn keys_are_asked_for_as_far_as_there_is_room() {
    let plan = plan(JoinType::Inner, by_key(3, 2, None));
    let mut world = World::new(&plan, &[0], &schema(), usize::MAX, 1);
    let keys = ["a", "b", "a", "c", "d"].map(|key| (Some(key), "x"));
    world.batch(&Batch::new(rows(&keys)));
    assert_eq!(asked(&mut world), ["0: open", "1: a b"], "two questions at a time");
    answer(&mut world, 0, Ok(Answer::Ready)).unwrap();
    assert_eq!(asked(&mut world), ["2: c"], "three keys at a time");
    assert!(!world.call(0, |operator, _, _| operator.stage().unwrap().has_room(false)));
    answer(&mut world, 2, found(&[("c", "3")], &[0])).unwrap();
    check(&mut world, expect![[""]]);
    answer(&mut world, 1, found(&[("a", "1"), ("a", "2")], &[0, 0])).unwrap();
    check(
        &mut world,
        expect![[r#"
            a|x|a|1
            a|x|a|2
            a|x|a|1
            a|x|a|2
            c|x|c|3"#]],
    );
    assert_eq!(asked(&mut world), ["3: d"]);
}

#[test]
fn failures_that_may_pass_are_tried_again_and_then_fail_the_job() {
    let plan = plan(JoinType::Inner, by_key(3, 2, None));
    let mut world = World::new(&plan, &[0], &schema(), usize::MAX, 1);
    world.batch(&Batch::new(rows(&[(Some("a"), "x"), (Some("b"), "x")])));
    assert_eq!(asked(&mut world), ["0: open", "1: a b"]);
    let refused = || Err(LookupFailure::Passing("refused".into()));
    for (failed_at, again_at) in [(0, 100), (100, 300)] {
        world.now = failed_at;
        answer(&mut world, 1, refused()).unwrap();
        world.now = again_at - 1;
        assert_eq!(asked(&mut world), Vec::<String>::new());
        world.now = again_at;
        assert_eq!(asked(&mut world), ["1: a b"]);
    }
    let error = answer(&mut world, 1, refused()).unwrap_err();
    assert!(error.is_transient());
    expect![[r#"
        lookup in table `d` (id = a (and 1 more keys)): refused
          it was tried 2 more times"#]]
    .assert_eq(&error.to_string());
    let error = answer(&mut world, 0, Err(LookupFailure::Lasting("no such table".into()))).unwrap_err();
    assert!(!error.is_transient());
    expect!["lookup in table `d` (before the first key): no such table"].assert_eq(&error.to_string());
}

#[test]
fn an_answer_that_stays_away_fails_the_job() {
    let plan = plan(JoinType::Inner, by_key(3, 2, None));
    let mut world = World::new(&plan, &[0], &schema(), usize::MAX, 1);
    world.batch(&Batch::new(rows(&[(Some("a"), "x")])));
    questions(&mut world).unwrap();
    answer(&mut world, 0, Ok(Answer::Ready)).unwrap();
    world.now = 5_000;
    questions(&mut world).unwrap();
    world.now = 5_001;
    let error = questions(&mut world).unwrap_err();
    expect![
        "lookup in table `d` (id = a): no answer within 5000 ms; 'table.exec.async-lookup.timeout' allows more time"
    ]
    .assert_eq(&error.to_string());
}

#[test]
fn missing_rows_are_asked_for_again_where_that_is_wanted() {
    let plan = plan(JoinType::Left, by_key(3, 2, Some(MissRetry { delay_ms: 10, attempts_max: 2 })));
    let mut world = World::new(&plan, &[0], &schema(), usize::MAX, 1);
    world.batch(&Batch::new(rows(&[(Some("a"), "x"), (Some("b"), "x")])));
    assert_eq!(asked(&mut world), ["0: open", "1: a b"]);
    answer(&mut world, 1, found(&[("a", "1")], &[0])).unwrap();
    assert_eq!(asked(&mut world), Vec::<String>::new());
    world.now = 10;
    assert_eq!(asked(&mut world), ["2: b"]);
    answer(&mut world, 2, found(&[], &[])).unwrap();
    check(
        &mut world,
        expect![[r#"
            a|x|a|1
            b|x|NULL|NULL"#]],
    );
}
