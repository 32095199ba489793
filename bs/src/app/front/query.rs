//! What a terminal says of itself in the query of its request.

use wardlink_wire::{ClientId, EndId};

/// How a terminal wants to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Query {
    pub(in crate::app) client: Option<ClientId>,
    pub(in crate::app) n: u64,
    pub(in crate::app) acks: bool,
}

impl Query {
    /// Reads the query. The error is for the terminal's developer.
    pub(in crate::app) fn parse(query: &str) -> Result<Self, String> {
        let (mut client, mut n, mut acks) = (None, 0, true);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "client" => client = Some(value.parse().map_err(|e| format!("client: {e}"))?),
                "n" => n = value.parse().map_err(|_| "n: must be a whole number".to_owned())?,
                "ack" if value == "none" => acks = false,
                "ack" => return Err("ack: must be none, or absent".to_owned()),
                // Later versions may know more.
                _ => {}
            }
        }
        Ok(Self { client, n, acks })
    }
}

/// Who a terminal says it is, in development mode. The error is for its developer.
pub(super) fn end(query: &str) -> Result<EndId, String> {
    let (mut hospital, mut area, mut uid) = (None, None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "hospitalCode" => hospital = Some(value),
            "hosareaCode" => area = Some(value),
            "uid" => uid = Some(value),
            _ => {}
        }
    }
    let hospital = hospital.ok_or("hospitalCode: missing")?;
    let area = area.ok_or("hosareaCode: missing")?;
    let uid = uid.ok_or("uid: missing")?;
    EndId::new(&hospital, &area, &uid).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_wrong_is_named() {
        let text = "hospitalCode=H1&hosareaCode=A2&uid=u%407&client=c&n=3&x=y";
        let query = Query::parse(text).unwrap();
        assert_eq!(end(text).unwrap().as_str(), "H1-A2-u@7");
        assert_eq!((query.n, query.acks), (3, true));
        assert!(!Query::parse("ack=none").unwrap().acks);
        for (text, names) in [("n=x", "n:"), ("ack=maybe", "ack:"), ("client=", "client:")] {
            let error = Query::parse(text).unwrap_err();
            assert!(error.contains(names), "{text}: {error}");
        }
        for (text, names) in [
            ("", "hospitalCode"),
            ("hospitalCode=H&hosareaCode=A", "uid"),
            ("hospitalCode=H-&hosareaCode=A&uid=u", "hospitalCode"),
        ] {
            let error = end(text).unwrap_err();
            assert!(error.contains(names), "{text}: {error}");
        }
    }
}
