//! Who owns what: the numbered view, and the pure rules by which it changes.
//!
//! Owns the [`View`] itself, the changes to it ([`change`]) and the judgement of members
//! ([`Judge`]). No I/O, no clock: numbers, random ids and times come in as arguments.

pub mod change;
mod judge;
mod view;

pub use judge::{Beat, Judge, MISSED_LIMIT, Verdict};
pub use view::{Slot, View, ViewError};
