//! Traces 8 to 12: who has the route.

use wardlink_defect::Defect;
use wardlink_ms::core::api::StoreOp;
use wardlink_ms::store::{Row, StoreError};
use wardlink_wire::{Outcome, Stamp};

use crate::holds;
use crate::rig::{Kind, NOTHING, Rig, Session, b, server};

/// The row is written, and the answer is lost.
#[test]
fn trace_08_a_row_write_whose_answer_is_lost_is_repeated_and_does_not_refuse_itself() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (link, s) = (rig.link(m1, 1), Session::new(1));
    rig.hold(m1, Kind::WriteRow);
    rig.register(link, rig.epoch(), &s);
    let write = rig.held(m1, Kind::WriteRow);
    rig.lose_answer(write);
    rig.pass(200);
    rig.release(m1, Kind::WriteRow);
    let stamp = rig.registered(link, &s).expect("registered in the end");
    assert_eq!(rig.db.row(&b()).map(|row| (row.session, row.stamp)), Some((s.id, stamp)));
    assert!(!rig.superseded(link, &s));
}

/// Between the read of the row and its write a former owner's late write is applied: of an older
/// session, with a stamp above the one that this session brings along. There is no later view.
#[test]
fn trace_08_a_refused_row_write_reads_view_and_row_again_and_decides_again() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (l1, l2) = (rig.link(m1, 1), rig.link(m2, 1));
        let mut newer = Session::nth(2);
        rig.register(l1, rig.epoch(), &newer);
        newer.stamp = rig.registered(l1, &newer);
        let late = Stamp { count: 99, ..newer.stamp.unwrap() };

        rig.hold(m2, Kind::WriteRow);
        let epoch = rig.give(m2);
        rig.register(l2, epoch, &newer);
        let write = rig.held(m2, Kind::WriteRow);
        let client = newer_client(&write.op);
        let older = Session::nth(1);
        let row = Row { end: b(), server: server(2), session: older.id, stamp: late, client, n: 1 };
        rig.db.apply(&StoreOp::WriteRow(row));
        rig.answer(write);
        rig.release(m2, Kind::WriteRow);
        rig.pass(200);
        assert!(rig.registered(l2, &newer).is_some(), "the register has no answer");
        assert_eq!(rig.db.row(&b()).map(|row| row.session), Some(newer.id));
    }
    holds(scenario, &[(Defect::RefusedRowGivesUp, "the register has no answer")]);
}

fn newer_client(op: &StoreOp) -> Option<wardlink_wire::ClientId> {
    match op {
        StoreOp::WriteRow(row) => row.client.clone(),
        _ => None,
    }
}

/// The first connection's register waits in a slow MS while the second one registers.
#[test]
fn trace_09_of_one_program_the_later_connection_wins_whatever_the_stamps() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (first, second) = (rig.link(m1, 1), rig.link(m1, 2));
        let (s1, s2, epoch) = (Session::nth(1), Session::nth(2), rig.epoch());
        rig.register(second, epoch, &s2);
        rig.register(first, epoch, &s1);
        assert!(!rig.superseded(second, &s2), "the newer session is superseded");
        assert!(rig.superseded(first, &s1));
        rig.send(first, epoch, "m1");
        assert_eq!(rig.shown(second, &s2), ["m1"]);
    }
    holds(scenario, &[(Defect::NoClientNumber, "the newer session is superseded")]);
}

/// An older session's unregister comes when a newer one has the end.
#[test]
fn trace_09_a_late_unregister_of_an_older_session_removes_nothing() {
    fn scenario() {
        let mut rig = Rig::new();
        let m1 = rig.ms();
        let (link, epoch) = (rig.link(m1, 1), rig.epoch());
        let (s1, s2) = (Session::nth(1), Session::nth(2));
        rig.register(link, epoch, &s1);
        rig.register(link, epoch, &s2);
        rig.unregister(link, epoch, &s1);
        assert_eq!(rig.db.row(&b()).map(|row| row.session), Some(s2.id), "the newer row is gone");
        rig.send(link, epoch, "m1");
        assert_eq!(rig.shown(link, &s2), ["m1"]);
    }
    holds(scenario, &[(Defect::UnregisterByEnd, "the newer row is gone")]);
}

/// A sweep deletes s2's row before s2's BS has the new view; half-open s1 registers first, new,
/// and gets a higher stamp than the one that s2 brings along.
#[test]
fn trace_10_a_deleted_row_does_not_let_an_older_connection_win() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (s1, mut s2) = (Session::nth(1), Session::nth(2));
        let old = rig.link(m1, 2);
        rig.register(old, rig.epoch(), &s2);
        s2.stamp = rig.registered(old, &s2);
        rig.db.lose_row(&b());

        let (first, second, epoch) = (rig.link(m2, 1), rig.link(m2, 2), rig.give(m2));
        rig.register(first, epoch, &s1);
        assert!(rig.registered(first, &s1) > s2.stamp, "s1 has the higher stamp");
        rig.register(second, epoch, &s2);
        assert!(!rig.superseded(second, &s2), "the newer session is told superseded");
        assert!(rig.superseded(first, &s1));
        let row = rig.db.row(&b()).expect("a row");
        assert_eq!((row.session, Some(row.stamp)), (s2.id, rig.registered(second, &s2)));
    }
    holds(scenario, &[(Defect::NoClientNumber, "the newer session is told superseded")]);
}

