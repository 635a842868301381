//! A scalar function as data, and the one adapter that makes DataFusion call it.

use std::hash::{Hash, Hasher};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};
use chrono_tz::Tz;
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::call::Call;

/// Where the documentation lists a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Text,
    Math,
    Conditional,
    Time,
    Json,
    Hash,
    Collection,
}

/// What an argument is turned into before the function sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// Utf8; numbers and dates are written out.
    Text,
    /// Utf8 or Binary; anything else becomes Utf8.
    TextOrBytes,
    Bytes,
    /// Int64.
    Integer,
    /// Float64.
    Number,
    Boolean,
    /// A timestamp with or without zone, or a time of day, as it is; a date becomes TIMESTAMP(3), a string is parsed to
    /// one.
    Time,
    /// As it is.
    Any,
}

/// Says the type of a result from the arguments' types, their constant values and the session's time zone.
pub type TypeOf = fn(&[DataType], &[Option<ScalarValue>], Tz) -> Result<DataType>;

/// The type of the result.
#[derive(Clone, Copy)]
pub enum Returns {
    Text,
    Bytes,
    Boolean,
    Int,
    BigInt,
    Double,
    Date,
    /// TIMESTAMP(3).
    Timestamp,
    /// TIMESTAMP_LTZ(3) in the session's zone.
    TimestampLtz,
    Time,
    /// Depends on the arguments' types and constant values.
    Computed(TypeOf),
}

/// One function: how it is written, what it takes and gives, and how it is computed over columns.
pub struct FunctionDef {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub category: Category,
    /// As the documentation shows it: `SPLIT_INDEX(text, separator, index)`.
    pub usage: &'static str,
    pub doc: &'static str,
    /// One per parameter; the last one repeats when `variadic`.
    pub args: &'static [Arg],
    /// Arguments that may not be left out.
    pub required: usize,
    pub variadic: bool,
    pub returns: Returns,
    /// False: another result at every call (RAND, CURRENT_TIMESTAMP), so never computed ahead.
    pub deterministic: bool,
    pub(super) invoke: fn(&Call) -> Result<ArrayRef>,
}

impl FunctionDef {
    /// A function of fixed parameters that always gives the same result; the list's entries change what differs.
    pub(super) const fn new(
        name: &'static str,
        category: Category,
        args: &'static [Arg],
        returns: Returns,
        invoke: fn(&Call) -> Result<ArrayRef>,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            category,
            usage: "",
            doc: "",
            args,
            required: args.len(),
            variadic: false,
            returns,
            deterministic: true,
            invoke,
        }
    }

    pub const fn doc(mut self, usage: &'static str, doc: &'static str) -> Self {
        self.usage = usage;
        self.doc = doc;
        self
    }

    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The arguments after the first `required` may be left out.
    pub const fn optional_after(mut self, required: usize) -> Self {
        self.required = required;
        self
    }

    /// The last argument may be repeated.
    pub const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    pub const fn volatile(mut self) -> Self {
        self.deterministic = false;
        self
    }
}

/// The function as DataFusion's planner takes it.
pub(super) fn udf(definition: &'static FunctionDef, zone: Tz) -> ScalarUDF {
    let volatility = if definition.deterministic { Volatility::Immutable } else { Volatility::Volatile };
    let aliases = definition.aliases.iter().map(|alias| alias.to_string()).collect();
    ScalarUDF::new_from_impl(Udf { definition, zone, aliases, signature: Signature::user_defined(volatility) })
}

#[derive(Clone)]
struct Udf {
    definition: &'static FunctionDef,
    zone: Tz,
    aliases: Vec<String>,
    signature: Signature,
}

impl std::fmt::Debug for Udf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.definition.name)
    }
}

impl PartialEq for Udf {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name && self.zone == other.zone
    }
}

impl Eq for Udf {}

