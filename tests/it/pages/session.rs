//! A session in the shell as a page shows it: what stands behind its prompts is typed, and the screen is compared with the page.

use std::time::{Duration, Instant};

use regex::Regex;

use super::masks::without_figures;
use super::reader::Reader;
use super::text::Block;
use crate::repl::terminal::{CTRL_C, Terminal};

const PATIENCE: Duration = Duration::from_secs(60);
const PROMPT: &str = "tidemill> ";
const FURTHER: &str = "       -> ";

pub struct Session(Terminal);

impl Session {
    /// With the command in the block's first line.
    pub fn open(reader: &Reader, block: &Block) -> Self {
        let command = block.run().lines().next().and_then(|line| line.strip_prefix("$ ")).expect("a command");
        let mut shell = reader.shell(&format!("exec {}", reader.own(command)));
        shell.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("TIDEMILL_SERVER");
        Self(Terminal::sized(shell, 60, 200))
    }

    /// Types what the block shows behind prompts, and compares what is on the screen then. A query without an end is ended once its table looks
    /// as `live`, or has rows.
    pub fn follow(&mut self, block: &Block, live: Option<&Block>) {
        let lines: Vec<&str> = block.run().lines().filter(|line| !line.starts_with("$ ")).collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(typed) = line.strip_prefix(PROMPT).or_else(|| line.strip_prefix(FURTHER)) else { continue };
            if line.starts_with(PROMPT) {
                self.0.wait_for_prompt();
            }
            if lines.get(index + 1).is_some_and(|next| next.starts_with(FURTHER)) {
                self.0.begin(typed);
                continue;
            }
            self.0.enter(typed);
            self.end_live_query(live);
        }
        self.compare(&lines.join("\n"));
    }

    /// Waits for the next prompt; a table that refreshes is in front of it until Ctrl-C.
    fn end_live_query(&mut self, live: Option<&Block>) {
        let is_prompt = |text: &str| text.lines().last().is_some_and(|line| line == PROMPT.trim_end());
        self.0.wait("a prompt or a table", |text| is_prompt(text) || self.0.is_full_screen());
        if self.0.is_full_screen() {
            self.0.wait("rows", |text| text.contains("3 rows | ") && text.contains("read ("));
            live.into_iter().for_each(|live| self.compare(live.run()));
            self.0.type_(CTRL_C);
            self.0.wait_for_prompt();
        }
    }

    fn compare(&self, page: &str) {
        let page = masked(page);
        let begun = Instant::now();
        while !masked(&self.0.text()).contains(&page) {
            let screen = masked(&self.0.text());
            assert!(begun.elapsed() < PATIENCE, "the screen shows\n{screen}\nthe page says\n{page}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Also without the order of items, which changes.
fn masked(text: &str) -> String {
    let item = Regex::new(r"\| (plum|pear|apple) ").expect("a pattern");
    item.replace_all(&without_figures(text), "| ITEM ").into_owned()
}
