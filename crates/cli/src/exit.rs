//! The exit codes: one closed set for all commands.

use std::process::ExitCode;

use wardlink_wire::Outcome;

/// Text of `--help` on the exit codes. 64 is given by the settings reader.
pub(crate) const HELP: &str = "\
Exit codes:
  0   done; all that was sent is delivered or stored
  1   failed, or something was rejected: it will not arrive
  2   the result of something is unknown: it may still arrive
  64  a setting or an argument is wrong";

/// How a command ended. A later one is the worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All is well.
    #[default]
    Done,
    /// It failed, or something was rejected.
    Failed,
    /// Nobody can know of something whether it arrives.
    Unknown,
}

impl Exit {
    /// What a result means for the exit code.
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered | Outcome::Stored => Exit::Done,
            Outcome::Rejected => Exit::Failed,
            Outcome::Unknown => Exit::Unknown,
        }
    }

    fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Unknown => 2,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_has_its_code_and_help_names_them() {
        let codes = Outcome::ALL.map(|outcome| Exit::of(outcome).code());
        assert_eq!(codes, [0, 0, 1, 2]);
        for code in ["  0  ", "  1  ", "  2  ", "  64 "] {
            assert!(HELP.contains(code));
        }
    }

    #[test]
    fn of_several_results_the_worst_counts() {
        let worst = |outcomes: &[Outcome]| outcomes.iter().map(|o| Exit::of(*o)).max();
        assert_eq!(worst(&[Outcome::Stored, Outcome::Rejected]), Some(Exit::Failed));
        assert_eq!(worst(&[Outcome::Unknown, Outcome::Rejected]), Some(Exit::Unknown));
    }
}
