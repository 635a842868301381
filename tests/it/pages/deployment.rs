//! The page on containers: its commands are given to the program itself, in the environment that an image gives it.

use std::path::Path;
use std::process::Command;

use regex::Regex;

use super::reader::Reader;
use super::text::Page;
use crate::not_run::not_run;

pub fn containers(page: &Page) -> Option<()> {
    let reader = Reader::with_tools("docs/containers.md")?;
    one_job(page, reader);
    server_with_tokens(page, Reader::new());
    compose(page, Reader::new());
    kubernetes(page, Reader::new());
    checks_of_the_image(page);
    Some(())
}

/// What `scripts/container.sh test` prints cannot be had without a container; the script says what it would be.
fn checks_of_the_image(page: &Page) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/container.sh");
    let script = std::fs::read_to_string(script).expect("the script");
    let figure = Regex::new(r"\$\(\(.*?\)\)|\$\w+|\d+|\.\.\.").expect("a pattern");
    let without_figures = |text: &str| figure.replace_all(text, "N").into_owned();
    let checks = Regex::new(r#"(?m)^  ok "(.*)"$"#).expect("a pattern");
    let mut checks: Vec<String> = checks.captures_iter(&script).map(|check| format!("ok: {}", &check[1])).collect();
    checks.push(format!("{} checks passed", checks.len()));
    let shown = page.below("# In containers")[2].text();
    assert!(shown.contains(checks.last().expect("a line")), "{shown}");
    let checks: Vec<String> = checks.iter().map(|check| format!("container: {}", without_figures(check))).collect();
    assert_eq!(shown.lines().map(without_figures).collect::<Vec<_>>(), checks);
}

/// `docker run OPTIONS tidemill ARGUMENTS`, as the command that the image runs, with the variables that it is given.
fn in_place_of_docker(command: &str) -> String {
    let command = command.replace("\\\n", " ");
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[..2], ["docker", "run"], "{command}");
    let image = words.iter().rposition(|word| *word == "tidemill").expect("the image");
    let variables = words[..image].windows(2).filter(|pair| pair[0] == "-e").map(|pair| pair[1]);
    let arguments = if image + 1 == words.len() { &["start"] } else { &words[image + 1..] };
    variables.chain(["tidemill"]).chain(arguments.iter().copied()).collect::<Vec<_>>().join(" ")
}

fn one_job(page: &Page, mut reader: Reader) {
    reader.write("job.sql", "SELECT 40 + 2 AS answer;");
    reader.first("export TIDEMILL_DATA_DIR=data");
    let command = in_place_of_docker(page.below("### One job")[0].steps[0].run());
    assert_eq!(command, "TIDEMILL_JOB_FILE=/job.sql tidemill start");
    let printed = reader.run(&command.replace("=/job.sql", "=job.sql"));
    assert!(printed.contains("42"), "{printed}");
}

fn server_with_tokens(page: &Page, mut reader: Reader) {
    let [refused, token, line, run, jobs] = &page.below("### The server")[0].steps[..] else { panic!("five commands") };
    reader.first("export TIDEMILL_DATA_DIR=data");
    // As the image sets it.
    reader.take_as(refused, &format!("TIDEMILL_LISTEN=0.0.0.0:8080 {}", in_place_of_docker(&refused.command)));
    reader.take_as(token, &format!("{} | tee token", in_place_of_docker(&token.command)));
    reader.take(line);
    assert_eq!(in_place_of_docker(run.run()), "TIDEMILL_TOKENS_FILE=/run/secrets/tokens tidemill start");
    reader.first("export TIDEMILL_TOKENS_FILE=tokens");
    reader.serve("tidemill start", &[]);
    reader.take_as(jobs, &jobs.command.replace("tm_...", "$(cat token)"));
}

fn compose(page: &Page, mut reader: Reader) {
    let [folder, tokens, _up, jobs] = &page.below("## With Kafka and Prometheus, on one machine")[0].steps[..] else {
        panic!("four commands")
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(root.join("deploy/compose/tokens.sh")).expect("the script");
    reader.write("deploy/compose/tokens.sh", &script);
    reader.succeed("chmod +x deploy/compose/tokens.sh");
    // In the folder of the page from here on; the program instead of the image.
    reader.first(folder.run());
    reader.first("export TIDEMILL=tidemill");
    reader.take(tokens);
    reader.first("export TIDEMILL_TOKENS_FILE=secrets/tokens");
    reader.serve("tidemill serve --data-dir data", &[]);
    reader.take(jobs);
}

fn kubernetes(page: &Page, mut reader: Reader) {
    let [commands, values, job] = page.below("## In Kubernetes")[..] else { panic!("three blocks") };
    let [token, line, _kubectl, install] = &commands.steps[..] else { panic!("four commands") };
    reader.take(token);
    reader.take(line);
    reader.write("values.yaml", values.run());
    reader.write("job.sql", "SELECT 1;");
    let helm = std::env::var("TIDEMILL_HELM").unwrap_or_else(|_| "helm".to_string());
    let is_there = Command::new(&helm).arg("version").output().is_ok_and(|output| output.status.success());
    for command in [install.run(), job.steps[0].run()] {
        if !is_there {
            not_run(&format!("`{command}` of docs/containers.md"), "helm was not found (or TIDEMILL_HELM)");
            continue;
        }
        // What would be installed is made of the same chart and values, without a cluster.
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/helm/tidemill");
        let command = command
            .replace("helm install", &format!("{helm} template --kube-version 1.30.0"))
            .replace("deploy/helm/tidemill", &chart.display().to_string());
        reader.succeed(&command);
    }
}
