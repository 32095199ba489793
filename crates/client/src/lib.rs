//! A terminal's side of Wardlink.
//!
//! A [`Client`] keeps a session with one of its servers: it connects again with full jitter and
//! by the server's hints, sends again what has no result, and drops what was seen before. A
//! [`Connection`] is one WebSocket session without any of that. [`core`] is the client's state
//! without I/O and clock.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use wardlink_client::{Client, ClientConfig};
//!
//! let config = ClientConfig::new("ws://127.0.0.1:8080/ws", "H1-A2-nurse1".parse()?);
//! let (client, mut messages) = Client::connect(config)?;
//! let result = client.send(&"H1-A2-pump7".parse()?, "stop").await?.await;
//! println!("{}", result.outcome);
//! while let Some(message) = messages.recv().await {
//!     println!("{:?}: {}", message.from, message.body_text());
//! }
//! # Ok(())
//! # }
//! ```

pub mod core;

mod client;
mod config;
mod connection;
mod driver;
mod error;
mod messages;
mod token;

pub use client::{Client, Outgoing, SendError, Sending, Status};
pub use config::{AckMode, ClientConfig, Identity, Target, check_url};
pub use connection::Connection;
pub use core::{Ended, SendOutcome, Welcome};
pub use error::{Closed, ConfigError, ConnectError};
pub use messages::{Message, Messages};
pub use token::{BearerToken, TokenSource, TokenSourceError};
pub use wardlink_tls::Connector;
