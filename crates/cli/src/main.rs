//! The program `wardlink`: try or debug any deployment from a shell.

mod app;
mod dev;
mod exit;
mod input;
mod listen;
mod send;
mod show;
mod status;
mod view;

fn main() -> std::process::ExitCode {
    app::main()
}
