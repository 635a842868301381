//! Damaged texts: whatever happens to a script, parsing gives statements or diagnostics with a place inside the text.

use super::parse_script;

const SCRIPTS: &[&str] = &[
    "CREATE TABLE bid (a BIGINT NOT NULL COMMENT 'x', r ROW<a INT, b ARRAY<MAP<STRING, INT>>>, ts TIMESTAMP(3), p AS PROCTIME(),
       m STRING METADATA FROM 'k' VIRTUAL, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (a) NOT ENFORCED)
     PARTITIONED BY (a) WITH ('connector' = 'datagen', 'n' = '1') LIKE base (EXCLUDING ALL INCLUDING OPTIONS);",
    "SELECT window_start, COUNT(DISTINCT b) FILTER (WHERE a > 1) FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '5' SECOND,
       SIZE => INTERVAL '1' MINUTE)) AS w WHERE x IN (1, 2) GROUP BY GROUPING SETS ((window_start, window_end), ()) HAVING COUNT(*) > 1;",
    "EXECUTE STATEMENT SET BEGIN INSERT INTO a (x, `y z`) SELECT CAST(a AS DECIMAL(10, 2)), b.c[1].d FROM t CROSS JOIN UNNEST(arr) AS u (e);
       INSERT INTO b SELECT TUMBLE_START(ts, INTERVAL '1' HOUR), LISTAGG(s, ',') FROM t GROUP BY TUMBLE(ts, INTERVAL '1' HOUR); END;",
    "SELECT CASE WHEN a IS NOT NULL THEN TIMESTAMP '2024-01-01 00:00:00.5' ELSE FLOOR(ts TO DAY) END, JSON_VALUE(j, '$.a' RETURNING INT
       DEFAULT 1 ON EMPTY NULL ON ERROR), MAP['a', ROW(1, 2)], TRIM(BOTH 'x' FROM s), EXTRACT(YEAR FROM d), x IS JSON -- comment
       FROM (VALUES (1, 'a'), (2, U&'\\00e4')) AS t (a, s), SESSION(TABLE x PARTITION BY k, DESCRIPTOR(ts), INTERVAL '1' MINUTE);",
    "SET 'a' = 'b'; SHOW TABLES LIKE '%'; DESCRIBE t; EXPLAIN ESTIMATED_COST SELECT 1; DROP TABLE IF EXISTS t; /* c */ SHOW CREATE VIEW v;",
];

/// A small generator of its own: the mutations stay the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

const PIECES: &[&str] = &[
    "(",
    ")",
    ",",
    ";",
    "'",
    "`",
    "\"",
    "<",
    ">",
    "[",
    "]",
    " SELECT ",
    " FROM ",
    " TABLE ",
    " TABLE(",
    " UNNEST(",
    " AS ",
    " INTERVAL '1' DAY ",
    " CAST(",
    " NOT ",
    " CASE ",
    " END ",
    " . ",
    "*",
    "ä",
    "\u{0}",
    "\u{1}",
    "\u{2}",
    "💧",
    "\n",
    " -- ",
    "/*",
    "*/",
    "/*+",
    " VALUES ",
    " WITH ",
    " => ",
    "::",
    " OVER (",
    " EXPLAIN ",
    "99999999999999999999",
    "1e400",
    "$",
    "?",
    "@",
    "{",
    "}",
    " ROW<",
    " TUMBLE(",
    " PARTITION BY ",
];

pub(crate) fn mutate(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len());
        match random.below(5) {
            0 => drop(chars.drain(at..(at + 1 + random.below(12)).min(chars.len()))),
            1 => drop(chars.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
            2 => chars.truncate(at),
            3 => {
                let end = (at + random.below(40)).min(chars.len());
                let copied: Vec<char> = chars[at..end].to_vec();
                let to = random.below(chars.len());
                drop(chars.splice(to..to, copied));
            }
            _ => {
                let other = random.below(chars.len());
                if !chars.is_empty() {
                    chars.swap(at, other);
                }
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn damaged_scripts_give_diagnostics_inside_the_text() {
    let mut random = Random(42);
    for round in 0..6_000 {
        let text = mutate(SCRIPTS[round % SCRIPTS.len()], &mut random);
        let Err(errors) = parse_script(&text) else { continue };
        let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
        assert!(!errors.is_empty());
        for error in errors {
            let line = error.line as usize;
            assert!(line >= 1 && line <= lines.len(), "{error} in\n{text}");
            assert!(error.column as usize >= 1 && error.column as usize <= lines[line - 1] + 1, "{error} in\n{text}");
            assert!(error.end_column > error.column, "{error} in\n{text}");
            assert!(
                !error.message.contains(['\u{1}', '\u{2}']) || text.contains(['\u{1}', '\u{2}']),
                "{error} in\n{text}"
            );
        }
    }
}
