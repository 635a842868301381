//! Random queries over the tables of [`super::tables`], of which Tidemill and DuckDB must give the same rows.
//!
//! Every relation has columns c0, c1, ... of known types. What the two mean differently is left out: aggregates of all rows
//! (nothing before the first row here, a row there) stand only where they are correlated or of a whole table, integers are
//! not divided, and an order names all columns and where NULLs go.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Int,
    Text,
}

/// A query or table as it stands in FROM, and its columns.
#[derive(Clone)]
pub struct Relation {
    pub text: String,
    pub columns: Vec<Type>,
}

/// A column that an expression can read.
type Scope = Vec<(String, Type)>;

/// Between these stand the words of Tidemill, then those of DuckDB.
const MARKS: [char; 3] = ['\u{1}', '\u{2}', '\u{3}'];

/// The text for one of the two.
pub fn dialect(text: &str, duckdb: bool) -> String {
    let mut chosen = String::new();
    for piece in text.split(MARKS[0]) {
        match piece.split_once(MARKS[2]) {
            Some((both, rest)) => {
                let (ours, theirs) = both.split_once(MARKS[1]).expect("both are written");
                chosen += if duckdb { theirs } else { ours };
                chosen += rest;
            }
            None => chosen += piece,
        }
    }
    chosen
}

fn either(ours: &str, theirs: &str) -> String {
    format!("{}{ours}{}{theirs}{}", MARKS[0], MARKS[1], MARKS[2])
}

pub struct Grammar<'a> {
    pub rng: &'a mut ChaCha8Rng,
    aliases: usize,
}

const TABLES: [&str; 4] = ["t", "u", "w", "n"];

impl<'a> Grammar<'a> {
    pub fn new(rng: &'a mut ChaCha8Rng) -> Self {
        Self { rng, aliases: 0 }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("r{}", self.aliases)
    }

