//! The naive twin: an aggregate computed from all rows of a group at once.

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use super::input::Case;

/// What `case` gives for a group; rows hold one value per argument.
pub fn expected(case: &Case, rows: &[Vec<ScalarValue>], output: &DataType) -> ScalarValue {
    let keeps_nulls = case.name == "array_agg";
    let mut rows: Vec<&Vec<ScalarValue>> =
        rows.iter().filter(|row| keeps_nulls || row.iter().all(|value| !value.is_null())).collect();
    if case.distinct {
        let mut seen = Vec::new();
        rows.retain(|row| {
            !seen.contains(row) && {
                seen.push(*row);
                true
            }
        });
    }
    if case.name.contains("count") {
        let mut different = Vec::new();
        if case.name == "approx_count_distinct" {
            rows.retain(|row| {
                !different.contains(row) && {
                    different.push(*row);
                    true
                }
            });
        }
        return ScalarValue::from(rows.len() as i64);
    }
    if rows.is_empty() {
        return ScalarValue::try_from(output).unwrap();
    }
    let first: Vec<&ScalarValue> = rows.iter().map(|row| &row[0]).collect();
    match case.name {
        "sum" | "avg" => total(case.name == "avg", &first, output),
        "min" | "bool_and" => (*first.iter().min_by(|a, b| a.partial_cmp(b).unwrap()).unwrap()).clone(),
        "max" | "bool_or" => (*first.iter().max_by(|a, b| a.partial_cmp(b).unwrap()).unwrap()).clone(),
        "first_value" if case.arguments.len() == 1 => first[0].clone(),
        "last_value" if case.arguments.len() == 1 => first[first.len() - 1].clone(),
        "first_value" => by_time(&rows, true),
        "last_value" => by_time(&rows, false),
        "listagg" => joined(&first, case),
        "array_agg" | "collect" => array(&first),
        "median" | "percentile" | "approx_percentile_cont" => percentile(&first, case),
        "bit_and" => bits(&first, |a, b| a & b, output),
        "bit_or" => bits(&first, |a, b| a | b, output),
        "bit_xor" => bits(&first, |a, b| a ^ b, output),
        _ => ScalarValue::Float64(statistic(case.name, &rows)),
    }
}

fn integer(value: &ScalarValue) -> i128 {
    match value {
        ScalarValue::Decimal128(Some(value), ..) => *value,
        other => i128::from(i64::try_from(other.cast_to(&DataType::Int64).unwrap()).unwrap()),
    }
}

fn double(value: &ScalarValue) -> f64 {
    f64::try_from(value.cast_to(&DataType::Float64).unwrap()).unwrap()
}

fn total(average: bool, values: &[&ScalarValue], output: &DataType) -> ScalarValue {
    let count = values.len() as i128;
    match (values[0], output) {
        (ScalarValue::Float32(_) | ScalarValue::Float64(_), _) => {
            let sum: f64 = values.iter().map(|value| double(value)).sum();
            ScalarValue::from(if average { sum / count as f64 } else { sum })
        }
        (ScalarValue::Decimal128(_, _, scale), DataType::Decimal128(precision, to)) => {
            let sum: i128 = values.iter().map(|value| integer(value)).sum();
            let scaled = sum * 10i128.pow((to - scale) as u32);
            let half_up = (scaled.abs() * 2 + count) / (count * 2) * scaled.signum();
            ScalarValue::Decimal128(Some(if average { half_up } else { sum }), *precision, *to)
        }
        _ => {
            let sum: i128 = values.iter().map(|value| integer(value)).sum();
            let result = if average { sum / count } else { sum };
            ScalarValue::from(result as i64).cast_to(output).unwrap()
        }
    }
}

fn by_time(rows: &[&Vec<ScalarValue>], first: bool) -> ScalarValue {
    let key = |row: &Vec<ScalarValue>| (row[1].clone(), row[0].clone());
    let order = |a: &&&Vec<ScalarValue>, b: &&&Vec<ScalarValue>| key(a).partial_cmp(&key(b)).unwrap();
    let best = if first { rows.iter().min_by(order) } else { rows.iter().max_by(order) };
    best.unwrap()[0].clone()
}

fn joined(values: &[&ScalarValue], case: &Case) -> ScalarValue {
    let texts: Vec<String> = values.iter().map(|value| value.to_string()).collect();
    let separator = case.literals.first().map_or(",".to_owned(), ToString::to_string);
    ScalarValue::from(texts.join(&separator))
}

fn array(values: &[&ScalarValue]) -> ScalarValue {
    let owned: Vec<ScalarValue> = values.iter().map(|value| (*value).clone()).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&owned, &values[0].data_type()))
}

fn percentile(values: &[&ScalarValue], case: &Case) -> ScalarValue {
    let mut sorted: Vec<f64> = values.iter().map(|value| double(value)).collect();
    sorted.sort_by(f64::total_cmp);
    let fraction = case.literals.first().map_or(0.5, double);
    let place = (sorted.len() - 1) as f64 * fraction;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    ScalarValue::from(low + (high - low) * place.fract())
}

fn bits(values: &[&ScalarValue], combine: fn(i64, i64) -> i64, output: &DataType) -> ScalarValue {
    let result = values.iter().map(|value| integer(value) as i64).reduce(combine);
    ScalarValue::from(result).cast_to(output).unwrap()
}

/// Two-pass formulas.
fn statistic(name: &str, rows: &[&Vec<ScalarValue>]) -> Option<f64> {
    let count = rows.len() as f64;
    let column = |index: usize| -> Vec<f64> { rows.iter().map(|row| double(&row[index.min(row.len() - 1)])).collect() };
    let (y, x) = (column(0), column(1));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let deviations = |a: &[f64], b: &[f64]| -> f64 {
        let (a_mean, b_mean) = (mean(a), mean(b));
        a.iter().zip(b).map(|(a, b)| (a - a_mean) * (b - b_mean)).sum()
    };
    let (yy, xx, xy) = (deviations(&y, &y), deviations(&x, &x), deviations(&y, &x));
    let sample = |sum: f64| (count > 1.0).then(|| sum / (count - 1.0));
    let ratio = |a: f64, b: f64| (b > 1e-9).then(|| a / b);
    match name {
        "var_pop" => Some(yy / count),
        "var_samp" => sample(yy),
        "stddev_pop" => Some((yy / count).sqrt()),
        "stddev_samp" => sample(yy).map(f64::sqrt),
        "covar_pop" => Some(xy / count),
        "covar_samp" => sample(xy),
        "corr" => ratio(xy, (xx * yy).sqrt()),
        "regr_slope" => ratio(xy, xx),
        "regr_intercept" => ratio(xy, xx).map(|slope| mean(&y) - slope * mean(&x)),
        "regr_r2" if yy < 1e-9 => ratio(1.0, xx).map(|_| 1.0),
        "regr_r2" => ratio(xy * xy, xx * yy),
        "regr_avgx" => Some(mean(&x)),
        "regr_avgy" => Some(mean(&y)),
        "regr_sxx" => Some(xx),
        "regr_syy" => Some(yy),
        "regr_sxy" => Some(xy),
        other => panic!("no twin for {other}"),
    }
}