impl Hash for Udf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
        self.zone.name().hash(state);
    }
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let FunctionDef { usage, args, required, variadic, .. } = *self.definition;
        let too_many = !variadic && given.len() > args.len();
        if given.len() < required || too_many {
            return plan_err!("{} arguments given; write {usage}", given.len());
        }
        let wanted = |index: usize| args.get(index).or(args.last()).copied().unwrap_or(Arg::Any);
        given.iter().enumerate().map(|(index, data_type)| self.coerced(wanted(index), data_type, index)).collect()
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        plan_err!("the type of {} depends on its arguments", self.definition.name)
    }

    fn return_field_from_args(&self, args: datafusion_expr::ReturnFieldArgs) -> Result<arrow::datatypes::FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let literals: Vec<Option<ScalarValue>> = args.scalar_arguments.iter().map(|value| value.cloned()).collect();
        let data_type = self.return_type_of(&types, &literals)?;
        Ok(std::sync::Arc::new(arrow::datatypes::Field::new(self.definition.name, data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_literals = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let single = all_literals && self.definition.deterministic;
        let rows = if single { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let result = (self.definition.invoke)(&Call {
            columns,
            rows,
            zone: self.zone,
            returns: args.return_field.data_type().clone(),
        })?;
        if single {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
        } else {
            Ok(ColumnarValue::Array(result))
        }
    }
}

impl Udf {
    fn return_type_of(&self, types: &[DataType], literals: &[Option<ScalarValue>]) -> Result<DataType> {
        Ok(match self.definition.returns {
            Returns::Text => DataType::Utf8,
            Returns::Bytes => DataType::Binary,
            Returns::Boolean => DataType::Boolean,
            Returns::Int => DataType::Int32,
            Returns::BigInt => DataType::Int64,
            Returns::Double => DataType::Float64,
            Returns::Date => DataType::Date32,
            Returns::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
            Returns::TimestampLtz => DataType::Timestamp(TimeUnit::Millisecond, Some(self.zone.name().into())),
            Returns::Time => DataType::Time32(TimeUnit::Millisecond),
            Returns::Computed(compute) => return compute(types, literals, self.zone),
        })
    }

    fn coerced(&self, wanted: Arg, given: &DataType, index: usize) -> Result<DataType> {
        let refuse = |what: &str| {
            plan_err!("argument {} of {} must be {what}, not {}", index + 1, self.definition.usage, flink(given))
        };
        let is_scalar = !given.is_nested();
        match wanted {
            Arg::Any => Ok(given.clone()),
            Arg::Text if is_scalar => Ok(DataType::Utf8),
            Arg::TextOrBytes if *given == DataType::Binary => Ok(DataType::Binary),
            Arg::TextOrBytes if is_scalar => Ok(DataType::Utf8),
            Arg::Bytes if is_scalar => Ok(DataType::Binary),
            Arg::Integer if given.is_numeric() || given.is_null() => Ok(DataType::Int64),
            Arg::Number if given.is_numeric() || given.is_null() || is_text(given) => Ok(DataType::Float64),
            Arg::Boolean if matches!(given, DataType::Boolean | DataType::Null) => Ok(DataType::Boolean),
            Arg::Time => match given {
                DataType::Timestamp(..) | DataType::Time32(TimeUnit::Millisecond) => Ok(given.clone()),
                DataType::Time64(_) => Ok(DataType::Time32(TimeUnit::Millisecond)),
                DataType::Date32 | DataType::Null => Ok(DataType::Timestamp(TimeUnit::Millisecond, None)),
                other if is_text(other) => Ok(DataType::Timestamp(TimeUnit::Millisecond, None)),
                _ => refuse("a timestamp or a date"),
            },
            Arg::Text | Arg::TextOrBytes | Arg::Bytes => refuse("a string"),
            Arg::Integer => refuse("a whole number"),
            Arg::Number => refuse("a number"),
            Arg::Boolean => refuse("BOOLEAN"),
        }
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn flink(data_type: &DataType) -> String {
    crate::types::flink_name(data_type, true)
}
