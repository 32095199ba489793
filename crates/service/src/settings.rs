//! Settings: how flags and environment variables are read, and how a bad value is refused.
//!
//! Owns the shared value parsers, the settings that all programs have, and exit code 64. Which
//! settings a program has is said in its own `config` module, the only one that uses this.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use thiserror::Error;

use crate::accept::Rate;
use crate::telemetry::{self, LogFormat, TelemetryError};

/// The exit code for a bad setting (EX_USAGE of sysexits).
pub const BAD_SETTING: i32 = 64;

/// Settings of every program.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonSettings {
    /// How log lines look
    #[arg(long, env = "WARDLINK_LOG_FORMAT", value_name = "FORMAT", value_enum)]
    #[arg(default_value = "auto", global = true)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace or off, for all or by target
    /// (`info,wardlink_ms=debug`)
    #[arg(long, env = "WARDLINK_LOG_FILTER", value_name = "FILTER", value_parser = parse_log_filter)]
    #[arg(default_value = "info", global = true)]
    pub log_filter: String,
}

impl CommonSettings {
    /// Sets up this process's logs as the settings say.
    ///
    /// # Errors
    ///
    /// When logs are set up already.
    pub fn init_telemetry(&self) -> Result<(), TelemetryError> {
        telemetry::init(self.log_format, &self.log_filter)
    }
}

/// Settings of every server.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminSettings {
    /// Address and port of /livez, /readyz and /metrics (a message server: /view, too)
    #[arg(long, env = "WARDLINK_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    #[arg(value_parser = parse_listen, default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
}

/// How fast a server takes connections.
///
/// A handshake costs up to 1 ms of a core (TLS with a 2,048 bit RSA key; a third of it with P-256):
/// 500 in a second leave at least half of one for those who are connected. Above it connections
/// wait in the kernel's backlog of 1,024, so for 2 s at most. 10,000 terminals that all come back
/// at once have been accepted after 20 s.
#[derive(Clone, Debug, clap::Args)]
pub struct AcceptSettings {
    /// Connections accepted in a second, on average; those above it wait
    #[arg(long, env = "WARDLINK_ACCEPT_RATE", value_name = "NUMBER", default_value = "500")]
    #[arg(value_parser = parse_rate)]
    pub accept_rate: NonZeroU32,

    /// Connections accepted at once after a rest
    #[arg(long, env = "WARDLINK_ACCEPT_BURST", value_name = "NUMBER", default_value = "500")]
    #[arg(value_parser = parse_rate)]
    pub accept_burst: NonZeroU32,
}

impl AcceptSettings {
    /// Both as one.
    pub fn rate(&self) -> Rate {
        Rate { per_second: self.accept_rate, burst: self.accept_burst }
    }
}

impl Default for AcceptSettings {
    fn default() -> Self {
        let default = const { NonZeroU32::new(500).unwrap() };
        Self { accept_rate: default, accept_burst: default }
    }
}

fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    let number: Option<NonZeroU32> = text.parse().ok();
    number
        .filter(|number| number.get() <= Rate::MAX_PER_SECOND)
        .ok_or_else(|| format!("expected a whole number from 1 to {}", Rate::MAX_PER_SECOND))
}

/// Reads a whole number above zero, for `value_parser`.
///
/// # Errors
///
/// What is expected, in words.
pub fn parse_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a whole number, at least 1".to_owned())
}

/// Reads a duration, for `value_parser`. Zero is allowed.
///
/// # Errors
///
/// What is expected, in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "expected a duration such as 250ms, 10s or 5m".to_owned())
}

/// Reads a duration that must not be zero, for `value_parser`.
///
/// # Errors
///
/// What is expected, in words.
pub fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("expected a duration above zero, such as 250ms, 10s or 5m".into()),
        duration => Ok(duration),
    }
}

/// Reads an address to listen on, for `value_parser`. Port 0 means any free port.
///
/// # Errors
///
/// What is expected, in words.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, such as 0.0.0.0:8080, 127.0.0.1:8080 or [::]:8080"
            .to_owned()
    })
}

fn parse_log_filter(text: &str) -> Result<String, String> {
    telemetry::parse_filter(text).map(|_| text.to_owned()).map_err(|error| {
        format!(
            "{error}; expected a level (error, warn, info, debug, trace, off) or a list such as \
             info,wardlink_ms=debug"
        )
    })
}

/// A setting whose value is bad only beside others, or only once a file was read: what `config`
/// modules find after parsing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{setting}: {problem}")]
pub struct BadSetting {
    /// The flag, such as `--listen`.
    pub setting: &'static str,
    /// What is wrong and what is expected.
    pub problem: String,
}

impl BadSetting {
    /// Names the setting and says what it expects.
    pub fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }

    /// Ends the program with exit code 64 and this text on stderr.
    pub fn exit(&self) -> ! {
        eprintln!("error: {self}\n\nFor more information, try '--help'.");
        std::process::exit(BAD_SETTING)
    }
}

/// Reads the program's settings from its arguments and environment.
///
/// `--help` and `--version` end the program with exit code 0; a bad or missing value ends it with
/// 64, the setting's name and what it expects.
pub fn parse_or_exit<T: clap::Parser>() -> T {
    parse_from(std::env::args_os()).unwrap_or_else(|ending| ending.exit())
}

