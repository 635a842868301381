//! What is asked about single keys, how many at a time, and what is done about failures. Knows no clock and no server: it
//! is told the time, gives questions and takes answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::entries::{Entries, KeyId, NULL_KEY};
use super::held::Place;
use crate::lookup::{Answer, Found, KeyAccess, LookupFailure, LookupPolicy, Question};
use crate::metrics::LookupMetrics;
use crate::operators::join_rows::{ByteRows, JoinInput, Side};
use crate::operators::key_table::BatchKeys;
use crate::operators::projection::with_schema;
use crate::operators::row_codec::RowCodec;
use crate::{Batch, EngineError, Result};

/// The pause before the first repetition of a question that failed; each further one is twice as long.
const BACKOFF_FIRST_MS: i64 = 100;
/// The longest pause: a server that is back should not stand idle for long.
const BACKOFF_MAX_MS: i64 = 10_000;

pub struct KeyedTable {
    policy: LookupPolicy,
    access: KeyAccess,
    keys: Side,
    /// The key columns alone.
    key_schema: Arc<Schema>,
    /// Of the reference rows.
    pub codec: RowCodec,
    pub entries: Entries,
    /// Keys that wait for room among those that are asked.
    unasked: VecDeque<KeyId>,
    /// Questions without an answer, by number.
    asked: BTreeMap<u64, Asked>,
    keys_asked: usize,
    next_number: u64,
    /// The first question, whether the table can be asked, was put, and was answered.
    opened: bool,
    is_open: bool,
}

/// A question that is under way, or waits to be asked again.
struct Asked {
    /// None: the question whether the table can be asked.
    keys: Vec<KeyId>,
    since_ms: i64,
    failures: u32,
    /// How often these keys were found to have no row.
    misses: u32,
    again_at_ms: Option<i64>,
}

impl KeyedTable {
    pub fn new(policy: &LookupPolicy, access: &KeyAccess, left: &JoinInput, right: &JoinInput) -> Result<Self> {
        let fields = left.keys.iter().zip(&access.key_names).map(|(index, name)| {
            let data_type = left.schema.field(*index).data_type().clone();
            Field::new(name, data_type, false)
        });
        Ok(Self {
            policy: policy.clone(),
            access: access.clone(),
            keys: Side::new(left)?,
            key_schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            codec: RowCodec::new(&right.schema)?,
            entries: Entries::new(access.cache),
            unasked: VecDeque::new(),
            asked: BTreeMap::new(),
            keys_asked: 0,
            next_number: 0,
            opened: false,
            is_open: false,
        })
    }

    /// The keys of a batch that will have the number `batch`, and which of its rows wait for nothing.
    pub fn admit(
        &mut self,
        rows: &Batch,
        batch: u64,
        now_ms: i64,
        metrics: &LookupMetrics,
    ) -> Result<(Vec<KeyId>, Vec<u32>)> {
        let keys = self.keys.encode_keys(rows.rows())?;
        let null_keys = self.keys.null_keys(rows.rows());
        let (mut ids, mut answered) = (Vec::with_capacity(rows.num_rows()), Vec::new());
        for (row, is_null) in null_keys.into_iter().enumerate() {
            let id = if is_null { NULL_KEY } else { self.key_of_row(&keys, row, now_ms) };
            self.entries.pin(id);
            ids.push(id);
            if self.entries.is_answered(id) {
                answered.push(row as u32);
            } else if !self.policy.ordered {
                self.entries.wait(id, Place { batch, row: row as u32 });
            }
        }
        metrics.hits.add(answered.len());
        metrics.misses.add(ids.len() - answered.len());
        Ok((ids, answered))
    }

    fn key_of_row(&mut self, keys: &BatchKeys, row: usize, now_ms: i64) -> KeyId {
        let (hash, key) = (keys.hash(row), keys.key(row));
        self.entries.find(hash, key, now_ms).unwrap_or_else(|| {
            let id = self.entries.add(hash, key);
            self.unasked.push_back(id);
            id
        })
    }

