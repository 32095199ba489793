//! What registries, schedulers, quotas and servers say, without the parts that change from one
//! attempt to the next: a status is not to change because a port or a random name does.

use serde_json::Value;

/// Of a container runtime's report of a failed pull: the cause. Empty where it tells none.
///
/// While the kubelet waits between attempts it says `Back-off pulling image "x": ErrImagePull: …`,
/// while it tries just the rest.
pub(super) fn registry_words(said: &str) -> String {
    let cause = match said.split_once("ErrImagePull: ") {
        Some((_, cause)) => cause,
        None if said.starts_with("Back-off pulling image") => "",
        None => said,
    };
    let cause = cause.strip_prefix("rpc error: ").unwrap_or(cause);
    let cause = cause.split_once("desc = ").map_or(cause, |(_, desc)| desc);
    without_ports(cause.trim())
}

/// Of the scheduler's words those on why no node takes the pod, without those on preemption.
pub(super) fn scheduler_words(said: &str) -> String {
    let said = said.split(" preemption: ").next().unwrap_or(said);
    said.trim().to_owned()
}

/// Of a refused creation of pods: what is wrong with them, without the random name of the one.
pub(super) fn refusal_words(said: &str) -> String {
    let words = said.strip_prefix("pods \"").and_then(|rest| rest.split_once("\" is "));
    words.map_or_else(|| said.to_owned(), |(_, words)| words.to_owned())
}

/// The last line that a server wrote, in words: where it is a line of JSON, its message and error.
pub(super) fn last_line(text: &str) -> String {
    let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) else {
        return String::new();
    };
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else { return line.to_owned() };
    let field = |name: &str| fields.get(name).and_then(Value::as_str);
    match (field("message"), field("error")) {
        (Some(message), Some(error)) => format!("{message}: {error}"),
        (Some(words), None) | (None, Some(words)) => words.to_owned(),
        (None, None) => line.to_owned(),
    }
}

/// A connection's own port, as in `10.0.0.1:43210->10.0.0.2:53`, is another each time.
fn without_ports(text: &str) -> String {
    let mut parts: Vec<&str> = text.split("->").collect();
    let last = parts.pop().unwrap_or_default();
    let mut clean = String::new();
    for part in parts {
        let digits = part.trim_end_matches(|c: char| c.is_ascii_digit());
        clean += digits.strip_suffix(':').filter(|_| digits.len() < part.len()).unwrap_or(part);
        clean += "->";
    }
    clean + last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_that_waits_and_one_that_is_tried_say_the_same() {
        let tried = "rpc error: code = NotFound desc = failed to pull: r.example/x:1: not found";
        let waits = format!("Back-off pulling image \"r.example/x:1\": ErrImagePull: {tried}");
        assert_eq!(registry_words(tried), "failed to pull: r.example/x:1: not found");
        assert_eq!(registry_words(&waits), registry_words(tried));
        assert_eq!(registry_words("Back-off pulling image \"r.example/x:1\""), "");
        assert_eq!(
            registry_words("dial: read udp 10.0.0.1:43210->10.0.0.2:53: i/o timeout"),
            "dial: read udp 10.0.0.1->10.0.0.2:53: i/o timeout"
        );
    }

    #[test]
    fn random_names_and_times_are_left_out() {
        let said = r#"pods "ward-message-server-7d4b-x2kl9" is forbidden: exceeded quota: few"#;
        assert_eq!(refusal_words(said), "forbidden: exceeded quota: few");
        assert_eq!(refusal_words("anything"), "anything");
        let said = "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are";
        assert_eq!(scheduler_words(said), "0/2 nodes are available: 2 Insufficient cpu.");
        let text = "first\n{\"timestamp\":\"T\",\"level\":\"ERROR\",\"message\":\"failed\",\"error\":\"x\"}\n\n";
        assert_eq!(last_line(text), "failed: x");
        assert_eq!(last_line("a\nb "), "b");
        assert_eq!(last_line(""), "");
    }
}