/// [`parse_or_exit`] for given arguments, the program's name first, without the exit.
///
/// # Errors
///
/// What to print and the code to end with.
pub fn parse_from<T, I, A>(arguments: I) -> Result<T, Ending>
where
    T: clap::Parser,
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
{
    T::try_parse_from(arguments).map_err(Ending)
}

/// Why a program ends before it has begun: help, version, or a bad setting.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct Ending(clap::Error);

impl Ending {
    /// The exit code: 0 for help and version that were asked for, else 64.
    pub fn code(&self) -> i32 {
        match self.0.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
            _ => BAD_SETTING,
        }
    }

    /// Prints the text, to stdout for code 0 and to stderr otherwise, and ends the program.
    pub fn exit(&self) -> ! {
        // With stdout and stderr closed there is nobody left to tell.
        let _ = self.0.print();
        std::process::exit(self.code())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_number_that_is_none_is_told_what_is_expected() {
        assert_eq!(parse_number::<std::num::NonZeroU32>("7").map(|n| n.get()), Ok(7));
        for text in ["0", "x", "", "-1", "1.5", "99999999999"] {
            let told = parse_number::<std::num::NonZeroU32>(text).expect_err(text);
            assert_eq!(told, "expected a whole number, at least 1");
        }
    }

    #[derive(Debug, Parser)]
    #[command(name = "wardlink-test", version = "1.2.3")]
    struct Settings {
        #[command(flatten)]
        common: CommonSettings,
        #[command(flatten)]
        admin: AdminSettings,
        #[command(flatten)]
        accept: AcceptSettings,
        /// Window of the drain
        #[arg(long, value_parser = parse_duration, default_value = "30s")]
        drain: Duration,
        #[arg(long, value_parser = parse_positive_duration, default_value = "60s")]
        sweep: Duration,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, Ending> {
        parse_from(std::iter::once(&"wardlink-test").chain(arguments))
    }

    /// The text on which the program ends with code 64.
    fn refusal(arguments: &[&str]) -> String {
        let ending = parse(arguments).expect_err("refused");
        assert_eq!(ending.code(), BAD_SETTING);
        ending.to_string()
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let settings = parse(&[]).expect("defaults");
        assert_eq!(settings.common.log_format, LogFormat::Auto);
        assert_eq!(settings.common.log_filter, "info");
        assert_eq!(settings.admin.admin_listen, SocketAddr::from(([0, 0, 0, 0], 9090)));
        assert_eq!(settings.accept.rate(), AcceptSettings::default().rate());
        assert_eq!(settings.drain, Duration::from_secs(30));
        assert_eq!(settings.sweep, Duration::from_secs(60));
    }

    #[test]
    fn values_are_read() {
        let arguments = ["--drain", "250ms", "--admin-listen", "[::1]:0", "--log-format", "json"];
        let settings = parse(&arguments).expect("settings");
        assert_eq!(settings.drain, Duration::from_millis(250));
        assert!(settings.admin.admin_listen.is_ipv6());
        assert_eq!(settings.common.log_format, LogFormat::Json);
    }

    #[test]
    fn a_bad_value_ends_with_64_and_names_the_setting_and_what_it_expects() {
        for (flag, value, expects) in [
            ("--drain", "10", "such as 250ms, 10s or 5m"),
            ("--drain", "soon", "such as 250ms, 10s or 5m"),
            ("--sweep", "0s", "above zero"),
            ("--admin-listen", "9090", "an IP address and a port"),
            ("--admin-listen", "0.0.0.0:99999", "an IP address and a port"),
            ("--accept-rate", "0", "a whole number from 1 to"),
            ("--accept-burst", "many", "a whole number from 1 to"),
            ("--log-format", "xml", "auto, json, text"),
            ("--log-filter", "infoo", "expected a level"),
        ] {
            let text = refusal(&[flag, value]);
            assert!(text.contains(flag) && text.contains(expects), "{text}");
        }
    }

    #[test]
    fn an_unknown_flag_and_a_missing_value_end_with_64() {
        assert!(refusal(&["--drian", "1s"]).contains("--drain"));
        assert!(refusal(&["--drain"]).contains("--drain"));
    }

    #[test]
    fn help_and_version_end_with_0() {
        let help = parse(&["--help"]).expect_err("help");
        assert_eq!(help.code(), 0);
        for part in ["WARDLINK_ADMIN_LISTEN", "[default: 0.0.0.0:9090]", "WARDLINK_LOG_FILTER"] {
            assert!(help.to_string().contains(part), "{part} is not in {help}");
        }
        assert_eq!(parse(&["--version"]).expect_err("version").code(), 0);
    }

    #[test]
    fn a_setting_that_is_bad_beside_others_is_named() {
        let bad =
            BadSetting::new("--listen", "expected a loopback address with --auth development");
        assert!(bad.to_string().starts_with("--listen: expected a loopback"));
    }

    /// Not a test of its own: the process whose exit code the next test looks at.
    #[test]
    #[ignore = "run by another test, in a process of its own"]
    fn process_with_bad_settings() {
        // The test runner's own arguments are no settings of this program.
        parse_or_exit::<Settings>();
    }

    #[test]
    fn the_process_ends_with_64() {
        let output = std::process::Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "settings::tests::process_with_bad_settings"])
            .args(["--ignored", "--nocapture"])
            .output()
            .expect("child");
        assert_eq!(output.status.code(), Some(BAD_SETTING));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--exact"));
    }
}
