//! PROCTIME(): the moment at which a row is worked on; a column made of it is a processing-time attribute.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::traits::PROCTIME;

/// The function for a session in this time zone: TIMESTAMP_LTZ(3).
pub(crate) fn function(time_zone: &str) -> Arc<ScalarUDF> {
    let zone: Arc<str> = time_zone.into();
    Arc::new(ScalarUDF::new_from_impl(Proctime { zone, signature: Signature::nullary(Volatility::Volatile) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Proctime {
    zone: Arc<str>,
    signature: Signature,
}

impl ScalarUDFImpl for Proctime {
    fn name(&self) -> &str {
        PROCTIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::clone(&self.zone))))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now = tidemill_engine::time::processing_time();
        let now = ScalarValue::TimestampMillisecond(Some(now.0), Some(Arc::clone(&self.zone)));
        Ok(ColumnarValue::Scalar(now))
    }
}
