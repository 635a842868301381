//! Which aggregate calls are computed together: those of DISTINCT over the same columns share what they keep.

use std::sync::Arc;

use super::distinct::DistinctFactory;
use super::{AggregateCall, AggregateFactory};

/// Calls that one kind of accumulator computes.
pub(super) struct SharedCalls {
    pub factory: Arc<dyn AggregateFactory>,
    pub args: Vec<usize>,
    pub filter: Option<usize>,
    /// Which calls these are. Several have a struct of their results.
    pub calls: Vec<usize>,
}

/// All calls, each once, in the order of the first of those that are computed together.
pub(super) fn share(calls: &[AggregateCall]) -> Vec<SharedCalls> {
    let mut shared: Vec<SharedCalls> = Vec::new();
    let mut sets: Vec<Set> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let place = shared.len();
        let own = SharedCalls {
            factory: Arc::clone(&call.factory),
            args: call.args.clone(),
            filter: call.filter,
            calls: vec![number],
        };
        let Some(set) = Set::of(call, place) else {
            shared.push(own);
            continue;
        };
        let fitting = sets.iter_mut().find_map(|before| Some((before.with(&set)?, before)));
        match fitting {
            Some((both, before)) => {
                shared[before.place].calls.push(number);
                *before = both;
                before.describe(&mut shared[before.place]);
            }
            None => {
                shared.push(own);
                sets.push(set);
            }
        }
    }
    shared
}

/// The calls that share a set, with their conditions as columns behind the arguments.
struct Set {
    factory: DistinctFactory,
    arguments: Vec<usize>,
    conditions: Vec<usize>,
    /// Among all.
    place: usize,
}

impl Set {
    /// `None` for calls that are not of DISTINCT.
    fn of(call: &AggregateCall, place: usize) -> Option<Self> {
        let factory = call.factory.as_distinct()?;
        let factory = if call.filter.is_some() { factory.filtered() } else { factory.clone() };
        Some(Self { factory, arguments: call.args.clone(), conditions: call.filter.into_iter().collect(), place })
    }

    /// `None` where they cannot share.
    fn with(&self, other: &Set) -> Option<Set> {
        let factory = self.factory.with(&other.factory).filter(|_| self.arguments == other.arguments)?;
        let conditions = [self.conditions.as_slice(), &other.conditions].concat();
        Some(Set { factory, arguments: self.arguments.clone(), conditions, place: self.place })
    }

    fn describe(&self, shared: &mut SharedCalls) {
        shared.factory = Arc::new(self.factory.clone());
        shared.args = [self.arguments.as_slice(), &self.conditions].concat();
        shared.filter = None;
    }
}
