//! The statements but for CREATE: which one it is, and its clauses.

use sqlparser::ast::{Expr, Query};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::normalize;
use super::source::SourceText;
use super::statement::{DropKind, ExplainDetail, InsertQuery, Setting, Show, Statement, StatementKind, Text};
use super::tokens::{
    Parsed, accept, accept_one, accept_token, at_end, at_words, expect, expect_token, identifier, object_name,
    parenthesized, string, suggest, unexpected,
};
use crate::diagnostic::Diagnostic;

/// Parses one statement, with the source at hand for parts that are kept as text.
pub(super) struct Commands<'a> {
    pub(super) parser: Parser<'a>,
    pub(super) source: &'a SourceText<'a>,
}

/// First words of statements, for suggestions.
const STATEMENTS: &[&str] = &[
    "CREATE", "DROP", "SHOW", "DESCRIBE", "DESC", "SET", "RESET", "INSERT", "EXECUTE", "BEGIN", "EXPLAIN", "SELECT",
    "WITH", "VALUES",
];

/// Statements that Flink has and this program has not, with what to do instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("ALTER", "drop the table or view and create it again"),
    ("USE", "there is one catalog and one database"),
    ("ANALYZE", "leave it out: plans do not need statistics"),
    ("DELETE", "a stream of rows cannot be deleted from"),
    ("UPDATE", "a stream of rows cannot be updated"),
    ("MERGE", "write INSERT INTO"),
    ("TRUNCATE", "delete the sink's files instead"),
    ("CALL", "there are no procedures"),
    ("LOAD", "there are no modules"),
    ("UNLOAD", "there are no modules"),
    ("ADD", "there are no JAR files: functions are built in"),
    ("REMOVE", "there are no JAR files: functions are built in"),
    ("COMPILE", "EXPLAIN shows the plan"),
    ("STOP", "Ctrl-C stops a job with a final checkpoint"),
    ("COMMIT", "results are committed with each checkpoint"),
    ("ROLLBACK", "results are committed with each checkpoint"),
];

/// Words of other dialects, and of Flink's, that may stand where a query should end, and what to write instead.
const UNKNOWN_CLAUSES: [(&str, &str); 4] = [
    ("MATCH_RECOGNIZE", "compare rows with those before: LAG(...) OVER (...), or a join of the table with itself"),
    ("EXCLUDE", "SELECT * gives all columns: list those that are wanted"),
    ("REPLACE", "SELECT * gives all columns as they are: list them, and what replaces one of them"),
    ("RENAME", "list the columns, each with its name: column AS name"),
];

