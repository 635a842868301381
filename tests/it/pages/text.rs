//! Pages as their readers see them: blocks below headings, and in them commands with what they print. Each knows whether it was run.

use std::cell::Cell;
use std::path::Path;

/// A page of the documentation.
pub struct Page {
    pub name: String,
    blocks: Vec<Block>,
    /// What stands outside of blocks.
    pub prose: String,
}

/// What stands between two fences.
pub struct Block {
    /// The nearest heading above it.
    heading: String,
    /// Its first line in the page.
    line: usize,
    /// Where "This is `NAME`" stands in front of it.
    pub file: Option<String>,
    text: String,
    /// None, where it is no list of commands.
    pub steps: Vec<Step>,
    is_run: Cell<bool>,
}

/// A command of a page.
pub struct Step {
    pub command: String,
    /// What the page says that it prints; `None` where the page shows commands alone.
    pub prints: Option<Vec<String>>,
    is_run: Cell<bool>,
}

impl Page {
    pub fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(name, &text)
    }

    pub fn parse(name: &str, text: &str) -> Self {
        let (mut blocks, mut heading, mut prose, mut begun) = (Vec::new(), "", String::new(), 0);
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let rest = lines.by_ref().map(|(_, line)| line);
                let inside: Vec<&str> = rest.take_while(|line| line.trim() != "```").collect();
                blocks.push(Block::new(heading, index + 2, language, &prose[begun..], &inside));
                begun = prose.len();
                continue;
            }
            if line.starts_with('#') {
                heading = line;
            }
            prose += line;
            prose.push('\n');
        }
        Self { name: name.to_string(), blocks, prose }
    }

    /// The blocks right below a heading, in their order.
    pub fn below(&self, heading: &str) -> Vec<&Block> {
        let found: Vec<&Block> = self.blocks.iter().filter(|block| block.heading == heading).collect();
        assert!(!found.is_empty(), "{}: no block below `{heading}`", self.name);
        found
    }

    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter()
    }

    /// What is wrong with this list of what cannot be run (how it begins, why), after the page's test: commands and blocks that were neither run
    /// nor are listed, and lines of the list that name nothing.
    pub fn complaints(&self, listed: &[(&str, &str)]) -> Vec<String> {
        let left: Vec<(usize, &str)> = self.blocks.iter().flat_map(Block::left).collect();
        let names = |begins: &str, left: &str| !begins.is_empty() && left.starts_with(begins);
        let unlisted = left.iter().filter(|(_, text)| !listed.iter().any(|(begins, _)| names(begins, text)));
        let unlisted = unlisted.map(|(line, text)| {
            let first = text.lines().next().unwrap_or_default();
            format!("{}:{line}: no test runs it, and it is not listed as one that cannot be run: {first}", self.name)
        });
        let stale =
            listed.iter().filter(|(begins, why)| why.is_empty() || !left.iter().any(|(_, text)| names(begins, text)));
        let stale = stale.map(|(begins, _)| format!("{}: listed without need or reason: {begins}", self.name));
        unlisted.chain(stale).collect()
    }
}

impl Block {
    fn new(heading: &str, line: usize, language: &str, before: &str, inside: &[&str]) -> Self {
        let is_typed = inside.iter().any(|line| line.starts_with("tidemill> "));
        let has_prompts = inside.first().is_some_and(|line| line.starts_with("$ "));
        let steps = match language {
            _ if is_typed => Vec::new(),
            "sh" | "" if has_prompts => Step::with_output(inside),
            "sh" => Step::alone(inside),
            _ => Vec::new(),
        };
        let file = before.rsplit_once("This is `").and_then(|(_, rest)| Some(rest.split_once('`')?.0.to_string()));
        let text = inside.iter().map(|line| format!("{line}\n")).collect();
        Self { heading: heading.to_string(), line, file, text, steps, is_run: Cell::new(false) }
    }

    /// What cannot be run is at least looked at.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole block, to be run by whoever asks for it.
    pub fn run(&self) -> &str {
        self.is_run.set(true);
        &self.text
    }

    /// What of it was not run, with its line.
    fn left(&self) -> Vec<(usize, &str)> {
        let whole = (self.steps.is_empty() && !self.is_run.get()).then_some((self.line, self.text.trim_start()));
        let steps = self.steps.iter().filter(|step| !step.is_run.get());
        whole.into_iter().chain(steps.map(|step| (self.line, step.command.as_str()))).collect()
    }
}

impl Step {
    pub fn new(command: &str, prints: Option<Vec<String>>) -> Self {
        Self { command: command.to_string(), prints, is_run: Cell::new(false) }
    }

    /// The command, to be run by whoever asks for it.
    pub fn run(&self) -> &str {
        self.is_run.set(true);
        &self.command
    }

    /// Commands behind `$ `, and what each prints below it.
    fn with_output(lines: &[&str]) -> Vec<Self> {
        let mut steps: Vec<Self> = Vec::new();
        for line in lines {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Self::new(command, Some(Vec::new()))),
                (None, Some(step)) if step.command.ends_with('\\') => step.command += &format!("\n{line}"),
                (None, Some(Self { prints: Some(prints), .. })) => prints.push((*line).to_string()),
                (None, _) => unreachable!("the first line is a command, and each has an output"),
            }
        }
        steps
    }

    /// Commands, one in each line.
    fn alone(lines: &[&str]) -> Vec<Self> {
        let mut steps: Vec<Self> = Vec::new();
        for line in lines {
            match steps.last_mut() {
                Some(step) if step.command.ends_with('\\') => step.command += &format!("\n{line}"),
                _ => steps.push(Self::new(line, None)),
            }
        }
        steps
    }
}

#[test]
fn a_block_that_is_neither_run_nor_listed_is_complained_about() {
    let text = "# A\n```sh\n$ one\nits output\n$ two \\\n    more\n```\n## B\nThis is `x.sql`:\n```sql\nSELECT 1;\n```\n```sh\nthree\n```\n```\n+--+\n```\n";
    let page = Page::parse("p.md", text);
    assert_eq!(page.complaints(&[]).len(), 5);
    let [first] = page.below("# A")[..] else { panic!("one block") };
    assert_eq!((first.steps[1].command.as_str(), first.line), ("two \\\n    more", 3));
    assert_eq!(first.steps[0].prints.as_deref(), Some(&["its output".to_string()][..]));
    first.steps[0].run();
    assert_eq!(
        page.complaints(&[("two", "why"), ("three", "why"), ("+--", "a picture")]),
        ["p.md:11: no test runs it, and it is not listed as one that cannot be run: SELECT 1;"]
    );
    assert_eq!(page.below("## B")[0].file.as_deref(), Some("x.sql"));
    page.below("## B")[0].run();
    let listed = [("one", "it was run"), ("two", "why"), ("three", ""), ("+--", "a picture"), ("four", "gone")];
    let stale = page.complaints(&listed);
    assert_eq!(stale.len(), 3, "{stale:?}");
    assert!(stale.iter().all(|line| line.contains("without need or reason")), "{stale:?}");
}
