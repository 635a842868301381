//! Asks a server for the rows of one key after the other.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::SchemaRef;
use tidemill_engine::lookup::{Answer, Found, Lookup, LookupFailure, Question};
use ureq::Agent;

use super::answer::AnswerReader;
use super::template::Template;
use crate::format::excerpt;
use crate::format::json::TimestampStandard;
use crate::format::scalar::write_plain;

/// The largest answer that is read, in bytes: more is no row of a reference table.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// One table behind a URL.
pub struct HttpLookup {
    pub agent: Agent,
    pub template: Template,
    /// Names and values; values are never shown.
    pub headers: Vec<(String, String)>,
    pub reader: AnswerReader,
    /// Of the rows.
    pub schema: SchemaRef,
    /// Where each column of the rows comes from.
    pub origins: Vec<Origin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A column of the key.
    Key(usize),
    /// A column of the answer.
    Answer(usize),
}

impl Lookup for HttpLookup {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn ask(&self, question: &Question) -> Result<Answer, LookupFailure> {
        let Question::Keys(keys) = question else {
            // There is no URL without a key that could be tried.
            return Ok(Answer::Ready);
        };
        let (mut batches, mut key_of_row) = (Vec::new(), Vec::new());
        for key in 0..keys.num_rows() {
            let rows = self.rows_of(keys, key)?;
            key_of_row.extend(std::iter::repeat_n(key as u32, rows.num_rows()));
            batches.push(rows);
        }
        let rows = concat_batches(&self.schema, &batches).map_err(|error| LookupFailure::Engine(error.into()))?;
        Ok(Answer::Rows(Found { rows, key_of_row }))
    }
}

impl HttpLookup {
    fn rows_of(&self, keys: &RecordBatch, key: usize) -> Result<RecordBatch, LookupFailure> {
        let values: Vec<Vec<u8>> = keys.columns().iter().map(|column| text_of(column, key)).collect();
        let place = |reason: String| format!("GET {}: {reason}", self.template.show(&values));
        let Some(body) = self.get(&values)? else { return Ok(RecordBatch::new_empty(self.schema.clone())) };
        let answer = self.reader.rows(&body).map_err(|reason| LookupFailure::Lasting(place(reason)))?;
        self.with_keys(keys, key, &answer).map_err(|error| LookupFailure::Engine(error.into()))
    }

    /// What the server answers; `None` where it knows no such thing.
    fn get(&self, values: &[Vec<u8>]) -> Result<Option<Vec<u8>>, LookupFailure> {
        let place = |reason: String| format!("GET {}: {reason}", self.template.show(values));
        let mut request = self.agent.get(self.template.expand(values)).header("accept", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = request.call().map_err(|error| failure(&error, place))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| failure(&error, place))?;
        match status {
            200..=299 if body.is_empty() => Ok(None),
            200..=299 => Ok(Some(body)),
            404 => Ok(None),
            // Timeouts, too early, too many requests, and what servers say of themselves.
            408 | 425 | 429 | 500..=599 => Err(LookupFailure::Passing(place(said(status, &body)))),
            _ => Err(LookupFailure::Lasting(place(said(status, &body)))),
        }
    }

    fn with_keys(
        &self,
        keys: &RecordBatch,
        key: usize,
        answer: &RecordBatch,
    ) -> Result<RecordBatch, arrow::error::ArrowError> {
        let places = UInt32Array::from(vec![key as u32; answer.num_rows()]);
        let columns = self.origins.iter().zip(self.schema.fields()).map(|(origin, field)| match origin {
            Origin::Key(index) => cast(&take(keys.column(*index), &places, None)?, field.data_type()),
            Origin::Answer(index) => Ok(Arc::clone(answer.column(*index))),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(answer.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

fn text_of(column: &ArrayRef, row: usize) -> Vec<u8> {
    let mut text = Vec::new();
    write_plain(column, row, TimestampStandard::Iso8601, &mut text);
    text
}

/// `status 400: no such user`.
fn said(status: u16, body: &[u8]) -> String {
    let text = excerpt(body);
    if text.trim().is_empty() { format!("status {status}") } else { format!("status {status}: {}", text.trim()) }
}

fn failure(error: &ureq::Error, place: impl Fn(String) -> String) -> LookupFailure {
    use ureq::Error;
    let lasts = match error {
        Error::BadUri(_) | Error::Http(_) | Error::RedirectFailed | Error::TooManyRedirects => true,
        Error::BodyExceedsLimit(_) | Error::LargeResponseHeader(_, _) | Error::InvalidProxyUrl | Error::Tls(_) => true,
        Error::Rustls(error) => matches!(error, rustls::Error::InvalidCertificate(_)),
        _ => false,
    };
    let reason = place(error.to_string());
    if lasts { LookupFailure::Lasting(reason) } else { LookupFailure::Passing(reason) }
}
