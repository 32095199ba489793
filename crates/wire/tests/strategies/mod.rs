//! Any value of every type that travels.

#![allow(dead_code, reason = "each test program uses its part")]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;
use wardlink_wire::link::{
    self, Ack, Counts, Deliver, ErrorCode, ErrorItem, Hello, Known, Register, Registered, Send,
    SendResult, ToBs, ToMs, Unregister, ViewItem, Welcome,
};
use wardlink_wire::terminal::{Down, DownMessage, Limits, TerminalError, Token, Up, UpSend};
use wardlink_wire::{
    ClientId, EndId, Epoch, MessageId, MsId, Outcome, PARTITIONS, Reason, ServerId, SessionId,
    Stamp, StartId, ViewNumber,
};

pub(crate) fn end() -> impl Strategy<Value = EndId> {
    "[A-Za-z0-9_.]{1,32}-[A-Za-z0-9_.]{1,32}-[A-Za-z0-9_.@-]{1,64}"
        .prop_map(|text| text.parse().unwrap())
}

pub(crate) fn message_id() -> impl Strategy<Value = MessageId> {
    "[A-Za-z0-9_.:-]{1,64}".prop_map(|text| text.parse().unwrap())
}

fn client() -> impl Strategy<Value = ClientId> {
    "[A-Za-z0-9_.:-]{1,64}".prop_map(|text| text.parse().unwrap())
}

fn uuid() -> impl Strategy<Value = Uuid> {
    prop_oneof![any::<u128>(), Just(0)].prop_map(Uuid::from_u128)
}

/// Numbers of all magnitudes, and the ends of the range.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..300u64, Just(u64::MAX), Just(1 << 53)]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), 0..300u32, Just(u32::MAX)]
}

fn epoch() -> impl Strategy<Value = Epoch> {
    number().prop_map(Epoch)
}

fn view_number() -> impl Strategy<Value = ViewNumber> {
    number().prop_map(ViewNumber)
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (epoch(), number()).prop_map(|(epoch, count)| Stamp { epoch, count })
}

fn session() -> impl Strategy<Value = SessionId> {
    uuid().prop_map(SessionId)
}

fn ms_ids() -> impl Strategy<Value = Vec<MsId>> {
    vec(uuid().prop_map(MsId), 0..4)
}

/// JSON text of any kind, strings with escapes and whitespace within included.
pub(crate) fn body() -> impl Strategy<Value = Bytes> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<i64>().prop_map(|it| it.to_string()),
        Just("-1.5e300".to_owned()),
        any::<String>().prop_map(|it| serde_json::to_string(&it).unwrap()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|it| format!("[{}]", it.join(" , "))),
            vec(("[a-z\"\\\\]{0,3}", inner), 0..4).prop_map(|fields| {
                let field = |(name, value): (String, String)| {
                    format!("{}: {value}", serde_json::to_string(&name).unwrap())
                };
                format!("{{{}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(","))
            }),
        ]
    })
    .prop_map(Bytes::from)
}

fn error() -> impl Strategy<Value = ErrorItem> {
    (select(&ErrorCode::ALL[..]), any::<String>(), any::<String>())
        .prop_map(|(code, text, about)| ErrorItem { code, text, about })
}

fn register() -> impl Strategy<Value = Register> {
    (epoch(), end(), session(), option::of(stamp()), option::of(client()), number()).prop_map(
        |(epoch, end, session, stamp, client, n)| Register {
            epoch,
            end,
            session,
            stamp,
            client,
            n,
        },
    )
}

fn send() -> impl Strategy<Value = Send> {
    let head = (epoch(), end(), body(), option::of(end()), message_id());
    (head, number(), small(), option::of(small()), any::<bool>()).prop_map(
        |((epoch, end, body, from, id), seq, deadline_ms, ttl_s, again)| Send {
            epoch,
            end,
            body,
            from,
            id,
            seq,
            deadline_ms,
            ttl_s,
            again,
        },
    )
}

fn deliver() -> impl Strategy<Value = Deliver> {
    let head = (epoch(), end(), body(), option::of(end()), message_id());
    (head, number(), number(), session(), stamp(), any::<bool>()).prop_map(
        |(head, create_at_ms, expire_at_ms, session, stamp, redelivered)| {
            let (epoch, end, body, from, id) = head;
            Deliver {
                epoch,
                end,
                body,
                from,
                id,
                create_at_ms,
                expire_at_ms,
                session,
                stamp,
                redelivered,
            }
        },
    )
}

