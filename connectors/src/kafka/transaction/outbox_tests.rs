//! What the broker can answer to each request of a commit, told to the real client by librdkafka's mock of a cluster. That mock shows rows
//! of aborted transactions to everybody, so that nothing is said here of what readers see: Apache Kafka itself judges that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaErrorCode, RDKafkaRespErr as Code};
use tidemill_engine::{EngineError, Epoch, Result};

use super::{Outbox, OutboxSettings, Outboxes, Turn, store};
use crate::kafka::client::{BOOTSTRAP, ClientSettings};

const ROWS: &str = "rows";
const RECORD: &str = "record";

type Mock = MockCluster<'static, DefaultProducerContext>;

fn mock() -> Mock {
    let mock = MockCluster::new(1).expect("a mock cluster on loopback");
    mock.create_topic(ROWS, 2, 1).expect("a topic of the mock");
    mock.create_topic(RECORD, 1, 1).expect("a topic of the mock");
    mock
}

fn outbox(mock: &Mock) -> Arc<Outbox> {
    let properties = [(BOOTSTRAP, mock.bootstrap_servers()), ("retry.backoff.ms", "10".into())];
    let settings = OutboxSettings {
        client: ClientSettings::new(properties.map(|(key, value)| (key.to_string(), value)).into()),
        id_prefix: "p".into(),
        transaction_timeout: Duration::from_secs(30),
        record_topic: Some(RECORD.into()),
    };
    Outboxes::default().of("job", &settings, &Arc::default()).expect("settings that fit each other")
}

/// One that may write.
fn claimed(mock: &Mock) -> Arc<Outbox> {
    let outbox = outbox(mock);
    outbox.open().and_then(|_| outbox.claim()).expect("whoever comes last is let in");
    outbox
}

/// Writes a row in a transaction and commits it as `epoch`.
fn commit(outbox: &Outbox, epoch: Epoch, turn: Turn) -> Result<()> {
    let producer = outbox.enter(turn)?;
    let row = BaseRecord::to(ROWS).key("k").payload("v");
    producer.send(row).map_err(|(error, _)| outbox.explain("write", &error))?;
    outbox.commit(epoch, &[outbox.ticket(turn)])
}

/// Opens an outbox and commits one epoch while the mock answers `api` with `codes`, then the next epoch in peace.
fn commit_against(api: Api, codes: &[Code]) -> Result<()> {
    let mock = mock();
    let outbox = outbox(&mock);
    mock.request_errors(api, codes);
    outbox.open()?;
    outbox.claim()?;
    commit(&outbox, Epoch(1), Turn::First)?;
    commit(&outbox, Epoch(2), Turn::Second)?;
    let found = self::outbox(&mock).open()?;
    assert_eq!(found, Some(Epoch(2)), "{api:?} {codes:?}: the record names the newest epoch");
    Ok(())
}

#[test]
fn an_answer_that_only_asks_to_try_again_costs_no_commit() {
    use Code::{
        RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS as Concurrent,
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS as Loading, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE as Away,
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR as Moved, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as LeaderMoved,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TimedOut,
    };
    let cases: [(Api, &[Code]); 8] = [
        (Api::FindCoordinator, &[Away, Away]),
        (Api::InitProducerId, &[Loading, Concurrent, Moved]),
        (Api::AddPartitionsToTxn, &[Concurrent, Concurrent]),
        (Api::AddPartitionsToTxn, &[Loading, Moved, Away]),
        (Api::EndTxn, &[Concurrent, Loading]),
        (Api::EndTxn, &[Moved, Away]),
        (Api::Produce, &[LeaderMoved, TimedOut]),
        (Api::Metadata, &[TimedOut]),
    ];
    for (api, codes) in cases {
        commit_against(api, codes).unwrap_or_else(|error| panic!("{api:?} {codes:?}: {error}"));
    }
}

