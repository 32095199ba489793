//! The lanes of one partition in one epoch.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use wardlink_view::View;
use wardlink_wire::{EndId, Epoch, Partition};

use super::api::{Action, LinkId, Millis};
use super::lane::{Env, Lane};
use super::links::Links;
use super::{Held, Hub, SETTLE_MS};

/// A partition that this MS owns.
#[derive(Debug)]
pub(super) struct Part {
    partition: Partition,
    epoch: Epoch,
    /// Stamps given so far.
    count: u64,
    lanes: HashMap<EndId, Lane, ahash::RandomState>,
    since: Millis,
    settling: bool,
    next_sweep: Millis,
}

impl Part {
    pub(super) fn new(
        partition: Partition,
        epoch: Epoch,
        seed: u64,
        now: Millis,
        sweep_ms: Millis,
    ) -> Self {
        let offset = sweep_ms * (u64::from(partition.0) + 1) / 256;
        Self {
            partition,
            epoch,
            count: 0,
            lanes: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 4, 5, 6)),
            since: now,
            settling: true,
            next_sweep: now + sweep_ms / 4 + offset * 3 / 4,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn measure(&self, held: &mut Held) {
        held.lanes += self.lanes.len();
        for lane in self.lanes.values() {
            lane.measure(held);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Planted defect only: the lanes outlive their epoch.
    pub(super) fn rename(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    pub(super) fn dissolve(self, links: &mut Links) {
        for mut lane in self.lanes.into_values() {
            lane.dissolve(links);
        }
    }

    pub(super) fn peek(&self, end: &EndId) -> Option<&Lane> {
        self.lanes.get(end)
    }

    /// Adds each link's routes and claims here.
    pub(super) fn count_ends(&self, links: &Links, ends: &mut FxHashMap<LinkId, usize>) {
        for lane in self.lanes.values() {
            lane.count_ends(links, ends);
        }
    }

    /// Runs `f` on one lane; `make`: on a new one where there is none.
    pub(super) fn lane(
        &mut self,
        hub: &mut Hub,
        end: &EndId,
        make: bool,
        now: Millis,
        actions: &mut Vec<Action>,
        f: impl FnOnce(&mut Lane, &mut Env<'_>),
    ) {
        let Self { lanes, count, epoch, partition, settling, .. } = self;
        let lane = match lanes.get_mut(end) {
            Some(lane) => lane,
            None if make => lanes.entry(end.clone()).or_insert_with(Lane::new),
            None => return,
        };
        let mut env = env(hub, end, *epoch, count, *settling, now, actions);
        f(lane, &mut env);
        let void = lane.is_void();
        if !hub.effects.is_empty() {
            hub.run_effects(*partition, *epoch, end, actions);
        }
        if void {
            lanes.remove(end);
        }
    }

    /// Runs `f` on all lanes.
    pub(super) fn each(
        &mut self,
        hub: &mut Hub,
        now: Millis,
        actions: &mut Vec<Action>,
        mut f: impl FnMut(&mut Lane, &mut Env<'_>),
    ) {
        let Self { lanes, count, epoch, partition, settling, .. } = self;
        for (end, lane) in lanes.iter_mut() {
            let mut env = env(hub, end, *epoch, count, *settling, now, actions);
            f(lane, &mut env);
            if !hub.effects.is_empty() {
                hub.run_effects(*partition, *epoch, end, actions);
            }
        }
        lanes.retain(|_, lane| !lane.is_void());
    }

    pub(super) fn tick(
        &mut self,
        hub: &mut Hub,
        view: Option<&View>,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        if self.settling {
            let synced = view.is_some_and(|view| hub.links.all_synced(view.number));
            self.settling = !synced && self.since + SETTLE_MS > now;
        }
        let sweep = self.next_sweep <= now;
        if sweep {
            self.next_sweep = now + hub.config.sweep_ms;
        }
        self.each(hub, now, actions, |lane, env| {
            if sweep {
                lane.sweep(env);
            }
            if lane.is_busy() {
                lane.tick(env);
            }
        });
    }
}

fn env<'a>(
    hub: &'a mut Hub,
    end: &'a EndId,
    epoch: Epoch,
    count: &'a mut u64,
    settling: bool,
    now: Millis,
    actions: &'a mut Vec<Action>,
) -> Env<'a> {
    Env {
        now,
        end,
        epoch,
        count,
        clock: &hub.clock,
        after: hub.after,
        config: &hub.config,
        settling,
        may_rest: hub.may_rest,
        renewals: hub.renewals,
        links: &mut hub.links,
        actions,
        effects: &mut hub.effects,
        counters: &mut hub.counters,
        us: hub.us,
        results: &mut hub.results,
    }
}