fn registered() -> impl Strategy<Value = Registered> {
    (epoch(), end(), session(), stamp()).prop_map(|(epoch, end, session, stamp)| Registered {
        epoch,
        end,
        session,
        stamp,
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    (uuid(), uuid(), number(), small(), view_number(), ms_ids()).prop_map(
        |(server_id, start, link, version, view, misses)| Hello {
            server_id: ServerId(server_id),
            start: StartId(start),
            link,
            version,
            view,
            misses,
        },
    )
}

fn known() -> impl Strategy<Value = Known> {
    let number = || option::of(view_number());
    (number(), number(), option::of(ms_ids()), option::of(epoch()))
        .prop_map(|(view, synced, misses, went_back)| Known { view, synced, misses, went_back })
}

fn view() -> impl Strategy<Value = ViewItem> {
    let partitions = vec((-1..5i32, epoch()), PARTITIONS);
    (view_number(), uuid(), ms_ids(), partitions)
        .prop_map(|(number, id, members, partitions)| ViewItem { number, id, members, partitions })
}

pub(crate) fn to_ms() -> impl Strategy<Value = ToMs> {
    let ack = (epoch(), end(), session(), stamp(), any::<bool>()).prop_map(
        |(epoch, end, session, stamp, expired)| Ack { epoch, end, session, stamp, expired },
    );
    let unregister = (epoch(), end(), session()).prop_map(|(epoch, end, session)| Unregister {
        epoch,
        end,
        session,
    });
    prop_oneof![
        register().prop_map(ToMs::Register),
        unregister.prop_map(ToMs::Unregister),
        send().prop_map(ToMs::Send),
        ack.prop_map(ToMs::Ack),
        hello().prop_map(ToMs::Hello),
        known().prop_map(ToMs::Known),
        error().prop_map(ToMs::Error),
        "[!-~]{1,40}".prop_map(|text| ToMs::Token(link::Token { token: text.parse().unwrap() })),
    ]
}

pub(crate) fn to_bs() -> impl Strategy<Value = ToBs> {
    let reason = option::of(select(&Reason::ALL[..]));
    let result = (epoch(), number(), select(&Outcome::ALL[..]), reason)
        .prop_map(|(epoch, seq, outcome, reason)| SendResult { epoch, seq, outcome, reason });
    let welcome = (uuid(), small(), small(), small(), number()).prop_map(
        |(ms_id, version, credit, message_ttl, clock)| Welcome {
            ms_id: MsId(ms_id),
            version,
            credit,
            message_ttl,
            clock,
        },
    );
    let counts = vec((uuid().prop_map(MsId), small()), 0..4).prop_map(|links| Counts { links });
    prop_oneof![
        deliver().prop_map(ToBs::Deliver),
        result.prop_map(ToBs::Result),
        registered().prop_map(ToBs::Registered),
        registered().prop_map(ToBs::Superseded),
        welcome.prop_map(ToBs::Welcome),
        view().prop_map(ToBs::View),
        counts.prop_map(ToBs::Counts),
        error().prop_map(ToBs::Error),
    ]
}

pub(crate) fn up() -> impl Strategy<Value = Up> {
    let send = (message_id(), end(), body(), option::of(1..=u32::MAX))
        .prop_map(|(id, to, body, ttl_s)| Up::Send(UpSend { id, to, body, ttl_s }));
    prop_oneof![
        send,
        number().prop_map(|seq| Up::Ack { seq }),
        any::<String>().prop_map(|token| Up::Token(Token(token))),
    ]
}

pub(crate) fn down() -> impl Strategy<Value = Down> {
    let limits = (small(), small(), small(), small()).prop_map(
        |(body_bytes, open_sends, ttl_s, deadline_ms)| Limits {
            body_bytes,
            open_sends,
            ttl_s,
            deadline_ms,
        },
    );
    let welcome = (end(), session(), uuid().prop_map(ServerId), limits)
        .prop_map(|(end, session, server, limits)| Down::Welcome { end, session, server, limits });
    let message = (number(), message_id(), option::of(end()), body(), number(), any::<bool>())
        .prop_map(|(seq, id, from, body, at_ms, redelivered)| {
            Down::Message(DownMessage { seq, id, from, body, at_ms, redelivered })
        });
    let reason = option::of(select(&Reason::ALL[..]));
    let result = (message_id(), select(&Outcome::ALL[..]), reason)
        .prop_map(|(id, outcome, reason)| Down::Result { id, outcome, reason });
    let error = (select(&TerminalError::ALL[..]), any::<String>(), option::of(message_id()))
        .prop_map(|(code, text, id)| Down::Error { code, text, id });
    prop_oneof![
        welcome,
        message,
        result,
        error,
        small().prop_map(|after_ms| Down::Reconnect { after_ms }),
    ]
}
