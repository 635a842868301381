//! Which connectors exist, and the one contract that they keep.
//!
//! Adding a connector is one module that implements [`Connector`] and one line in [`Registry::new`].

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use serde::Serialize;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::KeyedLookup;
use tidemill_engine::sink::{Guarantee, Sink};
use tidemill_engine::source::Source;
use tidemill_engine::suggestion::closest;
use tidemill_engine::type_name::sql_type_name;

use crate::blackhole::Blackhole;
use crate::datagen::Datagen;
use crate::filesystem::Filesystem;
use crate::http::Http;
use crate::jdbc::Jdbc;
use crate::kafka::Kafka;
use crate::nexmark::Nexmark;
use crate::options::{self, OptionDef, OptionProblem, OptionType, Side};
use crate::print::{Console, Print, PrintSink, PrintStyle};
use crate::table::{MetadataColumn, TableSpec};

/// What a table is about to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Only created so far.
    Declared,
    Source,
    Sink,
    /// Its rows are looked up by key.
    Lookup,
}

/// A metadata column that a connector offers.
#[derive(Debug, Clone)]
pub struct MetadataDef {
    pub key: &'static str,
    pub data_type: DataType,
    /// INSERT may give it; else its columns are declared VIRTUAL.
    pub writable: bool,
    pub doc: &'static str,
}

/// A kind of table: what it takes, what it promises, and how to make its source and sink.
pub trait Connector: Send + Sync {
    /// The value of the `connector` option.
    fn name(&self) -> &'static str;

    /// One sentence for the list of connectors.
    fn doc(&self) -> &'static str;

    /// Its own options; for a table, those of the table's format too.
    fn options(&self, spec: Option<&TableSpec>) -> Vec<OptionDef>;

    /// Without a table: of any table.
    fn metadata(&self, _spec: Option<&TableSpec>) -> Vec<MetadataDef> {
        Vec::new()
    }

    /// True where its tables are read as a whole. Without a table: any of them.
    fn reads(&self, _spec: Option<&TableSpec>) -> bool {
        false
    }

    /// True where rows of its tables are looked up by key, instead of being read as a whole.
    /// Without a table: of any table.
    fn looks_up(&self, _spec: Option<&TableSpec>) -> bool {
        false
    }

    /// What its sink promises; `None` where it has no sink.
    fn guarantee(&self) -> Option<Guarantee> {
        None
    }

    /// The widest changelog that its sink takes; without a table, the widest of all its tables.
    fn accepts(&self, _spec: Option<&TableSpec>) -> ChangelogMode {
        ChangelogMode::Append
    }

    /// What to write in a table that only takes appends, so that it takes updates: "write ...".
    fn takes_updates_with(&self) -> Option<&'static str> {
        None
    }

    /// What the rows of its source mean together.
    fn gives(&self, _spec: &TableSpec) -> ChangelogMode {
        ChangelogMode::Append
    }

    /// True where its source may be asked for ROW columns with some of their fields only.
    fn reads_fields(&self, _spec: &TableSpec) -> bool {
        false
    }

    /// Problems that the list of options alone cannot show.
    fn check(&self, _spec: &TableSpec, _usage: Usage) -> Vec<OptionProblem> {
        Vec::new()
    }

    /// `columns`: the physical and metadata columns to read, in order.
    fn source(&self, spec: &TableSpec, _columns: &[String]) -> Result<Arc<dyn Source>, OptionProblem> {
        Err(cannot(self.name(), spec, "read"))
    }

    /// `columns`: the physical columns of the rows, in order; `keys`: physical columns that may be asked by, with the types
    /// that their values have.
    fn lookup(
        &self,
        spec: &TableSpec,
        _columns: &[String],
        _keys: &[(String, DataType)],
    ) -> Result<KeyedLookup, OptionProblem> {
        Err(cannot(self.name(), spec, "looked up by key"))
    }

    /// `schema`: of the rows that the sink will be given.
    fn sink(&self, spec: &TableSpec, _schema: SchemaRef) -> Result<Arc<dyn Sink>, OptionProblem> {
        Err(cannot(self.name(), spec, "written"))
    }
}

