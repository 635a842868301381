//! The decisions of the commit protocol. Pure: the outbox asks the broker and carries out what is decided here.

use serde::{Deserialize, Serialize};
use tidemill_engine::Epoch;

use super::record::CommitRecord;

/// Which of the two producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    First,
    Second,
}

impl Turn {
    pub fn next(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    pub fn index(self) -> usize {
        self as usize
    }
}

/// What a writer leaves in the manifest of an epoch: whose transaction holds its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The outbox that wrote the rows. No other can ever commit them.
    pub owner: String,
    pub turn: Turn,
}

/// What a call on a transactional producer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// Nothing happened yet: the same call may be made again.
    Retriable,
    /// The transaction cannot be committed any more.
    Abortable,
    /// Nobody knows what happened, or the producer is of no further use: the broker knows a newer one of this name, or ended its
    /// transaction because it took too long.
    Indefinite,
}

/// What to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Proceed,
    Retry,
    /// Throw the producers away and start from what the record says, unless it says that another copy of the job has taken over:
    /// whatever went wrong may have gone wrong because of that.
    Recover,
}

/// `retries_left`: how often the same call may still be made.
pub fn after(answer: Answer, retries_left: u32) -> Next {
    match answer {
        Answer::Done => Next::Proceed,
        Answer::Retriable if retries_left > 0 => Next::Retry,
        Answer::Retriable | Answer::Abortable | Answer::Indefinite => Next::Recover,
    }
}

/// Who may stand in the record while this process runs the job. Whoever comes last takes over: a process that has just started from
/// anybody, its later attempts only from those before them.
#[derive(Debug, Default)]
pub struct Succession {
    /// Empty until the process has opened its first producers.
    names: Vec<String>,
}

impl Succession {
    /// Another copy of the job has taken over: its name stands in the record.
    pub fn is_broken(&self, record: Option<&CommitRecord>) -> bool {
        !self.names.is_empty() && record.is_some_and(|record| !self.names.contains(&record.owner))
    }

    /// `me` has opened its producers and found `record`; its claim may or may not come to stand there.
    pub fn open(&mut self, me: &str, record: Option<&CommitRecord>) {
        assert!(!self.is_broken(record), "nobody goes on who was superseded");
        self.names.extend(record.filter(|_| self.names.is_empty()).map(|record| record.owner.clone()));
        self.names.push(me.into());
    }

    /// The name of `me` stands in the record.
    pub fn claimed(&mut self, me: &str) {
        assert!(self.names.iter().any(|name| name == me), "whoever claims has opened its producers");
        self.names = vec![me.into()];
    }
}

/// What committing an epoch means to an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// End the transaction of this turn.
    End(Turn),
    /// Its transaction was ended by whoever wrote it, which is why its checkpoint was restored.
    AlreadyVisible,
    /// An epoch of this number is visible, but another copy of the job wrote it: the restored checkpoint is not of its rows.
    Foreign,
    /// The writers disagree on whose turn it was: a defect.
    Confused,
}

