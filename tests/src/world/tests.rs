//! The world itself, and some histories on every `cargo test`.

use wardlink_defect::{Defect, plant};

use super::run;

#[test]
fn the_same_seed_gives_the_same_history_with_and_without_a_trace() {
    for seed in 0..12 {
        let (plain, traced) = (run(seed, false), run(seed, true));
        assert_eq!(plain.hash, traced.hash, "seed {seed}");
        assert_eq!(plain.lasted_ms, traced.lasted_ms, "seed {seed}");
        assert!(plain.lines.is_empty() && !traced.lines.is_empty());
    }
}

#[test]
fn different_seeds_give_different_histories() {
    assert_ne!(run(1, false).hash, run(2, false).hash);
}

#[test]
fn three_hundred_histories_keep_every_promise() {
    for seed in 1_000_000..1_000_300 {
        let outcome = run(seed, false);
        assert!(outcome.violation.is_none(), "seed {seed}: {:?}", outcome.violation);
    }
}

#[test]
fn a_planted_defect_breaks_a_promise_soon() {
    for (defect, promise) in [
        (Defect::StoredBeforeDurable, "P1"),
        (Defect::NoDedupe, "P3"),
        (Defect::SentAgainOutOfOrder, "P4"),
        (Defect::NoClientNumber, "P5"),
    ] {
        plant(Some(defect));
        let found = (5_000_000..5_000_200).find_map(|seed| run(seed, false).violation);
        plant(None);
        assert_eq!(found.map(|violation| violation.promise), Some(promise), "{defect:?}");
    }
}