/// Options that every table may have; the engine reads them.
const COMMON_OPTIONS: &[OptionDef] = &[
    OptionDef::new("connector", OptionType::Text, "which connector the table uses").required(),
    OptionDef::new(
        "scan.watermark.idle-timeout",
        OptionType::Duration,
        "a split that gives no row for so long stops holding time back",
    )
    .source(),
    OptionDef::new(
        "lookup.full-cache.periodic-reload.interval",
        OptionType::Duration,
        "how often the table is read again where rows are looked up in it (FOR SYSTEM_TIME AS OF a processing time); else once",
    )
    .source(),
    OptionDef::new(
        "sink.parallelism",
        OptionType::Integer { min: 1 },
        "how many instances write; the job's parallelism unless given",
    )
    .sink(),
];

/// Of these, the ones that say something about a connector's tables.
fn common_options(connector: &dyn Connector, spec: Option<&TableSpec>) -> &'static [OptionDef] {
    let is_stream = connector.reads(spec) || connector.guarantee().is_some();
    if is_stream { COMMON_OPTIONS } else { &COMMON_OPTIONS[..1] }
}

/// All connectors of this program.
pub struct Registry {
    connectors: Vec<Box<dyn Connector>>,
    console: Console,
}

impl Registry {
    /// The registry of the program: `print` writes to its standard output.
    pub fn standard() -> Self {
        Self::new(Console::process())
    }

    /// As [`Registry::standard`], with another place to print to.
    pub fn new(console: Console) -> Self {
        let [kafka, upsert_kafka] = Kafka::both();
        let connectors: Vec<Box<dyn Connector>> = vec![
            Box::new(Filesystem),
            Box::new(Datagen),
            Box::new(kafka),
            Box::new(upsert_kafka),
            Box::new(Nexmark),
            Box::new(Print::new(console.clone())),
            Box::new(Blackhole),
            Box::new(Http::default()),
            Box::new(Jdbc),
        ];
        Self { connectors, console }
    }

    /// One more connector, such as a test's own; it hides an older one of the same name.
    pub fn with(mut self, connector: Box<dyn Connector>) -> Self {
        self.connectors.insert(0, connector);
        self
    }

