# For the scripts beside this one, which set `here` and read this file.

# The job of a query over the table `events`, whose definition stands on standard input. $1: the query, $2: time between checkpoints.
# The result is thrown away; it has the columns and the key that the query's file names.
job_over() {
  local file=$here/queries/$1.sql columns key
  columns=$(sed -n 's/^-- columns: //p' "$file")
  key=$(sed -n 's/^-- key: \(.*\)$/, PRIMARY KEY (\1) NOT ENFORCED/p' "$file")
  echo "SET 'table.local-time-zone' = 'UTC';"
  echo "SET 'execution.checkpointing.interval' = '$2';"
  cat - "$here/views.sql"
  echo "CREATE TABLE result ($columns$key) WITH ('connector' = 'blackhole');"
  echo "INSERT INTO result"
  cat "$file"
  echo ";"
}
