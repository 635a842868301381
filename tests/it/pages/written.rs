//! Pages and tables that the program knows the content of: they are as it writes them.

use std::process::Command;

use tidemill_sql::settings::OPTIONS;

use super::text::Page;

fn printed(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill")).args(args).output().expect("the program starts");
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn connectors_and_functions_are_as_the_program_writes_them() {
    for subject in ["connectors", "functions"] {
        let page = Page::open(&format!("docs/{subject}.md"));
        let written = printed(&[subject, "--markdown"]);
        let differ = page.prose.lines().zip(written.lines()).find(|(page, program)| page != program);
        let help = format!("tidemill {subject} --markdown > docs/{subject}.md writes it anew");
        assert!(differ.is_none(), "{help}\nthe page, the program: {differ:#?}");
        assert_eq!(page.prose, written, "{help}");
    }
}

#[test]
fn settings_are_those_of_the_program() {
    let page = Page::open("docs/sql.md");
    for option in OPTIONS {
        let key = format!("`{}`", option.key);
        let rows: Vec<&str> = page.prose.lines().filter(|line| line.starts_with(&format!("| {key} |"))).collect();
        let default = option.default.map(|default| format!("`{default}`")).unwrap_or_default();
        let expected = format!("| {key} | {default} | {} |", option.doc);
        assert!(rows.iter().all(|row| *row == expected), "the page says\n{rows:#?}\nthe program\n{expected}");
        let has_own_row = format!("{:?}", option.effect) == "Own";
        assert!(if has_own_row { rows.len() == 1 } else { page.prose.contains(&key) }, "docs/sql.md lacks\n{expected}");
    }
    let rows = page.prose.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(key, _)| key);
    let is_key = |text: &&str| {
        text.contains('.') && !text.contains(|letter: char| !"abcdefghijklmnopqrstuvwxyz.-".contains(letter))
    };
    let strange: Vec<&str> =
        rows.filter(is_key).filter(|key| OPTIONS.iter().all(|option| option.key != *key)).collect();
    assert!(strange.is_empty(), "rows of settings that there are not: {strange:?}");
}

/// `| --jobs-max, --jobs-running-max | 1000, 64 |`.
#[test]
fn limits_of_the_server_have_the_defaults_that_the_page_says() {
    let page = Page::open("docs/server.md");
    let (_, table) = page.prose.split_once("| limit | default | |\n").expect("the table of limits");
    let config = printed(&["config"]);
    let mut limits = 0;
    for row in table.lines().skip(1).take_while(|line| line.starts_with("| ")) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let (names, values): (Vec<&str>, Vec<&str>) =
            (columns[1].split(", ").collect(), columns[2].split(", ").collect());
        assert_eq!(names.len(), values.len(), "{row}");
        for (name, value) in names.iter().zip(values) {
            let name = name.trim_matches('`').trim_start_matches("--");
            let value = if value == "none" { "" } else { value };
            let line = format!("{name} = \"{value}\" ");
            assert!(config.lines().any(|option| option.starts_with(&line)), "no `{line}` in\n{config}");
            limits += 1;
        }
    }
    assert!(limits > 15, "{limits} limits");
}
