//! The Business Server (BS): terminals connect to it, and it links to every member of the view.
//!
//! [`core`] decides, [`app`] is the shell around it, [`config`] reads settings.

pub mod app;
pub mod config;
pub mod core;
