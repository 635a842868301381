//! The page on the shell: its sessions in a terminal, its commands without one.

use super::reader::Reader;
use super::session::Session;
use super::text::Page;

pub fn repl(page: &Page) -> Option<()> {
    let mut reader = Reader::with_tools("docs/repl.md")?;
    let [first, live] = page.below("# The shell")[..] else { panic!("a session, and its table") };
    let mut session = Session::open(&reader, first);
    session.follow(first, Some(live));
    session.follow(page.below("## Inserts")[0], None);
    drop(session);

    reader.serve("tidemill serve --data-dir data", &[]);
    // Statements that the shell remembers would be shown, dimmed, before they are typed.
    reader.succeed("rm -r state-home");
    let session = page.below("## Against a server")[0];
    Session::open(&reader, session).follow(session, None);

    let bids = "CREATE VIEW bids AS SELECT * FROM (VALUES ('pear', 1), ('plum', 2), ('pear', 5)) AS v (item, price);";
    reader.write("tables.sql", bids);
    reader.follow(&page.below("## Without a terminal"));
    Some(())
}