    /// All that is wrong with a table, or with using it so.
    pub fn check(&self, spec: &TableSpec, usage: Usage) -> Result<(), Vec<OptionProblem>> {
        let connector = self.connector(spec).map_err(|problem| vec![problem])?;
        let mut known = connector.options(Some(spec));
        known.extend_from_slice(common_options(connector, Some(spec)));
        let mut problems = options::check(connector.name(), &known, &spec.options);
        problems.extend(check_usage(connector, spec, usage));
        problems.extend(check_metadata(connector, spec, usage));
        if problems.is_empty() {
            problems = connector.check(spec, usage);
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    pub fn source(&self, spec: &TableSpec, columns: &[String]) -> Result<Arc<dyn Source>, OptionProblem> {
        self.check(spec, Usage::Source).map_err(first)?;
        self.connector(spec)?.source(spec, columns)
    }

    /// True where rows of the table are looked up by key.
    pub fn looks_up(&self, spec: &TableSpec) -> bool {
        self.connector(spec).is_ok_and(|connector| connector.looks_up(Some(spec)))
    }

    pub fn lookup(
        &self,
        spec: &TableSpec,
        columns: &[String],
        keys: &[(String, DataType)],
    ) -> Result<KeyedLookup, OptionProblem> {
        self.check(spec, Usage::Lookup).map_err(first)?;
        self.connector(spec)?.lookup(spec, columns, keys)
    }

    pub fn sink(&self, spec: &TableSpec, schema: SchemaRef) -> Result<Arc<dyn Sink>, OptionProblem> {
        self.check(spec, Usage::Sink).map_err(first)?;
        self.connector(spec)?.sink(spec, schema)
    }

    /// The widest changelog that the table's sink takes; appends only where there is no such connector.
    pub fn accepts(&self, spec: &TableSpec) -> ChangelogMode {
        self.connector(spec).map_or(ChangelogMode::Append, |connector| connector.accepts(Some(spec)))
    }

    /// What to write in the table so that its sink takes updates.
    pub fn takes_updates_with(&self, spec: &TableSpec) -> Option<&'static str> {
        self.connector(spec).ok()?.takes_updates_with()
    }

    /// What the rows of the table's source mean together; appends only where there is no such connector.
    pub fn gives(&self, spec: &TableSpec) -> ChangelogMode {
        self.connector(spec).map_or(ChangelogMode::Append, |connector| connector.gives(spec))
    }

    /// True where the table's source may be asked for ROW columns with some of their fields only.
    pub fn reads_fields(&self, spec: &TableSpec) -> bool {
        self.connector(spec).is_ok_and(|connector| connector.reads_fields(spec))
    }

    /// The metadata columns that the table's connector offers.
    pub fn metadata(&self, spec: &TableSpec) -> Vec<MetadataDef> {
        self.connector(spec).map_or_else(|_| Vec::new(), |connector| connector.metadata(Some(spec)))
    }

    /// Where the rows of a bare SELECT go.
    pub fn print_sink(&self, schema: SchemaRef, changelog: ChangelogMode, style: PrintStyle) -> Arc<dyn Sink> {
        Arc::new(PrintSink::new(schema, changelog, style, self.console.stdout.clone()))
    }

    /// The documentation of every connector, in the order of their names.
    pub fn describe(&self) -> Vec<ConnectorDescription> {
        let mut all: Vec<_> = self.connectors.iter().map(|connector| describe(connector.as_ref())).collect();
        all.sort_by_key(|description| description.name);
        all
    }

    fn connector(&self, spec: &TableSpec) -> Result<&dyn Connector, OptionProblem> {
        let names = || self.connectors.iter().map(|connector| connector.name());
        let offer = format!("there are: '{}'", names().collect::<Vec<_>>().join("', '"));
        let Some(name) = spec.options.get("connector") else {
            if let Some(misspelt) = spec.options.keys().find(|key| closest(key, ["connector"]).is_some()) {
                let problem = OptionProblem::at(misspelt.as_str(), format!("unknown option '{misspelt}'"));
                return Err(problem.hint("did you mean 'connector'?"));
            }
            return Err(OptionProblem::new(format!("table '{}' does not name its connector", spec.name))
                .hint(format!("add 'connector' = '...' to WITH; {offer}")));
        };
        let found = self.connectors.iter().find(|connector| connector.name() == name);
        found.map(AsRef::as_ref).ok_or_else(|| {
            let hint = closest(name, names()).map_or(offer, |close| format!("did you mean '{close}'?"));
            OptionProblem::at("connector", format!("there is no connector '{name}'")).hint(hint)
        })
    }
}

fn first(problems: Vec<OptionProblem>) -> OptionProblem {
    problems.into_iter().next().expect("a refused table has a problem")
}

fn check_usage(connector: &dyn Connector, spec: &TableSpec, usage: Usage) -> Option<OptionProblem> {
    match usage {
        Usage::Source if connector.looks_up(Some(spec)) && !connector.reads(Some(spec)) => {
            let message = format!("rows of table '{}' can only be looked up by key", spec.name);
            let hint =
                "write JOIN t FOR SYSTEM_TIME AS OF o.proc_time AS d ON o.id = d.id, where proc_time is PROCTIME()";
            Some(OptionProblem::at("connector", message).hint(hint))
        }
        Usage::Lookup if !connector.looks_up(Some(spec)) => Some(cannot(connector.name(), spec, "looked up by key")),
        Usage::Source if !connector.reads(Some(spec)) => Some(cannot(connector.name(), spec, "read")),
        Usage::Sink if connector.guarantee().is_none() => Some(cannot(connector.name(), spec, "written")),
        _ => None,
    }
}

fn cannot(connector: &str, spec: &TableSpec, verb: &str) -> OptionProblem {
    OptionProblem::at("connector", format!("table '{}' cannot be {verb}: '{connector}' does not do that", spec.name))
        .hint("`tidemill connectors` says which connectors read and which write")
}

fn check_metadata(connector: &dyn Connector, spec: &TableSpec, usage: Usage) -> Vec<OptionProblem> {
    let offered = connector.metadata(Some(spec));
    let problem = |column: &MetadataColumn| match offered.iter().find(|def| def.key == column.key) {
        None => Some(unknown_metadata(connector, &offered, column)),
        Some(def) if usage == Usage::Sink && !column.is_virtual && !def.writable => {
            let message = format!("column '{}': metadata '{}' can only be read", column.name, column.key);
            Some(OptionProblem::new(message).hint("add VIRTUAL to the column, so that INSERT leaves it out"))
        }
        Some(_) => None,
    };
    spec.metadata.iter().filter_map(problem).collect()
}

fn unknown_metadata(connector: &dyn Connector, offered: &[MetadataDef], column: &MetadataColumn) -> OptionProblem {
    let keys: Vec<&str> = offered.iter().map(|metadata| metadata.key).collect();
    let message = format!("column '{}': '{}' has no metadata '{}'", column.name, connector.name(), column.key);
    let hint = match closest(&column.key, keys.iter().copied()) {
        Some(key) => format!("did you mean '{key}'?"),
        None if keys.is_empty() => "it has no metadata columns".to_string(),
        None => format!("there are: '{}'", keys.join("', '")),
    };
    OptionProblem::new(message).hint(hint)
}

/// What `tidemill connectors` shows of one connector.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectorDescription {
    pub name: &'static str,
    pub doc: &'static str,
    pub source: bool,
    /// Rows are looked up by key.
    pub lookup: bool,
    pub sink: bool,
    /// Of the sink.
    pub guarantee: Option<&'static str>,
    /// True where the sink takes updates and deletes.
    pub takes_changelog: bool,
    pub options: Vec<OptionDescription>,
    pub metadata: Vec<MetadataDescription>,
}

