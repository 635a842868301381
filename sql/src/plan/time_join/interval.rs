//! `l.ts BETWEEN r.ts - INTERVAL '1' HOUR AND r.ts`, in all its spellings, as bounds on `l.ts - r.ts`.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{JoinType, ScalarValue};
use datafusion_expr::{Between, BinaryExpr, Expr, Join, Operator};
use tidemill_engine::operators::interval_join::TimeBounds;
use tidemill_engine::time::window::TimeDomain;

use super::condition::{JoinCondition, place_of};
use super::is_always_there;
use crate::plan::traits::ColumnTraits;

const NANOS_PER_MILLI: i64 = 1_000_000;
const DAY_MS: i64 = 86_400_000;

/// A join of rows whose times are near each other.
pub(crate) struct IntervalCondition {
    /// Columns of the inputs that are compared.
    pub times: [usize; 2],
    pub domain: TimeDomain,
    pub bounds: TimeBounds,
    pub equal: Vec<(Expr, Expr)>,
    pub other: Vec<Expr>,
}

/// `±time of a side ± ... + constant`.
#[derive(Default)]
struct Linear {
    /// Side, column, and whether it is taken away.
    times: Vec<(usize, usize, bool)>,
    ms: i64,
}

/// `lower <= left time - right time <= upper`, as far as one conjunct says so.
pub(super) struct Bound {
    pub times: [usize; 2],
    pub lower_ms: Option<i64>,
    pub upper_ms: Option<i64>,
}

impl IntervalCondition {
    /// `None` unless times of both sides bound each other from both sides.
    pub fn of(join: &Join, condition: JoinCondition, traits: [&[ColumnTraits]; 2]) -> Option<Self> {
        let reader = Reader { join, traits };
        let mut found = Found::default();
        let mut equal = Vec::new();
        for (left, right) in condition.equal {
            let bound = reader.comparison(&left, Operator::Eq, &right);
            if !bound.is_some_and(|bound| found.add(bound)) {
                equal.push((left, right));
            }
        }
        let mut other = Vec::new();
        for part in condition.other {
            let bounds = reader.conjunct(&part);
            let used = !bounds.is_empty() && bounds.into_iter().all(|bound| found.add(bound));
            if !used || !reader.is_exact() {
                other.push(part);
            }
        }
        let times = found.times?;
        let bounds = TimeBounds { lower_ms: found.lower_ms?, upper_ms: found.upper_ms? };
        let domain = traits[0][times[0]].time?;
        Some(Self { times, domain, bounds: reader.widened(bounds), equal, other })
    }

    /// Only the times that were compared still tell time: others may be as old as rows wait.
    pub fn traits(&self, kind: JoinType, inputs: [Vec<ColumnTraits>; 2]) -> Vec<ColumnTraits> {
        let sides = inputs.into_iter().enumerate().flat_map(|(side, columns)| {
            let keeps = move |index: usize, column: &ColumnTraits| match column.time {
                Some(TimeDomain::Event) => index == self.times[side] && is_always_there(kind, side),
                Some(TimeDomain::Processing) => true,
                None => false,
            };
            columns.into_iter().enumerate().map(move |(index, column)| match keeps(index, &column) {
                true => ColumnTraits { time: column.time, ..ColumnTraits::default() },
                false => ColumnTraits::default(),
            })
        });
        sides.collect()
    }
}

/// The bounds of all conjuncts together, for one pair of time columns.
#[derive(Default)]
struct Found {
    times: Option<[usize; 2]>,
    lower_ms: Option<i64>,
    upper_ms: Option<i64>,
}

impl Found {
    /// False where the bound is about other columns than those before.
    fn add(&mut self, bound: Bound) -> bool {
        if *self.times.get_or_insert(bound.times) != bound.times {
            return false;
        }
        let tighter = |known: Option<i64>, new: Option<i64>, pick: fn(i64, i64) -> i64| match (known, new) {
            (Some(known), Some(new)) => Some(pick(known, new)),
            (known, new) => known.or(new),
        };
        self.lower_ms = tighter(self.lower_ms, bound.lower_ms, i64::max);
        self.upper_ms = tighter(self.upper_ms, bound.upper_ms, i64::min);
        true
    }
}

pub(super) struct Reader<'a> {
    pub join: &'a Join,
    pub traits: [&'a [ColumnTraits]; 2],
}

