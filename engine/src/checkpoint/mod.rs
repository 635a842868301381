//! Checkpoints on disk: manifests, shared files, retention, and the decision where to restart from.
