//! The ports of the servers. They are the defaults of the programs, and nobody can set others.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::names::Tier;

/// A port of a pod.
pub(in crate::desired) struct Port {
    /// Its name in pods and Services.
    pub(in crate::desired) name: &'static str,
    /// Its number in both.
    pub(in crate::desired) number: i32,
}

impl Port {
    pub(in crate::desired) fn by_name(&self) -> IntOrString {
        IntOrString::String(self.name.to_owned())
    }
}

/// Message Servers: links.
pub(in crate::desired) const LINKS: Port = Port { name: "links", number: 7070 };
/// Business Servers: terminals, and HTTP.
pub(in crate::desired) const TERMINALS: Port = Port { name: "terminals", number: 8080 };
/// Both: health and metrics.
pub(in crate::desired) const ADMIN: Port = Port { name: "admin", number: 9090 };

/// The port at which a tier does its work.
pub(in crate::desired) fn of(tier: Tier) -> &'static Port {
    match tier {
        Tier::MessageServer => &LINKS,
        Tier::BusinessServer => &TERMINALS,
    }
}
