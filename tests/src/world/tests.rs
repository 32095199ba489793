//! The world itself, and some histories on every `cargo test`.

use super::run;

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..12 {
        assert_eq!(run(seed, false).hash, run(seed, true).hash, "seed {seed}");
    }
}

#[test]
fn three_hundred_histories_keep_every_promise() {
    for seed in 1_000_000..1_000_300 {
        let outcome = run(seed, false);
        assert!(outcome.violation.is_none(), "seed {seed}: {:?}", outcome.violation);
    }
}
