//! Whether members were judged fairly: who never stood still must not be taken out, and whom few
//! BSs missed must not lose its partitions.

use wardlink_ms::store::ViewChange;
use wardlink_wire::MsId;

use super::World;
use super::cover::Reached;

/// For so long a member must have been well so that nobody may judge it, in milliseconds.
const WELL_MS: u64 = 7_000;

/// When each MS was last missed by as many BSs as were linked to it.
#[derive(Debug, Default)]
pub(super) struct Fair {
    missed: [u64; 3],
}

impl World {
    fn ms_named(&self, id: MsId) -> Option<usize> {
        (0..self.ms.len())
            .find(|m| self.ms[*m].core.as_ref().is_some_and(|c| c.snapshot().me == id))
    }

    /// Notes by whom each MS is missed now.
    pub(super) fn look_at_links(&mut self) {
        let alive: Vec<usize> =
            (0..self.bs.len()).filter(|b| self.bs[*b].process.core.is_some()).collect();
        for m in 0..self.ms.len() {
            let linked = |b: &&usize| {
                self.paths[**b][m].link.is_some_and(|link| {
                    let link = &self.links[link];
                    link.bs_open && link.ms_open && !link.cut
                })
            };
            let linked = alive.iter().filter(linked).count();
            if alive.len() - linked >= linked {
                self.fair.missed[m] = self.now;
            }
        }
    }

    /// A change of the view by an MS, judged as to whether its victims deserved it.
    pub(super) fn judge_change(&mut self, by: usize, change: &ViewChange) {
        self.look_at_links();
        let Some(doc) = self.db.view() else { return };
        if change.expect.is_none_or(|key| key.id != doc.view.id) {
            return;
        }
        let old = doc.view.clone();
        for &gone in &change.removed {
            let Some(m) = self.ms_named(gone) else { continue };
            if m == by {
                continue;
            }
            self.hit(Reached::TakenOut);
            let well = !self.ms[m].paused && self.ms[m].troubled + WELL_MS < self.now;
            if self.profile.fair() && well {
                self.violate("live", format!("ms{m} was taken out though it never stood still"));
            }
        }
        for &ms in &change.to.members {
            if old.owned_by(ms) == 0 || change.to.owned_by(ms) > 0 {
                continue;
            }
            self.hit(Reached::LostParts);
            let Some(m) = self.ms_named(ms) else { continue };
            let well = !self.ms[m].paused && self.ms[m].troubled + WELL_MS < self.now;
            if self.profile.fair() && well && self.fair.missed[m] + WELL_MS < self.now {
                let text = format!("ms{m} lost its partitions though few missed it");
                self.violate("live", text);
            }
        }
    }
}
