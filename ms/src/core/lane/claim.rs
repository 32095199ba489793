//! Who has the route: registers and unregisters of one end, one after the other.

use wardlink_defect::{Defect, planted};
use wardlink_wire::link::{Register, Registered, ToBs};
use wardlink_wire::{ClientId, ServerId, SessionId, Stamp};

use super::{Effect, Env, Holder, Known, Lane, Op, Route, Work};
use crate::core::api::{Action, Counters, LinkId, Millis, StoreOp, StoreValue};
use crate::core::links::Links;
use crate::store::{Applied, Row, StoreError};

/// Claims that wait in one lane. Beyond, the oldest register that is not under way makes room
/// (its BS repeats it); where there is none, only what ends the route is taken.
const CLAIMS_MAX: usize = 16;
/// A register that could not be decided for so long is dropped, in milliseconds: its BS repeats
/// it every 3 s while it means it.
const CLAIM_LIFE_MS: Millis = 10_000;

#[derive(Debug)]
pub(super) enum Claim {
    Register {
        link: LinkId,
        session: SessionId,
        stamp: Option<Stamp>,
        client: Option<ClientId>,
        n: u64,
        since: Millis,
    },
    Unregister {
        server: ServerId,
        session: SessionId,
    },
    /// The sweep found a row of a session that nobody registered.
    Orphan {
        server: ServerId,
        session: SessionId,
    },
}

impl Claim {
    pub(super) fn is_register_of(&self, of: SessionId) -> bool {
        matches!(self, Claim::Register { session, .. } if *session == of)
    }

    /// The link that it counts on.
    pub(super) fn link(&self, links: &Links) -> Option<LinkId> {
        match self {
            Claim::Register { link, .. } => Some(*link),
            Claim::Unregister { server, .. } => links.of_server(*server),
            Claim::Orphan { .. } => None,
        }
    }

    pub(super) fn is_on(&self, on: LinkId) -> bool {
        matches!(self, Claim::Register { link, .. } if *link == on)
    }
}

impl Lane {
    pub(in crate::core) fn register(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        register: Register,
    ) {
        let Register { session, stamp, client, n, .. } = register;
        if let Some(route) = self.route
            && (route.link, route.session) == (link, session)
            && self.work.as_ref().is_none_or(|w| w.claims.is_empty())
        {
            return answer(env, link, route);
        }
        let now = env.now;
        let work = self.work();
        let claims = &mut work.claims;
        // A repeat renews the claim that waits; the one under way is left alone.
        if let Some(Claim::Register { link: old, since, .. }) =
            claims.iter_mut().find(|c| c.is_register_of(session))
        {
            *since = now;
            if work.op.is_none() {
                *old = link;
            }
            if *old == link {
                return self.pump(env);
            }
        }
        if work.claims_are_full(env.counters) {
            return self.pump(env);
        }
        work.claims.push_back(Claim::Register { link, session, stamp, client, n, since: now });
        self.pump(env);
    }

    pub(in crate::core) fn unregister(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        session: SessionId,
    ) {
        let Some(server) = env.links.server(link) else { return };
        let work = self.work();
        let writing = matches!(work.op, Some(Op::WriteRow { .. }));
        let mut first = true;
        work.claims.retain(|claim| {
            let keep = (first && writing) || !claim.is_register_of(session);
            first = false;
            keep
        });
        // Without the route there is nothing here to leave; the row is the sweep's to find.
        let routed = self.route.is_some_and(|route| route.session == session);
        let work = self.work();
        if work.claims_are_full(env.counters) && !routed {
            return self.pump(env);
        }
        work.claims.push_back(Claim::Unregister { server, session });
        self.pump(env);
    }

    /// A sweep found a row that names `session`, which its BS has not registered here.
    pub(in crate::core) fn orphan(
        &mut self,
        env: &mut Env<'_>,
        server: ServerId,
        session: SessionId,
    ) {
        let work = self.work();
        if work.claims.len() < CLAIMS_MAX {
            work.claims.push_back(Claim::Orphan { server, session });
        }
        self.pump(env);
    }

    pub(super) fn expire_claims(&mut self, env: &Env<'_>) {
        let now = env.now;
        let work = self.work();
        if work.op.is_none() {
            work.claims.retain(|claim| match claim {
                Claim::Register { since, .. } => *since + CLAIM_LIFE_MS > now,
                Claim::Unregister { .. } | Claim::Orphan { .. } => true,
            });
        }
    }

