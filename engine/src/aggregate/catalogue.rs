//! Every aggregate function under every name: the one list to extend for a new one.

use super::moments::{Relation, Spread};
use crate::{EngineError, Result};

/// One line of the function list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregateDoc {
    /// In lower case.
    pub name: &'static str,
    pub signature: &'static str,
    pub description: &'static str,
    /// False for functions that are known but cannot run over a stream.
    pub streams: bool,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    And,
    Or,
    Spread(Spread),
    Relation(Relation),
    First,
    Last,
    Listagg,
    /// With NULL elements or without.
    Collect {
        keep_nulls: bool,
    },
    ApproxCountDistinct,
    Percentile {
        approximate: bool,
    },
    /// A percentile with its fraction in the name.
    Median {
        approximate: bool,
    },
    BitAnd,
    BitOr,
    BitXor,
}

impl Function {
    /// True where a repeated value changes the result, so that DISTINCT means something.
    pub(super) fn counts_repeats(self) -> bool {
        use Function::{And, ApproxCountDistinct, BitAnd, BitOr, First, Last, Max, Min, Or};
        !matches!(self, Min | Max | And | Or | First | Last | ApproxCountDistinct | BitAnd | BitOr)
    }
}

/// Every aggregate function under every name that it has.
pub fn names() -> &'static [AggregateDoc] {
    static DOCS: std::sync::LazyLock<Vec<AggregateDoc>> =
        std::sync::LazyLock::new(|| CATALOGUE.iter().map(|entry| entry.0).collect());
    &DOCS
}

/// The function of a name in lower case.
pub(super) fn find(name: &str) -> Result<Function> {
    let Some(Entry(doc, function)) = CATALOGUE.iter().find(|entry| entry.0.name == name) else {
        let upper = name.to_uppercase();
        let hint = "run `tidemill functions` for the list";
        return Err(EngineError::Unsupported(format!("there is no aggregate function {upper}\n  hint: {hint}")));
    };
    function.ok_or_else(|| {
        EngineError::Unsupported(format!(
            "{} cannot run over a stream\n  hint: {}",
            doc.name.to_uppercase(),
            doc.description
        ))
    })
}

struct Entry(AggregateDoc, Option<Function>);

const fn entry(name: &'static str, function: Function, signature: &'static str, description: &'static str) -> Entry {
    Entry(AggregateDoc { name, signature, description, streams: true }, Some(function))
}

/// A function that is known only to be refused; the description says what to use.
const fn refused(name: &'static str, signature: &'static str, description: &'static str) -> Entry {
    Entry(AggregateDoc { name, signature, description, streams: false }, None)
}

