//! What travels between terminals, Business Servers (BS) and Message Servers (MS).
//!
//! Owns the ids and their grammar, every message of the link protocol (BS ⇄ MS) and of the
//! terminal protocol (terminal ⇄ BS), the encodings of both, the results and the close codes.
//! It performs no I/O and decides nothing: who may send what, and what follows from it, is for
//! the crates that use it.

mod body;
pub mod close;
pub mod id;
pub mod link;
pub mod number;
pub mod outcome;
pub mod terminal;

pub use close::CloseCode;
pub use id::{ClientId, EndId, IdError, MessageId, MsId, ServerId, SessionId, StartId};
pub use number::{Epoch, PARTITIONS, Partition, Stamp, ViewNumber};
pub use outcome::{Outcome, Reason};
