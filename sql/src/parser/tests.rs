//! Texts and what they parse to. `UPDATE_EXPECT=1 cargo test` rewrites the expectations.

use expect_test::{Expect, ExpectFile};

use super::{Statement, StatementKind, cut_statements, parse_script};
use crate::Diagnostic;

mod ddl;
mod errors;
pub(crate) mod mutation;
mod queries;
mod windows;

/// Parses a script; prints each statement in a line or a few, or all diagnostics as a terminal shows them.
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&parsed(text));
}

fn parsed(text: &str) -> String {
    match parse_script(text) {
        Ok(statements) => statements.iter().map(|statement| format!("{}\n", show(statement))).collect::<String>(),
        Err(errors) => render(text, &errors),
    }
}

#[test]
fn a_text_that_grows_is_cut_where_statements_end() {
    // The end of each statement, whether nothing follows, whether something is open.
    let cases: &[(&str, &[&str], bool, bool)] = &[
        ("", &[], true, false),
        ("SELECT 1", &[], false, false),
        ("SELECT 1; -- done; really\n", &["SELECT 1;"], true, false),
        ("SELECT ';' AS `;`; SELECT 2", &["SELECT ';' AS `;`;"], false, false),
        ("SELECT 'é;', 1;\nSELECT\n2 ;", &["SELECT 'é;', 1;", "\nSELECT\n2 ;"], true, false),
        ("SELECT 1; SELECT 'open;", &["SELECT 1;"], false, true),
        ("SELECT `open;", &[], false, true),
        ("SELECT /* open;", &[], false, true),
        ("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;", &[], false, false),
        (
            "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;",
            &["BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;"],
            true,
            false,
        ),
        (";;", &[";", ";"], true, false),
    ];
    for (text, expected, blank, open) in cases {
        let cut = cut_statements(text);
        let mut start = 0;
        let found: Vec<&str> = cut.ends.iter().map(|end| &text[std::mem::replace(&mut start, *end)..*end]).collect();
        assert_eq!((found.as_slice(), cut.rest_is_blank, cut.open), (*expected, *blank, *open), "{text}");
    }
}

/// Many texts, each with what [`check`] would print, in one file.
fn check_all(texts: &[&str], expected: ExpectFile) {
    let answers = texts.iter().map(|text| format!("-- {text}\n{}\n", parsed(text)));
    expected.assert_eq(&answers.collect::<String>());
}

fn render(text: &str, errors: &[Diagnostic]) -> String {
    errors.iter().map(|error| error.render("t.sql", text)).collect::<Vec<_>>().join("\n")
}

fn show(statement: &Statement) -> String {
    match &statement.kind {
        StatementKind::Query(query) => query.to_string(),
        StatementKind::Insert(insert) => show_insert(insert),
        StatementKind::StatementSet(inserts) => {
            let shown: Vec<String> = inserts.iter().map(show_insert).collect();
            format!("SET OF {}: {}", shown.len(), shown.join(" ; "))
        }
        StatementKind::Explain { details, statement } => format!("EXPLAIN {details:?} {}", show(statement)),
        StatementKind::CreateTable(table) => ddl::show_table(table),
        StatementKind::CreateView(view) => {
            format!("VIEW {} {:?} AS {} -- {}", view.name, ddl::names(&view.columns), view.query, view.query_text)
        }
        StatementKind::Drop { kind, name, if_exists, temporary } => {
            format!("DROP {kind:?} {name} if_exists={if_exists} temporary={temporary}")
        }
        StatementKind::Show(show) => ddl::show_show(show),
        StatementKind::Describe { name, extended } => format!("DESCRIBE {name} extended={extended}"),
        StatementKind::Set(setting) => {
            let shown = setting.as_ref().map(|setting| (&setting.key.value, &setting.value.value));
            format!("SET {shown:?}")
        }
        StatementKind::Reset(key) => format!("RESET {:?}", key.as_ref().map(|key| &key.value)),
    }
}

fn show_insert(insert: &super::InsertQuery) -> String {
    let partition: Vec<String> = insert.partition.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("INSERT {} {:?} {partition:?} {}", insert.table, ddl::names(&insert.columns), insert.query)
}
