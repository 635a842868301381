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
    /// The broker knows a newer producer of this name, or ended the transaction because it took too long.
    Fenced,
    /// Nobody knows what happened, or the producer is of no further use.
    Indefinite,
}

/// What to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Proceed,
    Retry,
    /// Throw the producers away and start from what the record says.
    Recover,
    /// As `Recover`, unless the record shows that another copy of the job has taken over.
    AskWhoOwns,
}

/// `retries_left`: how often the same call may still be made.
pub fn after(answer: Answer, retries_left: u32) -> Next {
    match answer {
        Answer::Done => Next::Proceed,
        Answer::Retriable if retries_left > 0 => Next::Retry,
        Answer::Retriable | Answer::Abortable | Answer::Indefinite => Next::Recover,
        Answer::Fenced => Next::AskWhoOwns,
    }
}

/// Another copy of the job has taken over: its name stands in the record, and not ours.
pub fn is_superseded(record: Option<&CommitRecord>, me: &str) -> bool {
    record.is_some_and(|record| record.owner != me)
}

/// What committing an epoch means to an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// End the transaction of this turn.
    End(Turn),
    /// Its transaction was ended by whoever wrote it, which is why its checkpoint was restored.
    AlreadyVisible,
    /// The writers disagree on whose turn it was: a defect.
    Confused,
}

/// `tickets`: of all writers that share the outbox. `last`: the newest epoch that this outbox itself committed.
pub fn decide_commit(epoch: Epoch, tickets: &[Ticket], me: &str, last: Epoch) -> Commit {
    // The sinks of an outbox are committed one by one; the first ends the transaction for all.
    if epoch <= last {
        return Commit::AlreadyVisible;
    }
    let Some((first, rest)) = tickets.split_first() else { return Commit::AlreadyVisible };
    if first.owner != me {
        return Commit::AlreadyVisible;
    }
    if rest.iter().any(|ticket| ticket != first) { Commit::Confused } else { Commit::End(first.turn) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_one_consequence() {
        let table = [
            (Answer::Done, Next::Proceed, Next::Proceed),
            (Answer::Retriable, Next::Recover, Next::Retry),
            (Answer::Abortable, Next::Recover, Next::Recover),
            (Answer::Fenced, Next::AskWhoOwns, Next::AskWhoOwns),
            (Answer::Indefinite, Next::Recover, Next::Recover),
        ];
        for (answer, without_retries, with_retries) in table {
            assert_eq!(after(answer, 0), without_retries, "{answer:?}");
            assert_eq!(after(answer, 1), with_retries, "{answer:?}");
        }
    }

    #[test]
    fn only_another_name_in_the_record_means_that_somebody_took_over() {
        let record = |owner: &str| CommitRecord { epoch: Epoch(3), owner: owner.into() };
        assert!(!is_superseded(None, "me"));
        assert!(!is_superseded(Some(&record("me")), "me"));
        assert!(is_superseded(Some(&record("other")), "me"));
    }

    #[test]
    fn an_epoch_is_committed_once_and_only_by_whoever_wrote_it() {
        let ticket = |owner: &str, turn| Ticket { owner: owner.into(), turn };
        let mine = [ticket("me", Turn::First), ticket("me", Turn::First)];
        assert_eq!(decide_commit(Epoch(5), &mine, "me", Epoch(4)), Commit::End(Turn::First));
        assert_eq!(decide_commit(Epoch(5), &mine, "me", Epoch(5)), Commit::AlreadyVisible, "by a sink before this one");
        assert_eq!(decide_commit(Epoch(5), &mine, "next", Epoch::ZERO), Commit::AlreadyVisible, "restored");
        assert_eq!(decide_commit(Epoch(5), &[], "me", Epoch(4)), Commit::AlreadyVisible, "new in the plan");
        let torn = [ticket("me", Turn::First), ticket("me", Turn::Second)];
        assert_eq!(decide_commit(Epoch(5), &torn, "me", Epoch(4)), Commit::Confused);
    }
}
