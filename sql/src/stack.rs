//! Room on the stack for walks over trees.
//!
//! Statements are trees of bounded depth (see `parser/limits.rs`), but the planner's frames are large where the code is
//! not optimised: threads with small stacks get a larger one for the time of a call.

/// A stack with less room than this is not used.
const ROOM_MIN_BYTES: usize = 24 << 20;
/// The stack that is used then. Only the pages that are touched cost memory.
const STACK_BYTES: usize = 64 << 20;

pub(crate) fn with_room<T>(call: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(ROOM_MIN_BYTES, STACK_BYTES, call)
}
