//! Which indexes there must be, and what is to be done about those that were seen: pure.
//!
//! They are those that a Message Server with `--indexes require` waits for. One that somebody made
//! on the same key with other options is left alone and reported, as is one that would let
//! messages expire early.

use wardlink_operator_api::Collections;

/// Life of what is in the collection of servers, in seconds.
const SEEN_S: i64 = 3_600;
/// Field that a message's life counts from.
const CREATED: &str = "createAt";

/// One index as it must be. All its keys ascend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) collection: String,
    pub(super) name: &'static str,
    pub(super) key: &'static [&'static str],
    pub(super) unique: bool,
    pub(super) expire_s: Option<i64>,
}

/// One index as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) name: String,
    /// Fields, and whether each ascends.
    pub(super) key: Vec<(String, bool)>,
    pub(super) unique: bool,
    /// Time to live; -1 where what it says is no whole number of seconds.
    pub(super) expire_s: Option<i64>,
    /// An option beside these that changes which documents it has: `partial`, `sparse` or
    /// `collation`.
    pub(super) option: Option<&'static str>,
}

/// What is to be done about one wanted index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It is there.
    Done,
    /// It is to be made.
    Create,
    /// It is to be given its time to live.
    Expire,
    /// Somebody's index is in the way: why, for people.
    Conflict(String),
}

/// All indexes of a cluster, for messages that live so long.
pub(super) fn wanted(collections: &Collections, ttl_s: i32) -> Vec<Wanted> {
    let index = |collection: &str, name, key| Wanted {
        collection: collection.to_owned(),
        name,
        key,
        unique: false,
        expire_s: None,
    };
    let Collections { registry, mailbox, servers, views: _ } = collections;
    vec![
        Wanted { unique: true, ..index(registry, "wardlink_end", &["endIdentifer"]) },
        index(registry, "wardlink_server", &["serverIdentifer"]),
        Wanted { expire_s: Some(i64::from(ttl_s)), ..index(mailbox, TTL_NAME, &[CREATED]) },
        index(mailbox, "wardlink_mailbox", &["endIdentifer", "stamp"]),
        Wanted { expire_s: Some(SEEN_S), ..index(servers, "wardlink_seen", &["seenAt"]) },
    ]
}

/// Name of the TTL index of the mailbox, where it is made here.
const TTL_NAME: &str = "wardlink_ttl";

/// What is to be done, with these indexes in its collection.
pub(super) fn step(wanted: &Wanted, seen: &[Seen]) -> Step {
    let same: Vec<&Seen> = seen.iter().filter(|index| wanted.same_key(index)).collect();
    if same
        .iter()
        .any(|index| wanted.objection(index).is_none() && index.expire_s == wanted.expire_s)
    {
        return Step::Done;
    }
    if wanted.expire_s.is_some() && same.iter().any(|index| wanted.objection(index).is_none()) {
        return Step::Expire;
    }
    if let Some(index) = same.first() {
        let why = wanted.objection(index).unwrap_or("has a time to live");
        return Step::Conflict(format!("{wanted}: the index {} on it {why}", index.name));
    }
    match seen.iter().find(|index| index.name == wanted.name) {
        Some(index) => Step::Conflict(format!(
            "{wanted}: an index on other fields has the name {}",
            index.name
        )),
        None => Step::Create,
    }
}

/// Indexes beside the wanted one by which messages would expire, for people.
pub(super) fn early_expiry(wanted: &Wanted, seen: &[Seen]) -> Vec<String> {
    let expires = |index: &&Seen| {
        let created = matches!(index.key.as_slice(), [(field, _)] if field == CREATED);
        created && index.expire_s.is_some() && wanted.expire_s.is_some()
    };
    let foreign = seen
        .iter()
        .filter(expires)
        .filter(|index| !wanted.same_key(index) || wanted.objection(index).is_some());
    let words = foreign.map(|index| {
        format!("{}: messages expire by the index {}, too", wanted.collection, index.name)
    });
    words.collect()
}

