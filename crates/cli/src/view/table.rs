//! The view as the admin port gives it, and how it looks.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use wardlink_wire::{EndId, Epoch, MsId, ViewNumber};

use crate::show::{BAD, BOLD, DIM, styled};

/// A view, as the message server `me` knows it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct View {
    number: ViewNumber,
    id: String,
    me: MsId,
    members: Vec<Member>,
    partitions: Vec<Ownership>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Member {
    id: MsId,
    partitions: u32,
    links: u32,
    renewals: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ownership {
    partition: u8,
    owner: Option<MsId>,
    epoch: Epoch,
}

/// Who serves an end.
#[derive(Debug, Serialize)]
pub(super) struct Owner {
    end: EndId,
    partition: u8,
    owner: Option<MsId>,
    epoch: Epoch,
}

impl View {
    /// Who serves `end`.
    pub(super) fn owner(&self, end: &EndId) -> anyhow::Result<Owner> {
        let partition = end.partition().0;
        let entry = self
            .partitions
            .iter()
            .find(|entry| entry.partition == partition)
            .with_context(|| format!("the view does not hold partition {partition}"))?;
        Ok(Owner { end: end.clone(), partition, owner: entry.owner, epoch: entry.epoch })
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "view {}  {}\n", styled(BOLD, self.number), styled(DIM, plain(&self.id)))?;
        let head = format!(
            "{:<36}  {:>10}  {:>5}  {:>10}  EPOCHS",
            "MESSAGE SERVER", "PARTITIONS", "LINKS", "RENEWALS"
        );
        writeln!(f, "{}", styled(DIM, head))?;
        for member in &self.members {
            let Member { id, partitions, links, renewals } = member;
            let id = id.to_string();
            let renewals = plain(renewals);
            write!(f, "{id:<36}  {partitions:>10}  {links:>5}  {renewals:>10}  ")?;
            write!(f, "{}", self.epochs(Some(member.id)))?;
            writeln!(f, "{}", if member.id == self.me { "  (asked)" } else { "" })?;
        }
        let without = self.partitions.iter().filter(|entry| entry.owner.is_none()).count();
        if without > 0 {
            let count = styled(BAD, format_args!("{without} without an owner"));
            writeln!(f, "\n{count}  epochs {}", self.epochs(None))?;
        }
        Ok(())
    }
}

impl View {
    /// The epochs of an owner's partitions, with how many there are of each.
    fn epochs(&self, owner: Option<MsId>) -> String {
        let mut counts: BTreeMap<Epoch, usize> = BTreeMap::new();
        for entry in self.partitions.iter().filter(|entry| entry.owner == owner) {
            *counts.entry(entry.epoch).or_default() += 1;
        }
        match counts.len() {
            0 => "-".to_owned(),
            1..=3 => {
                let each: Vec<_> = counts.iter().map(|(e, n)| format!("{e} ×{n}")).collect();
                each.join(", ")
            }
            kinds => {
                let newest = counts.keys().next_back().copied().unwrap_or_default();
                format!("{kinds} different, newest {newest}")
            }
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { end, partition, owner, epoch } = self;
        write!(f, "{} is in partition {partition}, ", styled(BOLD, end))?;
        match owner {
            Some(owner) => writeln!(f, "served by {} since epoch {epoch}", styled(BOLD, owner)),
            None => writeln!(f, "which has {} since epoch {epoch}", styled(BAD, "no owner")),
        }
    }
}

/// What a server wrote, without what could steer a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "6f1c8a52-2f0e-4a52-9d1c-5f0f3a8f8a01";
    const B: &str = "6f1c8a52-2f0e-4a52-9d1c-5f0f3a8f8a02";

    fn view() -> View {
        let partitions: Vec<_> = (0..256)
            .map(|partition| {
                let owner = match partition {
                    0..128 => format!("\"{A}\""),
                    128..255 => format!("\"{B}\""),
                    _ => "null".to_owned(),
                };
                format!(r#"{{"partition":{partition},"owner":{owner},"epoch":"{}"}}"#, 7)
            })
            .collect();
        let members = [(A, 128, 2), (B, 127, 1)].map(|(id, partitions, links)| {
            format!(r#"{{"id":"{id}","partitions":{partitions},"links":{links},"renewals":"12"}}"#)
        });
        let text = format!(
            r#"{{"number":"18446744073709551615","id":"v","me":"{A}","members":[{}],"partitions":[{}],"news":1}}"#,
            members.join(","),
            partitions.join(",")
        );
        serde_json::from_str(&text).expect("view")
    }

    fn text(shown: impl fmt::Display) -> String {
        anstream::adapter::strip_str(&shown.to_string()).to_string()
    }

    #[test]
    fn members_are_shown_with_what_they_own() {
        let text = text(view());
        assert!(text.starts_with("view 18446744073709551615  v\n"), "{text}");
        let line = format!("{A}         128      2          12  7 ×128  (asked)\n");
        assert!(text.contains(&line), "{text}");
        assert!(text.contains("1 without an owner  epochs 7 ×1"), "{text}");
    }

    #[test]
    fn an_end_is_served_by_the_owner_of_its_partition() {
        let view = view();
        let mut seen = [false; 3];
        for i in 0..2_000 {
            let end: EndId = format!("H1-W1-u{i}").parse().expect("end");
            let owner = view.owner(&end).expect("owner");
            assert_eq!(owner.partition, end.partition().0);
            let (kind, words) = match owner.partition {
                0..128 => (0, format!("served by {A} since epoch 7\n")),
                128..255 => (1, format!("served by {B} since epoch 7\n")),
                255 => (2, "which has no owner since epoch 7\n".to_owned()),
            };
            seen[kind] = true;
            assert!(text(owner).ends_with(&words));
        }
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn a_view_without_the_partition_is_an_error() {
        let mut view = view();
        view.partitions.clear();
        assert!(view.owner(&"H1-W1-a".parse().expect("end")).is_err());
    }
}
