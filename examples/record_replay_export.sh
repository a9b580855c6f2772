#!/bin/sh
# Record a clip, play the recording again as if it were live, and export it:
# examples/record_replay_export.sh clip.mp4 FOLDER
set -eu
endpoint=${ENDPOINT:-tcp://127.0.0.1:5873}
if [ $# -ne 2 ]; then
  echo "usage: examples/record_replay_export.sh clip.mp4 FOLDER" >&2
  exit 2
fi
streamprn run "$1" --fast --record "$2" --bind "$endpoint"
streamprn export "$2" "$2/faces.csv" --replace
streamprn export "$2" "$2/faces.jsonl" --replace

# A subscriber cannot tell a replay from the camera.
streamprn replay "$2" --bind "$endpoint" --loop &
replay=$!
trap 'kill $replay' EXIT
streamprn watch "$endpoint" --json --max-messages 10
