//! The view: compare-and-set and renewals.

use std::sync::Arc;

use futures_util::future::join_all;
use uuid::Uuid;
use wardlink_ms::store::{Applied, Beat, OpTime, Renewal, Store, ViewKey};
use wardlink_view::View;
use wardlink_wire::{MsId, ViewNumber};

use crate::fixtures::{change, first, ms, now_ms, view};

type AnyStore = Arc<dyn Store>;

async fn read(store: &AnyStore) -> Option<View> {
    store.read_view(OpTime(0)).await.unwrap().value
}

async fn renew(store: &AnyStore, expect: &View, me: MsId) -> Option<Vec<Beat>> {
    let renewal = Renewal { expect: ViewKey::of(expect), me, links: 3 };
    store.renew(renewal).await.unwrap().value.map(|renewed| renewed.beats)
}

fn renewals_of(beats: &[Beat], ms: MsId) -> u64 {
    beats.iter().find(|beat| beat.ms == ms).unwrap().renewals
}

async fn make(store: &AnyStore, to: &View) {
    assert_eq!(store.change_view(first(to)).await.unwrap().value, Applied::Yes);
}

pub(crate) async fn a_view_is_read_as_it_was_written(store: AnyStore) {
    assert_eq!(read(&store).await, None);
    // All 64 bits count.
    let made = view(u64::MAX - 7, &[ms(), ms(), ms()]);
    make(&store, &made).await;
    assert_eq!(read(&store).await, Some(made.clone()));
    let mut next = view(u64::MAX - 1, &made.members[1..]);
    next.slots[9].owner = None;
    let reply = store.change_view(change(&made, &next)).await.unwrap();
    assert_eq!(reply.value, Applied::Yes);
    assert_eq!(store.read_view(reply.time).await.unwrap().value, Some(next));
}

pub(crate) async fn the_first_view_is_made_once(store: AnyStore) {
    let made = view(5, &[ms()]);
    make(&store, &made).await;
    let other = view(6, &[ms()]);
    assert_eq!(store.change_view(first(&other)).await.unwrap().value, Applied::No);
    assert_eq!(read(&store).await, Some(made));
}

pub(crate) async fn a_change_needs_number_and_id(store: AnyStore) {
    let made = view(5, &[ms()]);
    let next = view(9, &made.members);
    let mut wrong = change(&made, &next);
    assert_eq!(store.change_view(wrong.clone()).await.unwrap().value, Applied::No, "no document");
    make(&store, &made).await;
    for expect in [
        ViewKey { number: ViewNumber(4), id: made.id },
        ViewKey { number: made.number, id: Uuid::new_v4() },
    ] {
        wrong.expect = Some(expect);
        assert_eq!(store.change_view(wrong.clone()).await.unwrap().value, Applied::No);
    }
    assert_eq!(read(&store).await, Some(made));
}

pub(crate) async fn of_concurrent_changes_one_wins(store: AnyStore) {
    let members = [ms()];
    let mut current: Option<View> = None;
    for round in 1..=25_u64 {
        let tries = (0..8).map(|_| {
            let store = store.clone();
            let next = view(round * 10, &members);
            let attempt = match &current {
                None => first(&next),
                Some(current) => change(current, &next),
            };
            tokio::spawn(async move { (next, store.change_view(attempt).await.unwrap().value) })
        });
        let results = join_all(tries).await;
        let mut winners = results
            .into_iter()
            .map(Result::unwrap)
            .filter(|(_, applied)| *applied == Applied::Yes)
            .map(|(next, _)| next);
        current = Some(winners.next().expect("one change wins"));
        assert_eq!(winners.next(), None, "round {round}");
        assert_eq!(read(&store).await, current);
    }
}

pub(crate) async fn a_renewal_is_refused_after_a_change(store: AnyStore) {
    let me = ms();
    let made = view(5, &[me]);
    make(&store, &made).await;
    assert!(renew(&store, &made, me).await.is_some());
    let next = view(9, &[me]);
    assert_eq!(store.change_view(change(&made, &next)).await.unwrap().value, Applied::Yes);
    assert!(renew(&store, &made, me).await.is_none());
    // The number alone is not enough.
    let mut other = next.clone();
    other.id = Uuid::new_v4();
    assert!(renew(&store, &other, me).await.is_none());
    assert!(renew(&store, &next, me).await.is_some());
}

pub(crate) async fn a_change_leaves_the_beats_of_others(store: AnyStore) {
    let (a, b, c) = (ms(), ms(), ms());
    let made = view(5, &[a, b]);
    make(&store, &made).await;
    for _ in 0..3 {
        renew(&store, &made, a).await.unwrap();
    }
    let beats = renew(&store, &made, b).await.unwrap();
    assert_eq!((renewals_of(&beats, a), renewals_of(&beats, b)), (3, 1));
    assert_eq!(beats.iter().find(|beat| beat.ms == a).unwrap().links, 3);
    let next = view(9, &[a, c]);
    assert_eq!(store.change_view(change(&made, &next)).await.unwrap().value, Applied::Yes);
    let beats = renew(&store, &next, a).await.unwrap();
    assert_eq!((renewals_of(&beats, a), renewals_of(&beats, c)), (4, 0));
    assert_eq!(beats.len(), 2);
    assert_eq!(read(&store).await.unwrap().members, next.members);
}

pub(crate) async fn only_members_renew(store: AnyStore) {
    let made = view(5, &[ms()]);
    assert!(renew(&store, &made, made.members[0]).await.is_none(), "there is no view");
    make(&store, &made).await;
    assert!(renew(&store, &made, ms()).await.is_none());
    assert_eq!(read(&store).await.unwrap().members, made.members);
}

pub(crate) async fn the_clock_is_the_time_of_now(store: AnyStore) {
    let made = view(5, &[ms()]);
    make(&store, &made).await;
    let renewal = Renewal { expect: ViewKey::of(&made), me: made.members[0], links: 0 };
    let before = now_ms();
    let mut last = 0;
    for _ in 0..20 {
        let clock = store.renew(renewal).await.unwrap().value.unwrap().clock_ms;
        assert!(clock >= last);
        last = clock;
    }
    // Both run on this machine.
    assert!(last + 1 >= before && last <= now_ms() + 1);
}
