//! Compares an answer with what a test expects, and says how they differ.

use std::collections::BTreeMap;

use tidemill_engine::RowKind;

/// A row of an answer, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRow {
    pub kind: RowKind,
    pub text: String,
}

/// The table that a changelog adds up to, sorted. A change that takes away a row which is not there is an error.
pub fn fold(rows: &[AnswerRow]) -> Result<Vec<String>, String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for row in rows {
        *counts.entry(&row.text).or_default() += if row.kind.is_retraction() { -1 } else { 1 };
    }
    if let Some((text, count)) = counts.iter().find(|(_, count)| **count < 0) {
        return Err(format!("the changes take away [{text}] {} time(s) more often than they add it", -count));
    }
    Ok(counts.into_iter().flat_map(|(text, count)| std::iter::repeat_n(text.to_string(), count as usize)).collect())
}

/// The table that upserts by these columns add up to, sorted. The columns are found by the commas between them.
pub fn fold_upserts(rows: &[AnswerRow], key: &[usize]) -> Result<Vec<String>, String> {
    let mut table: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
    for row in rows {
        let values: Vec<&str> = row.text.split(", ").collect();
        let key = key.iter().map(|column| values.get(*column).copied().unwrap_or_default()).collect();
        match row.kind {
            RowKind::UpdateBefore => return Err(format!("a sink that upserts was given -U[{}]", row.text)),
            RowKind::Delete => table.remove(&key),
            RowKind::Insert | RowKind::UpdateAfter => table.insert(key, &row.text),
        };
    }
    let mut rows: Vec<String> = table.into_values().map(str::to_string).collect();
    rows.sort();
    Ok(rows)
}

/// Every change with its kind, in order: `+I[a, b]`.
pub fn changelog(rows: &[AnswerRow]) -> Vec<String> {
    rows.iter().map(|row| format!("{}[{}]", row.kind.symbol(), row.text)).collect()
}

/// The change that a line such as `+U[a, 2]` stands for.
pub fn parse_change(line: &str) -> Option<AnswerRow> {
    let (symbol, rest) = line.split_at_checked(2)?;
    let kind = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    let kind = kind.into_iter().find(|kind| kind.symbol() == symbol)?;
    Some(AnswerRow { kind, text: rest.strip_prefix('[')?.strip_suffix(']')?.to_string() })
}

/// `None` when equal; else the rows that are missing (`-`) and those that should not be there (`+`).
pub fn difference(expected: &[String], actual: &[String], ordered: bool) -> Option<String> {
    let mut expected = expected.to_vec();
    let mut actual = actual.to_vec();
    if !ordered {
        expected.sort();
        actual.sort();
    }
    if expected == actual {
        return None;
    }
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &expected {
        *counts.entry(row).or_default() -= 1;
    }
    for row in &actual {
        *counts.entry(row).or_default() += 1;
    }
    let lines: Vec<String> = counts.iter().filter(|(_, n)| **n != 0).map(|(row, n)| difference_line(row, *n)).collect();
    match lines.is_empty() {
        true => Some(format!("the same rows in another order:\n{}", actual.join("\n"))),
        false => Some(lines.join("\n")),
    }
}

fn difference_line(row: &str, surplus: i64) -> String {
    let sign = if surplus > 0 { '+' } else { '-' };
    let times = if surplus.abs() > 1 { format!("   ({} times)", surplus.abs()) } else { String::new() };
    format!("  {sign} {row}{times}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: RowKind, text: &str) -> AnswerRow {
        AnswerRow { kind, text: text.to_string() }
    }

    #[test]
    fn upserts_add_up_by_their_key() {
        use RowKind::*;
        let rows = [row(Insert, "a, 1"), row(UpdateAfter, "a, 2"), row(Insert, "b, 1"), row(Delete, "b, 7")];
        assert_eq!(fold_upserts(&rows, &[0]), Ok(vec!["a, 2".to_string()]));
        assert!(fold_upserts(&[row(UpdateBefore, "x")], &[0]).is_err());
    }

    #[test]
    fn changes_add_up_to_a_table() {
        use RowKind::*;
        let rows = [row(Insert, "a, 1"), row(UpdateBefore, "a, 1"), row(UpdateAfter, "a, 2"), row(Insert, "b, 1")];
        assert_eq!(fold(&rows), Ok(vec!["a, 2".to_string(), "b, 1".to_string()]));
        assert!(fold(&[row(Delete, "x")]).is_err());
    }

    #[test]
    fn differences_count_repeated_rows() {
        let text = |rows: &[&str]| rows.iter().map(|row| row.to_string()).collect::<Vec<_>>();
        assert_eq!(difference(&text(&["a", "b"]), &text(&["b", "a"]), false), None);
        assert!(difference(&text(&["a", "b"]), &text(&["b", "a"]), true).is_some());
        assert_eq!(difference(&text(&["a", "a"]), &text(&["c"]), false), Some("  - a   (2 times)\n  + c".to_string()));
    }
}
