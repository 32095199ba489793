//! Logs: JSON lines for machines, readable text for people, always on stderr.
//!
//! Owns the process's one subscriber. What is logged, and which fields, is each part's business.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text where stderr is a terminal, JSON elsewhere
    #[default]
    Auto,
    /// One JSON object a line
    Json,
    /// Text for people, with colours on a terminal unless NO_COLOR is set
    Text,
}

/// Why logs cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("bad log filter")]
    Filter(#[from] FilterError),
    /// The process has a subscriber already.
    #[error("logs are already set up")]
    Already(#[from] TryInitError),
}

/// Why a log filter cannot be read.
#[derive(Debug, Error)]
pub enum FilterError {
    /// A word that is neither a level nor `target=level`.
    #[error("`{0}` is no level")]
    NoLevel(String),
    /// Anything else.
    #[error(transparent)]
    Syntax(#[from] ParseError),
}

/// Sets up the logs of this process: `filter` is what [`parse_filter`] takes.
///
/// # Errors
///
/// For a filter that cannot be read, and when logs are set up already.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = parse_filter(filter)?;
    let terminal = io::stderr().is_terminal();
    let look = Look::of(format, terminal, std::env::var_os("NO_COLOR").as_deref());
    subscriber(look, filter, io::stderr).try_init()?;
    Ok(())
}

/// Reads a log filter: a level, or a list of levels and `target=level` joined by commas.
///
/// # Errors
///
/// For what cannot be read, and for a bare word that is no level. (Taken as a target, as the
/// library below would, a misspelt level silences all else.)
pub fn parse_filter(filter: &str) -> Result<EnvFilter, FilterError> {
    for directive in filter.split(',').map(str::trim) {
        let bare = !directive.contains(['=', '[', ']', '{', '}']);
        if bare && (directive.is_empty() || directive.parse::<LevelFilter>().is_err()) {
            return Err(FilterError::NoLevel(directive.to_owned()));
        }
    }
    Ok(EnvFilter::builder().parse(filter)?)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Json,
    Text { colours: bool },
}

impl Look {
    fn of(format: LogFormat, terminal: bool, no_color: Option<&OsStr>) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Auto if !terminal => Self::Json,
            LogFormat::Auto | LogFormat::Text => {
                Self::Text { colours: terminal && no_color.is_none_or(OsStr::is_empty) }
            }
        }
    }
}

fn subscriber<W>(look: Look, filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match look {
        Look::Json => lines.json().flatten_event(true).boxed(),
        Look::Text { colours } => lines.with_ansi(colours).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(look: Look, filter: &str) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let filter = parse_filter(filter).expect("filter");
        let subscriber = subscriber(look, filter, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(links = 3, "ready");
            tracing::debug!("not at info");
        });
        let bytes = memory.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn auto_is_json_without_a_terminal_and_text_on_one() {
        assert_eq!(Look::of(LogFormat::Auto, false, None), Look::Json);
        assert_eq!(Look::of(LogFormat::Json, true, None), Look::Json);
        assert_eq!(Look::of(LogFormat::Auto, true, None), Look::Text { colours: true });
        assert_eq!(Look::of(LogFormat::Text, false, None), Look::Text { colours: false });
    }

    #[test]
    fn no_color_counts_unless_it_is_empty() {
        let colours = |value: &str| Look::of(LogFormat::Auto, true, Some(OsStr::new(value)));
        assert_eq!(colours("1"), Look::Text { colours: false });
        assert_eq!(colours(""), Look::Text { colours: true });
    }

    #[test]
    fn json_lines_carry_level_message_and_fields() {
        let line = logged(Look::Json, "info");
        assert_eq!(line.lines().count(), 1, "{line}");
        for part in [r#""level":"INFO""#, r#""message":"ready""#, r#""links":3"#] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    #[test]
    fn text_has_colours_only_where_asked() {
        assert!(!logged(Look::Text { colours: false }, "info").contains('\u{1b}'));
        assert!(logged(Look::Text { colours: true }, "info").contains('\u{1b}'));
    }

    #[test]
    fn filters_of_levels_and_targets_are_read() {
        assert_eq!(logged(Look::Json, "warn,wardlink_service=debug").lines().count(), 2);
        assert_eq!(logged(Look::Json, "debug,wardlink_service=off"), "");
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for filter in ["infoo", "info,loud", "", "wardlink_ms=loud", "info,"] {
            assert!(parse_filter(filter).is_err(), "{filter:?} was taken");
        }
    }
}
