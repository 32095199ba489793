//! README.md and examples against the programs: which settings there are, and their defaults.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use wardlink_tests::cluster::Program;

fn read(path: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Flags of a program by its own help, each with its default where it has one value.
fn settings(program: Program) -> anyhow::Result<BTreeMap<String, String>> {
    let help = Command::new(program.path()?).arg("--help").env("NO_COLOR", "1").output()?;
    let help = String::from_utf8(help.stdout)?;
    let mut settings = BTreeMap::new();
    let mut flag = String::new();
    for line in help.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("--") {
            flag = name.split_whitespace().next().unwrap_or_default().to_owned();
            settings.insert(flag.clone(), String::new());
        } else if let Some(default) =
            line.strip_prefix("[default: ").and_then(|rest| rest.strip_suffix(']'))
            && let Some(known) = settings.get_mut(&flag)
        {
            *known = default.to_owned();
        }
    }
    settings.retain(|flag, _| !matches!(flag.as_str(), "help" | "version"));
    ensure!(settings.len() > 10, "{settings:?}");
    Ok(settings)
}

/// The words in backquotes of a cell.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Flags and defaults of a table of README.md.
fn told(readme: &str, program: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mark = format!("<!-- checked: settings of {program} -->");
    let (_, table) = readme.split_once(&mark).with_context(|| mark.clone())?;
    let mut told = BTreeMap::new();
    for row in table.lines().skip(3).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').collect();
        let defaults = words(cells[2]);
        for (i, flag) in words(cells[1]).into_iter().enumerate() {
            let flag = flag.trim_start_matches("--").to_owned();
            told.insert(flag, defaults.get(i).cloned().unwrap_or_default());
        }
    }
    Ok(told)
}

#[test]
fn the_settings_in_the_readme_are_those_of_the_programs() -> anyhow::Result<()> {
    let readme = read("README.md")?;
    for (program, name) in [
        (Program::Ms, "wardlink-ms"),
        (Program::Bs, "wardlink-bs"),
        (Program::Operator, "wardlink-operator"),
    ] {
        let (mut is, told) = (settings(program)?, told(&readme, name)?);
        // Told in words, for it depends on another setting or says none.
        is.retain(|_, default| {
            if default.contains(' ') {
                default.clear();
            }
            true
        });
        for (flag, default) in &is {
            let said = told.get(flag).with_context(|| format!("{name} --{flag} is not told"))?;
            let free = default.is_empty() && matches!(flag.as_str(), "listen");
            ensure!(free || said == default, "{name} --{flag}: {said:?} told, {default:?} is");
        }
        for flag in told.keys() {
            ensure!(is.contains_key(flag), "{name} has no --{flag}");
        }
    }
    Ok(())
}

#[test]
fn the_examples_name_settings_that_there_are() -> anyhow::Result<()> {
    for (program, file) in [(Program::Ms, "ms.env"), (Program::Bs, "bs.env")] {
        let settings = settings(program)?;
        let lines = read(&format!("examples/systemd/{file}"))?;
        let names = lines.lines().filter_map(|line| {
            line.trim_start_matches('#').split_once('=').map(|(name, _)| name.to_owned())
        });
        let mut known = 0;
        for name in names {
            let flag = name.strip_prefix("WARDLINK_").context(name.clone())?;
            let flag = flag.to_lowercase().replace('_', "-");
            ensure!(settings.contains_key(&flag), "{file}: {name} is no setting");
            known += 1;
        }
        ensure!(known > 5, "{file} names {known} settings");
    }
    Ok(())
}