/// `tickets`: of all writers that share the outbox. `found`: the record as it was when the outbox was opened. `last`: the newest epoch
/// that this outbox itself committed.
pub fn decide_commit(epoch: Epoch, tickets: &[Ticket], me: &str, found: Option<&CommitRecord>, last: Epoch) -> Commit {
    // The sinks of an outbox are committed one by one; the first ends the transaction for all.
    if epoch <= last {
        return Commit::AlreadyVisible;
    }
    let Some((first, rest)) = tickets.split_first() else { return Commit::AlreadyVisible };
    if first.owner != me {
        let visible = found.filter(|record| record.epoch == epoch);
        let by_another = visible.is_some_and(|record| record.writer.as_ref() != Some(&first.owner));
        return if by_another { Commit::Foreign } else { Commit::AlreadyVisible };
    }
    if rest.iter().any(|ticket| ticket != first) { Commit::Confused } else { Commit::End(first.turn) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64, owner: &str, writer: &str) -> CommitRecord {
        CommitRecord { epoch: Epoch(epoch), owner: owner.into(), writer: Some(writer.into()) }
    }

    #[test]
    fn every_answer_has_one_consequence() {
        let table = [
            (Answer::Done, Next::Proceed, Next::Proceed),
            (Answer::Retriable, Next::Recover, Next::Retry),
            (Answer::Abortable, Next::Recover, Next::Recover),
            (Answer::Indefinite, Next::Recover, Next::Recover),
        ];
        for (answer, without_retries, with_retries) in table {
            assert_eq!(after(answer, 0), without_retries, "{answer:?}");
            assert_eq!(after(answer, 1), with_retries, "{answer:?}");
        }
    }

    #[test]
    fn a_process_that_starts_takes_over_from_anybody_and_its_later_attempts_from_those_before_them() {
        let mut process = Succession::default();
        assert!(!process.is_broken(None) && !process.is_broken(Some(&record(3, "anybody", "anybody"))));
        process.open("first", Some(&record(3, "anybody", "anybody")));
        assert!(
            !process.is_broken(Some(&record(3, "anybody", "anybody"))),
            "the first attempt failed before its claim"
        );
        process.open("second", Some(&record(3, "anybody", "anybody")));
        for name in ["anybody", "first", "second"] {
            assert!(!process.is_broken(Some(&record(3, name, "anybody"))), "a claim of {name} may have come through");
        }
        assert!(process.is_broken(Some(&record(3, "other", "anybody"))));
        process.claimed("second");
        assert!(!process.is_broken(Some(&record(4, "second", "second"))) && !process.is_broken(None));
        assert!(
            process.is_broken(Some(&record(3, "first", "anybody"))),
            "nobody else writes after a claim but a successor"
        );
        assert!(process.is_broken(Some(&record(3, "anybody", "anybody"))));
    }

    #[test]
    fn an_epoch_is_committed_once_and_only_by_whoever_wrote_it() {
        let ticket = |owner: &str, turn| Ticket { owner: owner.into(), turn };
        let mine = [ticket("me", Turn::First), ticket("me", Turn::First)];
        let decide = |tickets: &[Ticket], me, found, last| decide_commit(Epoch(5), tickets, me, found, Epoch(last));
        let before = record(4, "me", "before");
        assert_eq!(decide(&mine, "me", Some(&before), 4), Commit::End(Turn::First));
        assert_eq!(decide(&mine, "me", None, 4), Commit::End(Turn::First), "the first start found no record");
        assert_eq!(decide(&mine, "me", Some(&before), 5), Commit::AlreadyVisible, "by a sink before this one");
        assert_eq!(decide(&[], "me", Some(&before), 4), Commit::AlreadyVisible, "new in the plan");
        let torn = [ticket("me", Turn::First), ticket("me", Turn::Second)];
        assert_eq!(decide(&torn, "me", Some(&before), 4), Commit::Confused);
    }

    #[test]
    fn a_restored_epoch_is_taken_for_visible_only_if_its_own_rows_are() {
        let restored = [Ticket { owner: "before".into(), turn: Turn::Second }];
        let decide =
            |found: Option<CommitRecord>| decide_commit(Epoch(5), &restored, "me", found.as_ref(), Epoch::ZERO);
        assert_eq!(decide(Some(record(5, "before", "before"))), Commit::AlreadyVisible);
        assert_eq!(decide(Some(record(5, "claimed since", "before"))), Commit::AlreadyVisible);
        assert_eq!(decide(Some(record(5, "other", "other"))), Commit::Foreign, "of a copy that counted epochs alike");
        assert_eq!(
            decide(Some(record(9, "other", "other"))),
            Commit::AlreadyVisible,
            "a savepoint that the user chose"
        );
        assert_eq!(decide(None), Commit::AlreadyVisible, "a savepoint of another job");
    }
}
