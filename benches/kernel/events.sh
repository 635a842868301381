# Sourced: makes bids.json, 10 million events, in the folder $data and goes there; $tidemill is the program, $here this folder.
mkdir -p "$data" && cd "$data"
if [ ! -f bids.json ]; then
  echo "generating 10 million events in $data" >&2
  rm -rf bids && "$tidemill" run "$here/generate.sql" --quiet && cat bids/part-* > bids.json && rm -rf bids
fi
