//! Arrow types of the collections that functions give.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

/// ARRAY<STRING>.
pub(super) fn texts_list() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
}

/// MAP<STRING, STRING>, with the field names that declared MAP columns have.
pub(super) fn map_of_texts() -> DataType {
    let sql = crate::types::SqlType::nullable(crate::types::TypeKind::Varchar(crate::types::LENGTH_MAX));
    let map = crate::types::TypeKind::Map(Box::new(sql.clone()), Box::new(sql));
    crate::types::SqlType::nullable(map).arrow("UTC")
}
