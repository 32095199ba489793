//! A wrong clock for a child, by libfaketime.

use std::process::Command;

use anyhow::{Context, ensure};

/// How far a process's clock is off. Its monotonic clock is not touched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    seconds: i64,
}

impl Clock {
    /// The true time.
    pub const TRUE: Self = Self { seconds: 0 };

    /// So many seconds ahead of the true time, or behind it where negative.
    pub fn ahead(seconds: i64) -> Self {
        Self { seconds }
    }

    /// The environment that makes a process see this clock; empty for the true one.
    ///
    /// # Errors
    /// The program `faketime`, on the PATH or named by `WARDLINK_FAKETIME`, cannot be run.
    pub(super) fn environment(self) -> anyhow::Result<Vec<(String, String)>> {
        if self == Self::TRUE {
            return Ok(Vec::new());
        }
        let pair = |name: &str, value: String| (name.to_owned(), value);
        Ok(vec![
            pair("LD_PRELOAD", library()?),
            pair("FAKETIME", format!("{:+}s", self.seconds)),
            pair("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            pair("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ])
    }
}

/// The library, as the program loads it for threads. It is loaded without the program, which
/// would stay in between as a parent.
fn library() -> anyhow::Result<String> {
    let program = std::env::var_os("WARDLINK_FAKETIME").unwrap_or_else(|| "faketime".into());
    let output = Command::new(&program)
        .args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .context("faketime is not installed: run `make tools`, or set WARDLINK_FAKETIME")?;
    let library = String::from_utf8(output.stdout)?.trim().to_owned();
    ensure!(output.status.success() && !library.is_empty(), "faketime names no library");
    Ok(library)
}
