//! The line editor: several lines up to a semicolon, with history, completion, colours and hints.
//!
//! [`buffer`] is the text and what keys do to it, [`history`] what was typed before, [`complete`] what could follow,
//! [`highlight`] its colours, [`screen`] how all of it is drawn. This file says which key does what.

use std::sync::Arc;

use tidemill_sql::parser::cut_statements;
use tidemill_sql::session::Session;

use self::buffer::Buffer;
use self::complete::Candidate;
use self::history::History;
use self::menu::Menu;
use self::screen::{Scene, Screen};
use self::search::Search;
use self::vocabulary::Vocabulary;
use super::keys::Key;
use super::signals::Signals;
use super::terminal::{self, Keyboard, Typed};

mod buffer;
mod complete;
mod context;
mod highlight;
mod history;
mod lexer;
mod menu;
mod screen;
mod search;
mod vocabulary;

const PROMPT: &str = "tidemill> ";
const CONTINUED: &str = "       -> ";
const BRACKETED_PASTE: &str = "\x1b[?2004h";
const NO_BRACKETED_PASTE: &str = "\x1b[?2004l";

/// What reading a line came to.
pub enum Line {
    Text(String),
    /// Ctrl-C.
    Cleared,
    /// Ctrl-D in an empty line, or the terminal is gone.
    End,
}

/// What a key led to.
enum Step {
    Stay,
    Accept,
    Clear,
    End,
}

pub struct Editor {
    history: History,
    words: Arc<Vocabulary>,
    buffer: Buffer,
    menu: Option<Menu>,
    search: Option<Search>,
}

impl Editor {
    pub fn new() -> Self {
        let history = History::load(history::default_path());
        let words = Arc::new(Vocabulary::default());
        Self { history, words, buffer: Buffer::default(), menu: None, search: None }
    }

    /// Takes in the names that there are now.
    pub fn learn(&mut self, session: &Session) {
        self.words = Arc::new(Vocabulary::of(session));
    }

    /// Reads a statement or a command.
    pub fn read(&mut self, keyboard: &mut Keyboard, signals: &Signals) -> Line {
        terminal::write(BRACKETED_PASTE);
        self.buffer = Buffer::default();
        self.history.rewind();
        (self.menu, self.search) = (None, None);
        let line = self.read_keys(keyboard, signals);
        terminal::write(NO_BRACKETED_PASTE);
        if let Line::Text(text) = &line {
            self.history.add(text);
        }
        line
    }

    fn read_keys(&mut self, keyboard: &mut Keyboard, signals: &Signals) -> Line {
        let mut screen = Screen::default();
        screen.draw(&self.scene(false));
        loop {
            let typed = keyboard.key(true);
            let step = if signals.leaves() {
                Step::End
            } else if signals.take_interrupt() {
                keyboard.forget_beginning();
                keyboard.put_back(typed);
                Step::Clear
            } else {
                match typed {
                    Typed::Key(key) => self.press(key),
                    Typed::Nothing if screen.is_resized() => Step::Stay,
                    Typed::Nothing => continue,
                    Typed::Gone => return Line::End,
                }
            };
            if matches!(step, Step::Stay) {
                // What is pasted or typed ahead is drawn once.
                if !keyboard.has_more() {
                    screen.draw(&self.scene(false));
                }
                continue;
            }
            (self.menu, self.search) = (None, None);
            screen.leave(&self.scene(true));
            return match step {
                Step::Accept => Line::Text(self.buffer.text().to_string()),
                Step::Clear => Line::Cleared,
                Step::Stay | Step::End => Line::End,
            };
        }
    }

    /// What is to be seen now; `last`: the line is done with, and what only helps to write it goes away.
    fn scene(&self, last: bool) -> Scene {
        let prompt = self.search.as_ref().map_or(PROMPT.to_string(), Search::prompt);
        let text = self.buffer.text();
        let hint = if last || self.menu.is_some() || self.search.is_some() { None } else { self.hint() };
        let mut below = Vec::new();
        if let Some(menu) = self.menu.as_ref().filter(|_| !last) {
            below = menu.lines(terminal::size().0);
        } else if !last && hint.is_none() {
            below.extend(context::usage(text, self.buffer.cursor(), &self.words));
        }
        Scene {
            prompt,
            continued: CONTINUED.to_string(),
            cursor: self.buffer.cursor(),
            pieces: highlight::colours(text, &self.words),
            text: text.to_string(),
            hint: hint.unwrap_or_default(),
            below,
        }
    }

    /// The rest of what was typed before and began so.
    fn hint(&self) -> Option<String> {
        let text = self.buffer.text();
        let at_end = self.buffer.cursor() == text.len() && !text.is_empty();
        let hint = at_end.then(|| self.history.hint(text)).flatten()?;
        Some(hint.to_string())
    }