    fn one_of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices.choose(self.rng).expect("there is a choice")
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random_bool(share)
    }

    /// A SELECT, nested as deeply as `depth` allows.
    pub fn query(&mut self, depth: usize) -> Relation {
        if depth == 0 {
            return self.projection(0);
        }
        match self.rng.random_range(0..20) {
            0..=2 => self.projection(depth),
            3..=7 => self.join(depth),
            8..=10 => self.aggregate(depth),
            11 => self.distinct(depth),
            12..=14 => self.set_operation(depth),
            15 => self.top_n(depth),
            16 => self.numbered(depth),
            17 => self.windows(),
            18 => self.lateral(depth),
            _ => self.using(depth),
        }
    }

    /// A table or a query in parentheses.
    fn source(&mut self, depth: usize) -> Relation {
        if depth == 0 || self.chance(0.5) {
            let name = self.one_of(&TABLES);
            return Relation { text: name.to_string(), columns: vec![Type::Int, Type::Int, Type::Text] };
        }
        let query = self.query(depth - 1);
        Relation { text: format!("({})", query.text), ..query }
    }

    fn scope(&self, alias: &str, relation: &Relation) -> Scope {
        let columns = relation.columns.iter().enumerate();
        columns.map(|(index, data_type)| (format!("{alias}.c{index}"), *data_type)).collect()
    }

    fn projection(&mut self, depth: usize) -> Relation {
        let (source, alias) = (self.source(depth), self.alias());
        let scope = self.scope(&alias, &source);
        let (list, columns) = self.select_list(&scope, depth);
        let filter = self.filter(&scope, depth);
        Relation { text: format!("SELECT {list} FROM {} AS {alias}{filter}", source.text), columns }
    }

    fn filter(&mut self, scope: &Scope, depth: usize) -> String {
        if self.chance(0.3) { String::new() } else { format!(" WHERE {}", self.condition(scope, depth)) }
    }

    /// `a AS c0, b AS c1, ...`
    fn select_list(&mut self, scope: &Scope, depth: usize) -> (String, Vec<Type>) {
        let types: Vec<Type> = (0..self.rng.random_range(1..4)).map(|_| self.any_type()).collect();
        (self.typed_list(scope, &types, depth), types)
    }

    fn any_type(&mut self) -> Type {
        if self.chance(0.7) { Type::Int } else { Type::Text }
    }

    fn typed_list(&mut self, scope: &Scope, types: &[Type], depth: usize) -> String {
        let items: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(index, data_type)| format!("{} AS c{index}", self.value(scope, *data_type, depth)))
            .collect();
        items.join(", ")
    }

    fn join(&mut self, depth: usize) -> Relation {
        let (left, right) = (self.source(depth), self.source(depth));
        let (one, other) = (self.alias(), self.alias());
        let mut scope = self.scope(&one, &left);
        let left_scope = scope.clone();
        let right_scope = self.scope(&other, &right);
        scope.extend(right_scope.clone());
        let kind = self.one_of(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let mut on = self.equality(&left_scope, &right_scope);
        // DuckDB takes no subquery in ON of an outer join.
        if self.chance(0.3) {
            let more = self.comparison(&scope, 0);
            on = format!("{on} AND {more}");
        }
        let (list, columns) = self.select_list(&scope, depth);
        let filter = self.filter(&scope, depth);
        let from = format!("{} AS {one} {kind} {} AS {other} ON {on}", left.text, right.text);
        Relation { text: format!("SELECT {list} FROM {from}{filter}"), columns }
    }

    fn equality(&mut self, left: &Scope, right: &Scope) -> String {
        let sign = if self.chance(0.15) { "IS NOT DISTINCT FROM" } else { "=" };
        let both = |data_type| {
            left.iter().any(|column| column.1 == data_type) && right.iter().any(|column| column.1 == data_type)
        };
        let data_type = match (both(Type::Int), both(Type::Text)) {
            (true, true) => self.any_type(),
            (true, false) => Type::Int,
            (false, true) => Type::Text,
            (false, false) => return "TRUE".into(),
        };
        format!("{} {sign} {}", self.column(left, data_type), self.column(right, data_type))
    }

    fn using(&mut self, depth: usize) -> Relation {
        let (left, right) = (self.source(depth), self.source(depth));
        let (one, other) = (self.alias(), self.alias());
        if left.columns[0] != right.columns[0] {
            return self.projection(depth);
        }
        let kind = self.one_of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let columns = vec![left.columns[0]];
        let text = format!("SELECT c0 AS c0 FROM {} AS {one} {kind} {} AS {other} USING (c0)", left.text, right.text);
        let (wide, alias) = (Relation { text, columns }, self.alias());
        let scope = self.scope(&alias, &wide);
        let filter = self.filter(&scope, depth);
        Relation {
            text: format!("SELECT {alias}.c0 AS c0 FROM ({}) AS {alias}{filter}", wide.text),
            columns: wide.columns,
        }
    }

    fn aggregate(&mut self, depth: usize) -> Relation {
        let (source, alias) = (self.source(depth), self.alias());
        let scope = self.scope(&alias, &source);
        let mut keys: Vec<(String, Type)> = scope.clone();
        keys.truncate(self.rng.random_range(1..=2));
        let mut items: Vec<String> =
            keys.iter().enumerate().map(|(index, key)| format!("{} AS c{index}", key.0)).collect();
        let mut columns: Vec<Type> = keys.iter().map(|key| key.1).collect();
        for _ in 0..self.rng.random_range(1..3) {
            let (call, data_type) = self.aggregate_call(&scope);
            items.push(format!("{call} AS c{}", columns.len()));
            columns.push(data_type);
        }
        let filter = self.filter(&scope, depth);
        let having = if self.chance(0.3) {
            format!(
                " HAVING {} > {}",
                self.aggregate_call(&scope.iter().filter(|c| c.1 == Type::Int).cloned().collect()).0,
                self.rng.random_range(0..3)
            )
        } else {
            String::new()
        };
        let groups: Vec<String> = keys.into_iter().map(|key| key.0).collect();
        let text = format!(
            "SELECT {} FROM {} AS {alias}{filter} GROUP BY {}{having}",
            items.join(", "),
            source.text,
            groups.join(", ")
        );
        Relation { text, columns }
    }

    fn aggregate_call(&mut self, scope: &Scope) -> (String, Type) {
        if scope.is_empty() || self.chance(0.25) {
            return ("COUNT(*)".into(), Type::Int);
        }
        let column = scope.choose(self.rng).expect("a column").clone();
        let function = match column.1 {
            Type::Int => self.one_of(&["SUM(", "COUNT(", "MIN(", "MAX(", "COUNT(DISTINCT ", "SUM(DISTINCT "]),
            Type::Text => self.one_of(&["MIN(", "MAX(", "COUNT("]),
        };
        let data_type = if function.starts_with("COUNT") { Type::Int } else { column.1 };
        let filter =
            if self.chance(0.2) { format!(" FILTER (WHERE {})", self.comparison(scope, 0)) } else { String::new() };
        (format!("{function}{}){filter}", column.0), data_type)
    }

    fn distinct(&mut self, depth: usize) -> Relation {
        let query = self.projection(depth);
        Relation { text: query.text.replacen("SELECT ", "SELECT DISTINCT ", 1), ..query }
    }

    fn set_operation(&mut self, depth: usize) -> Relation {
        let columns: Vec<Type> = (0..self.rng.random_range(1..3)).map(|_| self.any_type()).collect();
        let mut text = self.side(&columns, depth);
        for _ in 0..self.rng.random_range(1..3) {
            let operation = self.one_of(&["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
            text = format!("{text} {operation} {}", self.side(&columns, depth));
        }
        let alias = self.alias();
        let list: Vec<String> = (0..columns.len()).map(|index| format!("{alias}.c{index} AS c{index}")).collect();
        Relation { text: format!("SELECT {} FROM ({text}) AS {alias}", list.join(", ")), columns }
    }

    fn side(&mut self, columns: &[Type], depth: usize) -> String {
        let (source, alias) = (self.source(depth), self.alias());
        let scope = self.scope(&alias, &source);
        let list = self.typed_list(&scope, columns, 0);
        let filter = self.filter(&scope, depth - 1);
        format!("SELECT {list} FROM {} AS {alias}{filter}", source.text)
    }

    fn all_in_order(&mut self, alias: &str, width: usize) -> String {
        let mut places: Vec<usize> = (0..width).collect();
        let shift = self.rng.random_range(0..width);
        places.rotate_left(shift);
        let keys = places.into_iter().map(|place| {
            let direction = self.one_of(&["ASC NULLS FIRST", "DESC NULLS LAST", "ASC NULLS LAST", "DESC NULLS FIRST"]);
            format!("{alias}.c{place} {direction}")
        });
        keys.collect::<Vec<_>>().join(", ")
    }

    fn top_n(&mut self, depth: usize) -> Relation {
        let (source, alias) = (self.source(depth), self.alias());
        let order = self.all_in_order(&alias, source.columns.len());
        let offset = if self.chance(0.3) { format!(" OFFSET {}", self.rng.random_range(1..3)) } else { String::new() };
        let list: Vec<String> =
            (0..source.columns.len()).map(|index| format!("{alias}.c{index} AS c{index}")).collect();
        let limit = self.rng.random_range(1..5);
        let text = format!(
            "SELECT {} FROM {} AS {alias} ORDER BY {order} LIMIT {limit}{offset}",
            list.join(", "),
            source.text
        );
        let outer = self.alias();
        let list: Vec<String> =
            (0..source.columns.len()).map(|index| format!("{outer}.c{index} AS c{index}")).collect();
        Relation { text: format!("SELECT {} FROM ({text}) AS {outer}", list.join(", ")), columns: source.columns }
    }

    fn numbered(&mut self, depth: usize) -> Relation {
        let (source, alias, outer) = (self.source(depth), self.alias(), self.alias());
        let order = self.all_in_order(&alias, source.columns.len());
        let rank = self.one_of(&["ROW_NUMBER", "RANK", "DENSE_RANK"]);
        let most = self.rng.random_range(1..4);
        let list: Vec<String> =
            (0..source.columns.len()).map(|index| format!("{outer}.c{index} AS c{index}")).collect();
        let text = format!(
            "SELECT {} FROM (SELECT *, {rank}() OVER (PARTITION BY {alias}.c0 ORDER BY {order}) AS place FROM {} AS {alias}) AS {outer} \
             WHERE {outer}.place <= {most}",
            list.join(", "),
            source.text
        );
        Relation { text, columns: source.columns }
    }

    fn windows(&mut self) -> Relation {
        let seconds = self.one_of(&["5", "10", "30"]);
        let start = either(
            "CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '2024-01-01 00:00:00', window_start) AS INT)",
            &format!("date_diff('second', TIMESTAMP '2024-01-01', time_bucket(INTERVAL '{seconds} seconds', ts))"),
        );
        let source = either(&format!("TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '{seconds}' SECOND))"), "e");
        let group = either("window_start, window_end", &format!("time_bucket(INTERVAL '{seconds} seconds', ts)"));
        let call = self.one_of(&["COUNT(*)", "SUM(v)", "MAX(v)", "COUNT(DISTINCT v)"]);
        Relation {
            text: format!("SELECT {start} AS c0, {call} AS c1, MIN(s) AS c2 FROM {source} GROUP BY {group}, k"),
            columns: vec![Type::Int, Type::Int, Type::Text],
        }
    }

    fn lateral(&mut self, depth: usize) -> Relation {
        let (left, right) = (self.source(depth), self.source(depth - 1));
        let (one, inner, other) = (self.alias(), self.alias(), self.alias());
        let outer_scope = self.scope(&one, &left);
        let inner_scope = self.scope(&inner, &right);
        let mut filter = self.equality(&outer_scope, &inner_scope).replace("IS NOT DISTINCT FROM", "=");
        if self.chance(0.4) {
            let all: Scope = outer_scope.iter().chain(&inner_scope).cloned().collect();
            filter = self.comparison(&all, 0);
        }
        let body = match self.rng.random_range(0..3) {
            0 => {
                let order = self.all_in_order(&inner, right.columns.len());
                format!(
                    "SELECT {inner}.c0 AS d FROM {} AS {inner} WHERE {filter} ORDER BY {order} LIMIT {}",
                    right.text,
                    self.rng.random_range(1..3)
                )
            }
            // Only of rows that depend on this one a count is 0 where there are none.
            1 if filter.contains(&format!("{one}.")) => {
                format!("SELECT COUNT(*) AS d FROM {} AS {inner} WHERE {filter}", right.text)
            }
            _ => format!("SELECT {inner}.c0 AS d FROM {} AS {inner} WHERE {filter}", right.text),
        };
        let counts = body.starts_with("SELECT COUNT");
        let kind = self.one_of(&["CROSS JOIN LATERAL", "LEFT JOIN LATERAL"]);
        let on = if kind.starts_with("LEFT") { " ON TRUE" } else { "" };
        Relation {
            text: format!(
                "SELECT {one}.c0 AS c0, {other}.d AS c1 FROM {} AS {one} {kind} ({body}) AS {other}{on}",
                left.text
            ),
            columns: vec![left.columns[0], if counts { Type::Int } else { right.columns[0] }],
        }
    }

    fn column(&mut self, scope: &Scope, data_type: Type) -> String {
        let fitting: Vec<&(String, Type)> = scope.iter().filter(|column| column.1 == data_type).collect();
        match fitting.choose(self.rng) {
            Some(column) => column.0.clone(),
            None => self.constant(data_type),
        }
    }

    fn constant(&mut self, data_type: Type) -> String {
        match data_type {
            Type::Int => self.rng.random_range(0..5).to_string(),
            Type::Text => format!("'{}'", self.one_of(&["x", "y", "z"])),
        }
    }

    fn value(&mut self, scope: &Scope, data_type: Type, depth: usize) -> String {
        match self.rng.random_range(0..12) {
            0 => self.constant(data_type),
            1 if data_type == Type::Int => {
                format!("{} + {}", self.column(scope, Type::Int), self.rng.random_range(0..3))
            }
            2 => format!("COALESCE({}, {})", self.column(scope, data_type), self.constant(data_type)),
            3 => {
                let (condition, one, other) =
                    (self.condition(scope, depth), self.column(scope, data_type), self.constant(data_type));
                format!("CASE WHEN {condition} THEN {one} ELSE {other} END")
            }
            4 if depth > 0 && data_type == Type::Int => self.scalar(scope, depth),
            _ => self.column(scope, data_type),
        }
    }

    /// One value of other rows: of all rows of a table, or of those that fit this one.
    fn scalar(&mut self, scope: &Scope, depth: usize) -> String {
        if self.chance(0.3) {
            let (function, table) = (self.one_of(&["MAX", "MIN", "SUM"]), self.one_of(&TABLES));
            return format!("(SELECT {function}({table}.c0) FROM {table})");
        }
        let (source, alias) = (self.source(depth - 1), self.alias());
        let inner = self.scope(&alias, &source);
        let fits = self.correlation(scope, &inner);
        if !scope.iter().any(|column| fits.contains(&column.0)) {
            return self.column(scope, Type::Int);
        }
        let call = self.aggregate_call(&inner.iter().filter(|column| column.1 == Type::Int).cloned().collect());
        format!("(SELECT {} FROM {} AS {alias} WHERE {fits})", call.0, source.text)
    }

    fn correlation(&mut self, outer: &Scope, inner: &Scope) -> String {
        let fits = self.equality(outer, inner).replace("IS NOT DISTINCT FROM", "=");
        if self.chance(0.6) {
            return fits;
        }
        let all: Scope = outer.iter().chain(inner).cloned().collect();
        let more = self.comparison(&all, 0);
        if self.chance(0.5) {
            format!("{fits} AND {more}")
        } else {
            format!("{} < {}", self.column(inner, Type::Int), self.column(outer, Type::Int))
        }
    }

    fn condition(&mut self, scope: &Scope, depth: usize) -> String {
        match self.rng.random_range(0..8) {
            0 => format!("({} AND {})", self.condition(scope, depth.saturating_sub(1)), self.comparison(scope, depth)),
            1 => format!("({} OR {})", self.condition(scope, depth.saturating_sub(1)), self.comparison(scope, depth)),
            2 => format!("NOT ({})", self.comparison(scope, depth)),
            _ => self.comparison(scope, depth),
        }
    }

    fn comparison(&mut self, scope: &Scope, depth: usize) -> String {
        let data_type = self.any_type();
        let column = self.column(scope, data_type);
        match self.rng.random_range(0..10) {
            0 => format!("{column} IS {}NULL", self.one_of(&["", "NOT "])),
            1 => format!(
                "{column} {}IN ({}, {}, NULL)",
                self.one_of(&["", "NOT "]),
                self.constant(data_type),
                self.constant(data_type)
            ),
            2 => format!("{column} BETWEEN {} AND {}", self.constant(data_type), self.constant(data_type)),
            3..=6 if depth > 0 => self.with_subquery(scope, data_type, &column, depth),
            _ => {
                let sign = self.one_of(&["=", "<>", "<", ">=", "IS DISTINCT FROM"]);
                let other = if self.chance(0.5) { self.constant(data_type) } else { self.column(scope, data_type) };
                format!("{column} {sign} {other}")
            }
        }
    }

    fn with_subquery(&mut self, scope: &Scope, data_type: Type, column: &str, depth: usize) -> String {
        let (source, alias) = (self.source(depth - 1), self.alias());
        let inner = self.scope(&alias, &source);
        let filter = match self.rng.random_range(0..4) {
            0 => String::new(),
            1 => format!(" WHERE {}", self.comparison(&inner, 0)),
            _ => format!(" WHERE {}", self.correlation(scope, &inner)),
        };
        let listed = self.column(&inner, data_type);
        let from = format!("FROM {} AS {alias}{filter}", source.text);
        match self.rng.random_range(0..6) {
            0 | 1 => format!("{column} {}IN (SELECT {listed} {from})", self.one_of(&["", "NOT "])),
            2 | 3 => format!("{}EXISTS (SELECT 1 {from})", self.one_of(&["", "NOT "])),
            4 => {
                let sign = self.one_of(&["=", "<>", "<", ">="]);
                format!("{column} {sign} {} (SELECT {listed} {from})", self.one_of(&["ANY", "ALL"]))
            }
            _ => {
                let (own, other) = (self.column(scope, Type::Int), self.column(&inner, Type::Int));
                format!("({column}, {own}) {}IN (SELECT {listed}, {other} {from})", self.one_of(&["", "NOT "]))
            }
        }
    }
}
