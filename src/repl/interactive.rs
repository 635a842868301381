//! The prompt: reads statements and commands, says what background jobs did meanwhile, and asks before it leaves them.

use super::editor::{Editor, Line};
use super::input::Input;
use super::output::say;
use super::shell::{Failure, Shell};
use super::terminal::Keyboard;

/// Reads and runs until the user leaves.
pub fn run(shell: &mut Shell) -> Result<(), Failure> {
    let keyboard = Keyboard::open();
    shell.keyboard = Some(keyboard.map_err(|error| Failure::Job(format!("error: cannot read keys: {error}")))?);
    let mut editor = Editor::new();
    let at = shell.remote.as_ref().map(|remote| format!(", run by {}", remote.connection.url)).unwrap_or_default();
    say(&format!(
        "tidemill {}: SQL over streams{at}. \\? lists commands, \\h statements, \\q leaves.",
        env!("CARGO_PKG_VERSION")
    ));
    loop {
        shell.jobs.news().iter().for_each(|news| say(news));
        editor.learn(&shell.session);
        let Some(keyboard) = &mut shell.keyboard else { return Ok(()) };
        let line = editor.read(keyboard, &shell.signals);
        let done = match line {
            Line::Text(text) => run_line(shell, &text),
            Line::Cleared => Ok(()),
            Line::End => Err(Failure::Leave),
        };
        let leaves = shell.signals.leaves() || matches!(done, Err(Failure::Leave));
        if leaves && (shell.signals.leaves() || may_leave(shell, &mut editor)) {
            shell.jobs.stop_all().iter().for_each(|said| say(said));
            return Ok(());
        }
    }
}

fn run_line(shell: &mut Shell, text: &str) -> Result<(), Failure> {
    let mut input = Input::new("statement");
    let items = input.push(&format!("{}\n", text.trim_end()));
    let rest = input.finish();
    shell.run_items(items.into_iter().chain(rest), false)
}

/// Jobs end with the shell: that is asked once.
fn may_leave(shell: &mut Shell, editor: &mut Editor) -> bool {
    let running = shell.jobs.running();
    if running == 0 {
        return true;
    }
    let jobs = if running == 1 { "1 job runs".to_string() } else { format!("{running} jobs run") };
    let Some(keyboard) = &mut shell.keyboard else { return true };
    editor.ask(&format!("{jobs} and will be stopped with a final checkpoint. Leave? [y/N] "), keyboard, &shell.signals)
}
