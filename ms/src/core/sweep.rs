//! Housekeeping across lanes: servers that are linked, rows of servers that are gone, rows of
//! sessions that nobody registered. Each lane looks at its own row and mailbox by itself.

use wardlink_wire::{EndId, ServerId};

use super::api::{Action, Millis, StoreOp, StoreValue};
use super::{Core, Pending};
use crate::store::{Row, StoreError};

/// Between two notes of which servers are linked, in milliseconds.
const TOUCH_MS: Millis = 10_000;
/// Rows of a server that no MS has noted for so long are deleted, in milliseconds.
const QUIET_MS: u64 = 30_000;
/// Servers whose rows are deleted at a time.
const QUIET_LIMIT: usize = 16;
/// Rows looked at in one operation.
const ROWS_PAGE: usize = 1_000;

#[derive(Debug)]
pub(super) struct Sweep {
    touch_at: Millis,
    touching: bool,
    /// Since when notes have succeeded without a failure between.
    touched_since: Option<Millis>,
    quiet_at: Millis,
    rows_at: Millis,
    /// Of which servers rows are being looked at, and from which end on.
    rows: Option<(Vec<ServerId>, Option<EndId>)>,
}

impl Sweep {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            touch_at: now,
            touching: false,
            touched_since: None,
            quiet_at: now + QUIET_MS,
            rows_at: now,
            rows: None,
        }
    }
}

impl Core {
    pub(super) fn sweep_tick(&mut self, now: Millis, actions: &mut Vec<Action>) {
        if !self.serving() {
            return;
        }
        if self.sweep.touch_at <= now && !self.sweep.touching {
            self.sweep.touch_at = now + TOUCH_MS;
            let servers: Vec<ServerId> =
                self.hub.links.greeted().map(|(_, _, h)| h.server).collect();
            if !servers.is_empty() {
                self.sweep.touching = true;
                self.hub.begin(Pending::Touch, StoreOp::Touch(servers), actions);
            }
        }
        // Only who could note its own servers all the while may call others' silence silence.
        let sure = self.sweep.touched_since.is_some_and(|since| since + QUIET_MS <= now);
        if self.sweep.quiet_at <= now && sure {
            self.sweep.quiet_at = now + QUIET_MS;
            let op =
                StoreOp::Quiet { quiet_ms: QUIET_MS, limit: QUIET_LIMIT, after: self.hub.after };
            self.hub.begin(Pending::Quiet, op, actions);
        }
        if self.sweep.rows_at <= now && self.sweep.rows.is_none() {
            self.sweep.rows_at = now + self.hub.config.sweep_ms;
            let Some(number) = self.member.view().map(|view| view.number) else { return };
            let servers: Vec<ServerId> = self
                .hub
                .links
                .greeted()
                .filter(|(_, link, hello)| !link.plain && hello.synced >= number)
                .map(|(_, _, hello)| hello.server)
                .collect();
            if !servers.is_empty() {
                self.read_rows_of(servers, None, actions);
            }
        }
    }

    fn read_rows_of(
        &mut self,
        servers: Vec<ServerId>,
        above: Option<EndId>,
        actions: &mut Vec<Action>,
    ) {
        self.sweep.rows = Some((servers.clone(), above.clone()));
        let op = StoreOp::RowsOf { servers, above, limit: ROWS_PAGE, after: self.hub.after };
        self.hub.begin(Pending::RowsOf, op, actions);
    }

    pub(super) fn swept(
        &mut self,
        what: Pending,
        value: Result<StoreValue, StoreError>,
        now: Millis,
        actions: &mut Vec<Action>,
    ) {
        match (what, value) {
            (Pending::Touch, value) => {
                self.sweep.touching = false;
                self.sweep.touched_since =
                    value.ok().map(|_| self.sweep.touched_since.unwrap_or(now));
            }
            (Pending::Quiet, Ok(StoreValue::Servers(servers))) => {
                for server in servers {
                    if self.hub.links.of_server(server).is_none() {
                        self.hub.begin(Pending::Other, StoreOp::DeleteRowsOf(server), actions);
                    }
                }
            }
            (Pending::RowsOf, Ok(StoreValue::Rows(rows))) => self.rows_read(rows, now, actions),
            (Pending::RowsOf, _) => self.sweep.rows = None,
            _ => {}
        }
    }

    /// Rows of linked, synced BSs: those whose session nobody registered here go.
    fn rows_read(&mut self, rows: Vec<Row>, now: Millis, actions: &mut Vec<Action>) {
        let Some((servers, _)) = self.sweep.rows.take() else { return };
        let next =
            (rows.len() >= ROWS_PAGE).then(|| rows.last().map(|row| row.end.clone())).flatten();
        let number = self.member.view().map(|view| view.number);
        for row in rows {
            let partition = row.end.partition();
            let synced = self.hub.links.greeted().any(|(_, _, hello)| {
                hello.server == row.server && number.is_some_and(|number| hello.synced >= number)
            });
            let Some(part) = self.parts[partition.index()].as_mut().filter(|_| synced) else {
                continue;
            };
            let registered = part.peek(&row.end).is_some_and(|lane| {
                lane.route().is_some_and(|route| route.session == row.session)
                    || lane.claims(row.session)
            });
            if !registered {
                let Row { end, server, session, .. } = row;
                part.lane(&mut self.hub, &end, true, now, actions, |lane, env| {
                    lane.orphan(env, server, session);
                });
            }
        }
        if next.is_some() {
            self.read_rows_of(servers, next, actions);
        }
    }
}
