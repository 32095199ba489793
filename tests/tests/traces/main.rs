//! The 23 traces that broke simpler protocols, each on the real decision cores.
//!
//! A trace is a scenario: a function that states the steps and asserts what must and must not
//! happen. [`holds`] runs it, then again with each defect that takes its mechanism out, and
//! expects the named assertion to fail: so no trace passes for want of reaching the danger.
//!
//! `rig` plays database, links and time around the cores of MSs, `bs` links, terminals and time
//! around the core of a BS; `database` is the played database. The numbers of the tests are the
//! numbers of the traces.

mod bounds;
mod bs;
mod copies;
mod database;
mod deadline;
mod drain;
mod leave;
mod members;
mod order;
mod owner;
mod pause;
mod posts;
mod register;
mod repeats;
mod rig;
mod upstream;
mod view;

use std::panic::{AssertUnwindSafe, catch_unwind};

use wardlink_defect::{Defect, plant};

struct Planted;

impl Planted {
    fn new(defect: Defect) -> Self {
        plant(Some(defect));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// The scenario holds, and with each defect planted the assertion with these words fails.
fn holds(scenario: fn(), defects: &[(Defect, &str)]) {
    scenario();
    for (defect, words) in defects {
        let planted = Planted::new(*defect);
        let failure = catch_unwind(AssertUnwindSafe(scenario));
        drop(planted);
        let Err(panic) = failure else { panic!("{defect:?} was not noticed") };
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_default();
        assert!(text.contains(words), "{defect:?} fails otherwise than by {words:?}: {text}");
    }
}
