#!/usr/bin/env bash
# A real Apache Kafka broker on loopback, for tests, benchmarks and trying things out. Needs Java 17 and, to fetch, Maven.
#
#   kafka.sh fetch                   fetches the broker's jars once (about 60 MB) and prints their folder
#   kafka.sh ready                   succeeds where `run` needs nothing fetched
#   kafka.sh run FOLDER PORT [KEY=VALUE ...]
#                                    runs a broker in the foreground, data in FOLDER, listening on 127.0.0.1:PORT (and PORT + 1
#                                    for itself), with further broker settings; kill -9 and the same command again recover it
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
jars=${TIDEMILL_KAFKA_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemill-kafka-$version}

fail() { printf 'kafka: %s\n' "$*" >&2; exit 1; }

fetch() {
  [ -e "$jars/complete" ] && { echo "$jars"; return; }
  command -v mvn > /dev/null || fail "Maven is needed to fetch Kafka's jars (Debian: apt-get install maven)"
  mkdir -p "$jars"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars" > "$jars/fetch.log" 2>&1 ||
    { tail -n 5 "$jars/fetch.log" >&2; fail "the jars could not be fetched"; }
  touch "$jars/complete"
  echo "$jars"
}

ready() {
  command -v java > /dev/null && [ -e "$jars/complete" ]
}

# One process is broker and controller; internal topics have one copy and few partitions, so that it starts in seconds. Messages of 1970 stay.
settings() {
  local folder=$1 port=$2
  shift 2
  cat << END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$folder/data
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
END
  printf '%s\n' "$@"
}

logging() {
  cat << 'END'
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
END
}

run() {
  [ $# -ge 2 ] || fail "usage: kafka.sh run FOLDER PORT [KEY=VALUE ...]"
  command -v java > /dev/null || fail "Java 17 or newer is needed (Debian: apt-get install openjdk-17-jre-headless)"
  fetch > /dev/null
  mkdir -p "$1"
  local folder
  folder=$(cd "$1" && pwd)
  settings "$folder" "${@:2}" > "$folder/server.properties"
  logging > "$folder/log4j2.properties"
  local jvm=(java -cp "$jars/*" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Dlog4j2.configurationFile=file:$folder/log4j2.properties")
  [ -e "$folder/data/meta.properties" ] ||
    "${jvm[@]}" kafka.tools.StorageTool format --cluster-id dGlkZW1pbGwtdGVzdHMtMQ -c "$folder/server.properties" > "$folder/format.log" 2>&1 ||
    { tail -n 5 "$folder/format.log" >&2; fail "the data folder could not be formatted"; }
  cd "$folder"
  exec "${jvm[@]}" kafka.Kafka "$folder/server.properties"
}

case ${1:-} in
  fetch | ready | run) "$@" ;;
  *) fail "usage: kafka.sh fetch | ready | run FOLDER PORT [KEY=VALUE ...]" ;;
esac