impl Wanted {
    pub(super) fn same_key(&self, seen: &Seen) -> bool {
        let ascending = seen.key.iter().map(|(field, ascends)| ascends.then_some(field.as_str()));
        ascending.eq(self.key.iter().copied().map(Some))
    }

    /// What in an index on the same key can not be changed; a time to live can.
    pub(super) fn objection(&self, seen: &Seen) -> Option<&'static str> {
        match (self.unique, seen.unique) {
            (true, false) => return Some("is not unique"),
            (false, true) => return Some("is unique"),
            (true, true) | (false, false) => {}
        }
        match seen.option {
            Some("partial") => Some("has not all documents (partialFilterExpression)"),
            Some("sparse") => Some("has not all documents (sparse)"),
            Some(_) => Some("has a collation"),
            None => None,
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{{{}}}", self.collection, self.key.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttl() -> Wanted {
        wanted(&Collections::default(), 600).remove(2)
    }

    fn seen(name: &str, key: &[&str]) -> Seen {
        let key = key.iter().map(|field| ((*field).to_owned(), true)).collect();
        Seen { name: name.into(), key, ..Seen::default() }
    }

    #[test]
    fn what_is_there_whatever_its_name_is_not_made_again() {
        let there = Seen { expire_s: Some(600), ..seen("createAt_1", &["createAt"]) };
        assert_eq!(step(&ttl(), &[seen("_id_", &["_id"]), there.clone()]), Step::Done);
        assert_eq!(step(&ttl(), &[seen("_id_", &["_id"])]), Step::Create);
        assert_eq!(step(&ttl(), &[]), Step::Create);
        assert_eq!(early_expiry(&ttl(), &[there]), Vec::<String>::new());
    }

    #[test]
    fn a_time_to_live_is_changed_in_place() {
        for expire_s in [Some(60), Some(-1), None] {
            let there = Seen { expire_s, ..seen("x", &["createAt"]) };
            assert_eq!(step(&ttl(), &[there]), Step::Expire);
        }
    }

    #[test]
    fn an_index_with_other_options_is_in_the_way() {
        let x = || Seen { expire_s: Some(600), ..seen("x", &["createAt"]) };
        for (index, why) in [
            (Seen { unique: true, ..x() }, "is unique"),
            (Seen { option: Some("partial"), ..x() }, "partial"),
            (Seen { option: Some("sparse"), ..x() }, "sparse"),
            (Seen { option: Some("collation"), ..x() }, "collation"),
        ] {
            let Step::Conflict(words) = step(&ttl(), &[index]) else { panic!("{why}") };
            assert!(words.starts_with("msglists{createAt}: the index x on it"), "{words}");
            assert!(words.contains(why), "{words}");
        }
        let [end, server, ..] = &wanted(&Collections::default(), 600)[..] else { panic!() };
        assert!(matches!(step(end, &[seen("e", &["endIdentifer"])]), Step::Conflict(_)));
        let expires = Seen { expire_s: Some(5), ..seen("s", &["serverIdentifer"]) };
        assert!(matches!(step(server, &[expires]), Step::Conflict(_)));
        assert!(matches!(step(&ttl(), &[seen("wardlink_ttl", &["other"])]), Step::Conflict(_)));
    }

    #[test]
    fn an_index_of_another_key_is_nobodys_business_unless_messages_expire_by_it() {
        let mailbox = &wanted(&Collections::default(), 600)[3];
        assert_eq!(step(mailbox, &[seen("x", &["stamp", "endIdentifer"])]), Step::Create);
        assert_eq!(step(mailbox, &[seen("x", &["endIdentifer"])]), Step::Create);
        let mut falls = Seen { expire_s: Some(60), ..seen("falls", &["createAt"]) };
        falls.key[0].1 = false;
        let there = Seen { expire_s: Some(600), ..seen("ours", &["createAt"]) };
        assert_eq!(step(&ttl(), &[falls.clone(), there.clone()]), Step::Done);
        assert_eq!(
            early_expiry(&ttl(), &[falls, there]),
            ["msglists: messages expire by the index falls, too"]
        );
    }
}