    /// Decides claims from the head on until one needs the database.
    pub(super) fn claim_op(&mut self, env: &mut Env<'_>) -> Option<(Op, StoreOp)> {
        loop {
            let work = self.work();
            if work.await_view {
                return None;
            }
            match work.claims.front()? {
                Claim::Register { link, session, .. } => {
                    let (link, session) = (*link, *session);
                    let Some(server) = env.links.server(link) else {
                        work.claims.pop_front();
                        continue;
                    };
                    if let Some(route) = self.route
                        && (route.link, route.session) == (link, session)
                    {
                        self.work().claims.pop_front();
                        answer(env, link, route);
                        continue;
                    }
                    if matches!(self.known, Known::Unread) {
                        let read = StoreOp::ReadRow { end: env.end.clone(), after: env.after };
                        return Some((Op::ReadRow, read));
                    }
                    if let Some(op) = self.decide(env, server) {
                        return Some(op);
                    }
                    if self.work().await_view {
                        return None;
                    }
                }
                Claim::Unregister { server, session } => {
                    let (server, session) = (*server, *session);
                    work.claims.pop_front();
                    if self
                        .route
                        .is_some_and(|r| r.session == session || planted(Defect::UnregisterByEnd))
                    {
                        self.leave();
                    }
                    if let Some(op) = self.delete_row(env, server, session) {
                        return Some(op);
                    }
                }
                Claim::Orphan { server, session } => {
                    let (server, session) = (*server, *session);
                    work.claims.pop_front();
                    let has_route = self.route.is_some_and(|r| r.session == session);
                    if !has_route && !self.claims(session) {
                        if matches!(&self.known, Known::Row(Some(h)) if h.session == session) {
                            self.known = Known::Unread;
                        }
                        let end = env.end.clone();
                        return Some((Op::DeleteRow, StoreOp::DeleteRow { end, server, session }));
                    }
                }
            }
        }
    }

    /// Deletes the row of `session` unless it is known to name another.
    fn delete_row(
        &mut self,
        env: &Env<'_>,
        server: ServerId,
        session: SessionId,
    ) -> Option<(Op, StoreOp)> {
        let other = match &self.known {
            Known::Unread => false,
            Known::Row(None) => true,
            Known::Row(Some(holder)) => holder.session != session,
        };
        if other && !planted(Defect::UnregisterByEnd) {
            return None;
        }
        let session = match &self.known {
            Known::Row(Some(holder)) if planted(Defect::UnregisterByEnd) => holder.session,
            _ => session,
        };
        // Until the answer is there, nothing is known: the delete may come late or not at all.
        self.known = Known::Unread;
        Some((Op::DeleteRow, StoreOp::DeleteRow { end: env.end.clone(), server, session }))
    }

    /// The head is a register on an open link, and the row is known: it loses, or its row is written.
    fn decide(&mut self, env: &mut Env<'_>, server: ServerId) -> Option<(Op, StoreOp)> {
        let Known::Row(holder) = self.known.clone() else { return None };
        let Some(Claim::Register { link, session, stamp, client, n, .. }) =
            self.work().claims.front()
        else {
            return None;
        };
        let (link, session, own, client, n) = (*link, *session, *stamp, client.clone(), *n);
        if let Some(holder) = &holder
            && let Some(higher) =
                [holder.stamp.epoch, own.unwrap_or_default().epoch].into_iter().max()
            && higher > env.epoch
        {
            env.effects.push(Effect::Anew(higher));
            self.work().await_view = true;
            return None;
        }
        if let Some(holder) = &holder
            && !wins(holder, session, own, client.as_ref(), n)
        {
            self.work().claims.pop_front();
            supersede(env, link, session, holder.stamp);
            return None;
        }
        let highest = |own: &Stamp| match &holder {
            None => true,
            Some(h) if h.session == session => *own >= h.stamp,
            Some(h) => *own > h.stamp,
        };
        let stamp = own.filter(highest).unwrap_or_else(|| env.stamp());
        if planted(Defect::RouteLeftBeforeYes) && self.route.is_some() {
            self.leave();
        }
        if let Some(holder) = holder.filter(|holder| holder.session != session) {
            self.work().displaced = Some((holder.server, holder.session));
        }
        let holder = Box::new(Holder { server, session, stamp, client, n });
        let row = holder.row(env);
        Some((Op::WriteRow { holder, link }, StoreOp::WriteRow(row)))
    }

    pub(super) fn row_read(&mut self, row: Option<Row>) {
        self.known = Known::Row(row.map(|row| Box::new(Holder::of(row))));
    }

