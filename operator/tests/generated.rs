//! The tables in docs/KUBERNETES.md are what the code says. `make generate` writes them anew.

mod field_table;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use wardlink_operator::status;

/// One block is written at a time: all are in one file.
static WRITING: Mutex<()> = Mutex::new(());

#[test]
fn the_generated_tables_of_fields_are_what_the_crd_says() {
    compare("fields", &field_table::tables());
}

#[test]
fn the_generated_table_of_reasons_is_what_the_code_says() {
    compare("reasons", &status::table());
}

/// Compares the block NAME of the document with `text`, or writes it.
fn compare(name: &str, text: &str) {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/KUBERNETES.md");
    let stored = std::fs::read_to_string(&file).unwrap();
    let (head, rest) = stored.split_once(&format!("<!-- generated: {name} -->\n")).unwrap();
    let (block, tail) = rest.split_once("<!-- end -->").unwrap();
    if std::env::var_os("WARDLINK_GENERATE").is_some() {
        let new = format!("{head}<!-- generated: {name} -->\n{text}<!-- end -->{tail}");
        return std::fs::write(&file, new).unwrap();
    }
    assert!(block == text, "{}, {name}, differs: run `make generate`", file.display());
}
