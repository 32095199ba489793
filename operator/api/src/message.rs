//! The tier of Message Servers.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TierSpec;

/// The Message Servers: they know which terminal is where, hand messages on, and keep those that
/// wait.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageServer {
    /// What both tiers have.
    #[serde(flatten)]
    pub tier: TierSpec,
    /// Bounds of each server.
    #[serde(default)]
    pub limits: MessageServerLimits,
}

/// Bounds of a Message Server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageServerLimits {
    /// Links of Business Servers at a time.
    #[serde(default = "max_links")]
    #[schemars(range(min = 1, max = 65536))]
    pub max_links: i32,
    /// Messages that the mailbox of one end may hold.
    #[serde(default = "mailbox_max")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub mailbox_max: i32,
    /// Connections accepted in a second on average.
    #[serde(default = "accept_rate")]
    #[schemars(range(min = 1, max = 100_000))]
    pub accept_rate: i32,
    /// Connections accepted at once.
    #[serde(default = "accept_rate")]
    #[schemars(range(min = 1, max = 100_000))]
    pub accept_burst: i32,
}

fn max_links() -> i32 {
    4096
}

fn mailbox_max() -> i32 {
    10_000
}

fn accept_rate() -> i32 {
    500
}

impl Default for MessageServerLimits {
    fn default() -> Self {
        Self {
            max_links: max_links(),
            mailbox_max: mailbox_max(),
            accept_rate: accept_rate(),
            accept_burst: accept_rate(),
        }
    }
}