    pub(super) fn row_written(
        &mut self,
        env: &mut Env<'_>,
        new: Box<Holder>,
        link: LinkId,
        value: Result<StoreValue, StoreError>,
    ) {
        match value {
            Ok(StoreValue::Applied(Applied::Yes)) => {
                self.work().claims.pop_front();
                self.install(env, new, link);
            }
            Ok(_) if planted(Defect::RefusedRowGivesUp) => {
                self.work().claims.pop_front();
            }
            Ok(_) => {
                // Somebody's write is newer than what was read: the view first, then the row.
                self.known = Known::Unread;
                self.work().await_view = true;
                env.effects.push(Effect::NeedView);
            }
            // The row may or may not be there now: what was read of it is worth nothing.
            Err(_) => self.known = Known::Unread,
        }
    }

    /// The row's yes: the old route is left, whoever lost is told, the new route begins.
    fn install(&mut self, env: &mut Env<'_>, new: Box<Holder>, link: LinkId) {
        let Holder { session, stamp, .. } = *new;
        self.known = Known::Row(Some(new));
        let named = self.work().displaced.take();
        let old = self.route;
        if let Some(old) = old {
            self.leave();
            if old.session != session {
                supersede(env, old.link, old.session, stamp);
            }
        }
        if let Some((server, lost)) = named
            && lost != session
            && old.is_none_or(|old| old.session != lost)
            && let Some(at) = env.links.of_server(server)
        {
            supersede(env, at, lost, stamp);
        }
        if env.links.server(link).is_none() {
            return;
        }
        let route = Route { link, session, stamp };
        self.route = Some(route);
        self.direct = planted(Defect::RegisterDirectWithoutRead);
        self.work().cursor = None;
        answer(env, link, route);
    }

    pub(super) fn row_swept(&mut self, env: &mut Env<'_>, row: Option<Row>) {
        self.work().sweep_row = false;
        let Some(route) = self.route else { return };
        let Known::Row(Some(holder)) = &self.known else { return };
        let newer_or_ours = row.is_some_and(|row| row.stamp >= route.stamp);
        if holder.session == route.session && !newer_or_ours {
            let row = holder.row(env);
            self.work().op = Some(Op::RewriteRow);
            env.effects.push(Effect::Op(StoreOp::WriteRow(row)));
        }
    }
}

impl Work {
    /// Whether there is no room for another claim, also after the oldest register made room.
    fn claims_are_full(&mut self, counters: &mut Counters) -> bool {
        if self.claims.len() < CLAIMS_MAX {
            return false;
        }
        counters.claims_dropped += 1;
        let is_register = |claim: &Claim| matches!(claim, Claim::Register { .. });
        match self.claims.iter().skip(1).position(is_register) {
            Some(at) => self.claims.remove(at + 1).is_none(),
            None => true,
        }
    }
}

impl Holder {
    fn of(row: Row) -> Self {
        let Row { server, session, stamp, client, n, .. } = row;
        Self { server, session, stamp, client, n }
    }

    fn row(&self, env: &Env<'_>) -> Row {
        Row {
            end: env.end.clone(),
            server: self.server,
            session: self.session,
            stamp: self.stamp,
            client: self.client.clone(),
            n: self.n,
        }
    }
}

/// Whether a register wins over the row: of one client the higher `n`, else the higher stamp,
/// and a session without a stamp is the newest.
fn wins(
    holder: &Holder,
    session: SessionId,
    stamp: Option<Stamp>,
    client: Option<&ClientId>,
    n: u64,
) -> bool {
    if holder.session == session {
        return true;
    }
    if client.is_some()
        && holder.client.as_ref() == client
        && !planted(Defect::NoClientNumber)
        && holder.n != n
    {
        return n > holder.n;
    }
    stamp.is_none_or(|stamp| stamp > holder.stamp)
}

fn answer(env: &mut Env<'_>, link: LinkId, route: Route) {
    if env.links.is_plain(link) {
        return;
    }
    let Route { session, stamp, .. } = route;
    let item = Registered { epoch: env.epoch, end: env.end.clone(), session, stamp };
    env.actions.push(Action::Send(link, ToBs::Registered(item)));
}

fn supersede(env: &mut Env<'_>, link: LinkId, session: SessionId, stamp: Stamp) {
    if env.links.server(link).is_none() || env.links.is_plain(link) {
        return;
    }
    let item = Registered { epoch: env.epoch, end: env.end.clone(), session, stamp };
    env.actions.push(Action::Send(link, ToBs::Superseded(item)));
}
