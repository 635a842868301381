//! The configuration of a server: defaults, then a file, then the environment, then the command line. Each value knows
//! where it came from. Keys that nobody knows are refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use tidemill_engine::suggestion::closest;

use crate::container;

use super::options::{Kind, OPTIONS, ServerOption};

const CONFIG_KEY: &str = "config";
const CONFIG_ENVIRONMENT: &str = "TIDEMILL_CONFIG";
/// Variables of other parts of the program; a misspelt one of ours is told from them.
const OTHER_VARIABLES: &[&str] = &[CONFIG_ENVIRONMENT, "TIDEMILL_LOG", "TIDEMILL_SERVER", "TIDEMILL_TOKEN"];

/// All that are not options of the server.
fn other_variables() -> impl Iterator<Item = &'static str> {
    OTHER_VARIABLES.iter().chain(container::VARIABLES).copied()
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct ConfigArgs {
    file: Option<PathBuf>,
    given: BTreeMap<&'static str, Vec<String>>,
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>(CONFIG_KEY).cloned();
        for option in OPTIONS {
            if let Some(values) = matches.get_many::<String>(option.key) {
                self.given.insert(option.key, values.cloned().collect());
            }
        }
        Ok(())
    }
}

impl Args for ConfigArgs {
    fn augment_args(mut command: Command) -> Command {
        let file = Arg::new(CONFIG_KEY).long(CONFIG_KEY).value_name("FILE").value_parser(clap::value_parser!(PathBuf));
        command = command.arg(file.help("A file in TOML with these options as keys"));
        for option in OPTIONS {
            let default =
                if option.default.is_empty() { String::new() } else { format!(" [default: {}]", option.default) };
            let action = if option.kind == Kind::List { ArgAction::Append } else { ArgAction::Set };
            let help = format!("{}{default}", capital(option.doc));
            command = command.arg(Arg::new(option.key).long(option.key).value_name("VALUE").action(action).help(help));
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

#[derive(Debug, Clone)]
struct Value {
    texts: Vec<String>,
    origin: Origin,
}

/// All options with their values, every one of which was found right.
#[derive(Debug, Clone)]
pub struct Config {
    values: BTreeMap<&'static str, Value>,
}

impl Config {
    /// Reads the file and the environment. The error names the option and where it came from.
    pub fn load(args: &ConfigArgs) -> Result<Self, String> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let path = args.file.clone().or_else(|| environment.get(CONFIG_ENVIRONMENT).map(PathBuf::from));
        let file = match &path {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                Some((path.as_path(), text.map_err(|error| format!("cannot read {}: {error}", path.display()))?))
            }
            None => None,
        };
        Self::of(args, &environment, file.as_ref().map(|(path, text)| (*path, text.as_str())))
    }

    fn of(
        args: &ConfigArgs,
        environment: &BTreeMap<String, String>,
        file: Option<(&Path, &str)>,
    ) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        let mut put = |option: &'static ServerOption, texts: Vec<String>, origin: Origin| {
            check(option, &texts).map_err(|problem| format!("{} (from {origin}): {problem}", option.key))?;
            values.insert(option.key, Value { texts, origin });
            Ok::<(), String>(())
        };
        for option in OPTIONS {
            let default = if option.default.is_empty() { Vec::new() } else { vec![option.default.to_string()] };
            put(option, default, Origin::Default)?;
        }
        if let Some((path, text)) = file {
            for (option, texts) in from_toml(path, text)? {
                put(option, texts, Origin::File(path.to_path_buf()))?;
            }
        }
        check_variables(environment)?;
        for option in OPTIONS {
            if let Some(text) = environment.get(&option.environment()) {
                put(option, texts_of(option, text), Origin::Environment(option.environment()))?;
            }
            if let Some(texts) = args.given.get(option.key) {
                put(option, texts.clone(), Origin::CommandLine)?;
            }
        }
        Ok(Self { values })
    }

    /// `None` where it was not given and has no default.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value(key).texts.first().map(String::as_str).filter(|text| !text.is_empty())
    }

    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub fn list(&self, key: &str) -> &[String] {
        &self.value(key).texts
    }

    pub fn number(&self, key: &str) -> u64 {
        self.text(key).and_then(|text| text.parse().ok()).expect("it has a default and was checked")
    }

    pub fn size(&self, key: &str) -> Option<u64> {
        self.text(key).and_then(|text| tidemill_sql::settings::parse_size(text).ok())
    }

    pub fn duration(&self, key: &str) -> Duration {
        let parsed = self.text(key).and_then(|text| tidemill_sql::settings::parse_duration(text).ok());
        parsed.expect("it has a default and was checked")
    }

    fn value(&self, key: &str) -> &Value {
        self.values.get(key).expect("every option has a value, and only options are asked for")
    }

    /// A line for each option: value and origin.
    pub fn describe(&self) -> String {
        let rows: Vec<(String, String)> = OPTIONS
            .iter()
            .map(|option| {
                let value = self.value(option.key);
                let shown = format!(
                    "{:?}",
                    if option.kind == Kind::List { value.texts.join(",") } else { value.texts.concat() }
                );
                (format!("{} = {shown}", option.key), value.origin.to_string())
            })
            .collect();
        let width = rows.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
        rows.iter().map(|(text, origin)| format!("{text:width$}  # {origin}\n")).collect()
    }
}

