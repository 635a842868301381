//! `tidemill top`: a server's jobs as they do, on a screen that renews itself, or once as text.
//!
//! [`figures`] is what the server said, [`draw`] makes lines of it without touching a terminal, [`live`] is the screen and its keys.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use crate::connection::{Connection, Failure, ServerArgs, in_path};
use crate::screen::answer;

mod draw;
mod figures;
mod live;
mod text;

use draw::{Size, Sort};
use figures::{JobDetail, JobRow};

#[derive(Debug, Args)]
pub struct TopArgs {
    /// Begin with the operators of this job, by name or id
    job: Option<String>,
    /// Print one picture as plain text and end, as also happens when the output is no terminal
    #[arg(long)]
    once: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
    /// What the jobs are sorted by
    #[arg(long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
    #[command(flatten)]
    pub server: ServerArgs,
}

const INTERVAL_MIN: f64 = 0.1;
const INTERVAL_MAX: f64 = 3_600.0;
/// Of a picture that is printed: long lines wrap at whoever shows it.
const WIDTH_ONCE: usize = 100;

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (INTERVAL_MIN..=INTERVAL_MAX).contains(&seconds) => Ok(seconds),
        _ => Err(format!("write a number from {INTERVAL_MIN} to {INTERVAL_MAX}")),
    }
}

pub fn run(args: &TopArgs) -> Result<(), Failure> {
    let client = Connection::to(&args.server)?;
    let is_live = !args.once && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if is_live {
        return live::run(&client, args.job.clone(), args.sort, Duration::from_secs_f64(args.interval));
    }
    let lines = match &args.job {
        Some(job) => draw::detail(&fetch_detail(&client, job)?, Size { columns: WIDTH_ONCE, rows: usize::MAX }),
        None => {
            let jobs = draw::sorted(fetch_jobs(&client)?, args.sort);
            draw::list(&jobs, None, Size { columns: WIDTH_ONCE, rows: usize::MAX })
        }
    };
    lines.iter().for_each(|line| answer(line.text.trim_end()));
    Ok(())
}

fn fetch_jobs(client: &Connection) -> Result<Vec<JobRow>, Failure> {
    let found = client.ask("GET", "/jobs?figures=true", None)?;
    Ok(found["jobs"].as_array().into_iter().flatten().map(JobRow::of).collect())
}

fn fetch_detail(client: &Connection, job: &str) -> Result<JobDetail, Failure> {
    let path = in_path(job)?;
    let view = client.ask("GET", &format!("/jobs/{path}"), None)?;
    let metrics = client.ask("GET", &format!("/jobs/{path}/metrics"), None)?;
    Ok(JobDetail::of(&view, &metrics))
}
