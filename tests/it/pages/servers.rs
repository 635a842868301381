//! The pages on the server, run against a real one.

use super::masks::masked;
use super::reader::Reader;
use super::text::{Page, Step};

/// The job of which `tidemill top` draws a picture. Rows around the end of a window come too late, on machines of any speed.
const FLOOD: &str = "CREATE TABLE g (a INT, at TIMESTAMP(3), WATERMARK FOR at AS at)
  WITH ('connector' = 'datagen', 'rows-per-second' = '20000', 'fields.a.max' = '50',
        'fields.at.max-past' = '100 ms');
CREATE TABLE b (a INT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO b SELECT a, COUNT(*) FROM TABLE(TUMBLE(TABLE g, DESCRIPTOR(at), INTERVAL '1' SECOND))
  GROUP BY window_start, window_end, a;";

pub fn first_quarter_of_an_hour(page: &Page) -> Option<()> {
    let mut reader = Reader::with_tools("docs/first-server.md")?;
    reader.follow(&page.blocks().collect::<Vec<_>>());
    Some(())
}

pub fn server(page: &Page) -> Option<()> {
    let mut reader = Reader::with_tools("docs/server.md")?;
    reader.write("data/files/orders/1.json", "{\"item\":\"pen\",\"amount\":3}\n{\"item\":\"ink\",\"amount\":7}\n");
    reader.follow(&page.below("# The server: many jobs behind HTTP"));
    reader.follow(&page.below("## A job"));
    reader.follow(&page.below("### Other SQL for a job"));
    // Before there are figures of other jobs.
    reader.follow(&page.below("## Operation"));
    let [job, requests] = page.below("## Rows over HTTP")[..] else { panic!("a job, and requests to it") };
    reader.write("posts.sql", job.run());
    reader.take(&Step::new("tidemill submit posts.sql --name posts", Some(vec!["posts ID".into()])));
    reader.follow(&[requests]);
    reader.follow(&page.below("## Ad-hoc queries"));
    for step in page.below("## Security").iter().flat_map(|block| &block.steps) {
        if !step.command.contains("--listen 0.0.0.0") {
            reader.take(step);
        }
    }
    drop(reader);

    // The same job once more, by the program's own commands.
    let mut reader = Reader::new();
    reader.write("job.sql", page.below("## A job")[0].run());
    reader.serve("tidemill serve --data-dir data", &[]);
    let [commands, pictures] = page.below("### From the command line")[..] else { panic!("commands, and pictures") };
    reader.follow(&[commands]);
    reader.write("posts.sql", job.run());
    reader.write("flood.sql", FLOOD);
    for command in ["delete sums", "submit posts.sql --name posts", "submit flood.sql --name flood -p 1"] {
        reader.succeed(&format!("tidemill {command}"));
    }
    pictures.steps.iter().for_each(|step| reader.look(step));
    Some(())
}

#[test]
fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
    let printed = "sums  running            2\nsums 6c8be11c-dd03-4ce7-8339-1838c6f2e2ab tm_0a1b http://127.0.0.1:8080";
    assert_eq!(masked(printed), "sums running EPOCH\nsums ID TOKEN http://ADDRESS");
    assert_eq!(masked("pen,1,3"), "pen,1,3");
    let picture = "flood    running       20k  18.5k       -   24ms  1.3MB   0  10%";
    assert_eq!(super::masks::without_figures(picture), "flood running N N N N N N N");
    for bars in [
        "Source(g)   1    20k |||       1% |          1%    1ms",
        "Source(g)   1   1.5M |||||    55%            0%    1m5s",
        "Source(g)   1      0            0% |||||||| 100%   900us",
    ] {
        assert_eq!(super::masks::without_figures(bars), "Source(g) N N N N N");
    }
    let words = "latency at Sink(b): p50 900us, max 15.8ms; up 1m2s, state 1.3MB";
    assert_eq!(super::masks::without_figures(words), "latency at Sink(b): p50 N, max N; up N, state N");
}
