//! Every route, once: the router, the checks of requests and the OpenAPI document are made of this table.

use super::api::{health, jobs, lists, queries, rows, sql};
use super::auth::Role;
use super::queries::BODY as QUERY;
use super::route::{Field, Method, Pool, Route, Takes};
use crate::jobs::CONTENT_TYPES;

const SQL: Field =
    Field::new("sql", Takes::Text, "the SQL script; a job is one INSERT, SELECT or statement set").required();
const SETTINGS: Field = Field::new("settings", Takes::Texts, "options, as SET in front of the SQL would set them");
const PARALLELISM: Field = Field::new(
    "parallelism",
    Takes::Integer { min: 1, max: 128 },
    "instances of each operator; beats what the SQL sets",
);
const FORMAT: Field =
    Field::new("format", Takes::Choice(&["text", "json", "dot"]), "how the plan is shown; text unless given");
const FROM: Field = Field::new(
    "from_savepoint",
    Takes::Text,
    "a savepoint to go on from: its name, or job/name for one of another job",
);
const FRESH: Field = Field::new("fresh", Takes::Boolean, "begin with empty state, whatever checkpoints there are");
const NAME: Field =
    Field::new("name", Takes::Name, "unique among the jobs; letters, digits, '-', '_' and '.'").required();
const START: Field = Field::new("start", Takes::Boolean, "false: only keep it; true unless given");
const SAVEPOINT: Field = Field::new("savepoint", Takes::Boolean, "end with a savepoint instead of a checkpoint");
const SAVEPOINT_NAME: Field = Field::new("savepoint_name", Takes::Name, "a name for that savepoint");
const NEW_SAVEPOINT: Field = Field::new("name", Takes::Name, "its name; savepoint-N unless given");
const AFTER: Field = Field::new(
    "after",
    Takes::Integer { min: 0, max: u64::MAX },
    "only entries behind this number; numbers begin anew with the server",
);
const LIMIT: Field = Field::new("limit", Takes::Integer { min: 1, max: 20_000 }, "at most so many, the newest");
const DRY_RUN: Field = Field::new("dry_run", Takes::Boolean, "only say what would become of the state");
const FIGURES: Field =
    Field::new("figures", Takes::Boolean, "with how each job does (rates, lag, backlog, checkpoints), without its SQL");
const JOB: Field = Field::new("job", Takes::Text, "of this job only");

type Run =
    fn(&std::sync::Arc<super::app::App>, &super::route::Call) -> Result<super::route::Reply, super::problem::Problem>;

const fn get(path: &'static str, role: Option<Role>, gives: &'static str, run: Run, doc: &'static str) -> Route {
    Route { method: Method::Get, path, role, pool: Pool::Quick, doc, query: &[], body: None, raw: &[], gives, run }
}

/// A request that changes something or sends SQL.
const fn send(
    method: Method,
    path: &'static str,
    role: Role,
    gives: &'static str,
    run: Run,
    doc: &'static str,
) -> Route {
    Route { method, path, role: Some(role), pool: Pool::Quick, doc, query: &[], body: None, raw: &[], gives, run }
}

impl Route {
    const fn query(mut self, query: &'static [Field]) -> Self {
        self.query = query;
        self
    }

    const fn body(mut self, fields: &'static [Field]) -> Self {
        self.body = Some(fields);
        self
    }

    const fn rows(mut self) -> Self {
        self.raw = CONTENT_TYPES;
        self.pool = Pool::Rows;
        self
    }

    const fn slow(mut self) -> Self {
        self.pool = Pool::Slow;
        self
    }
}

use Method::{Delete, Post, Put};
const READ: Option<Role> = Some(Role::Read);

