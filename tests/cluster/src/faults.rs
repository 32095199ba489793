//! Which requests a proxy does not simply pass on: pure rules.

use std::time::Duration;

use hyper::{Method, Uri};
use serde_json::{Value, json};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The API server never sees it; this status comes back, with a `Status` object.
    Status(u16),
    /// The API server answers, and the answer comes so much later.
    Late(Duration),
    /// The API server answers, and the answer is lost: the client gets this status instead.
    Lost(u16),
    /// The API server never sees it, and nothing comes back while the client waits.
    Hang,
}

/// A rule for requests. Of several that fit the one that was added first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    answer: Answer,
    method: Option<Method>,
    path: Option<String>,
    watches: Option<bool>,
    times: Option<usize>,
}

impl Fault {
    /// For every request, until it is taken away.
    pub fn new(answer: Answer) -> Self {
        Self { answer, method: None, path: None, watches: None, times: None }
    }

    /// Only for this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only for requests whose path contains this.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only for watches, or only for all else.
    #[must_use]
    pub fn watches(mut self, watches: bool) -> Self {
        self.watches = Some(watches);
        self
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn fits(&self, method: &Method, uri: &Uri) -> bool {
        self.times != Some(0)
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.path.as_ref().is_none_or(|part| uri.path().contains(part))
            && self.watches.is_none_or(|watches| watches == is_watch(uri))
    }
}

/// Whether a request begins a watch.
pub(crate) fn is_watch(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"))
}

/// The rules that are in force, and how often each was used.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<(u64, Fault)>,
    used: Vec<usize>,
}

impl Faults {
    /// Adds a rule and returns its number.
    pub(crate) fn add(&mut self, fault: Fault) -> u64 {
        let number = self.used.len() as u64;
        self.used.push(0);
        self.rules.push((number, fault));
        number
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.rules.retain(|(of, _)| *of != number);
    }

    pub(crate) fn used(&self, number: u64) -> usize {
        self.used.get(number as usize).copied().unwrap_or_default()
    }

    /// What happens to this request; counts it.
    pub(crate) fn decide(&mut self, method: &Method, uri: &Uri) -> Option<Answer> {
        let (number, fault) = self.rules.iter_mut().find(|(_, fault)| fault.fits(method, uri))?;
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        self.used[*number as usize] += 1;
        Some(fault.answer)
    }
}

/// A `Status` object, as the API server sends it with this status.
pub(crate) fn status(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": format!("a fault of the test: {reason}"), "reason": reason, "code": code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(faults: &mut Faults, method: Method, uri: &str) -> Option<Answer> {
        faults.decide(&method, &uri.parse().unwrap())
    }

    #[test]
    fn a_rule_holds_for_its_method_and_path_and_so_many_times() {
        let mut faults = Faults::default();
        let conflict = Answer::Status(409);
        let rule = Fault::new(conflict).method(Method::PATCH).path("/deployments").times(2);
        let number = faults.add(rule);
        assert_eq!(decide(&mut faults, Method::GET, "/apis/apps/v1/deployments"), None);
        assert_eq!(decide(&mut faults, Method::PATCH, "/api/v1/services/a"), None);
        for _ in 0..2 {
            let answer = decide(&mut faults, Method::PATCH, "/apis/apps/v1/deployments/a");
            assert_eq!(answer, Some(conflict));
        }
        assert_eq!(decide(&mut faults, Method::PATCH, "/apis/apps/v1/deployments/a"), None);
        assert_eq!(faults.used(number), 2);
    }

    #[test]
    fn watches_are_told_from_lists() {
        let mut faults = Faults::default();
        let number = faults.add(Fault::new(Answer::Status(410)).watches(true));
        assert_eq!(decide(&mut faults, Method::GET, "/api/v1/pods?limit=500"), None);
        let watch = "/api/v1/pods?resourceVersion=5&watch=true";
        assert_eq!(decide(&mut faults, Method::GET, watch), Some(Answer::Status(410)));
        faults.remove(number);
        assert_eq!(decide(&mut faults, Method::GET, watch), None);
    }
}