#[rustfmt::skip]
const CATALOGUE: &[Entry] = &[
    entry("count", Function::Count, "COUNT(* | [DISTINCT] x [, y ...])", "Number of rows; with arguments, of rows where none of them is NULL."),
    entry("sum", Function::Sum, "SUM([DISTINCT] x)", "Total: BIGINT for integers, DECIMAL(38, s) for decimals, DOUBLE for floats. Overflow is an error."),
    entry("avg", Function::Avg, "AVG([DISTINCT] x)", "Mean: the argument's type for integers (truncated), DECIMAL(38, max(s, 6)) for decimals, DOUBLE for floats."),
    entry("mean", Function::Avg, "MEAN([DISTINCT] x)", "The same as AVG."),
    entry("min", Function::Min, "MIN(x)", "Smallest value; NaN is greater than any number."),
    entry("max", Function::Max, "MAX(x)", "Greatest value; NaN is greater than any number."),
    entry("bool_and", Function::And, "BOOL_AND(x)", "True where every value is true."),
    entry("every", Function::And, "EVERY(x)", "The same as BOOL_AND."),
    entry("bool_or", Function::Or, "BOOL_OR(x)", "True where any value is true."),
    entry("some", Function::Or, "SOME(x)", "The same as BOOL_OR."),
    entry("var_pop", Function::Spread(Spread::VariancePopulation), "VAR_POP([DISTINCT] x)", "Population variance."),
    entry("var_samp", Function::Spread(Spread::VarianceSample), "VAR_SAMP([DISTINCT] x)", "Sample variance; NULL for fewer than two rows."),
    entry("variance", Function::Spread(Spread::VarianceSample), "VARIANCE([DISTINCT] x)", "The same as VAR_SAMP."),
    entry("var", Function::Spread(Spread::VarianceSample), "VAR([DISTINCT] x)", "The same as VAR_SAMP."),
    entry("stddev_pop", Function::Spread(Spread::DeviationPopulation), "STDDEV_POP([DISTINCT] x)", "Population standard deviation."),
    entry("stddev_samp", Function::Spread(Spread::DeviationSample), "STDDEV_SAMP([DISTINCT] x)", "Sample standard deviation; NULL for fewer than two rows."),
    entry("stddev", Function::Spread(Spread::DeviationSample), "STDDEV([DISTINCT] x)", "The same as STDDEV_SAMP."),
    entry("covar_pop", Function::Relation(Relation::CovariancePopulation), "COVAR_POP(y, x)", "Population covariance."),
    entry("covar_samp", Function::Relation(Relation::CovarianceSample), "COVAR_SAMP(y, x)", "Sample covariance; NULL for fewer than two rows."),
    entry("covar", Function::Relation(Relation::CovarianceSample), "COVAR(y, x)", "The same as COVAR_SAMP."),
    entry("corr", Function::Relation(Relation::Correlation), "CORR(y, x)", "Pearson's correlation; NULL where a column does not vary."),
    entry("regr_slope", Function::Relation(Relation::Slope), "REGR_SLOPE(y, x)", "Slope of the least-squares line of y over x."),
    entry("regr_intercept", Function::Relation(Relation::Intercept), "REGR_INTERCEPT(y, x)", "Where the least-squares line of y over x meets x = 0."),
    entry("regr_count", Function::Relation(Relation::Count), "REGR_COUNT(y, x)", "Number of rows where neither is NULL."),
    entry("regr_r2", Function::Relation(Relation::Determination), "REGR_R2(y, x)", "Coefficient of determination of the least-squares line."),
    entry("regr_avgx", Function::Relation(Relation::AverageX), "REGR_AVGX(y, x)", "Mean of x over rows where neither is NULL."),
    entry("regr_avgy", Function::Relation(Relation::AverageY), "REGR_AVGY(y, x)", "Mean of y over rows where neither is NULL."),
    entry("regr_sxx", Function::Relation(Relation::SumXX), "REGR_SXX(y, x)", "Sum of squared deviations of x."),
    entry("regr_syy", Function::Relation(Relation::SumYY), "REGR_SYY(y, x)", "Sum of squared deviations of y."),
    entry("regr_sxy", Function::Relation(Relation::SumXY), "REGR_SXY(y, x)", "Sum of products of deviations of y and x."),
    entry("first_value", Function::First, "FIRST_VALUE(x [, time])", "First value that is not NULL: by the time column, else by event time, else (where rows have none) by arrival."),
    entry("first", Function::First, "FIRST(x [, time])", "The same as FIRST_VALUE."),
    entry("last_value", Function::Last, "LAST_VALUE(x [, time])", "Last value that is not NULL: by the time column, else by event time, else (where rows have none) by arrival."),
    entry("last", Function::Last, "LAST(x [, time])", "The same as LAST_VALUE."),
    entry("listagg", Function::Listagg, "LISTAGG([DISTINCT] text [, separator])", "The strings joined in order of arrival, by a comma unless told otherwise."),
    entry("string_agg", Function::Listagg, "STRING_AGG([DISTINCT] text [, separator])", "The same as LISTAGG."),
    entry("array_agg", Function::Collect { keep_nulls: true }, "ARRAY_AGG([DISTINCT] x)", "The values as an ARRAY in order of arrival, NULL elements included."),
    entry("collect", Function::Collect { keep_nulls: false }, "COLLECT([DISTINCT] x)", "The values that are not NULL as an ARRAY in order of arrival."),
    entry("approx_count_distinct", Function::ApproxCountDistinct, "APPROX_COUNT_DISTINCT(x)", "Number of different values: exact up to 1,024, then with a standard error of 0.8 %."),
    entry("approx_distinct", Function::ApproxCountDistinct, "APPROX_DISTINCT(x)", "The same as APPROX_COUNT_DISTINCT."),
    entry("percentile", Function::Percentile { approximate: false }, "PERCENTILE([DISTINCT] x, fraction)", "Exact percentile as DOUBLE, interpolated; fraction is a constant from 0 to 1. Keeps all values."),
    entry("percentile_cont", Function::Percentile { approximate: false }, "PERCENTILE_CONT([DISTINCT] x, fraction)", "The same as PERCENTILE."),
    entry("approx_percentile_cont", Function::Percentile { approximate: true }, "APPROX_PERCENTILE_CONT([DISTINCT] x, fraction)", "Percentile as DOUBLE: exact up to 1,024 values, then within 0.2 %."),
    entry("approx_percentile", Function::Percentile { approximate: true }, "APPROX_PERCENTILE([DISTINCT] x, fraction)", "The same as APPROX_PERCENTILE_CONT."),
    entry("median", Function::Median { approximate: false }, "MEDIAN([DISTINCT] x)", "Exact median as DOUBLE. Keeps all values."),
    entry("approx_median", Function::Median { approximate: true }, "APPROX_MEDIAN([DISTINCT] x)", "Median as DOUBLE: exact up to 1,024 values, then within 0.2 %."),
    entry("bit_and", Function::BitAnd, "BIT_AND(x)", "Bitwise AND of integers."),
    entry("bit_or", Function::BitOr, "BIT_OR(x)", "Bitwise OR of integers."),
    entry("bit_xor", Function::BitXor, "BIT_XOR([DISTINCT] x)", "Bitwise exclusive OR of integers."),
    refused("nth_value", "NTH_VALUE(x, n)", "order within a stream's group is not kept; use FIRST_VALUE or LAST_VALUE, or ARRAY_AGG(x)[n]"),
    refused("percentile_disc", "PERCENTILE_DISC(x, fraction)", "use PERCENTILE, which interpolates"),
    refused("approx_percentile_cont_with_weight", "APPROX_PERCENTILE_CONT_WITH_WEIGHT(x, weight, fraction)", "weights are not supported; use APPROX_PERCENTILE_CONT(x, fraction)"),
    refused("grouping", "GROUPING(x)", "GROUPING belongs to GROUPING SETS, ROLLUP and CUBE; use it in such a query only"),
];
