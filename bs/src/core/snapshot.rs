//! What a person or a test may look at.

use wardlink_view::View;
use wardlink_wire::{MsId, ServerId};

use super::Core;
use super::api::Millis;

/// A look at a core, which changes nothing.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// This BS.
    pub server: ServerId,
    /// Sessions here.
    pub sessions: usize,
    /// Sends without a result.
    pub open_sends: usize,
    /// The newest view that it uses.
    pub view: Option<View>,
    /// What is known of the view's members, in their order.
    pub members: Vec<Member>,
}

/// A member of the view, as this BS knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which MS.
    pub ms: MsId,
    /// Milliseconds since something came over the link to it; `None`: there is no link.
    pub heard: Option<Millis>,
    /// BSs that are linked to it, as the members say; `None`: nobody has said it lately.
    pub links: Option<u32>,
}

impl Core {
    /// What there is to see at `now`.
    pub fn snapshot(&self, now: Millis) -> Snapshot {
        let members = self.view.as_ref().map_or(&[][..], |view| &view.members);
        let member = |ms: &MsId| Member {
            ms: *ms,
            heard: self.up.heard(*ms).map(|heard| now.saturating_sub(heard)),
            links: self.isolation.links_to(*ms, now),
        };
        Snapshot {
            server: self.config.server,
            sessions: self.sessions(),
            open_sends: self.open_sends(),
            view: self.view.clone(),
            members: members.iter().map(member).collect(),
        }
    }
}
