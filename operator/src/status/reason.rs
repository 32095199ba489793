//! The closed set of reasons: the words, what they mean, and what a person can do.
//!
//! The table in docs/KUBERNETES.md is made of this.

use wardlink_operator_api::ConditionType;

use ConditionType::{
    BusinessServerAvailable, MessageServerAvailable, Ready, Reconciling, Stalled, StorageReady,
};

const TIERS: &[ConditionType] = &[Ready, MessageServerAvailable, BusinessServerAvailable];

macro_rules! reasons {
    ($( $name:ident on $conditions:expr, $meaning:literal, $action:literal; )*) => {
        /// Why a condition is as it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $( #[doc = $meaning] $name, )*
        }

        impl Reason {
            /// All, in the order of the table.
            pub const ALL: &'static [Self] = &[$( Self::$name, )*];

            /// As it stands in a condition's `reason`.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }

            /// What it means, for people.
            pub fn meaning(self) -> &'static str {
                match self { $( Self::$name => $meaning, )* }
            }

            /// What a person can do; empty where there is nothing to do.
            pub fn action(self) -> &'static str {
                match self { $( Self::$name => $action, )* }
            }

            /// Conditions that it stands in.
            pub fn conditions(self) -> &'static [ConditionType] {
                match self { $( Self::$name => $conditions, )* }
            }
        }
    };
}