fn texts_of(option: &ServerOption, text: &str) -> Vec<String> {
    match option.kind {
        Kind::List => text.split(',').map(|one| one.trim().to_string()).filter(|one| !one.is_empty()).collect(),
        _ => vec![text.to_string()],
    }
}

fn check(option: &ServerOption, texts: &[String]) -> Result<(), String> {
    for text in texts.iter().filter(|text| !text.is_empty() || option.kind == Kind::Number) {
        match option.kind {
            Kind::Text | Kind::List => {}
            Kind::Number => drop(text.parse::<u64>().map_err(|_| format!("'{text}' is no whole number"))?),
            Kind::Size => drop(tidemill_sql::settings::parse_size(text)?),
            Kind::Duration => drop(tidemill_sql::settings::parse_duration(text)?),
            Kind::Choice(choices) if choices.contains(&text.as_str()) => {}
            Kind::Choice(choices) => return Err(format!("'{text}' is none of {}", choices.join(", "))),
        }
    }
    Ok(())
}

fn from_toml(path: &Path, text: &str) -> Result<Vec<(&'static ServerOption, Vec<String>)>, String> {
    let place = path.display();
    let table: toml::Table = text.parse().map_err(|error| format!("{place}: {error}"))?;
    let mut found = Vec::new();
    for (key, value) in table {
        let option = OPTIONS.iter().find(|option| option.key == key).ok_or_else(|| {
            let close = closest(&key, OPTIONS.iter().map(|option| option.key));
            let hint = close.map(|close| format!(" (did you mean '{close}'?)"));
            format!("{place}: there is no option '{key}'{}", hint.unwrap_or_default())
        })?;
        let one = |value: &toml::Value| match value {
            toml::Value::String(text) => Ok(text.clone()),
            toml::Value::Integer(number) => Ok(number.to_string()),
            other => Err(format!("{place}: {key} cannot be {}", other.type_str())),
        };
        let texts = match (&value, option.kind) {
            (toml::Value::Array(all), Kind::List) => all.iter().map(one).collect::<Result<_, _>>()?,
            (value, _) => vec![one(value)?],
        };
        found.push((option, texts));
    }
    Ok(found)
}