    fn press(&mut self, key: Key) -> Step {
        if self.search.is_some() {
            return self.press_in_search(key);
        }
        if let Some(menu) = &mut self.menu {
            match key {
                Key::Tab | Key::Down | Key::Right => menu.select_next(),
                Key::BackTab | Key::Up | Key::Left => menu.select_previous(),
                Key::Enter => {
                    self.menu = None;
                    return Step::Stay;
                }
                Key::Escape | Key::Ctrl('g') => {
                    let typed = menu.typed().to_string();
                    let (start, end) = menu.range();
                    self.buffer.replace(start, end, &typed);
                    self.menu = None;
                    return Step::Stay;
                }
                key => {
                    self.menu = None;
                    return self.press(key);
                }
            }
            let (start, end) = menu.range();
            let chosen = menu.chosen().to_string();
            self.buffer.replace(start, end, &chosen);
            menu.replaced();
            return Step::Stay;
        }
        self.press_in_text(key)
    }

    fn press_in_text(&mut self, key: Key) -> Step {
        match key {
            Key::Enter if self.is_complete() => return Step::Accept,
            Key::Enter | Key::AltEnter => self.buffer.insert("\n"),
            Key::Ctrl('d') if self.buffer.text().is_empty() => return Step::End,
            Key::Tab => self.complete(),
            Key::Up | Key::Ctrl('p') => {
                if !self.buffer.up() {
                    self.recall_older();
                }
            }
            Key::Down | Key::Ctrl('n') => {
                if !self.buffer.down() {
                    self.recall_newer();
                }
            }
            Key::PageUp => self.recall_older(),
            Key::PageDown => self.recall_newer(),
            Key::Right | Key::End | Key::Ctrl('e' | 'f') if self.hint().is_some() => {
                let hint = self.hint().unwrap_or_default();
                self.buffer.insert(&hint);
            }
            Key::Ctrl('r') => self.search = Some(Search::default()),
            Key::Ctrl('l') => terminal::write("\x1b[H\x1b[2J"),
            key => self.buffer.press(key),
        }
        Step::Stay
    }

    fn press_in_search(&mut self, key: Key) -> Step {
        let Some(search) = &mut self.search else { return Step::Stay };
        match key {
            Key::Char(c) => search.add(c),
            Key::Backspace => search.remove(),
            Key::Ctrl('r') => search.older(),
            Key::Ctrl('g') | Key::Escape => {
                self.search = None;
                self.buffer = Buffer::default();
                return Step::Stay;
            }
            key => {
                self.search = None;
                return if key == Key::Enter { Step::Stay } else { self.press(key) };
            }
        }
        let found = search.find(&self.history).map(str::to_string);
        self.buffer = Buffer::holding(found.unwrap_or_default());
        Step::Stay
    }

    fn recall_older(&mut self) {
        if let Some(text) = self.history.older(self.buffer.text()) {
            self.buffer = Buffer::holding(text);
        }
    }

    fn recall_newer(&mut self) {
        if let Some(text) = self.history.newer() {
            self.buffer = Buffer::holding(text);
        }
    }

    /// A command, or statements each with its semicolon.
    fn is_complete(&self) -> bool {
        let text = self.buffer.text();
        if text.trim().is_empty() || text.trim_start().starts_with('\\') {
            return true;
        }
        let cut = cut_statements(text);
        // What cannot be read will not be better for another line.
        cut.rest_is_blank && !cut.ends.is_empty()
            || (!cut.open && text.trim_end().ends_with(';') && cut.ends.is_empty() && !is_set(text))
    }

    fn complete(&mut self) {
        let completion = complete::candidates(self.buffer.text(), self.buffer.cursor(), &self.words);
        let (start, end) = (completion.start, self.buffer.cursor());
        match completion.candidates.as_slice() {
            [] => {}
            [only] => self.buffer.replace(start, end, &only.text),
            several => {
                let typed = self.buffer.text()[start..end].to_string();
                let common = common_beginning(several);
                if common.len() > typed.len() {
                    self.buffer.replace(start, end, &common);
                } else {
                    self.menu = Some(Menu::new(completion.candidates, typed, start));
                }
            }
        }
    }

    /// A question that `y` affirms, and Ctrl-C denies.
    pub fn ask(&mut self, question: &str, keyboard: &mut Keyboard, signals: &Signals) -> bool {
        terminal::write(question);
        let yes = loop {
            match keyboard.key(true) {
                _ if signals.leaves() => break true,
                _ if signals.take_interrupt() => break false,
                Typed::Key(key) => break matches!(key, Key::Char('y' | 'Y') | Key::Ctrl('d')),
                Typed::Nothing => {}
                Typed::Gone => break true,
            }
        };
        terminal::write(if yes { "yes\n" } else { "no\n" });
        yes
    }
}

/// The inserts of a statement set have semicolons, and its END may be yet to come.
fn is_set(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    ["EXECUTE", "BEGIN", "EXPLAIN"].iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// What all candidates begin with.
fn common_beginning(candidates: &[Candidate]) -> String {
    let Some((first, rest)) = candidates.split_first() else { return String::new() };
    let same = |other: &Candidate| {
        let pairs = first.text.chars().zip(other.text.chars());
        pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>()
    };
    let length = rest.iter().map(same).min().unwrap_or(first.text.len());
    first.text[..length].to_string()
}
