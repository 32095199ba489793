//! What a terminal says of itself in the query of its request.

use wardlink_wire::{ClientId, EndId};

/// Who a terminal says it is, in development mode, and how it wants to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Query {
    pub(in crate::app) end: EndId,
    pub(in crate::app) client: Option<ClientId>,
    pub(in crate::app) n: u64,
    pub(in crate::app) acks: bool,
}

impl Query {
    /// Reads the query. The error is for the terminal's developer.
    pub(in crate::app) fn parse(query: &str) -> Result<Self, String> {
        let (mut hospital, mut area, mut uid) = (None, None, None);
        let (mut client, mut n, mut acks) = (None, 0, true);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "hospitalCode" => hospital = Some(value.into_owned()),
                "hosareaCode" => area = Some(value.into_owned()),
                "uid" => uid = Some(value.into_owned()),
                "client" => client = Some(value.parse().map_err(|e| format!("client: {e}"))?),
                "n" => n = value.parse().map_err(|_| "n: must be a whole number".to_owned())?,
                "ack" if value == "none" => acks = false,
                "ack" => return Err("ack: must be none, or absent".to_owned()),
                // Later versions may know more.
                _ => {}
            }
        }
        let part = |value: Option<String>, name| value.ok_or(format!("{name}: missing"));
        let (hospital, area) = (part(hospital, "hospitalCode")?, part(area, "hosareaCode")?);
        let end = EndId::new(&hospital, &area, &part(uid, "uid")?).map_err(|e| e.to_string())?;
        Ok(Self { end, client, n, acks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_wrong_is_named() {
        let query =
            Query::parse("hospitalCode=H1&hosareaCode=A2&uid=u%407&client=c&n=3&x=y").unwrap();
        assert_eq!(query.end.as_str(), "H1-A2-u@7");
        assert_eq!((query.n, query.acks), (3, true));
        assert!(!Query::parse("hospitalCode=H&hosareaCode=A&uid=u&ack=none").unwrap().acks);
        for (text, names) in [
            ("", "hospitalCode"),
            ("hospitalCode=H&hosareaCode=A", "uid"),
            ("hospitalCode=H-&hosareaCode=A&uid=u", "hospitalCode"),
            ("hospitalCode=H&hosareaCode=A&uid=u&n=x", "n:"),
            ("hospitalCode=H&hosareaCode=A&uid=u&ack=maybe", "ack:"),
            ("hospitalCode=H&hosareaCode=A&uid=u&client=", "client:"),
        ] {
            let error = Query::parse(text).unwrap_err();
            assert!(error.contains(names), "{text}: {error}");
        }
    }
}
