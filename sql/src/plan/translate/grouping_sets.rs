//! GROUPING SETS, ROLLUP and CUBE: every row once per set, with the keys outside the set made NULL.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{Aggregate, Expr, GroupingSet};
use datafusion_physical_expr::expressions::Literal;
use tidemill_engine::operators::expand::Expand;

use super::Translator;
use crate::diagnostic::Diagnostic;
use crate::plan::casts::null;
use crate::plan::context::external;
use crate::plan::graph_builder::detail;
use crate::plan::physical::{Physical, column};
use crate::plan::stream::Stream;

/// Grouping sets that one query may have: each row is multiplied by their number. CUBE of 10 columns is 1,024.
const SETS_MAX: usize = 4096;

/// The keys of an aggregation, and which of them each grouping set has.
pub(super) struct Grouping {
    pub keys: Vec<Expr>,
    /// Per set and key; `None` for a plain GROUP BY.
    pub sets: Option<Vec<Vec<bool>>>,
}

impl Grouping {
    pub fn of(group_expr: &[Expr]) -> Result<Self> {
        let keys: Vec<Expr> = grouping_set_to_exprlist(group_expr)?.into_iter().cloned().collect();
        let [Expr::GroupingSet(grouping)] = group_expr else {
            return Ok(Self { keys, sets: None });
        };
        let sets: Vec<Vec<Expr>> = match grouping {
            GroupingSet::GroupingSets(sets) => sets.clone(),
            GroupingSet::Rollup(exprs) => (0..=exprs.len()).rev().map(|length| exprs[..length].to_vec()).collect(),
            GroupingSet::Cube(exprs) => cube(exprs)?,
        };
        if sets.len() > SETS_MAX {
            return Err(too_many_sets());
        }
        let sets = sets.iter().map(|set| keys.iter().map(|key| set.contains(key)).collect()).collect();
        Ok(Self { keys, sets: Some(sets) })
    }

    /// The type of the grouping id, as the plan's schema has it.
    fn id_type(&self, ordinal_max: usize) -> DataType {
        Aggregate::grouping_id_type(self.keys.len(), ordinal_max)
    }

    /// Per set: a bit per key, set where the key is not in the set, the last key lowest; above them a number that
    /// tells equal sets apart.
    fn ids(&self, sets: &[Vec<bool>]) -> (Vec<u64>, DataType) {
        let mut seen: HashMap<&[bool], u64> = HashMap::new();
        let mut ids = Vec::new();
        let mut ordinal_max = 0;
        for set in sets {
            let ordinal = seen.entry(set).and_modify(|count| *count += 1).or_insert(0);
            ordinal_max = ordinal_max.max(*ordinal);
            let mask = set.iter().fold(0u64, |mask, has| (mask << 1) | u64::from(!has));
            ids.push(mask | ordinal.checked_shl(self.keys.len() as u32).unwrap_or_default());
        }
        (ids, self.id_type(ordinal_max as usize))
    }
}

fn cube(exprs: &[Expr]) -> Result<Vec<Vec<Expr>>> {
    if exprs.len() > SETS_MAX.ilog2() as usize {
        return Err(too_many_sets());
    }
    let chosen =
        |mask: usize| exprs.iter().enumerate().filter(move |(i, _)| mask & (1 << i) != 0).map(|(_, e)| e.clone());
    Ok((0..1usize << exprs.len()).rev().map(|mask| chosen(mask).collect()).collect())
}

fn too_many_sets() -> datafusion_common::DataFusionError {
    external(Diagnostic::new(format!("a query may have {SETS_MAX} grouping sets at most")))
}

/// Adds the node that multiplies rows. The input's first columns are the keys at `places` of the grouping's keys. Gives
/// the input with the grouping id behind the keys.
pub(super) fn expand(
    translator: &mut Translator<'_>,
    input: Stream,
    grouping: &Grouping,
    sets: &[Vec<bool>],
    places: &[usize],
) -> Result<Stream> {
    let (ids, id_type) = grouping.ids(sets);
    let keys = places.len();
    let mut fields: Vec<Field> = input.base.fields().iter().map(|field| field.as_ref().clone()).collect();
    for field in &mut fields[..keys] {
        *field = field.clone().with_nullable(true);
    }
    fields.insert(keys, Field::new("grouping_id", id_type.clone(), false));
    let projections = sets.iter().zip(&ids).enumerate().map(|(position, (set, id))| {
        let mut columns = Vec::new();
        for (index, field) in input.base.fields().iter().enumerate() {
            let absent = index < keys && !set[places[index]];
            // The whole row of the table is carried once, so that a late row is told about once.
            let repeated = position > 0 && input.whole_row.is_some() && index + 1 == input.base.fields().len();
            columns.push(if absent || repeated { null(field.data_type())? } else { column(field.name(), index) });
        }
        columns.insert(keys, Arc::new(Literal::new(ScalarValue::UInt64(Some(*id)).cast_to(&id_type)?)));
        Ok(columns)
    });
    let projections = projections.collect::<Result<Vec<Vec<Physical>>>>()?;
    let schema = Arc::new(Schema::new(fields));
    let details = vec![detail("grouping sets", describe(grouping, sets))];
    let operator = Arc::new(Expand { projections, schema: Arc::clone(&schema) });
    let visible = schema.fields().len() - usize::from(input.whole_row.is_some());
    let output = Arc::new(schema.project(&(0..visible).collect::<Vec<_>>())?);
    let input = Stream { schema: output, ..input };
    Ok(translator.add_row_wise("Expand", operator, input, schema, details))
}

fn describe(grouping: &Grouping, sets: &[Vec<bool>]) -> String {
    let name = |key: &Expr| key.try_as_col().map_or_else(|| key.to_string(), |column| column.name.clone());
    let sets = sets.iter().map(|set| {
        let names = grouping.keys.iter().zip(set).filter(|(_, has)| **has).map(|(key, _)| name(key));
        format!("({})", names.collect::<Vec<_>>().join(", "))
    });
    sets.collect::<Vec<_>>().join(", ")
}