impl Reader<'_> {
    /// What a conjunct says about times; nothing where it is about something else.
    pub fn conjunct(&self, part: &Expr) -> Vec<Bound> {
        let bounds = match part {
            Expr::Between(Between { expr, negated: false, low, high }) => {
                vec![self.comparison(expr, Operator::GtEq, low), self.comparison(expr, Operator::LtEq, high)]
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => vec![self.comparison(left, *op, right)],
            _ => Vec::new(),
        };
        bounds.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    pub fn comparison(&self, left: &Expr, operator: Operator, right: &Expr) -> Option<Bound> {
        let difference = self.linear(left)?.minus(self.linear(right)?)?;
        // The sign of the left side's time decides which way round the comparison reads.
        let (times, swapped) = match difference.times.as_slice() {
            [(0, left, minus), (1, right, other)] | [(1, right, other), (0, left, minus)] if minus != other => {
                ([*left, *right], *minus)
            }
            _ => return None,
        };
        let domain = |side: usize| self.traits[side][times[side]].time;
        if domain(0) != domain(1) {
            return None;
        }
        let operator = if swapped { operator.swap()? } else { operator };
        let ms = if swapped { difference.ms } else { difference.ms.checked_neg()? };
        let (lower_ms, upper_ms) = match operator {
            Operator::Eq => (Some(ms), Some(ms)),
            Operator::GtEq => (Some(ms), None),
            Operator::Gt => (Some(ms.checked_add(i64::from(self.is_exact()))?), None),
            Operator::LtEq => (None, Some(ms)),
            Operator::Lt => (None, Some(ms.checked_sub(i64::from(self.is_exact()))?)),
            _ => return None,
        };
        Some(Bound { times, lower_ms, upper_ms })
    }

    fn linear(&self, expr: &Expr) -> Option<Linear> {
        match expr {
            Expr::Alias(alias) => self.linear(&alias.expr),
            Expr::Column(column) => {
                let (side, index) = place_of(self.join, column)?;
                self.traits[side].get(index)?.time?;
                Some(Linear { times: vec![(side, index, false)], ms: 0 })
            }
            Expr::Literal(value, _) => Some(Linear { times: Vec::new(), ms: constant_ms(value)? }),
            Expr::Negative(inner) => Linear::default().minus(self.linear(inner)?),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
                let right = Linear::default().minus(self.linear(right)?)?;
                self.linear(left)?.minus(right)
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
                self.linear(left)?.minus(self.linear(right)?)
            }
            _ => None,
        }
    }

    /// Times finer than milliseconds are compared by the conjuncts themselves, within slightly wider bounds.
    pub fn is_exact(&self) -> bool {
        let coarse = |data_type: &DataType| {
            !matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _))
        };
        let fields = |schema: &datafusion_common::DFSchema, traits: &[ColumnTraits]| {
            let times = schema.fields().iter().zip(traits).filter(|(_, traits)| traits.time.is_some());
            times.into_iter().all(|(field, _)| coarse(field.data_type()))
        };
        fields(self.join.left.schema(), self.traits[0]) && fields(self.join.right.schema(), self.traits[1])
    }

    fn widened(&self, bounds: TimeBounds) -> TimeBounds {
        let by = i64::from(!self.is_exact());
        TimeBounds { lower_ms: bounds.lower_ms.saturating_sub(by), upper_ms: bounds.upper_ms.saturating_add(by) }
    }
}

impl Linear {
    fn minus(mut self, other: Self) -> Option<Self> {
        self.ms = self.ms.checked_sub(other.ms)?;
        self.times.extend(other.times.into_iter().map(|(side, index, minus)| (side, index, !minus)));
        Some(self)
    }
}

/// The length of a constant interval; months have none.
fn constant_ms(value: &ScalarValue) -> Option<i64> {
    let exact = |nanos: i64| (nanos % NANOS_PER_MILLI == 0).then_some(nanos / NANOS_PER_MILLI);
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            exact(interval.nanoseconds)?.checked_add(i64::from(interval.days) * DAY_MS)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Some(i64::from(interval.days) * DAY_MS + i64::from(interval.milliseconds))
        }
        ScalarValue::DurationMillisecond(Some(ms)) => Some(*ms),
        ScalarValue::DurationSecond(Some(seconds)) => seconds.checked_mul(1_000),
        _ => None,
    }
}
