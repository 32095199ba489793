//! The program `wardlink`: try or debug any deployment from a shell.

mod app;
mod dev;
mod exit;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod fake;
mod input;
mod listen;
mod send;
mod show;
mod status;
mod token;
mod view;

fn main() -> std::process::ExitCode {
    app::main()
}