impl Commands<'_> {
    /// The one statement that all tokens make.
    pub(super) fn statement(&mut self) -> Parsed<Statement> {
        let statement = self.any_statement()?;
        if at_end(&self.parser) {
            return Ok(statement);
        }
        let error = unexpected(&self.parser, "the end of the statement");
        let known = UNKNOWN_CLAUSES.iter().find(|(word, _)| at_words(&self.parser, &[word]));
        Err(known.map_or(error.clone(), |(word, hint)| {
            Diagnostic { message: format!("{word} is not supported here"), ..error }.with_hint(*hint)
        }))
    }

    fn any_statement(&mut self) -> Parsed<Statement> {
        let kind = self.kind()?;
        Ok(Statement { kind, span: Span::empty(), text: String::new() })
    }

    fn kind(&mut self) -> Parsed<StatementKind> {
        let token = self.parser.peek_token_ref().clone();
        let word = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            Token::LParen => return self.bare_query(),
            _ => return Err(unexpected(&self.parser, "a statement")),
        };
        match word.as_str() {
            "SELECT" | "WITH" | "VALUES" => self.bare_query(),
            "CREATE" => self.create(),
            "DROP" => self.drop_object(),
            "SHOW" => self.show(),
            "DESCRIBE" | "DESC" => self.describe(),
            "SET" => self.set(),
            "RESET" => self.reset(),
            "INSERT" => self.insert().map(StatementKind::Insert),
            "EXECUTE" => self.execute(),
            "BEGIN" => self.begin(),
            "EXPLAIN" => self.explain(),
            _ => Err(not_a_statement(token.span, &word)),
        }
    }

    fn bare_query(&mut self) -> Parsed<StatementKind> {
        self.query().map(StatementKind::Query)
    }

    /// A query, normalised.
    pub(super) fn query(&mut self) -> Parsed<Box<Query>> {
        let starts = ["SELECT", "WITH", "VALUES"].iter().any(|word| at_words(&self.parser, &[word]));
        if !starts && self.parser.peek_token_ref().token != Token::LParen {
            return Err(unexpected(&self.parser, "a query (SELECT, WITH or VALUES)"));
        }
        let mut query = self.parser.parse_query()?;
        normalize::query(&mut query)?;
        Ok(query)
    }

    /// An expression, normalised.
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        let mut expr = self.parser.parse_expr()?;
        normalize::expression(&mut expr)?;
        Ok(expr)
    }

    /// The text from `start` to the last token that was read.
    pub(super) fn text_since(&self, start: Span) -> String {
        let span = Span::new(start.start, self.parser.get_current_token().span.end);
        self.source.slice(span).to_string()
    }

    pub(super) fn accept(&mut self, words: &[&str]) -> bool {
        accept(&mut self.parser, words)
    }

    fn drop_object(&mut self) -> Parsed<StatementKind> {
        self.accept(&["DROP"]);
        let temporary = self.accept(&["TEMPORARY"]);
        let span = self.parser.peek_token_ref().span;
        let kind = match accept_one(&mut self.parser, &["TABLE", "VIEW", "FUNCTION", "CATALOG", "DATABASE", "MODEL"]) {
            Some("TABLE") => DropKind::Table,
            Some("VIEW") => DropKind::View,
            Some(other) => return Err(Diagnostic::at(span, format!("DROP {other} is not supported"))),
            None => {
                let error = unexpected(&self.parser, "`TABLE` or `VIEW`");
                return Err(suggest(error, self.parser.peek_token_ref(), &["TABLE", "VIEW"]));
            }
        };
        let if_exists = self.accept(&["IF", "EXISTS"]);
        let name = object_name(&mut self.parser, "the name of a table or view")?;
        Ok(StatementKind::Drop { kind, name, if_exists, temporary })
    }

    fn show(&mut self) -> Parsed<StatementKind> {
        self.accept(&["SHOW"]);
        let user_only = self.accept(&["USER"]);
        let span = self.parser.peek_token_ref().span;
        let what = accept_one(&mut self.parser, &["TABLES", "VIEWS", "FUNCTIONS", "COLUMNS", "CREATE"]);
        let show = match what {
            Some("TABLES") if !user_only => Show::Tables { like: self.like()? },
            Some("VIEWS") if !user_only => Show::Views { like: self.like()? },
            Some("FUNCTIONS") if !user_only => Show::Functions { like: self.like()? },
            Some("COLUMNS") if !user_only => self.show_columns()?,
            Some("CREATE") if !user_only => self.show_create()?,
            _ => {
                let error = Diagnostic::at(span, "this SHOW statement is not supported");
                return Err(
                    error.with_hint("SHOW TABLES, VIEWS, FUNCTIONS, COLUMNS FROM t, CREATE TABLE t, CREATE VIEW v")
                );
            }
        };
        Ok(StatementKind::Show(show))
    }

    fn like(&mut self) -> Parsed<Option<Text>> {
        if self.accept(&["LIKE"]) { string(&mut self.parser, "a pattern").map(Some) } else { Ok(None) }
    }

    fn show_columns(&mut self) -> Parsed<Show> {
        if accept_one(&mut self.parser, &["FROM", "IN"]).is_none() {
            return Err(unexpected(&self.parser, "`FROM`"));
        }
        let table = object_name(&mut self.parser, "the name of a table")?;
        Ok(Show::Columns { table, like: self.like()? })
    }

    fn show_create(&mut self) -> Parsed<Show> {
        match accept_one(&mut self.parser, &["TABLE", "VIEW"]) {
            Some("TABLE") => object_name(&mut self.parser, "the name of a table").map(Show::CreateTable),
            Some(_) => object_name(&mut self.parser, "the name of a view").map(Show::CreateView),
            None => Err(unexpected(&self.parser, "`TABLE` or `VIEW`")),
        }
    }

    fn describe(&mut self) -> Parsed<StatementKind> {
        self.parser.advance_token();
        let extended = self.accept(&["EXTENDED"]);
        self.accept(&["TABLE"]);
        let name = object_name(&mut self.parser, "the name of a table or view")?;
        Ok(StatementKind::Describe { name, extended })
    }

    fn set(&mut self) -> Parsed<StatementKind> {
        self.accept(&["SET"]);
        if at_end(&self.parser) {
            return Ok(StatementKind::Set(None));
        }
        const EXAMPLE: &str = "write SET 'key' = 'value'";
        let key = string(&mut self.parser, "an option in quotes").map_err(|error| error.with_hint(EXAMPLE))?;
        expect_token(&mut self.parser, &Token::Eq)?;
        let value = string(&mut self.parser, "a value in quotes").map_err(|error| error.with_hint(EXAMPLE))?;
        Ok(StatementKind::Set(Some(Setting { key, value })))
    }

    fn reset(&mut self) -> Parsed<StatementKind> {
        self.accept(&["RESET"]);
        if at_end(&self.parser) {
            return Ok(StatementKind::Reset(None));
        }
        string(&mut self.parser, "an option in quotes").map(|key| StatementKind::Reset(Some(key)))
    }

    /// `INSERT INTO t [PARTITION (k = v, ...)] [(columns)] query`.
    fn insert(&mut self) -> Parsed<InsertQuery> {
        let start = self.parser.peek_token_ref().span;
        expect(&mut self.parser, &["INSERT"])?;
        let span = self.parser.peek_token_ref().span;
        if self.accept(&["OVERWRITE"]) {
            return Err(Diagnostic::at(span, "INSERT OVERWRITE is not supported: a stream only appends")
                .with_hint("write INSERT INTO"));
        }
        expect(&mut self.parser, &["INTO"])?;
        self.accept(&["TABLE"]);
        let table = object_name(&mut self.parser, "the name of a table")?;
        let partition = if self.accept(&["PARTITION"]) { self.static_partition()? } else { vec![] };
        let columns = if self.at_column_list() {
            parenthesized(&mut self.parser, |parser| identifier(parser, "the name of a column"))?
        } else {
            vec![]
        };
        let query = self.query()?;
        let span = Span::new(start.start, self.parser.get_current_token().span.end);
        Ok(InsertQuery { table, columns, partition, query, span })
    }

    /// A parenthesis here holds column names, unless a query starts in it.
    fn at_column_list(&self) -> bool {
        let first = &self.parser.peek_nth_token_ref(1).token;
        let starts_query = ["SELECT", "WITH", "VALUES"].iter().any(|word| super::tokens::is_word(first, word));
        self.parser.peek_token_ref().token == Token::LParen && matches!(first, Token::Word(_)) && !starts_query
    }

    fn static_partition(&mut self) -> Parsed<Vec<(sqlparser::ast::Ident, Expr)>> {
        expect_token(&mut self.parser, &Token::LParen)?;
        let mut values = vec![];
        loop {
            let column = identifier(&mut self.parser, "a partition column")?;
            expect_token(&mut self.parser, &Token::Eq)?;
            values.push((column, self.expression()?));
            if !accept_token(&mut self.parser, &Token::Comma) {
                break;
            }
        }
        expect_token(&mut self.parser, &Token::RParen)?;
        Ok(values)
    }

    /// `EXECUTE STATEMENT SET BEGIN ... END`, or `EXECUTE INSERT ...`.
    fn execute(&mut self) -> Parsed<StatementKind> {
        self.accept(&["EXECUTE"]);
        if at_words(&self.parser, &["INSERT"]) {
            return self.insert().map(StatementKind::Insert);
        }
        if ["SELECT", "WITH", "VALUES"].iter().any(|word| at_words(&self.parser, &[word])) {
            return self.bare_query();
        }
        self.statement_set()
    }

    fn statement_set(&mut self) -> Parsed<StatementKind> {
        expect(&mut self.parser, &["STATEMENT", "SET", "BEGIN"])?;
        self.inserts_to_end().map(StatementKind::StatementSet)
    }

    /// `BEGIN STATEMENT SET; ... END`.
    fn begin(&mut self) -> Parsed<StatementKind> {
        expect(&mut self.parser, &["BEGIN", "STATEMENT", "SET"])?;
        expect_token(&mut self.parser, &Token::SemiColon)?;
        self.inserts_to_end().map(StatementKind::StatementSet)
    }

    fn inserts_to_end(&mut self) -> Parsed<Vec<InsertQuery>> {
        let mut inserts = vec![];
        loop {
            while accept_token(&mut self.parser, &Token::SemiColon) {}
            if at_words(&self.parser, &["END"]) {
                break;
            }
            if !at_words(&self.parser, &["INSERT"]) {
                return Err(unexpected(&self.parser, "`INSERT` or `END`")
                    .with_hint("a statement set holds INSERT statements, each with its `;`, and ends with END"));
            }
            inserts.push(self.insert()?);
            if self.parser.peek_token_ref().token != Token::SemiColon {
                return Err(unexpected(&self.parser, "`;` behind each INSERT of a statement set"));
            }
        }
        let span = self.parser.next_token().span;
        if inserts.is_empty() { Err(Diagnostic::at(span, "the statement set is empty")) } else { Ok(inserts) }
    }

    /// `EXPLAIN [PLAN FOR | details [FOR]] statement`.
    fn explain(&mut self) -> Parsed<StatementKind> {
        self.accept(&["EXPLAIN"]);
        let mut details = vec![];
        if !self.accept(&["PLAN", "FOR"]) {
            while let Some(detail) = self.explain_detail() {
                details.push(detail);
                if !accept_token(&mut self.parser, &Token::Comma) {
                    self.accept(&["FOR"]);
                    break;
                }
            }
        }
        let start = self.parser.peek_token_ref().span;
        if at_words(&self.parser, &["EXPLAIN"]) {
            return Err(Diagnostic::at(start, "EXPLAIN cannot be explained"));
        }
        let kind = if at_words(&self.parser, &["STATEMENT", "SET"]) { self.statement_set()? } else { self.kind()? };
        let span = Span::new(start.start, self.parser.get_current_token().span.end);
        let can_explain =
            matches!(kind, StatementKind::Insert(_) | StatementKind::StatementSet(_) | StatementKind::Query(_));
        if !can_explain {
            return Err(Diagnostic::at(start, "only queries, INSERT and statement sets can be explained"));
        }
        let text = self.source.slice(span).to_string();
        Ok(StatementKind::Explain { details, statement: Box::new(Statement { kind, span, text }) })
    }

    fn explain_detail(&mut self) -> Option<ExplainDetail> {
        let words = ["ESTIMATED_COST", "CHANGELOG_MODE", "JSON_EXECUTION_PLAN", "PLAN_ADVICE", "STATE"];
        accept_one(&mut self.parser, &words).map(|word| match word {
            "ESTIMATED_COST" => ExplainDetail::EstimatedCost,
            "CHANGELOG_MODE" => ExplainDetail::ChangelogMode,
            "JSON_EXECUTION_PLAN" => ExplainDetail::JsonExecutionPlan,
            "STATE" => ExplainDetail::State,
            _ => ExplainDetail::PlanAdvice,
        })
    }
}

fn not_a_statement(span: Span, word: &str) -> Diagnostic {
    if let Some((name, instead)) = UNSUPPORTED.iter().find(|(name, _)| *name == word) {
        return Diagnostic::at(span, format!("{name} is not supported")).with_hint(*instead);
    }
    Diagnostic::at(span, format!("`{word}` does not start a statement"))
        .with_suggestion(word, STATEMENTS.iter().copied().chain(UNSUPPORTED.iter().map(|(name, _)| *name)))
}
