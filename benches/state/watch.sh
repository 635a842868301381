# Sourced: `watch PID` waits for the end of a process that keeps its state in ./state. It leaves behind when that began
# (start), the peak of the process's resident memory (peak_kb) and of the state on disk (state_kb).
watch() {
  local pid=$1 seen_kb
  peak_kb=0 state_kb=0
  start=$(date +%s.%N)
  while kill -0 "$pid" 2> /dev/null; do
    # The kernel keeps the peak itself, as long as the process lives.
    seen_kb=$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status" 2> /dev/null || true)
    peak_kb=${seen_kb:-$peak_kb}
    seen_kb=$(du -sk state 2> /dev/null | cut -f 1 || true)
    [ "${seen_kb:-0}" -le "$state_kb" ] || state_kb=$seen_kb
    sleep 0.5
  done
}
