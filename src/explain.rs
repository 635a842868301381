//! `tidemill check`, `tidemill explain` and `tidemill savepoint`: the commands that start nothing.

use tidemill_sql::explain;

use crate::cli::{ExplainArgs, PlanFormat, SavepointArgs, ScriptArgs};
use crate::client::{self, SavepointRequest};
use crate::control::{self, Answer, Request};
use crate::exit::Exit;
use crate::run;
use crate::screen::{Screen, answer};
use crate::script::{PlannedScript, ScriptError};

/// Where savepoints go unless the user says otherwise.
const SAVEPOINTS_FOLDER: &str = "savepoints";

fn planned(args: &ScriptArgs) -> Result<PlannedScript, Exit> {
    run::plan(args, None, &Screen::new(true)).map_err(|ScriptError(text)| {
        eprintln!("{}", text.trim_end());
        Exit::WrongInput
    })
}

pub fn check(args: &ScriptArgs) -> Exit {
    let script = match planned(args) {
        Ok(script) => script,
        Err(exit) => return exit,
    };
    script.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    let jobs = script.jobs().count();
    answer(&format!("{}: right, {jobs} job{}", args.script.display(), if jobs == 1 { "" } else { "s" }));
    Exit::Success
}

pub fn explain(args: &ExplainArgs) -> Exit {
    let script = match planned(&args.script) {
        Ok(script) => script,
        Err(exit) => return exit,
    };
    let texts: Vec<String> = match args.format {
        PlanFormat::Text => script.jobs().map(|job| explain::explain(&job.planned)).collect(),
        PlanFormat::Dot => script.jobs().map(|job| explain::graph_as_dot(&job.planned.graph)).collect(),
        PlanFormat::Json => vec![json(&script)],
    };
    texts.iter().for_each(|text| answer(text.trim_end()));
    Exit::Success
}

/// One JSON value: the job's graph, or an array where the script has several jobs.
fn json(script: &PlannedScript) -> String {
    let graphs: Vec<_> = script.jobs().map(|job| explain::graph_as_json_value(&job.planned.graph)).collect();
    match graphs.as_slice() {
        [graph] => format!("{graph:#}"),
        graphs => format!("{:#}", serde_json::Value::from(graphs.to_vec())),
    }
}

/// Of a server's job, unless the name is that of a folder.
pub fn savepoint(args: &SavepointArgs) -> Exit {
    let name = args.job.to_string_lossy();
    let of_server = args.name.is_some() || args.list || args.delete.is_some();
    let is_folder = args.job.is_dir() || name.contains('/') || args.to.is_some();
    match (is_folder, of_server) {
        (true, false) => savepoint_of_run(args),
        (true, true) => {
            eprintln!("error: '{name}' is a folder, but --name, --list and --delete are for the jobs of a server");
            Exit::WrongInput
        }
        (false, _) => {
            let request = match (&args.delete, args.list, args.stop) {
                (Some(savepoint), ..) => SavepointRequest::Delete(savepoint),
                (None, true, _) => SavepointRequest::List,
                (None, false, stop) => SavepointRequest::Take { name: args.name.as_deref(), stop },
            };
            client::savepoint(&name, &request, &args.server)
        }
    }
}

fn savepoint_of_run(args: &SavepointArgs) -> Exit {
    let directory = args.to.clone().unwrap_or_else(|| args.job.join(SAVEPOINTS_FOLDER));
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    match control::ask(&args.job, &Request::Savepoint { directory, stop: args.stop }) {
        Ok(Answer::Savepoint { path }) => {
            answer(&path.display().to_string());
            Exit::Success
        }
        Ok(Answer::Health { .. }) => failed("the job gave another answer than was asked for"),
        Ok(Answer::Failed { reason }) | Err(reason) => failed(&reason),
    }
}

fn failed(reason: &str) -> Exit {
    eprintln!("error: {reason}");
    Exit::JobFailed
}
