//! What tables that are asked by key have in common: the options of their cache and of repeated questions.

use tidemill_engine::lookup::CachePolicy;

use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::table::TableSpec;

const CACHE: OptionDef = OptionDef::new(
    "lookup.cache",
    OptionType::Choice(&["NONE", "PARTIAL"]),
    "whether rows that were looked up are remembered; without, every row asks",
)
.default("NONE")
.source();
const ROWS_MAX: OptionDef = OptionDef::new(
    "lookup.partial-cache.max-rows",
    OptionType::Integer { min: 1 },
    "rows that the cache of one instance holds; those used longest ago make room. Memory bounds it in any case",
)
.source();
const AFTER_WRITE: OptionDef = OptionDef::new(
    "lookup.partial-cache.expire-after-write",
    OptionType::Duration,
    "so long after it was read, a row is read again",
)
.source();
const AFTER_ACCESS: OptionDef = OptionDef::new(
    "lookup.partial-cache.expire-after-access",
    OptionType::Duration,
    "so long after its last use, a row is forgotten",
)
.source();
const MISSING_KEYS: OptionDef = OptionDef::new(
    "lookup.partial-cache.cache-missing-key",
    OptionType::Boolean,
    "whether the cache remembers that a key has no row",
)
.default("true")
.source();
const RETRIES: OptionDef = OptionDef::new(
    "lookup.max-retries",
    OptionType::Integer { min: 0 },
    "how often a request is sent again after a failure that may pass, with growing pauses, before the job fails",
)
.default("3")
.source();
const ASYNC: OptionDef = OptionDef::new(
    "lookup.async",
    OptionType::Boolean,
    "whether several requests may be under way at the same time (extension)",
)
.default("true")
.source();

/// The options that all such tables have.
pub const OPTIONS: [OptionDef; 7] = [CACHE, ROWS_MAX, AFTER_WRITE, AFTER_ACCESS, MISSING_KEYS, RETRIES, ASYNC];

/// The values of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupOptions {
    pub cache: Option<CachePolicy>,
    pub retries_max: u32,
    pub is_async: bool,
}

impl LookupOptions {
    pub fn of(spec: &TableSpec) -> Result<Self, OptionProblem> {
        let retries_max = u32::try_from(spec.integer(&RETRIES)?.unwrap_or(0)).unwrap_or(u32::MAX);
        Ok(Self { cache: cache(spec)?, retries_max, is_async: spec.boolean(&ASYNC)? })
    }
}

fn cache(spec: &TableSpec) -> Result<Option<CachePolicy>, OptionProblem> {
    if spec.text(&CACHE) != Some("PARTIAL") {
        let of_cache = [ROWS_MAX, AFTER_WRITE, AFTER_ACCESS, MISSING_KEYS];
        let Some(idle) = of_cache.iter().find(|option| spec.options.contains_key(option.key)) else { return Ok(None) };
        let message = format!("'{}' has no effect without a cache", idle.key);
        return Err(OptionProblem::at(idle.key, message).hint("add 'lookup.cache' = 'PARTIAL'"));
    }
    let ms = |option| -> Result<Option<i64>, OptionProblem> {
        Ok(spec.duration(option)?.map(|duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    };
    Ok(Some(CachePolicy {
        rows_max: spec.integer(&ROWS_MAX)?.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX)),
        expire_after_write_ms: ms(&AFTER_WRITE)?,
        expire_after_access_ms: ms(&AFTER_ACCESS)?,
        missing_keys: spec.boolean(&MISSING_KEYS)?,
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::Schema;
    use expect_test::{Expect, expect};

    use super::*;

    fn check(options: &[(&str, &str)], expected: Expect) {
        let spec = TableSpec {
            name: "d".into(),
            columns: Schema::empty().into(),
            metadata: Vec::new(),
            partition_keys: Vec::new(),
            primary_key: Vec::new(),
            options: options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<BTreeMap<_, _>>(),
            time_zone: "UTC".into(),
        };
        let text = match LookupOptions::of(&spec) {
            Ok(options) => format!("{options:?}"),
            Err(problem) => format!("{problem} ({})", problem.hint.clone().unwrap_or_default()),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn options_of_the_cache_need_a_cache() {
        check(&[], expect!["LookupOptions { cache: None, retries_max: 3, is_async: true }"]);
        check(
            &[
                ("lookup.cache", "PARTIAL"),
                ("lookup.partial-cache.max-rows", "10"),
                ("lookup.partial-cache.expire-after-write", "1 min"),
                ("lookup.max-retries", "0"),
                ("lookup.async", "false"),
            ],
            expect![
                "LookupOptions { cache: Some(CachePolicy { rows_max: Some(10), expire_after_write_ms: Some(60000), expire_after_access_ms: None, missing_keys: true }), retries_max: 0, is_async: false }"
            ],
        );
        check(
            &[("lookup.partial-cache.max-rows", "10")],
            expect![
                "'lookup.partial-cache.max-rows' has no effect without a cache (add 'lookup.cache' = 'PARTIAL') (add 'lookup.cache' = 'PARTIAL')"
            ],
        );
    }
}