/// A variable that is nearly one of ours was meant to be.
fn check_variables(environment: &BTreeMap<String, String>) -> Result<(), String> {
    let others = other_variables().map(str::to_string);
    let known: Vec<String> = OPTIONS.iter().map(ServerOption::environment).chain(others).collect();
    for name in environment.keys().filter(|name| name.starts_with("TIDEMILL_")) {
        if known.contains(name) || name.starts_with("TIDEMILL_SECRET_") {
            continue;
        }
        // The common beginning makes all of them alike: only the rest is compared. Or a word of it was left out.
        let rest = |name: &'_ str| name.trim_start_matches("TIDEMILL_").to_string();
        let rests: Vec<String> = known.iter().map(|name| rest(name)).collect();
        let ending = format!("_{}", rest(name));
        let longer = || rests.iter().map(String::as_str).find(|known| known.ends_with(&ending));
        let close = tidemill_engine::suggestion::nearest(&rest(name), rests.iter().map(String::as_str), 0.8);
        if let Some(close) = close.or_else(longer) {
            return Err(format!("there is no variable {name} (did you mean TIDEMILL_{close}?)"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(
        given: &[(&'static str, &str)],
        environment: &[(&str, &str)],
        file: Option<&str>,
    ) -> Result<Config, String> {
        let given = given.iter().map(|(key, value)| (*key, vec![value.to_string()])).collect();
        let environment = environment.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let file = file.map(|text| (Path::new("server.toml"), text));
        Config::of(&ConfigArgs { file: None, given }, &environment, file)
    }

    #[test]
    fn later_places_win_and_are_named() {
        let file = "listen = \"127.0.0.1:1\"\nrequests-max = 7\nallow-path = [\"/a\", \"/b\"]\nstop-timeout = \"5 s\"";
        let environment =
            [("TIDEMILL_LISTEN", "127.0.0.1:2"), ("TIDEMILL_ALLOW_HOST", "a, b:1"), ("TIDEMILL_LOG", "info")];
        let config = config(&[("listen", "127.0.0.1:3")], &environment, Some(file)).unwrap();
        assert_eq!(config.text("listen"), Some("127.0.0.1:3"));
        assert_eq!((config.number("requests-max"), config.list("allow-path").len()), (7, 2));
        assert_eq!(config.list("allow-host"), ["a", "b:1"]);
        assert_eq!(config.duration("stop-timeout"), Duration::from_secs(5));
        assert_eq!((config.size("body-size-max"), config.size("jobs-memory-max")), (Some(2 << 20), None));
        let told = config.describe();
        for line in
            ["listen = \"127.0.0.1:3\"", "# command line", "# server.toml", "# TIDEMILL_ALLOW_HOST", "# default"]
        {
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        for (given, environment, file, expected) in [
            (vec![], vec![], Some("lisen = \"x\""), "no option 'lisen' (did you mean 'listen'?)"),
            (vec![], vec![], Some("listen = true"), "listen cannot be boolean"),
            (vec![], vec![], Some("listen = ["), "server.toml: TOML parse error"),
            (vec![], vec![("TIDEMILL_LISTN", "x")], None, "did you mean TIDEMILL_LISTEN?"),
            (vec![], vec![("TIDEMILL_JOB_FIEL", "x")], None, "did you mean TIDEMILL_JOB_FILE?"),
            (vec![], vec![("TIDEMILL_SQL", "SELECT 1")], None, "did you mean TIDEMILL_JOB_SQL?"),
            (
                vec![("requests-max", "many")],
                vec![],
                None,
                "requests-max (from command line): 'many' is no whole number",
            ),
            (vec![("log-format", "xml")], vec![], None, "'xml' is none of text, json"),
            (vec![("stop-timeout", "soon")], vec![], None, "stop-timeout (from command line)"),
        ] {
            let error = config(&given, &environment, file).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let others = [("TIDEMILL_KAFKA_KILLS", "1"), ("TIDEMILL_SECRET_DB", "x"), ("TIDEMILL_DUCKDB_PYTHON", "x")];
        assert!(config(&[], &[("TIDEMILL_PORT_8080_TCP", "x"), ("TIDEMILL_SERVICE_HOST", "x")], None).is_ok());
        assert!(config(&[], &others, None).is_ok());
    }

    #[test]
    fn every_default_is_a_value_that_its_option_takes() {
        let config = config(&[], &[], None).unwrap();
        for option in OPTIONS.iter().filter(|option| option.kind == Kind::Number) {
            assert!(!option.default.is_empty(), "{}: numbers need a default", option.key);
            config.number(option.key);
        }
    }
}
