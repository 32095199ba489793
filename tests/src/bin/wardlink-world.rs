//! The simulated world from a shell: `simulate` plays histories, `mutants` plants each known
//! defect and looks whether the world finds it.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wardlink_defect::{Defect, plant};
use wardlink_tests::world::{Cover, Outcome, run};

const USAGE: &str =
    "usage: wardlink-world simulate (--seeds N [--from S] | --seed S [--defect NAME])
       wardlink-world mutants [--seeds N] [--seconds T] [--only NAME]";

/// Histories with a broken promise that one `simulate` shows; then it stops.
const FAILURES_MAX: usize = 5;
/// Threads: the machines that run this have at least two processors.
const THREADS: u64 = 2;
/// Fewer defects found than this fail `mutants`.
const FOUND_MIN: usize = 25;
/// Every batch of mutants begins here, far from the seeds that people try.
const MUTANT_SEEDS_FROM: u64 = 5_000_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match parse(&args) {
        Some(Command::One(seed, defect)) => one(seed, defect),
        Some(Command::Many { from, seeds }) => many(from, seeds),
        Some(Command::Mutants { seeds, seconds, only }) => mutants(seeds, seconds, only.as_deref()),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(64)
        }
    }
}

enum Command {
    One(u64, Option<Defect>),
    Many { from: u64, seeds: u64 },
    Mutants { seeds: u64, seconds: u64, only: Option<String> },
}

fn parse(args: &[String]) -> Option<Command> {
    let (command, options) = args.split_first()?;
    let option = |name: &str| {
        options.iter().position(|o| o == name).and_then(|at| options.get(at + 1)).cloned()
    };
    let number = |name: &str| option(name).and_then(|text| text.parse().ok());
    match command.as_str() {
        "simulate" => match number("--seed") {
            Some(seed) => Some(Command::One(seed, option("--defect").and_then(|d| named(&d)))),
            None => Some(Command::Many {
                from: number("--from").unwrap_or(0),
                seeds: number("--seeds")?,
            }),
        },
        "mutants" => Some(Command::Mutants {
            seeds: number("--seeds").unwrap_or(40_000),
            seconds: number("--seconds").unwrap_or(30),
            only: option("--only"),
        }),
        _ => None,
    }
}

fn named(name: &str) -> Option<Defect> {
    Defect::ALL.iter().copied().find(|defect| format!("{defect:?}") == name)
}

/// One history, with everything that happens in it.
fn one(seed: u64, defect: Option<Defect>) -> ExitCode {
    plant(defect);
    let outcome = run(seed, true);
    let mut out = std::io::stdout().lock();
    for line in &outcome.lines {
        if writeln!(out, "{line}").is_err() {
            // Whoever read has seen enough.
            return ExitCode::FAILURE;
        }
    }
    drop(out);
    println!(
        "seed {seed}, {}, {} ms, hash {:016x}",
        outcome.theme, outcome.lasted_ms, outcome.hash
    );
    match outcome.violation {
        Some(violation) => {
            println!("{} broken at {} ms: {}", violation.promise, violation.at_ms, violation.text);
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
        None => {
            println!("1 passed, 0 failed");
            ExitCode::SUCCESS
        }
    }
}

fn many(from: u64, seeds: u64) -> ExitCode {
    let begun = Instant::now();
    let parts: Vec<(Cover, u64, u64, Vec<Outcome>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let (mut cover, mut passed, mut lasted) = (Cover::default(), 0, 0);
                    let mut failed = Vec::new();
                    for seed in (from + thread..from + seeds).step_by(THREADS as usize) {
                        let outcome = run(seed, false);
                        cover.merge(&outcome.cover);
                        lasted += outcome.lasted_ms;
                        if outcome.violation.is_some() {
                            failed.push(outcome);
                            if failed.len() >= FAILURES_MAX {
                                break;
                            }
                        } else {
                            passed += 1;
                        }
                    }
                    (cover, passed, lasted, failed)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a history panicked")).collect()
    });
    let (mut cover, mut passed, mut lasted, mut failed) = (Cover::default(), 0, 0, Vec::new());
    for (c, p, l, f) in parts {
        cover.merge(&c);
        passed += p;
        lasted += l;
        failed.extend(f);
    }
    let took = begun.elapsed();
    for (name, count) in cover.rows() {
        println!("{count:>10}  {name}");
    }
    let played = passed + failed.len() as u64;
    println!(
        "{played} histories, {:.1} h of the world, in {:.1} s: {:.0} seeds/s",
        lasted as f64 / 3_600_000.0,
        took.as_secs_f64(),
        played as f64 / took.as_secs_f64()
    );
    failed.sort_by_key(|outcome| outcome.seed);
    for Outcome { seed, theme, violation, .. } in &failed {
        if let Some(violation) = violation {
            println!(
                "seed {seed} ({theme}): {} broken at {} ms: {}",
                violation.promise, violation.at_ms, violation.text
            );
            println!("replay with: make simulate SEED={seed}");
        }
    }
    println!("{passed} passed, {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the world made of one defect.
struct Verdict {
    defect: Option<Defect>,
    found: Option<(u64, Outcome)>,
    tried: u64,
}

fn hunt(defect: Option<Defect>, seeds: u64, limit: Duration) -> Verdict {
    plant(defect);
    let begun = Instant::now();
    let mut verdict = Verdict { defect, found: None, tried: 0 };
    while verdict.tried < seeds && begun.elapsed() < limit {
        let outcome = run(MUTANT_SEEDS_FROM + verdict.tried, false);
        verdict.tried += 1;
        if outcome.violation.is_some() {
            verdict.found = Some((verdict.tried, outcome));
            break;
        }
    }
    plant(None);
    verdict
}

fn mutants(seeds: u64, seconds: u64, only: Option<&str>) -> ExitCode {
    let mut wanted: Vec<Option<Defect>> = vec![None];
    wanted.extend(Defect::ALL.iter().copied().map(Some));
    if let Some(only) = only {
        wanted.retain(|defect| defect.is_some_and(|defect| format!("{defect:?}") == only));
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let (wanted, next) = (&wanted, &next);
    let limit = Duration::from_secs(seconds);
    let mut verdicts: Vec<(usize, Verdict)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    loop {
                        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(defect) = wanted.get(at) else { return mine };
                        mine.push((at, hunt(*defect, seeds, limit)));
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().expect("a history panicked")).collect()
    });
    verdicts.sort_by_key(|(at, _)| *at);
    let (mut found, mut clean) = (0, true);
    println!("{:<28} {:<6} {:>7}  promise", "defect", "found", "seeds");
    for (_, verdict) in &verdicts {
        let name = verdict.defect.map_or("(none)".to_owned(), |defect| format!("{defect:?}"));
        match &verdict.found {
            Some((seeds, outcome)) => {
                let text = outcome.violation.as_ref().map_or(String::new(), |violation| {
                    format!(
                        "{} {} (seed {}, {})",
                        violation.promise, violation.text, outcome.seed, outcome.theme
                    )
                });
                println!("{name:<28} {:<6} {seeds:>7}  {text}", "yes");
                found += usize::from(verdict.defect.is_some());
                clean &= verdict.defect.is_some();
            }
            None => println!("{name:<28} {:<6} {:>7}", "no", verdict.tried),
        }
    }
    let planted = verdicts.iter().filter(|(_, verdict)| verdict.defect.is_some()).count();
    println!("{found} of {planted} defects found");
    if only.is_some() {
        return ExitCode::SUCCESS;
    }
    if !clean {
        println!("without a defect a promise was broken, too");
    }
    if clean && found >= FOUND_MIN { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
