//! Tables of what is decided about jobs.

use expect_test::expect;
use tidemill_engine::EngineError;

use super::*;

fn job(desired: Desired, ended: Option<Ended>) -> JobRecord {
    JobRecord {
        id: "i".into(),
        name: "n".into(),
        sql: String::new(),
        settings: Default::default(),
        parallelism: None,
        desired,
        ended,
        restore: None,
        created_ms: 0,
        changed_ms: 0,
        version: 1,
        last_savepoint: None,
        last_error: None,
    }
}

#[test]
fn actions_by_phase() {
    let actions = [
        Action::Start,
        Action::StartFrom,
        Action::Stop,
        Action::Cancel,
        Action::Restart,
        Action::Rescale,
        Action::Savepoint,
        Action::Upgrade,
        Action::Delete,
    ];
    let row = |action| {
        let phases = Phase::ALL.iter().filter(|phase| is_allowed(**phase, action)).map(|phase| phase.name());
        format!("{action:?}: {}", phases.collect::<Vec<_>>().join(" "))
    };
    let table = actions.map(row).join("\n");
    expect![[r#"
        Start: stopped failed
        StartFrom: stopped finished failed
        Stop: stopped starting running restarting stopping failed
        Cancel: stopped starting running restarting stopping failed
        Restart: stopped starting running restarting failed
        Rescale: stopped starting running restarting failed
        Savepoint: running
        Upgrade: stopped running finished failed
        Delete: stopped finished failed"#]]
    .assert_eq(&table);
}

#[test]
fn stored_jobs_at_the_start_of_the_server() {
    let failed = |lasting| Some(Ended::Failed { lasting });
    for (desired, ended, phase, decided) in [
        (Desired::Running, None, Phase::Stopped, AtStart::Resume),
        (Desired::Running, failed(false), Phase::Failed, AtStart::Resume),
        (Desired::Running, failed(true), Phase::Failed, AtStart::Leave),
        (Desired::Running, Some(Ended::Finished), Phase::Finished, AtStart::Leave),
        (Desired::Stopped, None, Phase::Stopped, AtStart::Leave),
        (Desired::Stopped, failed(false), Phase::Stopped, AtStart::Leave),
        (Desired::Stopped, Some(Ended::Finished), Phase::Finished, AtStart::Leave),
    ] {
        let job = job(desired, ended);
        assert_eq!((phase_at_rest(&job), at_start(&job)), (phase, decided), "{:?} {:?}", job.desired, job.ended);
    }
}

#[test]
fn a_start_from_a_savepoint_is_begun_once() {
    let from = |savepoint: Option<&str>| PendingRestore { savepoint: savepoint.map(Into::into), attempts_before: 4 };
    for (pending, attempts, expected) in [
        (None, 4, Restore::Latest),
        (Some(from(Some("/s"))), 4, Restore::From("/s".into())),
        (Some(from(None)), 4, Restore::Fresh),
        // The attempt began before the server was killed.
        (Some(from(Some("/s"))), 5, Restore::Latest),
        (Some(from(None)), 5, Restore::Latest),
        (Some(from(None)), 1_000_005, Restore::Latest),
    ] {
        assert_eq!(restore(pending.as_ref(), attempts), expected, "{pending:?} after {attempts}");
    }
}

#[test]
fn what_must_not_start_again_by_itself() {
    let superseded = || EngineError::Superseded { output: "topic t".into() };
    assert!(is_lasting(&superseded()));
    let breach = EngineError::MemoryBudget { operator: "GroupAggregate".into(), used_bytes: 3, budget_bytes: 2 };
    assert!(is_lasting(&breach), "it would take the memory again");
    assert!(is_lasting(&EngineError::gave_up(3, true, superseded())));
    assert!(!is_lasting(&EngineError::gave_up(3, true, EngineError::State("disk".into()))));
    assert!(!is_lasting(&EngineError::Connector { connector: "kafka".into(), reason: "no broker".into() }));
}

#[test]
fn live_phases() {
    assert_eq!(phase_live(JobState::Running, false), Phase::Running);
    assert_eq!(phase_live(JobState::Running, true), Phase::Stopping);
    assert_eq!(phase_live(JobState::Failed, false), Phase::Stopping);
}