#[derive(Debug, Clone, Serialize)]
pub struct OptionDescription {
    pub key: &'static str,
    pub takes: String,
    pub default: Option<&'static str>,
    pub required: bool,
    pub side: Side,
    pub doc: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct MetadataDescription {
    pub key: &'static str,
    pub data_type: String,
    pub doc: &'static str,
}

impl OptionDescription {
    pub fn of(option: &OptionDef) -> Self {
        let OptionDef { key, kind, default, required, side, doc } = *option;
        Self { key, takes: kind.to_string(), default, required, side, doc }
    }
}

fn describe(connector: &dyn Connector) -> ConnectorDescription {
    let own = connector.options(None);
    let metadata = connector.metadata(None).into_iter().map(|def| MetadataDescription {
        key: def.key,
        data_type: sql_type_name(&def.data_type),
        doc: def.doc,
    });
    ConnectorDescription {
        name: connector.name(),
        doc: connector.doc(),
        source: connector.reads(None),
        lookup: connector.looks_up(None),
        sink: connector.guarantee().is_some(),
        guarantee: connector.guarantee().map(guarantee_name),
        takes_changelog: connector.guarantee().is_some() && connector.accepts(None) != ChangelogMode::Append,
        options: common_options(connector, None).iter().chain(&own).map(OptionDescription::of).collect(),
        metadata: metadata.collect(),
    }
}

fn guarantee_name(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ExactlyOnce => "exactly once",
        Guarantee::AtLeastOnce => "at least once",
        Guarantee::None => "none",
    }
}

#[cfg(test)]
mod tests;