/// The row of a session that has the route is lost.
#[test]
fn trace_10_a_missing_row_of_a_registered_session_is_written_again() {
    fn scenario() {
        let mut rig = Rig::new();
        rig.config.sweep_ms = 4_000;
        let m1 = rig.ms();
        let (link, s) = (rig.link(m1, 1), Session::nth(1));
        rig.register(link, rig.epoch(), &s);
        rig.db.lose_row(&b());
        rig.pass(9_000);
        assert_eq!(rig.db.row(&b()).map(|row| row.session), Some(s.id), "the row stays away");
    }
    holds(scenario, &[(Defect::NoSweepOfMissingRows, "the row stays away")]);
}

/// A register reaches a former owner, whose row write the newer owner's row refuses.
#[test]
fn trace_11_a_register_that_loses_at_the_row_leaves_the_route_alone() {
    fn scenario() {
        let mut rig = Rig::new();
        let (m1, m2) = rig.two();
        let (sender, old, new) = (rig.link(m1, 1), rig.link(m1, 2), rig.link(m2, 3));
        let (s1, s2, s3, epoch) = (Session::nth(1), Session::nth(2), Session::nth(3), rig.epoch());
        rig.register(old, epoch, &s1);
        rig.send(sender, epoch, "m1");
        rig.hold(m1, Kind::ReadView);
        rig.hold(m1, Kind::WriteRow);
        let next = rig.give(m2);
        rig.register(new, next, &s3);

        rig.register(sender, epoch, &s2);
        rig.send(sender, epoch, "m2");
        rig.ack(old, &s1, "m1");
        assert_eq!(
            rig.shown(old, &s1),
            ["m1", "m2"],
            "the route is left for a register that waits"
        );
        rig.release(m1, Kind::WriteRow);
        rig.send(sender, epoch, "m3");
        assert_eq!(rig.shown(old, &s1), ["m1", "m2", "m3"], "the refused register broke the route");
        assert_eq!(rig.registered(sender, &s2), None);
        assert_eq!(rig.db.row(&b()).map(|row| row.session), Some(s3.id));
        assert_eq!(rig.result(sender, "m1"), Some(Outcome::Delivered));
    }
    holds(scenario, &[(Defect::RouteLeftBeforeYes, "the route is left for a register that waits")]);
}

/// Nobody knows whether the row was written: the route stays until somebody does.
#[test]
fn trace_11_an_unknown_row_write_leaves_the_route_alone() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (link, epoch) = (rig.link(m1, 1), rig.epoch());
    let (s1, s2) = (Session::nth(1), Session::nth(2));
    rig.register(link, epoch, &s1);
    rig.hold(m1, Kind::WriteRow);
    rig.register(link, epoch, &s2);
    let write = rig.held(m1, Kind::WriteRow);
    rig.fail(write, StoreError::Unknown);
    rig.send(link, epoch, "m1");
    assert_eq!(rig.shown(link, &s1), ["m1"]);
    rig.pass(200);
    rig.release(m1, Kind::WriteRow);
    assert!(rig.registered(link, &s2).is_some() && rig.superseded(link, &s1));
    assert_eq!(rig.shown(link, &s2), ["m1"], "what s1 did not ack comes to s2");
}

/// s1 and s2 of one end are on one link; m1 was on its way to s1 when s2 took over.
#[test]
fn trace_12_a_deliver_names_its_session_and_an_ack_of_another_counts_nothing() {
    let mut rig = Rig::new();
    let m1 = rig.ms();
    let (link, epoch) = (rig.link(m1, 1), rig.epoch());
    let (s1, s2) = (Session::nth(1), Session::nth(2));
    rig.register(link, epoch, &s1);
    rig.send(link, epoch, "m1");
    rig.hold(m1, Kind::ReadMailbox);
    rig.register(link, epoch, &s2);
    rig.send(link, epoch, "m2");
    assert_eq!(rig.shown(link, &s2), NOTHING, "m2 waits for what s1 did not ack");
    rig.ack(link, &s1, "m1");
    assert_eq!(rig.db.mailbox(&b())[0], "m1", "the late ack of s1 settles nothing");
    rig.release(m1, Kind::ReadMailbox);
    assert_eq!(rig.shown(link, &s2), ["m1", "m2"]);
    let again: Vec<bool> = rig.delivers(link).iter().map(|d| d.redelivered).collect();
    assert_eq!(again, [false, true, false], "m1 was handed out before");
    rig.ack(link, &s2, "m1");
    assert_eq!(rig.result(link, "m1"), Some(Outcome::Stored));
    assert!(!rig.db.mailbox(&b()).contains(&"m1".to_owned()));
}