pub const ROUTES: &[Route] = &[
    send(
        Post,
        "/api/v1/sql/validate",
        Role::Read,
        "Validation",
        sql::validate,
        "Say whether SQL is right, and where not",
    )
    .body(&[SQL, SETTINGS, PARALLELISM]),
    send(Post, "/api/v1/sql/explain", Role::Read, "Plan", sql::explain, "Show how SQL would run").body(&[
        SQL,
        SETTINGS,
        PARALLELISM,
        FORMAT,
    ]),
    send(Post, "/api/v1/jobs", Role::Operate, "Job", jobs::create, "Make a job and start it")
        .body(&[NAME, SQL, SETTINGS, PARALLELISM, START, FROM])
        .slow(),
    get("/api/v1/jobs", READ, "Jobs", jobs::list, "All jobs, by name").query(&[FIGURES]),
    get("/api/v1/jobs/{id}", READ, "Job", jobs::get, "A job, by its id or its name"),
    send(
        Delete,
        "/api/v1/jobs/{id}",
        Role::Operate,
        "Nothing",
        jobs::delete,
        "Delete a job that does not run, its state and its savepoints",
    )
    .slow(),
    send(
        Post,
        "/api/v1/jobs/{id}/start",
        Role::Operate,
        "Job",
        jobs::start,
        "Start from the last checkpoint, a savepoint or nothing",
    )
    .body(&[FROM, FRESH])
    .slow(),
    send(
        Post,
        "/api/v1/jobs/{id}/stop",
        Role::Operate,
        "Job",
        jobs::stop,
        "Stop with a final checkpoint or a savepoint",
    )
    .body(&[SAVEPOINT, SAVEPOINT_NAME])
    .slow(),
    send(Post, "/api/v1/jobs/{id}/cancel", Role::Operate, "Job", jobs::cancel, "End at once, without a checkpoint")
        .body(&[])
        .slow(),
    send(
        Post,
        "/api/v1/jobs/{id}/restart",
        Role::Operate,
        "Job",
        jobs::restart,
        "Stop with a checkpoint and start again",
    )
    .body(&[])
    .slow(),
    send(Post, "/api/v1/jobs/{id}/rescale", Role::Operate, "Job", jobs::rescale, "Go on with another parallelism")
        .body(
            &[Field::new("parallelism", Takes::Integer { min: 1, max: 128 }, "instances of each operator").required()],
        )
        .slow(),
    send(
        Put,
        "/api/v1/jobs/{id}/sql",
        Role::Operate,
        "Upgrade",
        jobs::upgrade,
        "Change the SQL and go on from the state",
    )
    .query(&[DRY_RUN])
    .body(&[SQL, SETTINGS, PARALLELISM, FRESH])
    .slow(),
    send(
        Post,
        "/api/v1/jobs/{id}/savepoints",
        Role::Operate,
        "Savepoint",
        jobs::take_savepoint,
        "Take a savepoint of a running job",
    )
    .body(&[NEW_SAVEPOINT])
    .slow(),
    get("/api/v1/jobs/{id}/savepoints", READ, "Savepoints", jobs::savepoints, "A job's savepoints"),
    send(
        Delete,
        "/api/v1/jobs/{id}/savepoints/{name}",
        Role::Operate,
        "Nothing",
        jobs::delete_savepoint,
        "Delete a savepoint",
    )
    .slow(),
    get("/api/v1/jobs/{id}/checkpoints", READ, "Checkpoints", jobs::checkpoints, "A job's checkpoints, newest first"),
    get(
        "/api/v1/jobs/{id}/metrics",
        READ,
        "Metrics",
        jobs::metrics,
        "Rows, watermarks, checkpoints and errors of a job, operator by operator",
    ),
    get(
        "/api/v1/jobs/{id}/logs",
        READ,
        "Logs",
        jobs::logs,
        "What a job did lately: states, notes, errors, printed rows",
    )
    .query(&[AFTER, LIMIT]),
    send(
        Post,
        "/api/v1/tables/{table}/rows",
        Role::Operate,
        "Posted",
        rows::post,
        "Give rows to the only job that reads a table of this name",
    )
    .rows(),
    send(
        Post,
        "/api/v1/jobs/{id}/tables/{table}/rows",
        Role::Operate,
        "Posted",
        rows::post,
        "Give rows to a table of a job; answered once they are durable",
    )
    .rows(),
    send(
        Post,
        "/api/v1/queries",
        Role::Read,
        "Query",
        queries::create,
        "Run a query for as long as its client reads: as Server-Sent Events, NDJSON, or pages of JSON, as Accept says",
    )
    .body(QUERY),
    get("/api/v1/queries", READ, "Queries", queries::list, "Ad-hoc queries that run, and results that wait to be read"),
    get(
        "/api/v1/queries/ws",
        READ,
        "Socket",
        queries::socket,
        "The same over a WebSocket: the first message is the body of POST, what follows are the events",
    ),
    get("/api/v1/queries/{id}/rows", READ, "Query", queries::rows, "A page of a result").query(&[Field::new(
        "page_token",
        Takes::Text,
        "next_page_token of the page before; the first page without it",
    )]),
    send(
        Delete,
        "/api/v1/queries/{id}",
        Role::Read,
        "Nothing",
        queries::cancel,
        "End a query, or let go of its result",
    ),
    get("/api/v1/connectors", READ, "Connectors", lists::connectors, "Connectors and their options"),
    get("/api/v1/functions", READ, "Functions", lists::functions, "SQL functions"),
    get("/api/v1/catalog", READ, "Catalog", lists::catalog, "Tables and views that the jobs' SQL defines")
        .query(&[JOB]),
    get("/api/v1/audit", Some(Role::Admin), "Audit", lists::audit, "Who did what, newest first").query(&[LIMIT]),
    get("/api/v1/openapi.json", None, "OpenApi", lists::openapi, "This description"),
    get("/docs", None, "Page", lists::docs, "This description, to be read in a browser"),
    get("/livez", None, "Health", health::livez, "The process answers"),
    get("/readyz", None, "Health", health::readyz, "200 when all jobs that are to run have been started, else 503"),
    get("/metrics", READ, "Prometheus", health::metrics, "Figures of all jobs in Prometheus' text format"),
];
