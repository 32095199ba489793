//! The command line as a whole: reads it, runs the command, turns its end into an exit code.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wardlink_service::settings::{self, BadSetting, CommonSettings};

use crate::exit::{self, Exit};
use crate::{dev, listen, send, token, view};

const EXAMPLES: &str = "\
Examples:
  wardlink dev                                      a whole system on this machine
  wardlink listen H1-W2-tablet                      print what is sent to H1-W2-tablet
  wardlink send --from H1-W1-phone H1-W2-tablet hi  send it something
  wardlink view H1-W2-tablet                        which message server serves it
  wardlink token --key ward.key H1-W2-tablet        a token for servers that ask for one";

/// Send and receive messages of terminals, and look into a deployment
#[derive(Debug, Parser)]
#[command(name = "wardlink", version, after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
#[command(mut_arg("log_filter", |arg| arg.default_value("warn").help_heading("Logs")))]
#[command(mut_arg("log_format", |arg| arg.help_heading("Logs")))]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: CommonSettings,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Args),
    Listen(listen::Args),
    Send(send::Args),
    Token(token::Args),
    View(view::Args),
}

/// Reads the command line and runs what it says.
pub(crate) fn main() -> ExitCode {
    let cli: Cli = settings::parse_or_exit();
    match start(cli) {
        Ok(exit) => exit.into(),
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            if let Some(bad) = error.downcast_ref::<BadSetting>() {
                bad.exit();
            }
            anstream::eprintln!("{}", crate::show::error(&error));
            Exit::Failed.into()
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<Exit> {
    cli.common.init_telemetry()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        match cli.command {
            Command::Dev(args) => dev::run(args).await,
            Command::Listen(args) => listen::run(args).await,
            Command::Send(args) => send::run(args).await,
            Command::Token(args) => token::run(args),
            Command::View(args) => view::run(args).await,
        }
    });
    // A reader of stdin cannot be woken: its thread is left to the process's end.
    runtime.shutdown_background();
    exit
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, settings::Ending> {
        settings::parse_from(line.split(' ')).map(|cli: Cli| cli.command)
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn logs_are_quiet_unless_asked_for() {
        let filter = |line: &str| {
            let cli: Cli = settings::parse_from(line.split(' ')).expect("settings");
            cli.common.log_filter
        };
        assert_eq!(filter("wardlink view"), "warn");
        assert_eq!(filter("wardlink view --log-filter debug"), "debug");
        assert_eq!(filter("wardlink --log-filter info view"), "info");
    }

    #[test]
    fn a_wrong_command_line_ends_with_64() {
        for line in [
            "wardlink",
            "wardlink lisen H1-W1-a",
            "wardlink listen",
            "wardlink listen H1-W1",
            "wardlink listen H1-W1-a --count 0",
            "wardlink listen H1-W1-a --server http://a/ws",
            "wardlink send H1-W1-a hi",
            "wardlink send --from H1-W1-a H1-W1-b",
            "wardlink send --from H1-W1-a H1-W1-b hi --ttl 5",
            "wardlink view --admin ws://a",
            "wardlink token",
            "wardlink token H1-W1-a",
            "wardlink token --key k",
            "wardlink token --key k H1-W1",
            "wardlink token --key k --alg none H1-W1-a",
            "wardlink token --key k --ttl 0s H1-W1-a",
            "wardlink token --key k --send-for H1* H1-W1-a",
            "wardlink token --new-key k H1-W1-a",
            "wardlink token --new-key k --audience a",
            "wardlink dev --listen 8080",
        ] {
            assert_eq!(parse(line).expect_err(line).code(), settings::BAD_SETTING, "{line}");
        }
    }

    #[test]
    fn help_shows_examples_and_exit_codes_of_every_command() {
        for command in ["", "dev ", "listen ", "send ", "token ", "view "] {
            let ending = parse(&format!("wardlink {command}--help")).expect_err("help");
            assert_eq!(ending.code(), 0);
            let help = ending.to_string();
            assert!(help.contains("Examples:\n  wardlink "), "{help}");
            assert!(help.contains("Exit codes:"), "{help}");
        }
    }

    #[test]
    fn a_full_command_line_is_read() {
        let line = "wardlink send --server ws://a:1/ws,ws://b:2/ws --from H1-W1-a --ttl 90s \
                    --wait --json H1-W1-b {\"x\":1} two";
        let Command::Send(args) = parse(line).expect("settings") else { panic!("not send") };
        assert_eq!(args.connect.server, ["ws://a:1/ws", "ws://b:2/ws"]);
        assert_eq!(args.bodies, ["{\"x\":1}", "two"]);
        assert!(args.wait && args.json);
        let Command::Listen(args) = parse("wardlink listen H1-W1-a").expect("settings") else {
            panic!("not listen")
        };
        assert_eq!(args.connect.server, ["ws://127.0.0.1:8080/ws"]);
        assert_eq!(args.count, None);
    }
}