reasons! {
    Available on TIERS,
        "All is there that the condition asks for.", "";
    Paused on &[Ready, Reconciling],
        "`managementState: Paused`: the operator reports and changes nothing.",
        "Set it to `Managed` to go on.";
    Stopped on &[Ready, Reconciling, MessageServerAvailable, BusinessServerAvailable],
        "`managementState: Stopped`: no pods are wanted.",
        "Set it to `Managed` to start again.";
    Stopping on &[Reconciling],
        "`managementState: Stopped`, and pods still end.", "";
    ScaledToZero on TIERS,
        "`replicas` is 0: no server of the tier is wanted.",
        "Set `replicas` to at least 1.";
    Starting on TIERS,
        "Pods start; nothing is known to be wrong.",
        "If it lasts, `kubectl describe pod`: a Secret that cannot be mounted shows in the pod's \
         events only.";
    NotReady on TIERS,
        "Servers run and do not say that they are ready.",
        "Read the pod's log and the answer of `/readyz`, port 9090.";
    WaitsForMessageServers on &[Ready, BusinessServerAvailable],
        "Business Servers run and have no Message Server to link to.",
        "See `MessageServerAvailable`.";
    WaitsForStorage on &[Ready, MessageServerAvailable],
        "Message Servers run and wait for the database or its indexes.",
        "See `StorageReady`.";
    ImagePullFailed on TIERS,
        "The image cannot be had; the registry's words are in the message.",
        "Correct `image` or `imagePullSecrets`, or put the image where it is looked for.";
    ContainerNotCreated on TIERS,
        "The node cannot make the container, for example for want of a Secret or a key in it.",
        "Make what the message names.";
    CrashLoop on TIERS,
        "The server ends again and again; the exit code and its last words are in the message.",
        "Exit code 64: a setting is wrong. Else read the log: `kubectl logs --previous`.";
    OutOfMemory on TIERS,
        "The server was killed because it needed more memory than its limit.",
        "Raise `resources.limits.memory`, or lower the bounds under `limits`.";
    Unschedulable on TIERS,
        "No node takes the pod; the scheduler's words are in the message.",
        "Add nodes, or lower `resources.requests`, or loosen `nodeSelector`, `affinity`, \
         `tolerations`.";
    QuotaExceeded on TIERS,
        "A ResourceQuota of the namespace allows no further pod.",
        "Raise the quota, or lower `replicas` or `resources`.";
    PodsRefused on TIERS,
        "The API server refuses the pods, for example by an admission policy.",
        "Do what the message says.";
    PodFailed on TIERS,
        "Pods ended and are replaced, for example evicted by their node.",
        "See the pod and its node.";
    UpToDate on &[Reconciling],
        "All is as the resource says.", "";
    Applying on &[Reconciling],
        "Objects were just written.", "";
    RollingOut on &[Reconciling],
        "Pods are exchanged or added until all are as the resource says.", "";
    RolloutStuck on &[Reconciling],
        "A rollout has made no progress for its deadline (10 minutes).",
        "The message says of a pod why.";
    ChangingMessageTtl on &[Reconciling],
        "`storage.messageTtlSeconds` has changed: servers and index follow one after the other.",
        "";
    WaitingForStorage on &[Reconciling],
        "The database is not as it must be; it is tried again.",
        "See `StorageReady`.";
    ApiUnavailable on &[Reconciling],
        "The API server could not be asked or failed; it is tried again.", "";
    NotStalled on &[Stalled],
        "Nothing keeps the operator from going on.", "";
    InvalidSpec on &[Ready, Reconciling, Stalled],
        "The resource breaks a rule that the API server did not enforce.",
        "Correct what the message names.";
    NameConflict on &[Ready, Reconciling, Stalled],
        "An object that the operator would make exists and belongs to somebody else.",
        "Delete or rename that object, or this resource.";
    Rejected on &[Ready, Reconciling, Stalled],
        "The API server refuses an object for good.",
        "Correct what the message names.";
    Forbidden on &[Ready, Reconciling],
        "The operator has not the right to do something.",
        "Give it the right (see Rights), or install the chart anew.";
    LinkIdentityNotAllowed on &[Ready, Reconciling],
        "The operator may not let Message Servers review tokens.",
        "Run the command in the message as an administrator, or use mode `SharedSecret`.";
    KindMissing on &[Ready, Reconciling],
        "An object of a kind is asked for that this Kubernetes does not have.",
        "Install its CRD, or take it out of the resource.";
    SecretNotFound on &[Ready, Reconciling, StorageReady],
        "A Secret, or a key in it, is not there.",
        "Make it; its coming is noticed at once.";
    IndexesReady on &[StorageReady],
        "The database answers and has the indexes.", "";
    ManagedByHand on &[StorageReady],
        "`indexManagement: Manual`: the operator does not ask the database.",
        "Make the indexes (see Storage): Message Servers become ready when they are there.";
    NotChecked on &[Ready, StorageReady],
        "The database was not asked yet.", "";
    InvalidUri on &[Ready, StorageReady],
        "The connection string or the authority cannot be used.",
        "Correct the Secret.";
    Unreachable on &[Ready, StorageReady],
        "The database does not answer. What runs goes on, and nothing is stored meanwhile.",
        "Look at the database and the network to it.";
    NotAuthorized on &[Ready, StorageReady],
        "The database refuses the user, or what the user wants to do.",
        "Correct the Secret, or give the user `readWrite` and `dbAdmin` on the database.";
    NotReplicaSet on &[Ready, StorageReady],
        "The database is a standalone server or older than MongoDB 6.0.",
        "Use a replica set (one node is enough) of MongoDB 6.0 or later.";
    IndexConflict on &[Ready, StorageReady],
        "An index on the same key has other options. It is never dropped.",
        "Drop that index; the right one is made at once or within a minute.";
    IndexFailed on &[Ready, StorageReady],
        "An index could not be made or changed.",
        "The message has the database's code; its log says more.";
}

/// The table for docs/KUBERNETES.md, in Markdown.
pub fn table() -> String {
    let mut text = String::from("| condition | status | means |\n|---|---|---|\n");
    for condition in ConditionType::ALL {
        let (good, meaning) = match condition {
            Ready => {
                ("True", "terminals can exchange messages, and all could be made as described")
            }
            Reconciling => {
                ("False", "`True` while the cluster is on its way to what its resource says")
            }
            Stalled => {
                ("False", "`True` while somebody must change something before the operator goes on")
            }
            MessageServerAvailable => ("True", "enough Message Servers are available"),
            BusinessServerAvailable => ("True", "enough Business Servers are available"),
            StorageReady => ("True", "the database answers and has the indexes"),
        };
        text += &format!("| `{}` | good: `{good}` | {meaning} |\n", condition.as_str());
    }
    text += "\n| reason | of conditions | means | what to do |\n|---|---|---|---|\n";
    for reason in Reason::ALL {
        let conditions: Vec<_> = reason
            .conditions()
            .iter()
            .map(|condition| format!("`{}`", condition.as_str()))
            .collect();
        let conditions = conditions.join(", ");
        text += &format!(
            "| `{}` | {conditions} | {} | {} |\n",
            reason.as_str(),
            reason.meaning(),
            reason.action()
        );
    }
    text
}
