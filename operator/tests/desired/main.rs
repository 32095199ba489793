//! What clusters are rendered to, from outside.

mod fields;
mod golden;
mod names;
mod render;
