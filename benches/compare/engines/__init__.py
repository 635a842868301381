"""The engines that are compared, in the order in which they run."""

from engines.clink import Clink
from engines.duckdb import DuckDB
from engines.flink import Flink
from engines.laminardb import LaminarDB
from engines.tidemill import Tidemill, TidemillFlat

ALL = {engine.name: engine for engine in (Tidemill, DuckDB, Flink, Clink, LaminarDB, TidemillFlat)}