    pub fn has_unasked(&self) -> bool {
        !self.unasked.is_empty()
    }

    /// The table has said that it can be asked.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    pub fn keys_in_flight(&self) -> usize {
        self.keys_asked
    }

    /// What is to be asked at this time. Fails where an answer is overdue.
    pub fn questions(&mut self, now_ms: i64, metrics: &LookupMetrics) -> Result<Vec<(u64, Question)>> {
        let mut questions = Vec::new();
        if !std::mem::replace(&mut self.opened, true) {
            questions.push(self.ask(Vec::new(), 0, now_ms)?);
        }
        self.check_overdue(now_ms)?;
        questions.extend(self.repeated(now_ms, metrics)?);
        while !self.unasked.is_empty()
            && self.asked.len() < self.access.questions_max
            && self.keys_asked < self.access.capacity
        {
            let room = self.access.capacity - self.keys_asked;
            let count = self.access.keys_per_question.max(1).min(room).min(self.unasked.len());
            let keys: Vec<KeyId> = self.unasked.drain(..count).collect();
            keys.iter().for_each(|id| self.entries.on_asked(*id));
            self.keys_asked += keys.len();
            questions.push(self.ask(keys, 0, now_ms)?);
        }
        metrics.requests.add(questions.len());
        metrics.in_flight.set(self.keys_asked as i64);
        Ok(questions)
    }

    fn ask(&mut self, keys: Vec<KeyId>, misses: u32, now_ms: i64) -> Result<(u64, Question)> {
        let number = self.next_number;
        self.next_number += 1;
        let question = self.question(&keys, now_ms)?;
        self.asked.insert(number, Asked { keys, since_ms: now_ms, failures: 0, misses, again_at_ms: None });
        Ok((number, question))
    }

    fn question(&self, keys: &[KeyId], now_ms: i64) -> Result<Question> {
        if keys.is_empty() {
            return Ok(Question::Open(crate::time::ProcessingTime(now_ms)));
        }
        self.key_rows(keys).map(Question::Keys)
    }

    fn key_rows(&self, keys: &[KeyId]) -> Result<RecordBatch> {
        let columns = self.keys.keys.decode(keys.iter().map(|id| self.entries.key(*id)))?;
        with_schema(&self.key_schema, columns, keys.len())
    }

    fn check_overdue(&self, now_ms: i64) -> Result<()> {
        let limit = self.policy.timeout_ms;
        let Some(late) = self.asked.values().find(|asked| now_ms.saturating_sub(asked.since_ms) > limit) else {
            return Ok(());
        };
        let reason = format!("no answer within {} ms; 'table.exec.async-lookup.timeout' allows more time", limit);
        Err(self.failed(late, reason, false))
    }

    /// Questions that failed and whose pause is over.
    fn repeated(&mut self, now_ms: i64, metrics: &LookupMetrics) -> Result<Vec<(u64, Question)>> {
        let is_due = |asked: &Asked| asked.again_at_ms.is_some_and(|at| at <= now_ms);
        let due: Vec<u64> = self.asked.iter().filter(|(_, asked)| is_due(asked)).map(|(number, _)| *number).collect();
        metrics.retries.add(due.len());
        due.into_iter()
            .map(|number| {
                let asked = self.asked.get_mut(&number).expect("it was listed just before");
                asked.again_at_ms = None;
                let keys = asked.keys.clone();
                Ok((number, self.question(&keys, now_ms)?))
            })
            .collect()
    }

    /// Gives the rows that need not wait any more, where they are to be told.
    pub fn on_answer(
        &mut self,
        number: u64,
        result: Result<Answer, LookupFailure>,
        now_ms: i64,
        metrics: &LookupMetrics,
    ) -> Result<Vec<Place>> {
        let Some(asked) = self.asked.remove(&number) else {
            let reason = format!("an answer came to question {number}, which was not asked");
            return Err(EngineError::Internal { place: format!("the lookup of `{}`", self.policy.table), reason });
        };
        match result {
            Ok(Answer::Ready) if asked.keys.is_empty() => {
                self.is_open = true;
                Ok(Vec::new())
            }
            Ok(Answer::Rows(found)) if !asked.keys.is_empty() => self.fill(asked, &found, now_ms),
            Ok(_) => Err(self.failed(&asked, "the answer is not one to the question".into(), true)),
            Err(failure) => {
                metrics.failures.add(1);
                self.on_failure(number, asked, failure, now_ms).map(|()| Vec::new())
            }
        }
    }

    fn on_failure(&mut self, number: u64, mut asked: Asked, failure: LookupFailure, now_ms: i64) -> Result<()> {
        match failure {
            LookupFailure::Engine(error) => return Err(error),
            LookupFailure::Lasting(reason) => return Err(self.failed(&asked, reason, true)),
            LookupFailure::Passing(reason) if asked.failures >= self.policy.retries_max => {
                return Err(self.failed(&asked, reason, false));
            }
            LookupFailure::Passing(reason) => {
                tracing::debug!(table = self.policy.table, reason, "a lookup failed and will be tried again");
            }
        }
        asked.again_at_ms = Some(now_ms.saturating_add(backoff_ms(asked.failures)));
        asked.failures += 1;
        self.asked.insert(number, asked);
        Ok(())
    }

    fn fill(&mut self, asked: Asked, found: &Found, now_ms: i64) -> Result<Vec<Place>> {
        let encoded = self.codec.encode(&found.rows)?;
        let mut rows: Vec<ByteRows> = asked.keys.iter().map(|_| ByteRows::default()).collect();
        for (row, key) in found.key_of_row.iter().enumerate() {
            let Some(rows) = rows.get_mut(*key as usize) else {
                return Err(self.failed(&asked, "the answer has a row of a key that was not asked for".into(), true));
            };
            rows.push(encoded.row(row));
        }
        let misses = asked.misses + 1;
        let again = self.access.miss_retry.filter(|retry| misses < retry.attempts_max);
        let (mut told, mut missing) = (Vec::new(), Vec::new());
        for (id, rows) in asked.keys.iter().zip(rows) {
            if rows.is_empty() && again.is_some() {
                missing.push(*id);
                continue;
            }
            self.keys_asked -= 1;
            told.extend(self.entries.fill(*id, rows, now_ms));
        }
        if let Some(retry) = again.filter(|_| !missing.is_empty()) {
            let number = self.next_number;
            self.next_number += 1;
            let again_at_ms = Some(now_ms.saturating_add(retry.delay_ms));
            self.asked.insert(number, Asked { keys: missing, failures: 0, misses, again_at_ms, ..asked });
        }
        Ok(told)
    }

    fn failed(&self, asked: &Asked, reason: String, lasting: bool) -> EngineError {
        let key = self.describe(&asked.keys);
        EngineError::Lookup { table: self.policy.table.clone(), key, reason, retries: asked.failures, lasting }
    }

    /// `id = 7`, for the first of some keys.
    fn describe(&self, keys: &[KeyId]) -> String {
        let Some(first) = keys.first() else { return "before the first key".into() };
        let options = FormatOptions::default();
        let Ok(rows) = self.key_rows(&[*first]) else { return "a key".into() };
        let value = |index: usize| {
            let text = ArrayFormatter::try_new(rows.column(index), &options).map(|column| column.value(0).to_string());
            format!("{} = {}", self.key_schema.field(index).name(), text.unwrap_or_default())
        };
        let text = (0..rows.num_columns()).map(value).collect::<Vec<_>>().join(", ");
        if keys.len() == 1 { text } else { format!("{text} (and {} more keys)", keys.len() - 1) }
    }
}

fn backoff_ms(failures: u32) -> i64 {
    // 2^7 * 100 ms is beyond the maximum already.
    (BACKOFF_FIRST_MS << failures.min(7)).min(BACKOFF_MAX_MS)
}
