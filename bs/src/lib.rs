//! The Business Server (BS): terminals connect to it, and it links to every member of the view.

pub mod core;
