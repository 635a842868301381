//! CREATE TABLE and CREATE VIEW.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Span, Token};

use super::command::Commands;
use super::data_type::data_type;
use super::limits::COLUMNS_MAX;
use super::statement::{
    ColumnClause, ColumnDefinition, CreateTable, CreateView, LikeClause, LikeFeature, LikeRule, Merging, PrimaryKey,
    Setting, StatementKind, WatermarkClause,
};
use super::tokens::{
    Parsed, accept_one, accept_token, at_words, expect, expect_token, identifier, object_name, parenthesized, string,
    suggest, unexpected,
};
use crate::diagnostic::Diagnostic;

/// Kinds of objects that Flink can create and this program cannot, with what to do instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("FUNCTION", "functions are built in: SHOW FUNCTIONS lists them"),
    ("SYSTEM", "functions are built in: SHOW FUNCTIONS lists them"),
    ("CATALOG", "there is one catalog"),
    ("DATABASE", "there is one database"),
    ("MODEL", "models cannot be declared yet"),
    ("MATERIALIZED", "write CREATE TABLE and INSERT INTO"),
    ("CONNECTION", "put the options into the table's WITH"),
];

impl Commands<'_> {
    pub(super) fn create(&mut self) -> Parsed<StatementKind> {
        self.accept(&["CREATE"]);
        let replace_span = self.parser.peek_token_ref().span;
        let or_replace = self.accept(&["OR", "REPLACE"]);
        let temporary = self.accept(&["TEMPORARY"]);
        if self.accept(&["TABLE"]) {
            if or_replace {
                return Err(Diagnostic::at(replace_span, "CREATE OR REPLACE TABLE is not supported")
                    .with_hint("write DROP TABLE IF EXISTS t; before CREATE TABLE t"));
            }
            return self.create_table(temporary).map(StatementKind::CreateTable);
        }
        if self.accept(&["VIEW"]) {
            return self.create_view(temporary, or_replace).map(StatementKind::CreateView);
        }
        let span = self.parser.peek_token_ref().span;
        let unsupported = UNSUPPORTED.iter().find(|(kind, _)| at_words(&self.parser, &[kind]));
        match unsupported {
            Some((kind, instead)) => {
                Err(Diagnostic::at(span, format!("CREATE {kind} is not supported")).with_hint(*instead))
            }
            None => {
                let error = unexpected(&self.parser, "`TABLE` or `VIEW`");
                Err(suggest(error, self.parser.peek_token_ref(), &["TABLE", "VIEW", "TEMPORARY"]))
            }
        }
    }

    fn create_view(&mut self, temporary: bool, or_replace: bool) -> Parsed<CreateView> {
        let if_not_exists = self.accept(&["IF", "NOT", "EXISTS"]);
        let name = object_name(&mut self.parser, "the name of the view")?;
        let columns = if self.parser.peek_token_ref().token == Token::LParen { self.column_names()? } else { vec![] };
        let comment = self.comment()?;
        expect(&mut self.parser, &["AS"])?;
        let start = self.parser.peek_token_ref().span;
        let query = self.query()?;
        let query_text = self.text_since(start);
        Ok(CreateView { name, temporary, if_not_exists, or_replace, columns, comment, query, query_text })
    }

    fn column_names(&mut self) -> Parsed<Vec<Ident>> {
        parenthesized(&mut self.parser, |parser| identifier(parser, "the name of a column"))
    }

    fn comment(&mut self) -> Parsed<Option<String>> {
        if self.accept(&["COMMENT"]) { Ok(Some(string(&mut self.parser, "a text")?.value)) } else { Ok(None) }
    }

    fn create_table(&mut self, temporary: bool) -> Parsed<CreateTable> {
        let if_not_exists = self.accept(&["IF", "NOT", "EXISTS"]);
        let name = object_name(&mut self.parser, "the name of the table")?;
        let mut table = CreateTable {
            name,
            temporary,
            if_not_exists,
            columns: vec![],
            watermark: None,
            primary_key: None,
            comment: None,
            partitioned_by: vec![],
            options: vec![],
            like: None,
        };
        if accept_token(&mut self.parser, &Token::LParen) {
            self.table_elements(&mut table)?;
        }
        table.comment = self.comment()?;
        self.refuse_clause("DISTRIBUTED", "rows are spread over instances as the query needs it")?;
        if self.accept(&["PARTITIONED", "BY"]) {
            table.partitioned_by = self.column_names()?;
        }
        if self.accept(&["WITH"]) {
            table.options = self.options()?;
        }
        if self.accept(&["LIKE"]) {
            table.like = Some(self.like_clause()?);
        }
        self.refuse_clause("AS", "create the table with its columns, then INSERT INTO it")?;
        Ok(table)
    }

    fn refuse_clause(&self, word: &str, instead: &str) -> Parsed<()> {
        if at_words(&self.parser, &[word]) {
            let span = self.parser.peek_token_ref().span;
            return Err(Diagnostic::at(span, format!("{word} is not supported in CREATE TABLE")).with_hint(instead));
        }
        Ok(())
    }

    fn table_elements(&mut self, table: &mut CreateTable) -> Parsed<()> {
        if accept_token(&mut self.parser, &Token::RParen) {
            return Ok(());
        }
        loop {
            self.table_element(table)?;
            if accept_token(&mut self.parser, &Token::RParen) {
                return Ok(());
            }
            if !accept_token(&mut self.parser, &Token::Comma) {
                return Err(unexpected(&self.parser, "`,` or `)`"));
            }
            if self.parser.peek_token_ref().token == Token::RParen {
                return Err(unexpected(&self.parser, "a column").with_hint("take the comma before `)` away"));
            }
        }
    }

    fn table_element(&mut self, table: &mut CreateTable) -> Parsed<()> {
        if at_words(&self.parser, &["WATERMARK", "FOR"]) {
            let span = self.parser.peek_token_ref().span;
            let watermark = self.watermark()?;
            if table.watermark.replace(watermark).is_some() {
                return Err(Diagnostic::at(span, "a table has one WATERMARK at most"));
            }
            return Ok(());
        }
        if at_words(&self.parser, &["CONSTRAINT"]) || at_words(&self.parser, &["PRIMARY", "KEY"]) {
            let key = self.table_constraint()?;
            return set_primary_key(table, key);
        }
        let span = self.parser.peek_token_ref().span;
        if at_words(&self.parser, &["UNIQUE"]) && self.parser.peek_nth_token_ref(1).token == Token::LParen {
            return Err(
                Diagnostic::at(span, "UNIQUE is not supported").with_hint("write PRIMARY KEY (...) NOT ENFORCED")
            );
        }
        self.column(table)
    }

    fn watermark(&mut self) -> Parsed<WatermarkClause> {
        expect(&mut self.parser, &["WATERMARK", "FOR"])?;
        let column = identifier(&mut self.parser, "the name of a time column")?;
        if self.parser.peek_token_ref().token == Token::Period {
            return Err(unexpected(&self.parser, "`AS`")
                .with_hint("a field of a ROW cannot be the time column: make it a column with `ts AS row.ts`"));
        }
        expect(&mut self.parser, &["AS"])?;
        let start = self.parser.peek_token_ref().span;
        let expression = self.expression()?;
        Ok(WatermarkClause { column, expression, text: self.text_since(start) })
    }

    fn table_constraint(&mut self) -> Parsed<PrimaryKey> {
        let start = self.parser.peek_token_ref().span;
        let name = if self.accept(&["CONSTRAINT"]) {
            Some(identifier(&mut self.parser, "the constraint's name")?)
        } else {
            None
        };
        expect(&mut self.parser, &["PRIMARY", "KEY"])?;
        let columns = self.column_names()?;
        self.not_enforced()?;
        let span = start.union(&self.parser.get_current_token().span);
        Ok(PrimaryKey { name, columns, span })
    }

    fn not_enforced(&mut self) -> Parsed<()> {
        if self.accept(&["NOT", "ENFORCED"]) {
            return Ok(());
        }
        Err(unexpected(&self.parser, "`NOT ENFORCED`")
            .with_hint("a stream's keys cannot be checked: PRIMARY KEY (...) NOT ENFORCED"))
    }

    fn column(&mut self, table: &mut CreateTable) -> Parsed<()> {
        if table.columns.len() >= COLUMNS_MAX {
            let span = self.parser.peek_token_ref().span;
            return Err(Diagnostic::at(span, format!("more than {COLUMNS_MAX} columns in one table"))
                .with_hint("put columns that belong together into a ROW or a MAP"));
        }
        let name = identifier(&mut self.parser, "the name of a column")?;
        let kind = if self.accept(&["AS"]) {
            let start = self.parser.peek_token_ref().span;
            let expression = self.expression()?;
            ColumnClause::Computed { expression, text: self.text_since(start) }
        } else {
            let sql_type = data_type(&mut self.parser)?;
            if self.accept(&["METADATA"]) { self.metadata(sql_type)? } else { ColumnClause::Physical(sql_type) }
        };
        let start = self.parser.peek_token_ref().span;
        let named = self.accept(&["CONSTRAINT"]);
        let constraint = if named { Some(identifier(&mut self.parser, "the constraint's name")?) } else { None };
        if self.accept(&["PRIMARY", "KEY"]) {
            self.not_enforced()?;
            let span = start.union(&self.parser.get_current_token().span);
            set_primary_key(table, PrimaryKey { name: constraint, columns: vec![name.clone()], span })?;
        } else if named {
            return Err(unexpected(&self.parser, "`PRIMARY KEY`"));
        }
        self.refuse_default()?;
        let comment = self.comment()?;
        table.columns.push(ColumnDefinition { name, kind, comment });
        Ok(())
    }

    fn refuse_default(&self) -> Parsed<()> {
        if at_words(&self.parser, &["DEFAULT"]) {
            let span = self.parser.peek_token_ref().span;
            return Err(
                Diagnostic::at(span, "DEFAULT is not supported").with_hint("use COALESCE(column, value) in the query")
            );
        }
        Ok(())
    }

    fn metadata(&mut self, sql_type: crate::types::SqlType) -> Parsed<ColumnClause> {
        let from =
            if self.accept(&["FROM"]) { Some(string(&mut self.parser, "the metadata key in quotes")?) } else { None };
        let virtual_ = self.accept(&["VIRTUAL"]);
        Ok(ColumnClause::Metadata { sql_type, from, virtual_ })
    }

    /// `('key' = 'value', ...)`.
    fn options(&mut self) -> Parsed<Vec<Setting>> {
        expect_token(&mut self.parser, &Token::LParen)?;
        let mut options: Vec<Setting> = vec![];
        if accept_token(&mut self.parser, &Token::RParen) {
            return Ok(options);
        }
        loop {
            let key = string(&mut self.parser, "an option in quotes")?;
            if !accept_token(&mut self.parser, &Token::Eq) {
                return Err(unexpected(&self.parser, "`=`").with_hint("options are written 'key' = 'value'"));
            }
            let value = string(&mut self.parser, "the option's value in quotes")?;
            if options.iter().any(|option| option.key.value == key.value) {
                return Err(Diagnostic::at(key.span, format!("the option `{}` is given twice", key.value)));
            }
            options.push(Setting { key, value });
            if accept_token(&mut self.parser, &Token::RParen) {
                return Ok(options);
            }
            if !accept_token(&mut self.parser, &Token::Comma) {
                return Err(unexpected(&self.parser, "`,` or `)`"));
            }
        }
    }

    fn like_clause(&mut self) -> Parsed<LikeClause> {
        let table = object_name(&mut self.parser, "the name of a table")?;
        let mut rules = vec![];
        if accept_token(&mut self.parser, &Token::LParen) {
            while !accept_token(&mut self.parser, &Token::RParen) {
                rules.push(self.like_rule()?);
            }
        }
        Ok(LikeClause { table, rules })
    }

    fn like_rule(&mut self) -> Parsed<LikeRule> {
        let start: Span = self.parser.peek_token_ref().span;
        let merging = match accept_one(&mut self.parser, &["INCLUDING", "EXCLUDING", "OVERWRITING"]) {
            Some("INCLUDING") => Merging::Including,
            Some("EXCLUDING") => Merging::Excluding,
            Some(_) => Merging::Overwriting,
            None => return Err(unexpected(&self.parser, "`INCLUDING`, `EXCLUDING`, `OVERWRITING` or `)`")),
        };
        let names = ["ALL", "CONSTRAINTS", "GENERATED", "METADATA", "OPTIONS", "PARTITIONS", "WATERMARKS"];
        let feature = match accept_one(&mut self.parser, &names) {
            Some("ALL") => LikeFeature::All,
            Some("CONSTRAINTS") => LikeFeature::Constraints,
            Some("GENERATED") => LikeFeature::Generated,
            Some("METADATA") => LikeFeature::Metadata,
            Some("OPTIONS") => LikeFeature::Options,
            Some("PARTITIONS") => LikeFeature::Partitions,
            Some(_) => LikeFeature::Watermarks,
            None => return Err(unexpected(&self.parser, &names.join(", "))),
        };
        Ok(LikeRule { merging, feature, span: start.union(&self.parser.get_current_token().span) })
    }
}

fn set_primary_key(table: &mut CreateTable, key: PrimaryKey) -> Parsed<()> {
    let span = key.span;
    match table.primary_key.replace(key) {
        None => Ok(()),
        Some(_) => Err(Diagnostic::at(span, "a table has one PRIMARY KEY at most")
            .with_hint("several columns: PRIMARY KEY (a, b) NOT ENFORCED")),
    }
}
