//! Runs a job graph: tasks on threads, bounded channels, aligned barriers, restarts.
