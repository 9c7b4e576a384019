//! Conversations with a scripted, possibly hostile, other side.