#[test]
fn an_answer_that_ends_a_producer_is_an_error_and_never_taken_for_a_commit() {
    use Code::{
        RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH as OldEpoch, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE as WrongState,
        RD_KAFKA_RESP_ERR_PRODUCER_FENCED as Fenced,
        RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED as NotAllowed,
    };
    let cases = [
        (Api::InitProducerId, NotAllowed),
        (Api::AddPartitionsToTxn, Fenced),
        (Api::AddPartitionsToTxn, NotAllowed),
        (Api::EndTxn, Fenced),
        (Api::EndTxn, OldEpoch),
        (Api::EndTxn, WrongState),
        (Api::Produce, OldEpoch),
    ];
    for (api, code) in cases {
        // Of both producers, so that it is met whichever comes first.
        match commit_against(api, &[code, code]) {
            Err(EngineError::Connector { reason, .. }) => {
                assert!(reason.contains("cannot "), "{api:?} {code:?}: {reason}")
            }
            other => panic!("{api:?} {code:?}: {other:?}"),
        }
    }
}

#[test]
fn a_timeout_that_the_broker_does_not_allow_is_refused_for_good_and_says_what_to_change() {
    let outcome = commit_against(Api::InitProducerId, &[Code::RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT; 2]);
    let Err(EngineError::Unsupported(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains("hint: ") && text.contains("transaction.timeout.ms"), "{text}");
}

#[test]
fn rows_that_ran_out_of_time_while_another_copy_took_over_are_those_of_a_superseded_one() {
    let mock = mock();
    let timed_out = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
    let sleeper = claimed(&mock);
    let alone = sleeper.explain("write", &timed_out);
    assert!(matches!(alone, EngineError::Unreachable { .. }), "{alone}");
    let _successor = claimed(&mock);
    let awake = sleeper.explain("write", &timed_out);
    assert!(matches!(awake, EngineError::Superseded { .. }), "{awake}");
}

#[test]
fn a_refused_row_keeps_its_epoch_from_being_committed_and_is_named_with_its_topic() {
    let mock = mock();
    let outbox = claimed(&mock);
    commit(&outbox, Epoch(1), Turn::First).expect("the first epoch is committed in peace");
    mock.request_errors(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let producer = outbox.enter(Turn::Second).expect("the other producer writes");
    producer.send(BaseRecord::to(ROWS).key("k").payload("v")).expect("there is room");
    let undelivered = store(&producer, || false).expect_err("the broker refused it").explain("do something");
    assert!(undelivered.to_string().contains("write to topic 'rows'"), "{undelivered}");
    assert!(outbox.broken().is_some(), "whoever writes on is told so");
    let error = outbox.commit(Epoch(2), &[outbox.ticket(Turn::Second)]).expect_err("a row is missing");
    assert!(matches!(error, EngineError::Connector { .. }), "{error}");
}

#[test]
fn rows_of_an_epoch_are_stored_before_those_of_the_next_are_sent() {
    let mock = mock();
    let outbox = claimed(&mock);
    mock.broker_round_trip_time(-1, Duration::from_millis(200)).expect("a slow broker");
    let first = outbox.enter(Turn::First).expect("a producer");
    first.send(BaseRecord::to(ROWS).key("k").payload("v")).expect("there is room");
    outbox.enter(Turn::Second).expect("the other producer");
    assert_eq!(first.in_flight_count(), 0, "a later row of the key could come before this one");
}

#[test]
fn a_producer_that_gets_no_answer_on_an_open_connection_is_given_up() {
    let mock = mock();
    let outbox = claimed(&mock);
    let producer = outbox.enter(Turn::First).expect("a producer");
    mock.broker_round_trip_time(-1, Duration::from_secs(600)).expect("a broker that takes its time");
    producer.send(BaseRecord::to(ROWS).key("k").payload("v")).expect("there is room");
    let begun = Instant::now();
    let error = outbox.enter(Turn::Second).err().expect("the row of the epoch before was not stored");
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("1 messages were not acknowledged within 2s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
