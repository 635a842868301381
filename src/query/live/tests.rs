//! Queries that run: rows at once, back-pressure, a quick end, nothing left behind.

use std::time::Instant;

use tidemill_connectors::registry::Registry;
use tidemill_engine::runtime::NodeRole;
use tidemill_sql::parser::{StatementKind, parse_script};
use tidemill_sql::session::Session;
use tidemill_sql::settings::Settings;

use super::*;
use crate::connect::RegistryConnectors;
use crate::query::FoldedView;

/// Nothing here takes so long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

fn session() -> Session {
    let mut session = Session::new(Settings::new(), Arc::new(RegistryConnectors::new(Registry::standard())));
    let script = "CREATE TABLE fast (n BIGINT, k INT) WITH ('connector' = 'datagen', 'rows-per-second' = '100000000', 'fields.k.min' = '1', 'fields.k.max' = '3');
                  CREATE TABLE slow (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');";
    for statement in parse_script(script).expect("statements") {
        session.execute(&statement).map(drop).expect("executed");
    }
    session
}

fn start_query(session: &Session, sql: &str, reader: Reader) -> Result<LiveQuery, QueryError> {
    let statements = parse_script(sql).expect("a query");
    let StatementKind::Query(query) = &statements[0].kind else { panic!("a query") };
    LiveQuery::start(&session.context(), query, reader)
}

fn written(query: &LiveQuery) -> u64 {
    query.status().nodes.iter().filter(|node| node.role == NodeRole::Sink).map(|node| node.rows_in).sum()
}

#[test]
fn a_reader_that_waits_makes_the_query_wait_and_cancelling_is_quick() {
    let query = start_query(&session(), "SELECT n FROM fast", Reader::Rows).expect("started");
    assert!(query.appends() && !query.is_bounded());
    assert!(matches!(query.next(PATIENCE), Event::Rows(_)));
    let until_still = || {
        let before = written(&query);
        std::thread::sleep(Duration::from_millis(300));
        before == written(&query)
    };
    let begun = Instant::now();
    while !until_still() {
        assert!(begun.elapsed() < PATIENCE, "nothing holds the query back");
    }
    let folder = query._folder.path().to_path_buf();
    assert!(folder.exists());
    let begun = Instant::now();
    drop(query);
    assert!(begun.elapsed() < Duration::from_secs(5) && !folder.exists(), "{:?}", begun.elapsed());
}

#[test]
fn rows_come_without_a_checkpoint_and_the_end_is_told() {
    let session = session();
    let query = start_query(&session, "SELECT n FROM slow", Reader::Rows).expect("started");
    assert!(matches!(query.next(PATIENCE), Event::Rows(_)));
    assert_eq!(query.status().checkpoint.completed, 0);
    query.cancel();
    let end = std::iter::repeat_with(|| query.next(PATIENCE)).find(|event| matches!(event, Event::Ended(_)));
    assert!(end.is_some());
    let query = start_query(&session, "SELECT n FROM slow LIMIT 1", Reader::Rows).expect("started");
    let events: Vec<Event> = (0..2).map(|_| query.next(PATIENCE)).collect();
    assert!(matches!(events.as_slice(), [Event::Rows(_), Event::Ended(Ok(_))]), "{events:?}");
}

#[test]
fn a_table_is_sorted_where_a_stream_cannot_be() {
    let session = session();
    let sql = "SELECT k, COUNT(*) AS c FROM fast GROUP BY k ORDER BY k DESC";
    assert!(matches!(start_query(&session, sql, Reader::Rows), Err(QueryError::Wrong(_))));
    let query = start_query(&session, sql, Reader::Table).expect("started");
    assert!(query.is_sorted_by_reader());
    let mut view = FoldedView::new(query.schema().clone(), query.order(), 100).expect("a view");
    while view.len() < 3 {
        let Event::Rows(batch) = query.next(PATIENCE) else { panic!("rows") };
        view.apply(&batch).expect("applied");
    }
    let rows = view.rows(0, 3).expect("rows");
    let keys: &arrow::array::Int32Array = rows.column(0).as_any().downcast_ref().expect("numbers");
    assert_eq!(keys.values().as_ref(), [3, 2, 1]);
    let hidden = "SELECT k, COUNT(*) AS c FROM fast GROUP BY k ORDER BY MAX(n)";
    assert!(matches!(start_query(&session, hidden, Reader::Table), Err(QueryError::Wrong(_))));
}
